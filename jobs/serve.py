"""`dailies serve`: give annotators' browsers the review clips, read-only, until it is stopped with ctrl+c.

    <workspace>/media/clips/*.mp4 --annotation/media_server.py--> http://127.0.0.1:8081/clips/<clip id>.mp4

For `annotation.routing.media = "serve"`: when Label Studio runs elsewhere and cannot read the workspace. Tasks hold the
address, so the port is fixed and this verb must run while people answer, and while `dailies route` tries the clips.
"""

import argparse
from collections.abc import Callable
from urllib.parse import urlsplit

from annotation.connection import MEDIA
from annotation.media_server import MediaServer, make_server
from annotation.tasks import PROXY_FOLDER
from curation.records import UserError
from jobs.config import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Everything is in the recipe's [annotation.routing.serve]."""
    del parser


def run(context: Context) -> int:
    serve(context, MediaServer.serve_forever)
    return 0


def serve(context: Context, until_stopped: Callable[[MediaServer], None]) -> None:
    """Listen, say where, and hand the server over; it is closed when `until_stopped` returns or is interrupted.

    Raises:
        UserError: the workspace is not a local folder, or the address is not to be had.
    """
    settings, workspace = context.recipe.annotation.routing.serve, context.workspace
    if not workspace.is_local:
        raise UserError(
            f"`dailies serve` serves a local folder and the workspace is {workspace.uri}; "
            "set annotation.routing.media to presigned, which needs no server"
        )
    folder = workspace.local_path(MEDIA)
    folder.mkdir(parents=True, exist_ok=True)
    origin = settings.origin or _origin_of(context.recipe.annotation.url)
    try:
        server = make_server(folder, settings.host, settings.port, origin)
    except OSError as error:
        raise UserError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}; "
            "set annotation.routing.serve.host or .port"
        ) from error
    with server:
        clips = len(workspace.file_names(MEDIA, PROXY_FOLDER))
        readers = origin or "pages of this machine"
        print(f"serve: {clips} clips at http://{settings.host}:{server.port}/, for {readers}", flush=True)
        until_stopped(server)


def _origin_of(url: str) -> str:
    """Scheme, host and port of an address; empty for none."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if url else ""
