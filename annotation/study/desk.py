"""A study's place in Label Studio: items go there as tasks, what judges answer comes back as rows.

    items --push--> a project for each seat ("judge-01", ...), one more for items dealt to nobody
                    --collect--> valid: StudyAnswer     invalid: Failure, with the reason and what was given

A seat is one judge's place: `StudyItem.judge` names it, empty means anybody. Seats have projects of their own because
Community assigns nothing and shows in a shared project what others said. On the embedded server every seat has an
account, `<seat>@localhost`; elsewhere people sign in as themselves. `StudyAnswer.judge` is the account that answered.
The server keeps what it is told, valid or not, and anybody may edit it: what was collected is the truth, and collecting
again adds what is new or was changed (a new key), never replaces.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Self

from annotation.client import Client, Project
from annotation.connection import Connection, Login
from annotation.project import AnnotationSettings
from annotation.study.settings import StudySettings
from curation.records import Failure
from curation.study_records import StudyAnswer, StudyItem
from curation.tables import Workspace

ANYBODY = ""


class Desk:
    """The study's projects on one server; a context manager that closes the connection."""

    def __init__(
        self, connection: Connection, workspace: Workspace, settings: StudySettings, annotation: AnnotationSettings
    ) -> None:
        self.connection, self._workspace = connection, workspace
        self._settings, self._annotation = settings, annotation
        self._projects: dict[str, Project] = {}  # of each seat

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.__exit__()

    def push(self, items: Sequence[StudyItem], prompts: Mapping[str, str]) -> int:
        """Ask the items that are not there yet, in the given order. Returns how many were new.

        Args:
            prompts: prompt id -> text.

        Raises:
            UserError: a video is not in the workspace, or the server does not give it to the page.
        """
        raise NotImplementedError

    def collect(self, since: datetime | None = None) -> tuple[list[StudyAnswer], list[Failure]]:
        """All answers and skips that are there (or those touched since), judged against the page; ordered by key."""
        raise NotImplementedError

    def login(self) -> dict[str, Login]:
        """Where each seat's judge signs in, and as whom; the accounts are made if need be."""
        raise NotImplementedError

    def as_judge(self, email: str) -> Client:
        """A client that acts as a member of the embedded server, who joins first if need be."""
        raise NotImplementedError

    def answer(self, email: str, answers: Mapping[str, Mapping[str, str]], seconds: Mapping[str, float]) -> int:
        """Answer items (item key -> axis -> answer) as that account, which must be a simulated one. Returns how many.

        Args:
            seconds: item key -> how long it took.
        """
        raise NotImplementedError


def open_desk(workspace: Workspace, settings: StudySettings, annotation: AnnotationSettings) -> Desk:
    """Reach the server (the embedded one is started if it does not run) and the study's projects there."""
    raise NotImplementedError
