"""A workspace with a whole answered study in its tables, for tests of reports: any size, both designs.

Every video has a hidden quality on each axis: its system's, plus the prompt's and its own noise. Judges compare two of
them, or one with a bar, with noise of their own; careless ones answer by chance.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from annotation.study.axes import ALL_AXES, AXES, Design
from curation.records import Failure, content_id
from curation.study_records import ItemKind, StudyAnswer, StudyItem, StudyPrompt, StudyVideo
from curation.tables import Workspace
from curation.transcode import write_frames

STUDY = "blind"
SIDE_PX = 32
TIE_BAND = 0.35


def studied(
    folder: Path,
    design: Design,
    qualities: Mapping[str, float],
    num_prompts: int = 40,
    num_judges: int = 6,
    careless: int = 1,
    answers_wanted: int = 2,
    media: bool = True,
    missing: Sequence[tuple[str, int]] = (),
    seed: int = 7,
) -> Workspace:
    """Write prompts, videos, items and answers; the last `careless` judges answer by chance.

    Args:
        qualities: system -> how much better than the bar, in standard deviations of a video.
        missing: (system, number of prompt) that have a failure in place of a video.
    """
    workspace, generator = Workspace(str(folder)), np.random.default_rng(seed)
    prompts = [
        StudyPrompt(STUDY, f"p{number:04d}", f"a {('cat', 'dog', 'boat')[number % 3]} <{number}>", _categories(number))
        for number in range(num_prompts)
    ]
    kept = [(name, number) for name in qualities for number in range(num_prompts) if (name, number) not in missing]
    videos = [_video(name, prompts[number]) for name, number in kept]
    quality = {
        video.media_key: qualities[video.system] + 0.6 * generator.standard_normal(len(AXES)) for video in videos
    }
    items = _items(videos, design, answers_wanted)
    judges = [f"judge-{number + 1:02d}@localhost" for number in range(num_judges)]
    answers, checks = _answers(items, quality, judges, careless, answers_wanted, generator)
    workspace.table("study_prompts").append("0", prompts)
    workspace.table("study_videos").append("0", videos)
    workspace.table("study_items").append("0", [*items, *checks])
    workspace.table("study_answers").append("0", answers)
    workspace.table("failures").append("study", [_failure(name, number) for name, number in missing])
    if media:
        for place, video in enumerate(videos):
            frames = np.full((8, SIDE_PX, SIDE_PX, 3), 40 + 5 * (place % 40), np.uint8)
            workspace.write_bytes(write_frames(frames, 8.0), "media", "study", f"{video.media_key}.mp4")
    return workspace


def _failure(system: str, number: int) -> Failure:
    where = f"{system} p{number:04d}"  # as jobs/study_media.py labels its inputs
    return Failure("study", STUDY, where, where, "no video", "the folder has no file of this prompt")


def _categories(number: int) -> str:
    return json.dumps({"motion": ("low", "high")[number % 2], "subject": ("cat", "dog", "boat")[number % 3]})


def _video(system: str, prompt: StudyPrompt) -> StudyVideo:
    return StudyVideo(
        study=STUDY,
        media_key=content_id(system, prompt.prompt_id),
        system=system,
        prompt_id=prompt.prompt_id,
        source_uri=f"{system}/{prompt.prompt_id}.mp4",
        source_sha256="0" * 64,
        sha256="1" * 64,
        width=SIDE_PX,
        height=SIDE_PX,
        frame_rate=8.0,
        num_frames=8,
    )


def _items(videos: list[StudyVideo], design: Design, answers_wanted: int) -> list[StudyItem]:
    by_prompt: dict[str, list[StudyVideo]] = {}
    for video in videos:
        by_prompt.setdefault(video.prompt_id, []).append(video)
    shown = []
    for prompt_id, own in by_prompt.items():
        if design is Design.ABSOLUTE:
            shown += [(prompt_id, video.media_key, "") for video in own]
        else:
            shown += [(prompt_id, one.media_key, other.media_key) for one, other in combinations(own, 2)]
    items = []
    for place, (prompt_id, one, other) in enumerate(shown):
        a, b = (other, one) if other and place % 2 else (one, other)
        items.append(StudyItem(STUDY, f"i{place:06d}", ItemKind.RANDOM.value, prompt_id, a, b, 0, answers_wanted))
    return items


def _answers(items, quality, judges, careless, answers_wanted, generator):  # type: ignore[no-untyped-def]
    answers, checks = [], []
    for place, item in enumerate(items):
        for turn in range(min(answers_wanted, len(judges))):
            number = (place + turn * (1 + place % max(len(judges) - 1, 1))) % len(judges)
            chance = number >= len(judges) - careless
            answers.append(_answer(item, judges[number], quality, chance, generator))
            if item.media_b and generator.random() < 0.15:  # a check that this judge is asked as well
                kind = (ItemKind.REPEAT, ItemKind.IDENTICAL)[int(generator.integers(2))]
                check = StudyItem(
                    study=STUDY,
                    item_key=f"c{len(checks):06d}",
                    kind=kind.value,
                    prompt_id=item.prompt_id,
                    media_a=item.media_b if kind is ItemKind.REPEAT else item.media_a,
                    media_b=item.media_a,
                    round=0,
                    answers_wanted=1,
                    judge=judges[number],
                    repeats=item.item_key if kind is ItemKind.REPEAT else "",
                    expected="{}" if kind is ItemKind.REPEAT else json.dumps(dict.fromkeys(ALL_AXES, "tie")),
                )
                checks.append(check)
                answers.append(_answer(check, judges[number], quality, chance, generator))
    return answers, checks


def _answer(item: StudyItem, judge: str, quality: Mapping[str, np.ndarray], by_chance: bool, generator) -> StudyAnswer:  # type: ignore[no-untyped-def]
    noise = 0.3 * generator.standard_normal(4)
    if item.media_b:
        gaps = quality[item.media_a] - quality[item.media_b] + noise[:3]
        everything = np.append(gaps, gaps.mean())
        said = [("A" if gap > TIE_BAND else "B" if gap < -TIE_BAND else "tie") for gap in everything]
        guess = [("A", "tie", "B")[number] for number in generator.integers(3, size=4)]
        told = dict(zip(ALL_AXES, guess if by_chance else said, strict=True))
    else:
        passed = quality[item.media_a] + noise[:3] > 0
        guess = generator.random(3) < 0.5
        told = {
            axis: "pass" if each else "fail" for axis, each in zip(AXES, guess if by_chance else passed, strict=True)
        }
    return StudyAnswer(
        study=STUDY,
        answer_key=f"{item.item_key}/{judge}",
        item_key=item.item_key,
        judge=judge,
        answers=json.dumps(told),
        lead_time_s=float(1.5 if by_chance else 12 + 4 * abs(noise[3])),
        answered_at="2026-11-23T10:00:00+00:00",
        simulated=True,
    )
