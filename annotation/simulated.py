"""Two simulated annotators, for demos and tests where nobody is at the keyboard.

Each has an account and a token of its own and answers through the server's API, as a person's browser would. They have
never seen the clip: their taste is a weighted mean of the clip's score ranks within the pool (so units do not matter)
plus seeded noise, and the two weigh motion and sharpness differently, so that they disagree now and then. Captions are
drafts put into one sentence. Every answer of theirs is marked: the annotator's name begins with `simulated-`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from annotation.accounts import SIMULATED_PREFIX
from annotation.client import Client, OpenTask, Project
from annotation.project import KEPT, REJECTED
from annotation.results import Answer, read_answers, to_result
from annotation.screen import MAX_RATING, Screen
from annotation.tasks import KEY
from curation.records import content_id

MIDDLING = 0.5  # the rank assumed where a scorer has no value


@dataclass(frozen=True)
class Taste:
    """What an annotator likes: weights of score ranks (sum 1), the liking (0..1) that keeps, the noise's deviation."""

    name: str
    weights: Mapping[str, float]
    bar: float
    noise: float

    @property
    def email(self) -> str:
        return f"{SIMULATED_PREFIX}{self.name}@localhost"


TASTES = (
    Taste("motion", {"motion": 0.7, "sharpness": 0.3}, bar=0.35, noise=0.15),
    Taste("clarity", {"motion": 0.3, "sharpness": 0.7}, bar=0.35, noise=0.15),
)

LOOKS = ("color_harmony", "lighting_quality", "object_emphasis", "spatial_layout")
MOTION = ("motion_speed", "action_integrity", "motion_blur")
REASONS = {"motion": "hardly moves", "sharpness": "blurred or compressed"}

Scores = Mapping[str, Mapping[str, float]]  # clip id -> scorer -> value


def ranks(scores: Scores) -> dict[str, dict[str, float]]:
    """Clip id -> scorer -> rank within the pool, 0 (lowest) to 1 (highest); equal values share their mean rank."""
    ranked: dict[str, dict[str, float]] = {clip_id: {} for clip_id in scores}
    for scorer in sorted({scorer for values in scores.values() for scorer in values}):
        clip_ids = [clip_id for clip_id in sorted(scores) if scorer in scores[clip_id]]
        values = np.array([scores[clip_id][scorer] for clip_id in clip_ids])
        _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
        below = np.cumsum(counts) - counts
        shares = (below + (counts - 1) / 2)[place] / (len(values) - 1) if len(values) > 1 else np.full(1, MIDDLING)
        for clip_id, share in zip(clip_ids, shares, strict=True):
            ranked[clip_id][scorer] = float(share)
    return ranked


def judge(
    taste: Taste, clip_id: str, clip_ranks: Mapping[str, float], draft: Mapping[str, Answer], seed: int
) -> tuple[dict[str, Answer], dict[str, str]]:
    """What this annotator answers about a clip: (answers, origins), valid on the screen."""
    generator = np.random.default_rng(int(content_id(seed, taste.name, clip_id), 16))
    liking = sum(weight * clip_ranks.get(scorer, MIDDLING) for scorer, weight in taste.weights.items())
    liking += taste.noise * generator.standard_normal()
    answers: dict[str, Answer] = {"verdict": KEPT if liking >= taste.bar else REJECTED}
    if answers["verdict"] == KEPT:
        for names, scorer in ((LOOKS, "sharpness"), (MOTION, "motion")):
            for name in names:
                felt = clip_ranks.get(scorer, MIDDLING) + taste.noise * generator.standard_normal()
                answers[name] = int(np.clip(round(1 + felt * (MAX_RATING - 1)), 1, MAX_RATING))
    else:
        worst = min(taste.weights, key=lambda scorer: clip_ranks.get(scorer, MIDDLING))
        answers["reject_reasons"] = [REASONS[worst]]
    origins = dict.fromkeys(answers, "manual")
    for name, text in draft.items():
        answers[name], origins[name] = text, "prediction"
    answers["short"] = _one_sentence(str(draft.get("short", "")))
    origins["short"] = "prediction-changed" if answers["short"] != draft.get("short") else "prediction"
    return answers, origins


def answer(
    client: Client,
    screen: Screen,
    project: Project,
    taste: Taste,
    scores: Scores,
    answers_wanted: int,
    seed: int,
    on_answer: Callable[[int], None] | None = None,
) -> int:
    """Answer, as this annotator, every task that still wants answers and has none of theirs. Returns how many.

    A clip without any score is skipped: this annotator has no other senses.

    Args:
        client: holds the annotator's own token.
        on_answer: called with 1 after each answer.
    """
    ranked, done = ranks(scores), 0
    for task in client.open_tasks(project):
        if taste.email in task.annotators or len(task.annotators) >= answers_wanted:
            continue
        _answer_one(client, screen, task, taste, ranked.get(task.data[KEY], {}), seed)
        done += 1
        if on_answer is not None:
            on_answer(1)
    return done


def _answer_one(
    client: Client, screen: Screen, task: OpenTask, taste: Taste, clip_ranks: Mapping[str, float], seed: int
) -> None:
    if not clip_ranks:
        client.answer(task, [], skipped=True)
        return
    draft = {item["from_name"]: item["value"] for item in task.draft}
    texts: dict[str, Answer] = {name: " ".join(value["text"]) for name, value in draft.items() if "text" in value}
    texts |= {name: value["choices"][0] for name, value in draft.items() if value.get("choices")}
    answers, origins = judge(taste, task.data[KEY], clip_ranks, texts, seed)
    result = to_result(screen, {name: answers[name] for name in answers if screen.asks(name)}, origins)
    read_answers(screen, result)  # never push what we would refuse to collect
    client.answer(task, result)


def _one_sentence(text: str) -> str:
    """`A street. Strong motion. Dark picture.` -> `A street, strong motion, dark picture.`"""
    first, *others = [part.strip() for part in text.split(". ") if part.strip(" .")] or ["A shot"]
    parts = [first, *(other[:1].lower() + other[1:] for other in others)]
    return ", ".join(part.rstrip(".") for part in parts) + "."
