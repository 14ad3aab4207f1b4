"""Opening the workspace a user names, with an error that says what is wrong with it."""

import pyarrow as pa

from curation.records import UserError
from curation.tables import Workspace


def open_workspace(uri: str) -> Workspace:
    """The workspace at a folder or URI, proven writable before any work starts.

    Raises:
        UserError: the scheme is unknown or nothing can be written there.
    """
    try:
        workspace = Workspace(uri)
        workspace.write_bytes(b"Dailies keeps one project of footage here.\n", "WORKSPACE")
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"cannot write to workspace {uri}: {error}; give a folder or s3://bucket/prefix") from error
    return workspace
