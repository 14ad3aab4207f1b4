"""Opening the workspace a user names, with an error that says what is wrong with it."""

import pyarrow as pa

from curation.records import UserError
from curation.tables import Workspace


def open_workspace(uri: str, writable: bool = True) -> Workspace:
    """The workspace at a folder or URI, proven writable before any work starts unless nothing is to be written.

    Raises:
        UserError: the scheme is unknown, or nothing can be written there; or it is only to be read and is not there.
    """
    try:
        workspace = Workspace(uri)
        if not writable:
            if not workspace.exists("WORKSPACE"):
                raise UserError(f"{uri} is no workspace yet; give the folder or s3://bucket/prefix of one")
            return workspace
        workspace.write_bytes(b"Dailies keeps one project of footage here.\n", "WORKSPACE")
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"cannot write to workspace {uri}: {error}; give a folder or s3://bucket/prefix") from error
    return workspace
