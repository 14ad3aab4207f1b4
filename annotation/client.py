"""Talks to Label Studio; the only file that imports its SDK.

    open_project   find by title or make it, with the screen, the overlap and the media folder
    push           tasks with drafts, keyed by clip_id: what is there already is left alone
    pull_all       every answer and skip that is there, by a snapshot (2 ms each)
    pull           answers and skips since a time, by polling
    answer         one answer as the account whose token this client holds
    add_webhook    have the server call an address when somebody answers (`annotation/webhook.py`)

Import never deduplicates and the server reuses task ids after a deletion, so everything is keyed by our own `clip_id`
in the task data. The check before the import is not atomic: one pusher at a time.
A push that died between the import and telling the server how many answers each task wants is made good by the next
one. A personal access token (a JWT) buys access tokens of 300 s; they are renewed by the clock and, where the server's
clock differs, when it refuses one.
Measured on an idle machine: 4,000 tasks/s, 1,000 with drafts, 630 answers/s, nine tenths and more of what the server
itself can do (`tests/bench/label_studio.py`); one answer given takes 0.25 s.
"""

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx
from label_studio_sdk import LabelStudio
from label_studio_sdk.core.api_error import ApiError

from annotation.results import RawAnswer
from annotation.tasks import DRAFTS, KEY, Task
from curation.records import UserError

TIMEOUT_S = 600.0  # an export or a listing of 10,000 tasks takes up to 66 s; the SDK's own default is 60 s
PUSH_CHUNK = 1000  # tasks of an import; the server's own speed rises up to there
ASKED_AT_ONCE = 500  # ids that fit in one query's address
PAGE = 200
RENEWAL = "/api/token/refresh/"
WAKING = ("ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED")
BROKEN = (httpx.HTTPError, ApiError)  # what a call raises when the server is gone or refuses


@dataclass(frozen=True)
class Project:
    """A project on a server."""

    project_id: int
    title: str
    url: str
    overlap: int = 1  # answers that a task wants unless it says otherwise

    @property
    def labeling_url(self) -> str:
        """Where an annotator starts: the stream of tasks, which hides what others answered."""
        return f"{self.url}/projects/{self.project_id}/data?labeling=1"


@dataclass(frozen=True)
class OpenTask:
    """A task as an annotator sees it: what is shown, the draft, and who has answered."""

    task_id: int
    data: dict[str, Any]
    draft: list[dict[str, Any]]
    draft_id: int | None
    annotators: frozenset[str]


class Listed(NamedTuple):
    """A task as the server has it."""

    task_id: int
    answers_wanted: int
    answers: int  # skips left out


class _Renewing(httpx.Auth):
    """Buys another access token when the server refuses the one at hand, and asks again, once."""

    def __init__(self, url: str, token: str, sdk: LabelStudio) -> None:
        self._url, self._token, self._sdk = url, token, sdk

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        response = yield request
        if response.status_code != httpx.codes.UNAUTHORIZED or request.url.path.endswith(RENEWAL):
            return
        renewed = yield httpx.Request("POST", self._url + RENEWAL, json={"refresh": self._token})
        if renewed.is_success:
            access = json.loads(renewed.read())["access"]
            self._sdk._client_wrapper._tokens_client._set_access_token(access)
            request.headers["Authorization"] = f"Bearer {access}"
            yield request


class Client:
    """One account's connection to one server; a context manager that closes its sockets."""

    def __init__(self, url: str, token: str, trust_env: bool = False) -> None:
        """`trust_env` lets proxy variables apply; a server on loopback must not be asked for through a proxy."""
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            trust_env=trust_env,
            timeout=TIMEOUT_S,
            follow_redirects=True,
            event_hooks={"response": [_without_session]},
        )
        self._sdk = LabelStudio(base_url=self.url, api_key=token, httpx_client=self._http, timeout=TIMEOUT_S)
        if not self._sdk._client_wrapper._tokens_client._use_legacy_token:
            self._http.auth = _Renewing(self.url, token, self._sdk)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def authorization(self) -> dict[str, str]:
        """The header that makes a request this account's, now: some tokens last 300 s."""
        return {"Authorization": self._sdk._client_wrapper.get_headers()["Authorization"]}

    def open_project(
        self,
        title: str,
        label_config: str,
        overlap: int,
        instruction: str,
        media: Path | None = None,
        drafts: bool = True,
    ) -> Project:
        """The project of that title, made or brought up to date.

        Args:
            media: folder whose clips its tasks show by the server's local-files route; None: they come from elsewhere.
            drafts: fill in the page from predictions.
        """
        settings = {
            "label_config": label_config,
            "maximum_annotations": overlap,
            "expert_instruction": instruction,
            "show_collab_predictions": drafts,
        }
        listed = self._sdk.projects.list(title=title)  # contains it, in any case
        same = [project.id for project in listed if project.title == title and project.id]
        if same:
            project_id = min(same)
            self._sdk.projects.update(id=project_id, **settings)
        else:
            created = self._sdk.projects.create(title=title, sampling="Sequential sampling", **settings)
            project_id = int(created.id or 0)
        if media is not None:
            self._show_files_below(media, project_id)
        return Project(project_id, title, self.url, overlap)

    def _show_files_below(self, folder: Path, project_id: int) -> None:
        """Let tasks refer to files there, by a storage entry that nothing is synchronised from.

        Raises:
            UserError: the folder is not below the server's document root.
        """
        storages = self._sdk.import_storage.local.list(project=project_id)
        if str(folder) not in {storage.path for storage in storages}:
            try:
                self._sdk.import_storage.local.create(
                    project=project_id, path=str(folder), use_blob_urls=True, title="clips"
                )
            except ApiError as error:
                raise UserError(
                    f"Label Studio at {self.url} may not show files below {folder} (it answered {error.status_code}); "
                    f"set its LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT to {folder.parent}, or annotation.routing.media "
                    "to serve or presigned"
                ) from error

    def push(
        self, project: Project, tasks: Sequence[Task], on_chunk: Callable[[int], None] | None = None
    ) -> tuple[set[str], set[str]]:
        """Import the tasks whose clip is not there yet, in the given order. Returns clip ids (pushed, there before)."""
        pushed: set[str] = set()
        there = self.settle(project, {task.clip_id: task.answers_wanted for task in tasks})
        for start in range(0, len(tasks), PUSH_CHUNK):
            chunk = tasks[start : start + PUSH_CHUNK]
            new = [task for task in chunk if task.clip_id not in there]
            if new:
                imported = [Listed(task_id, project.overlap, 0) for task_id in self._import(project, new)]
                self._want_answers(project, zip(imported, [task.answers_wanted for task in new], strict=True))
            pushed |= {task.clip_id for task in new}
            if on_chunk is not None:
                on_chunk(len(chunk))
        return pushed, there

    def _import(self, project: Project, tasks: Sequence[Task]) -> list[int]:
        """Ids of the new tasks. Past the SDK's method, which walks through every draft: a fifth of the time."""
        headers = self._sdk._client_wrapper.get_headers()
        answer = self._http.post(
            f"{self.url}/api/projects/{project.project_id}/import",
            params={"return_task_ids": "true"},
            headers=headers,
            json=[task.payload() for task in tasks],
        )
        if answer.is_error:
            raise ApiError(status_code=answer.status_code, body=answer.text)
        return answer.json()["task_ids"]

    def _want_answers(self, project: Project, tasks: Iterable[tuple[Listed, int]]) -> None:
        """Tell the server how many answers it is to wait for, where it has another number; 0: the project's.

        It does not look by itself whether that makes the task a finished one, which it would offer to nobody.
        """
        for task, wanted in tasks:
            number = wanted or project.overlap
            if task.answers_wanted != number:
                body: Any = {"overlap": number, "is_labeled": task.answers >= number}
                self._sdk.tasks.update(id=str(task.task_id), request_options={"additional_body_parameters": body})

    def settle(self, project: Project, wanted: Mapping[str, int]) -> set[str]:
        """Which of these clips lie on the server, where each now waits for as many answers as are wanted.

        Args:
            wanted: clip id -> answers; 0: as many as the project wants.
        """
        there = self.listed(project, list(wanted)) if self.num_tasks(project) else {}
        self._want_answers(project, [(task, wanted[clip_id]) for clip_id, task in there.items()])
        return set(there)

    def present(self, project: Project, clip_ids: Sequence[str]) -> set[str]:
        """Which of these clips lie on the server."""
        return set(self.listed(project, clip_ids))

    def listed(self, project: Project, clip_ids: Sequence[str]) -> dict[str, Listed]:
        """The tasks of these clips, by clip id; clips that do not lie on the server are left out."""
        found: dict[str, Listed] = {}
        for start in range(0, len(clip_ids), ASKED_AT_ONCE):
            query = _query([(f"data.{KEY}", "in_list", "List", list(clip_ids[start : start + ASKED_AT_ONCE]))])
            fields: Any = ["id", "data", "overlap", "total_annotations"]
            listing = self._sdk.tasks.list(
                project=project.project_id, query=query, page_size=1000, fields="task_only", include=fields
            )
            for task in listing:
                found[task.data[KEY]] = Listed(task.id, task.overlap or project.overlap, task.total_annotations or 0)
        return found

    def webhooks(self, project: Project) -> dict[int, str]:
        """The addresses that the server calls about the project, by their number."""
        found = self._sdk.webhooks.list(project=str(project.project_id))
        return {hook.id: hook.url for hook in found if hook.id and hook.project == project.project_id}

    def add_webhook(self, project: Project, url: str) -> int:
        """Have the server call `url` when an answer of the project comes, changes or goes. Returns its number."""
        made = self._sdk.webhooks.create(
            project=project.project_id, url=url, actions=WAKING, send_payload=False, send_for_all_actions=False
        )
        return made.id or 0

    def remove_webhook(self, number: int) -> None:
        self._sdk.webhooks.delete(id=number)

    def show_drafts(self, project: Project) -> None:
        """Fill in the page from the drafts that came with the tasks, of which there must be one at least."""
        self._sdk.projects.update(id=project.project_id, model_version=DRAFTS, show_collab_predictions=True)

    def num_tasks(self, project: Project) -> int:
        return self._sdk.projects.get(id=project.project_id).task_number or 0

    def pull_all(self, project: Project) -> list[RawAnswer]:
        """All answers and skips that are on the server now, ordered by annotation id, by one snapshot."""
        emails, number = self.emails(), project.project_id
        snapshot = self._sdk.projects.exports.create(id=number, title="dailies")
        made = snapshot.id or 0
        try:
            parts = self._sdk.projects.exports.download(id=number, export_pk=made, export_type="JSON")
            tasks = json.loads(b"".join(parts))
        finally:
            self._sdk.projects.exports.delete(id=number, export_pk=made)
        found = [
            _raw_answer(task["id"], task["data"][KEY], given, emails) for task in tasks for given in task["annotations"]
        ]
        return sorted(found, key=lambda raw: raw.annotation_id)

    def pull(self, project: Project, since: datetime) -> Iterator[RawAnswer]:
        """Answers and skips of the tasks touched after `since` (aware), each once, ordered by annotation id.

        Deleted answers do not show up here, and an answer may come again with a newer `updated_at`.
        """
        emails = self.emails()
        found: dict[int, RawAnswer] = {}
        for column in ("total_annotations", "cancelled_annotations"):  # skips count only in the second
            moment = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            filters = [(column, "greater", "Number", 0), ("updated_at", "greater", "Datetime", moment)]
            listing = self._sdk.tasks.list(
                project=project.project_id, query=_query(filters), page_size=PAGE, fields="all"
            )
            for task in listing:
                for annotation in task.annotations or []:
                    raw = _raw_answer(task.id, task.data[KEY], annotation, emails)
                    found[raw.annotation_id] = raw
        yield from (found[number] for number in sorted(found))

    def open_tasks(self, project: Project) -> list[OpenTask]:
        """All tasks with drafts and the e-mail addresses of those who answered or skipped, ordered by task id."""
        emails = self.emails()
        listing = self._sdk.tasks.list(project=project.project_id, page_size=PAGE, fields="all")
        tasks = []
        for task in listing:
            drafts = task.predictions or []
            newest: dict[str, Any] = _plain(drafts[-1]) if drafts else {}
            annotators = {emails[_person(_plain(item)["completed_by"])] for item in task.annotations or []}
            tasks.append(
                OpenTask(
                    task_id=task.id,
                    data=dict(task.data),
                    draft=list(newest.get("result") or []),
                    draft_id=newest.get("id"),
                    annotators=frozenset(annotators),
                )
            )
        return sorted(tasks, key=lambda task: task.task_id)

    def answer(
        self,
        task: OpenTask | Listed,
        result: list[dict[str, Any]],
        skipped: bool = False,
        lead_time_s: float | None = None,
    ) -> None:
        """Answer (or skip) a task as this client's account."""
        more: dict[str, Any] = {} if lead_time_s is None else {"lead_time": lead_time_s}
        draft = task.draft_id if isinstance(task, OpenTask) else None
        self._sdk.annotations.create(
            id=task.task_id, result=result, was_cancelled=skipped, parent_prediction=draft, **more
        )

    def delete(self, raw: RawAnswer) -> None:
        """Take an answer off the server, as every member can."""
        self._sdk.annotations.delete(id=raw.annotation_id)

    def emails(self) -> dict[int, str]:
        """E-mail address of each account by its number."""
        return {user.id: user.email for user in self._sdk.users.list() if user.id and user.email}


def _without_session(response: httpx.Response) -> None:
    """Errors of the SDK print all headers, and the cookie in them is a login for two weeks."""
    response.headers.pop("Set-Cookie", None)


def _query(filters: Sequence[tuple[str, str, str, Any]]) -> str:
    items = [
        {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}
        for column, operator, kind, value in filters
    ]
    return json.dumps({"filters": {"conjunction": "and", "items": items}})


def _plain(value: Any) -> dict[str, Any]:
    """The SDK gives annotations as dictionaries or as its own models, by endpoint."""
    return value if isinstance(value, dict) else value.model_dump()


def _person(completed_by: Any) -> int:
    return completed_by["id"] if isinstance(completed_by, dict) else completed_by


def _raw_answer(task_id: int, clip_id: str, annotation: Any, emails: dict[int, str]) -> RawAnswer:
    fields = _plain(annotation)
    return RawAnswer(
        annotation_id=fields["id"],
        task_id=task_id,
        clip_id=clip_id,
        annotator=emails[_person(fields["completed_by"])],
        skipped=bool(fields["was_cancelled"]),
        lead_time_s=fields.get("lead_time"),
        updated_at=str(fields["updated_at"]),
        result=list(fields.get("result") or []),
    )
