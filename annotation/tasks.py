"""A clip as a task: what the page shows, and the draft it starts from.

The address of the proxy is relative to the server (its local-files route), so a server that comes back on another port
still shows every clip. Nothing that would bias an answer is in the task data: no score, no gate's reason.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from annotation.project import Screen
from annotation.results import to_result
from curation.records import Caption, Clip

KEY = "clip_id"
PROXY_FOLDER = "clips"  # below the media folder: the server serves only what lies below its root, not the root itself
CAPTION_FIELDS = (
    "short",
    "dense",
    "background",
    "style",
    "shot_type",
    "lighting",
    "atmosphere",
    "camera_movement",
)


@dataclass(frozen=True)
class Task:
    """One clip to be judged, with the draft caption that fills in the page."""

    clip_id: str
    data: dict[str, Any]
    drafted_by: str
    draft: list[dict[str, Any]]

    def payload(self) -> dict[str, Any]:
        """As the import endpoint takes it."""
        return {"data": self.data, "predictions": [{"model_version": self.drafted_by, "result": self.draft}]}


def proxy_path(clip_id: str) -> str:
    """Where a clip's proxy lies below the media folder."""
    return f"{PROXY_FOLDER}/{clip_id}.mp4"


def to_task(screen: Screen, clip: Clip, draft: Caption) -> Task:
    """The clip as a task with its draft."""
    answers = {name: getattr(draft, name) for name in CAPTION_FIELDS if getattr(draft, name)}
    return Task(
        clip_id=clip.clip_id,
        data={
            KEY: clip.clip_id,
            "video": f"/data/local-files/?d={proxy_path(clip.clip_id)}",
            "frame_rate": f"{clip.frame_rate:.6g}",
            "source": f"{PurePosixPath(clip.uri).name}, {clip.start_s:.2f}-{clip.end_s:.2f} s",
        },
        drafted_by=draft.by,
        draft=to_result(screen, answers),
    )
