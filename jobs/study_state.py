"""A study as it stands in a workspace: its rows, its secret, and what it has promised not to change.

    study_prompts, study_videos, study_items, study_answers --open_study--> Study
    study/<name>/secret      drawn once; media, items and all chance follow from it. Lost, nothing can be added
    study/<name>/kept.json   design, systems and format, from the first question on

Judges of one study must all have judged the same thing. So from the first question on, design, systems and format stay,
and a video that was asked about is not replaced; another study of another name may do it all differently.
"""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow.compute as pc
from pydantic import BaseModel

from annotation.connection import MEDIA
from annotation.study.axes import Design
from annotation.study.settings import StudySettings
from annotation.study.tasks import STUDY_FOLDER
from curation.records import Failure, UserError, content_id
from curation.study_records import StudyAnswer, StudyItem, StudyPrompt, StudyVideo
from curation.tables import Workspace
from jobs.study_format import Format

FOLDER, SECRET, KEPT = "study", "secret", "kept.json"
SECRET_BYTES = 32


class Kept(BaseModel, frozen=True, extra="forbid"):
    """What stays once a question is out."""

    design: Design
    systems: tuple[str, ...]
    format: Format


@dataclass(frozen=True)
class Study:
    """The rows of one study."""

    workspace: Workspace
    settings: StudySettings
    secret: bytes
    kept: Kept | None
    prompts: tuple[StudyPrompt, ...]
    videos: tuple[StudyVideo, ...]
    items: tuple[StudyItem, ...]
    answers: tuple[StudyAnswer, ...]

    @property
    def texts(self) -> Mapping[str, str]:
        """Prompt id -> prompt."""
        return {prompt.prompt_id: prompt.prompt for prompt in self.prompts}

    def with_items(self, items: Sequence[StudyItem]) -> "Study":
        """The study with a round of items more, written before anybody is asked."""
        if not items:
            return self
        stem = f"{self.settings.name}-{content_id(*sorted(item.item_key for item in items))}"
        self.workspace.table("study_items").append(stem, items)
        return replace(self, items=(*self.items, *items))

    def with_answers(self, answers: Sequence[StudyAnswer]) -> "Study":
        """The study with those of the answers that were not known yet."""
        known = {row.answer_key for row in self.answers}
        new = [row for row in answers if row.answer_key not in known]
        if not new:
            return self
        stem = f"{self.settings.name}-{content_id(*sorted(row.answer_key for row in new))}"
        self.workspace.table("study_answers").append(stem, new)
        return replace(self, answers=(*self.answers, *new))

    def keep_failures(self, failures: Sequence[Failure]) -> int:
        """Keep what was refused of people's answers; returns how many are new."""
        table = self.workspace.table("failures")
        known = {row.input_id for row in table.records()} if failures else set()
        new = [row for row in failures if row.input_id not in known]
        table.append(f"study-{content_id(*sorted(row.input_id for row in new))}", new)
        return len(new)


def open_study(workspace: Workspace, settings: StudySettings) -> Study:
    """Read what there is of a study.

    Raises:
        UserError: its design or systems are not those with which its first questions were asked.
    """
    rows = {
        table: tuple(workspace.table(table).having("study", [settings.name]))
        for table in ("study_prompts", "study_videos", "study_items", "study_answers")
    }
    items = rows["study_items"]
    kept = Kept.model_validate_json(workspace.read_bytes(FOLDER, settings.name, KEPT)) if items else None
    if kept is not None:
        _refuse_changes(kept, settings, len(items))
    secret = _secret_of(workspace, settings.name)
    return Study(workspace, settings, secret, kept, *rows.values())


def keep(study: Study, common: Format) -> Study:
    """Promise not to change what the first questions are about to be asked with."""
    kept = Kept(design=study.settings.design, systems=_names(study.settings), format=common)
    data = kept.model_dump_json(indent=1).encode()
    study.workspace.write_bytes(data, FOLDER, study.settings.name, KEPT)
    return replace(study, kept=kept)


def with_prompts(study: Study, prompts: Sequence[StudyPrompt]) -> Study:
    """The study with these prompts; those that were asked about may not be missing or read otherwise.

    Raises:
        UserError: one of them is, or does.
    """
    now = {prompt.prompt_id: prompt.prompt for prompt in prompts}
    asked = {item.prompt_id for item in study.items}
    changed = [key for key in sorted(asked) if now.get(key) != study.texts.get(key)]
    if changed:
        raise UserError(
            f"study {study.settings.name} has asked about prompt {changed[0]} as {study.texts.get(changed[0])!r}, and "
            f"study.prompts now says {now.get(changed[0])!r}; put it back, or give the study another name"
        )
    study.workspace.table("study_prompts").append(study.settings.name, prompts)
    return replace(study, prompts=tuple(sorted(prompts, key=lambda prompt: prompt.prompt_id)))


def with_videos(study: Study, current: Collection[str]) -> Study:
    """The study with the videos of these media keys alone; others that were not asked about are taken away.

    Raises:
        UserError: a video that was asked about would be replaced or is gone.
    """
    table, workspace = study.workspace.table("study_videos"), study.workspace
    rows: list[StudyVideo] = table.having("study", [study.settings.name])
    in_use = {key for item in study.items for key in (item.media_a, item.media_b) if key}
    if lost := [row for row in rows if row.media_key in in_use and row.media_key not in current]:
        raise UserError(
            f"{len(lost)} videos of study {study.settings.name} were asked about and are now others or gone, such as "
            f"{lost[0].system}'s of prompt {lost[0].prompt_id} ({lost[0].source_uri}); put them back, or give the "
            "study another name"
        )
    stale = {row.media_key for row in rows if row.media_key not in current}
    for stem in sorted(table.stems()) if stale else ():
        part = table.part(stem)
        left = part.filter(~pc.field("media_key").isin(sorted(stale)))
        if left.num_rows < part.num_rows:
            table.append_rows(stem, left)
    present = workspace.file_names(MEDIA, STUDY_FOLDER)
    for key in sorted(stale):
        if f"{key}.mp4" in present:
            workspace.fs.delete_file(workspace.path(MEDIA, STUDY_FOLDER, f"{key}.mp4"))
    return replace(study, videos=tuple(row for row in rows if row.media_key not in stale))


def _refuse_changes(kept: Kept, settings: StudySettings, asked: int) -> None:
    for what, then, now in (
        ("design", kept.design.value, settings.design.value),
        ("systems", kept.systems, _names(settings)),
    ):
        if then != now:
            raise UserError(
                f"study {settings.name} has asked {asked} questions with {what} {then}, and study.{what} is now {now}; "
                "give another study another name (study.name)"
            )


def _names(settings: StudySettings) -> tuple[str, ...]:
    return tuple(sorted(system.name for system in settings.systems))


def _secret_of(workspace: Workspace, name: str) -> bytes:
    if not workspace.exists(FOLDER, name, SECRET):
        workspace.write_bytes(secrets.token_hex(SECRET_BYTES).encode(), FOLDER, name, SECRET)
        if workspace.is_local:
            workspace.local_path(FOLDER, name, SECRET).chmod(0o600)
    return bytes.fromhex(workspace.read_bytes(FOLDER, name, SECRET).decode())
