"""Annotations as a test writes them down: who says what about which clip."""

import json
from typing import Any

from annotation.project import KEPT
from curation.records import Annotation

RATINGS = {
    "color_harmony": 4,
    "lighting_quality": 3,
    "object_emphasis": 4,
    "spatial_layout": 2,
    "motion_speed": 5,
    "action_integrity": 4,
    "motion_blur": 3,
}


def kept(short: str = "A dog runs.", **more: Any) -> dict[str, Any]:
    return {"verdict": KEPT, **RATINGS, "short": short, **more}


def rejected(*reasons: str, short: str = "A dog runs.") -> dict[str, Any]:
    return {"verdict": "reject", "reject_reasons": list(reasons), "short": short}


def annotation(
    clip_id: str,
    annotator: str,
    answers: dict[str, Any] | None,
    at: str = "2026-01-01T00:00:00Z",
    origins: dict[str, str] | None = None,
) -> Annotation:
    """One collected row; `answers=None` is a skip."""
    return Annotation(
        annotation_key=f"{clip_id}/{annotator}/{at}",
        clip_id=clip_id,
        annotator=annotator,
        simulated=annotator.startswith("simulated-"),
        skipped=answers is None,
        answers=json.dumps(answers or {}),
        origins=json.dumps(origins or {}),
        lead_time_s=None,
        updated_at=at,
        project="Dailies",
        task_id=1,
    )
