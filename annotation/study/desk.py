"""A study's place in Label Studio: items go there as tasks, what judges answer comes back as rows.

    items --push--> a project for each judge that items name, one more for items that name nobody
                    --collect--> valid: StudyAnswer     invalid: Failure, with the reason and what was given

A judge is an account, known by its e-mail address. Judges have projects of their own because Community assigns nothing
and shows in a shared project what others said. On the embedded server the accounts are ours (`names_of_judges`, made
when somebody asks where to sign in); elsewhere nobody is named, and the people who have accounts there share a project.
Projects are titled by study and judge, pages and tasks say nothing of systems.

The server keeps what it is told, valid or not, and every member may edit it (there are no roles). So answers are judged
here against the page and appended to `study_answers` by the verb: an edited answer is another row, none is replaced.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from annotation.accounts import ADMIN, SIMULATED_PREFIX, account_file
from annotation.client import Listed, Project
from annotation.connection import MEDIA, Connection, Login, reach, shown_folder
from annotation.media import media_addresses, media_advice
from annotation.preflight import check_addresses
from annotation.project import AnnotationSettings
from annotation.results import InvalidAnswer, RawAnswer, annotation_key, read_answers, to_failure, to_result
from annotation.study.pages import draw, screen_of
from annotation.study.settings import StudySettings
from annotation.study.tasks import STUDY_FOLDER, shown_media, to_task
from annotation.tasks import Task, proxy_path
from curation.records import Failure, UserError, content_id
from curation.study_records import StudyAnswer, StudyItem
from curation.tables import Workspace

ANYBODY = ""
LONGEST_TITLE = 50  # the server's
PROBED = 8  # videos that are asked for as the page asks; all come from one encoder, so the rest is looked up by name


class Desk:
    """The study's projects on one server; a context manager that closes the connection."""

    def __init__(
        self, connection: Connection, workspace: Workspace, settings: StudySettings, annotation: AnnotationSettings
    ) -> None:
        self.connection, self._workspace = connection, workspace
        self._settings, self._annotation = settings, annotation
        self._screen = screen_of(settings.design)
        self._projects: dict[str, Project] = {}  # of each judge

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.__exit__()

    def project(self, judge: str = ANYBODY) -> Project:
        """The judge's project, made or brought up to date the first time it is asked for."""
        if judge not in self._projects:
            self._projects[judge] = self.connection.client.open_project(
                title_of(self._settings, judge),
                draw(self._settings.design, self._shape()),
                1 if judge else self._settings.answers_wanted,
                self._screen.instruction,
                shown_folder(self._workspace, self._annotation, STUDY_FOLDER),
                drafts=False,
            )
        return self._projects[judge]

    def push(
        self, items: Sequence[StudyItem], prompts: Mapping[str, str], on_chunk: Callable[[int], None] | None = None
    ) -> int:
        """Ask the items that are not there yet, each judge's in the given order. Returns how many were new.

        Args:
            prompts: prompt id -> text.
            on_chunk: called with the number of items done, chunk by chunk.

        Raises:
            UserError: a prompt or a video is missing, or the server does not give the videos to the page.
        """
        if unknown := sorted({item.prompt_id for item in items} - prompts.keys()):
            raise UserError(f"{len(unknown)} items ask prompts that the study does not have, such as {unknown[0]!r}")
        projects = {judge: self.project(judge) for judge in sorted({item.judge for item in items})}
        addresses = self._playing_addresses(shown_media(items))  # the server shows files to projects only
        tasks: dict[str, list[Task]] = {judge: [] for judge in projects}
        for item in items:
            tasks[item.judge].append(to_task(item, prompts[item.prompt_id], addresses))
        return sum(
            len(self.connection.client.push(project, tasks[judge], on_chunk)[0]) for judge, project in projects.items()
        )

    def collect(self) -> tuple[list[StudyAnswer], list[Failure]]:
        """All answers and skips that are there now, each ordered by its key; 2 ms each.

        What may be answered are the items of `study_items`, which the caller keeps before it pushes them.
        """
        client, answers, failures = self.connection.client, [], []
        items = self._workspace.table("study_items").read(["study", "item_key", "judge"]).to_pylist()
        asked = {row["item_key"] for row in items if row["study"] == self._settings.name}
        judges = {row["judge"] for row in items if row["study"] == self._settings.name}
        for judge in sorted(judges | self._projects.keys()):
            project = self.project(judge)
            for raw in client.pull_all(project):
                try:
                    if raw.clip_id not in asked:
                        raise InvalidAnswer("unknown item", f"{raw.clip_id!r} is no item of {self._settings.name}")
                    answers.append(self._to_answer(project, raw))
                except InvalidAnswer as error:
                    failures.append(to_failure(self._screen, self.connection.server, project.title, raw, error))
        answers.sort(key=lambda row: row.answer_key)
        return answers, sorted(failures, key=lambda row: row.input_id)

    def login(self) -> dict[str, Login]:
        """Judge -> where to start and as whom; on the embedded server accounts are made if need be.

        The key of the project that is open to anybody is empty.
        """
        found = {}
        for judge, project in sorted(self._projects.items()):
            email = judge or ADMIN
            if self.connection.home is None:
                found[judge] = Login(project.labeling_url, judge or "your own account", None)
                continue
            with self.connection.as_member(email):
                found[judge] = Login(project.labeling_url, email, account_file(self.connection.home, email))
        return found

    def answer(
        self,
        judge: str,
        answers: Mapping[str, Mapping[str, str]],
        seconds: Mapping[str, float] | None = None,
        on_answer: Callable[[int], None] | None = None,
    ) -> int:
        """Answer items as a simulated judge, through the server's API as a browser does; 0.25 s each.

        Args:
            judge: e-mail address of an account, made if need be.
            answers: item key -> axis -> answer; in this order, in the judge's own project or else anybody's.
            seconds: item key -> how long it took.

        Returns:
            How many were answered; items that do not lie there are left out.

        Raises:
            UserError: the judge's name does not say that it is simulated, or the server is not the embedded one.
        """
        if not judge.startswith(SIMULATED_PREFIX):
            raise UserError(f"answers made up for {judge!r} would pass for a person's; name it {SIMULATED_PREFIX}...")
        given = 0
        with self.connection.as_member(judge) as member:
            tasks = self._waiting(judge, list(answers))
            for item_key, said in answers.items():
                if item_key in tasks:
                    result = to_result(self._screen, said)
                    read_answers(self._screen, result)  # never push what we would refuse to collect
                    member.answer(tasks[item_key], result, lead_time_s=(seconds or {}).get(item_key))
                    given += 1
                    if on_answer is not None:
                        on_answer(1)
        return given

    def _shape(self) -> float:
        """Width by height of the study's videos, which all have the same."""
        sizes = self._workspace.table("study_videos").distinct("study", "width", "height")
        return next((width / height for study, width, height in sorted(sizes) if study == self._settings.name), 16 / 9)

    def _waiting(self, judge: str, item_keys: list[str]) -> dict[str, Listed]:
        """Items of the judge's project and of anybody's, as far as those are there."""
        found: dict[str, Listed] = {}
        for owner in (ANYBODY, judge):
            if owner in self._projects:
                found |= self.connection.client.listed(self._projects[owner], item_keys)
        return found

    def _to_answer(self, project: Project, raw: RawAnswer) -> StudyAnswer:
        given = {} if raw.skipped else read_answers(self._screen, raw.result)[0]
        return StudyAnswer(
            study=self._settings.name,
            answer_key=annotation_key(self.connection.server, project.title, raw),
            item_key=raw.clip_id,
            judge=raw.annotator,
            answers=json.dumps(given, sort_keys=True),
            lead_time_s=raw.lead_time_s,
            answered_at=raw.updated_at,
            simulated=raw.annotator.startswith(SIMULATED_PREFIX),
            skipped=raw.skipped,
        )

    def _playing_addresses(self, keys: list[str]) -> dict[str, str]:
        """Media key -> address, once all files are there and a few of them were played as the page does."""
        routing, client = self._annotation.routing, self.connection.client
        there = self._workspace.file_names(MEDIA, STUDY_FOLDER)
        missing = [key for key in keys if proxy_path(key, STUDY_FOLDER).rpartition("/")[2] not in there]
        if missing:
            raise UserError(
                f"{len(missing)} of {len(keys)} videos are not in {self._workspace.path(MEDIA, STUDY_FOLDER)}, such as "
                f"{missing[0]}; run `dailies study create` again, which writes them"
            )
        addresses = media_addresses(self._workspace, keys, routing, STUDY_FOLDER)
        some = {key: addresses[key] for key in keys[:: max(1, len(keys) // PROBED)]}
        advice = media_advice(self._workspace, client.url, routing)
        reasons = check_addresses(some, client.url, routing.preflight, advice, client.authorization)
        if failed := [reason for reason in reasons.values() if reason]:
            raise UserError(f"{len(failed)} of {len(some)} videos tried do not play: {failed[0]}")
        return addresses


def open_desk(
    workspace: Workspace,
    settings: StudySettings,
    annotation: AnnotationSettings,
    on_wait: Callable[[float], None] | None = None,
) -> Desk:
    """Reach the server (the embedded one is started if it does not run) and the projects of the study's items so far.

    Args:
        on_wait: called with the seconds waited so far while the embedded server starts.

    Raises:
        UserError: as `annotation.connection.reach`.
    """
    desk = Desk(reach(workspace, annotation, on_wait), workspace, settings, annotation)
    try:
        for study, judge in sorted(workspace.table("study_items").distinct("study", "judge")):
            if study == settings.name:
                desk.project(judge)
    except BaseException:
        desk.__exit__()
        raise
    return desk


def names_of_judges(settings: StudySettings, annotation: AnnotationSettings) -> tuple[str, ...]:
    """The judges to deal items to; empty where they are other people's accounts, so that anybody answers.

    The person at the screen (`annotation.reviewers = "me"`) is the first of them.
    """
    if annotation.url:
        return ()
    prefix = SIMULATED_PREFIX if annotation.reviewers == "simulated" else ""
    names = [f"{prefix}judge-{number:02d}@localhost" for number in range(1, settings.judges + 1)]
    return (ADMIN, *names[1:]) if annotation.reviewers == "me" else tuple(names)


def title_of(settings: StudySettings, judge: str) -> str:
    """Title of a judge's project, which says the study and the judge, and so nothing of what is compared."""
    title = f"{settings.name} {judge.removesuffix('@localhost') or 'anybody'}"
    return title if len(title) <= LONGEST_TITLE else f"{settings.name} {content_id(judge)[:8]}"
