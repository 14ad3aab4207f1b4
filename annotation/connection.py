"""The way from a workspace to its project in Label Studio: the embedded server, or one that is already there.

connect(workspace, settings) --> Connection(client of the one who runs Dailies, a project for each screen)
reach(workspace, settings)   --> the same without projects, for a study, which has its own (annotation/study/desk.py)
connection.as_member(email)  --> a client with another member's own token (embedded server only)
login(workspace, settings)   --> what a person needs to start: address, e-mail, the file with the password
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from annotation.accounts import ADMIN, account_file, signed_in
from annotation.client import Client, Project
from annotation.project import API_KEY_VARIABLE, AnnotationSettings
from annotation.screen import Screen, render
from annotation.server import ensure, stop
from annotation.tasks import PROXY_FOLDER
from curation.records import UserError
from curation.tables import Workspace

HOME, MEDIA = "label_studio", "media"
EMBEDDED = "embedded"


@dataclass(frozen=True)
class Login:
    """How a person gets to the tasks. The password stays in its 0600 file."""

    url: str
    email: str
    password_file: Path | None

    def __str__(self) -> str:
        where = f", password in {self.password_file}" if self.password_file else ""
        return f"{self.url}  (sign in as {self.email}{where})"


@dataclass(frozen=True)
class Desk:
    """A screen and the project that asks it."""

    screen: Screen
    project: Project


@dataclass(frozen=True)
class Connection:
    """The open projects, in the order in which a clip passes them; a context manager that closes the client.

    `server` names the server in annotation keys, the same however often the embedded server's port changes.
    """

    server: str
    client: Client
    desks: tuple[Desk, ...]
    home: Path | None  # the embedded server's private folder

    @property
    def project(self) -> Project:
        """The first project, where candidates are pushed."""
        return self.desks[0].project

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.__exit__()

    def as_member(self, email: str) -> Client:
        """A client that acts as another member, who joins first if need be.

        Raises:
            UserError: the server is not ours, so we make no accounts there.
        """
        if self.home is None:
            raise UserError(
                f"{email} would need an account on {self.client.url}; simulated annotators answer only on the "
                "embedded server. Set annotation.reviewers to team, or annotation.url to empty."
            )
        inviter = signed_in(self.home, self.client.url, ADMIN)
        return Client(self.client.url, signed_in(self.home, self.client.url, email, inviter).token)

    def login(self, desk: Desk | None = None) -> Login:
        """Where people sign in, and as whom; the first desk unless another is given."""
        email, file = ("your own account", None) if self.home is None else (ADMIN, account_file(self.home, ADMIN))
        return Login((desk or self.desks[0]).project.labeling_url, email, file)


def connect(
    workspace: Workspace, settings: AnnotationSettings, on_wait: Callable[[float], None] | None = None
) -> Connection:
    """Reach the server and the project of each screen, made or brought up to date.

    Raises:
        UserError: as `reach`; or the server may not show the workspace's clips.
    """
    reached = reach(workspace, settings, on_wait)
    try:
        media = shown_folder(workspace, settings)
        desks = tuple(
            Desk(
                screen,
                reached.client.open_project(
                    settings.title_of(screen), render(screen), settings.answers_per_clip, screen.instruction, media
                ),
            )
            for screen in settings.screens
        )
    except BaseException:
        reached.__exit__()
        raise
    return replace(reached, desks=desks)


def reach(
    workspace: Workspace, settings: AnnotationSettings, on_wait: Callable[[float], None] | None = None
) -> Connection:
    """Reach the server, no project; the embedded server is started if it does not run, and goes on running afterwards.

    Args:
        on_wait: called with the seconds waited so far while the embedded server starts.

    Raises:
        UserError: Label Studio is not installed, the API key is missing, or the workspace is not a local folder and
            the embedded server would need one.
    """
    if settings.url:
        key = os.environ.get(API_KEY_VARIABLE, "")
        if not key:
            raise UserError(
                f"annotation.url = {settings.url} needs an API key in the environment variable {API_KEY_VARIABLE}; "
                "it is under Account & Settings on that server"
            )
        return Connection(settings.url, Client(settings.url, key, trust_env=True), (), None)
    home = _local(workspace, HOME)
    running = ensure(home, _local(workspace, MEDIA), settings.server, on_wait)
    return Connection(EMBEDDED, Client(running.url, signed_in(home, running.url, ADMIN).token), (), home)


def shown_folder(workspace: Workspace, settings: AnnotationSettings, folder: str = PROXY_FOLDER) -> Path | None:
    """The folder of media that a project's tasks may show by the server's local-files route; None: not by that route.

    Raises:
        UserError: the workspace is not a local folder and that route would need one.
    """
    if settings.routing.media != "local-files":
        return None
    media = _local(workspace, MEDIA, folder)
    media.mkdir(parents=True, exist_ok=True)
    return media


def stop_server(workspace: Workspace) -> bool:
    """End the workspace's embedded server. Returns whether one ran."""
    return workspace.is_local and stop(_local(workspace, HOME))


def home_of(workspace: Workspace, settings: AnnotationSettings) -> Path:
    """The embedded server's private folder, there or not.

    Raises:
        UserError: another server is named, or the workspace is not a local folder.
    """
    if settings.url:
        raise UserError(f"annotation.url = {settings.url} is a server of your own; its data is in your keeping there")
    return _local(workspace, HOME)


def _local(workspace: Workspace, *parts: str) -> Path:
    try:
        return workspace.local_path(*parts)
    except ValueError as error:
        raise UserError(
            f"the workspace is {workspace.uri}, and the embedded Label Studio and its local-files route need a local "
            "folder; name a server of your own in annotation.url and set annotation.routing.media to presigned"
        ) from error
