"""Crowds with known truth: people of planted severity, noise and speed answer clips of planted quality."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from annotation.project import KEPT, REJECTED
from curation.records import Annotation

START = datetime(2026, 1, 1, tzinfo=UTC)
CRITERIA = ("color_harmony", "motion_speed")


@dataclass(frozen=True)
class Planted:
    """A made-up person: keeps a clip whose quality (standard normal) plus bias and noise is above 0."""

    name: str
    bias: float = 0.0
    noise: float = 0.0
    stamps: float = 0.0  # share of drafts sent back unchanged
    lead_time_s: float = 6.0


def answers_of_crowd(
    people: list[Planted], num_clips: int, seed: int = 0, origin_of: str = "short"
) -> tuple[list[Annotation], np.ndarray]:
    """Everybody's answer to every clip, and the clips' quality."""
    generator = np.random.default_rng(seed)
    quality = generator.standard_normal(num_clips)
    rows = []
    for person in people:
        felt = quality + person.bias + person.noise * generator.standard_normal(num_clips)
        stamped = generator.random(num_clips) < person.stamps
        for clip, (value, stamp) in enumerate(zip(felt.tolist(), stamped.tolist(), strict=True)):
            answers: dict[str, Any] = {"verdict": KEPT if value > 0 else REJECTED, "short": "A dog runs."}
            answers |= {name: int(np.clip(round(3 + value), 1, 5)) for name in CRITERIA}
            origins = {"verdict": "manual", origin_of: "prediction" if stamp else "prediction-changed"}
            at = (START + timedelta(seconds=2 * clip * person.lead_time_s)).isoformat()
            rows.append(
                Annotation(
                    f"{person.name}/{clip}", f"c{clip:05}", person.name, False, False, json.dumps(answers),
                    json.dumps(origins), person.lead_time_s, at, "Dailies", clip,
                )
            )  # fmt: skip
    return rows, quality
