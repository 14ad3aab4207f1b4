"""How long does it take to ask 1,533 prompts of 15 pairs of systems, 22,995 tasks?

    python -m tests.bench.study_push [--prompts 1533] [--judges 60]

Items of six systems are dealt to the judges as `study create` deals them, checks included, and pushed by the study's
desk to the real server (embedded, SQLite), a project for each judge; the videos' files are there, all the same one. The
rival in the same run is the barest client: the same tasks into one project in the same chunks, nothing asked before and
nothing checked afterwards. Then the same push again, which finds all there. The last line is JSON for programs.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from annotation.connection import MEDIA, stop_server
from annotation.project import AnnotationSettings
from annotation.server import ServerSettings
from annotation.study.axes import Design
from annotation.study.dealing import first_items
from annotation.study.desk import open_desk
from annotation.study.pages import draw
from annotation.study.settings import AdaptiveSettings, StudySettings, SystemSettings
from annotation.study.tasks import STUDY_FOLDER, shown_media, to_task
from annotation.tasks import local_files_address
from curation.records import content_id
from curation.study_records import StudyItem, StudyPrompt, StudyVideo
from curation.tables import Workspace
from curation.transcode import write_frames
from tests.bench.label_studio import VENV, Bare

SYSTEMS = 6


def dealt(num_prompts: int, num_judges: int) -> tuple[StudySettings, list[StudyPrompt], list[StudyItem]]:
    """The study and its items, every pair of every prompt once."""
    settings = StudySettings(
        name="bench",
        design=Design.PAIRWISE,
        systems=tuple(SystemSettings(name=f"s{number}", videos="x") for number in range(SYSTEMS)),
        judges=num_judges,
        adaptive=AdaptiveSettings(enabled=False),
    )
    prompts = [StudyPrompt("bench", f"p{number}", f"Prompt {number}, a fox in snow.") for number in range(num_prompts)]
    videos = [
        StudyVideo("bench", content_id(name, prompt.prompt_id), name, prompt.prompt_id, "", "", "", 64, 36, 8, 8)
        for name in (system.name for system in settings.systems)
        for prompt in prompts
    ]
    judges = [f"judge-{number:02d}@localhost" for number in range(1, num_judges + 1)]
    return settings, prompts, first_items(settings, prompts, videos, b"secret", judges=judges)


def timed(work: Callable[[], Any]) -> float:
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def measure(workspace: Workspace, num_prompts: int, num_judges: int) -> dict[str, float]:
    settings, prompts, items = dealt(num_prompts, num_judges)
    texts = {prompt.prompt_id: prompt.prompt for prompt in prompts}
    folder = workspace.local_path(MEDIA, STUDY_FOLDER)
    folder.mkdir(parents=True)
    video = write_frames(np.zeros((8, 36, 64, 3), np.uint8), 8)
    keys = shown_media(items)
    for key in keys:
        (folder / f"{key}.mp4").write_bytes(video)
    annotation = AnnotationSettings(reviewers="team", server=ServerSettings(venv=str(VENV)))
    with open_desk(workspace, settings, annotation) as desk:
        client = desk.connection.client
        addresses = {key: local_files_address(key, STUDY_FOLDER) for key in keys}
        payloads = [to_task(item, texts[item.prompt_id], addresses).payload() for item in items]
        bare = client.open_project("bare", draw(Design.PAIRWISE, 16 / 9), 1, "", folder, drafts=False)
        bare_s = timed(lambda: Bare(client).push(bare, payloads))
        ours_s = timed(lambda: desk.push(items, texts))
        again_s = timed(lambda: desk.push(items, texts))
        on_server = sum(client.num_tasks(desk.project(judge)) for judge in {item.judge for item in items})
        assert on_server == len(items), "every item is a task"
    print(f"{len(items)} tasks: bare {bare_s:.1f} s, ours {ours_s:.1f} s, again {again_s:.1f} s", file=sys.stderr)
    return {
        "tasks": len(items),
        "push_s": round(ours_s, 1),
        "again_s": round(again_s, 1),
        "tasks_per_s": round(len(items) / ours_s),
        "push_ratio": round(bare_s / ours_s, 3),
    }


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.study_push", description=__doc__)
    parser.add_argument("--prompts", type=int, default=1533)
    parser.add_argument("--judges", type=int, default=60)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(str(Path(folder) / "ws"))
        try:
            found = measure(workspace, options.prompts, options.judges)
        finally:
            stop_server(workspace)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
