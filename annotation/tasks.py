"""A clip as a task: what the page shows, and the draft it starts from.

The address of the proxy is relative to the server (its local-files route), so a server that comes back on another port
still shows every clip. Nothing that would bias an answer is in the task data: no score, no gate's reason.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from annotation.results import to_result
from annotation.screen import Screen
from curation.records import Caption, Clip

KEY = "clip_id"
DRAFTS = "drafts"  # the name under which the server keeps all drafts: it fills the page from those of one name only
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
    draft: list[dict[str, Any]]
    answers_wanted: int = 0  # 0: as many as the project wants

    def payload(self) -> dict[str, Any]:
        """As the import endpoint takes it."""
        drafts = [{"model_version": DRAFTS, "result": self.draft}] if self.draft else []
        return {"data": self.data, "predictions": drafts}


def proxy_path(clip_id: str, folder: str = PROXY_FOLDER) -> str:
    """Where a clip's proxy lies below the media folder."""
    return f"{folder}/{clip_id}.mp4"


def local_files_address(clip_id: str, folder: str = PROXY_FOLDER) -> str:
    """Where a clip's proxy is on Label Studio's own route, relative to the server."""
    return f"/data/local-files/?d={proxy_path(clip_id, folder)}"


def to_task(screen: Screen, clip: Clip, draft: Caption, video: str = "", answers_wanted: int = 0) -> Task:
    """The clip as a task, with as much of its draft as the screen asks.

    Args:
        video: where the player finds the proxy; empty: on Label Studio's own route.
        answers_wanted: of different people; 0: as many as the project wants.
    """
    answers = {name: getattr(draft, name) for name in CAPTION_FIELDS if screen.asks(name) and getattr(draft, name)}
    return Task(
        clip_id=clip.clip_id,
        data={
            KEY: clip.clip_id,
            "video": video or local_files_address(clip.clip_id),
            "frame_rate": f"{clip.frame_rate:.6g}",
            "source": f"{PurePosixPath(clip.uri).name}, {clip.start_s:.2f}-{clip.end_s:.2f} s",
        },
        draft=to_result(screen, answers),
        answers_wanted=answers_wanted,
    )
