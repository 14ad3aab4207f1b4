"""`dailies backup`: the embedded Label Studio's data in one private file, and back.

    dailies backup                         --> <workspace>/backups/label-studio-<time>.tar, while people go on answering
    dailies backup --to FILE               --> FILE
    dailies collect --stop-server
    dailies backup --restore FILE          what it replaces is backed up first

The database (SQLite or PostgreSQL), its secret key and the accounts; no clips. The file has everybody's passwords:
keep it as private as they are. What was collected is in the table `annotations` and needs none of this.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from annotation.backup import back_up, restore
from annotation.connection import home_of
from jobs.config import Context

FOLDER = "backups"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--to", metavar="FILE", help="the backup's file; without it, one below <workspace>/backups")
    either.add_argument("--restore", metavar="FILE", help="put this backup in the place of the server's data")


def run(context: Context) -> int:
    settings, given = context.recipe.annotation, context.args
    home = home_of(context.workspace, settings)
    folder, now = context.workspace.local_path(FOLDER), datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    if given.restore:
        before = folder / f"label-studio-{now}-replaced.tar"
        backup = restore(home, settings.server, Path(given.restore), before)
        print(f"backup: Label Studio is as it was at {backup.made_at}", flush=True)
        if before.exists():
            print(f"backup: what was there before is in {before}", flush=True)
        print("backup: answers given since then are gone there; a full collect notes it, their rows stay", flush=True)
        return 0
    file = Path(given.to) if given.to else folder / f"label-studio-{now}.tar"
    backup = back_up(home, settings.server, file)
    size_mib = file.stat().st_size / 1024**2
    print(f"backup: {backup.database}, secret key and accounts in {file} ({size_mib:.1f} MiB)", flush=True)
    return 0
