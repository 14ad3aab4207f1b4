"""Simulated annotators: valid answers, seeded, sometimes of two minds."""

import pytest

from annotation.project import SCREEN
from annotation.results import read_answers, to_result
from annotation.simulated import TASTES, judge, ranks


def test_ranks_ignore_units_and_share_ties():
    scores = {"a": {"motion": 1.0}, "b": {"motion": 50.0}, "c": {"motion": 50.0}, "d": {"motion": 900.0}, "e": {}}
    ranked = ranks(scores)
    assert [ranked[clip].get("motion") for clip in "abcde"] == [0.0, pytest.approx(0.5), pytest.approx(0.5), 1.0, None]


def test_a_single_value_is_middling():
    assert ranks({"a": {"motion": 3.0}}) == {"a": {"motion": 0.5}}


def pool(size: int) -> dict[str, dict[str, float]]:
    return ranks({f"c{n}": {"motion": (n * 37) % size, "sharpness": (n * 53) % size} for n in range(size)})


def test_answers_are_valid_on_the_screen_and_the_same_for_the_same_seed():
    for clip_id, clip_ranks in pool(97).items():
        for taste in TASTES:
            answers, origins = judge(taste, clip_id, clip_ranks, {"short": "A street. Strong motion."}, seed=3)
            assert read_answers(SCREEN, to_result(SCREEN, answers, origins))[0]["short"] == "A street, strong motion."
            assert judge(taste, clip_id, clip_ranks, {"short": "A street. Strong motion."}, seed=3)[0] == answers


def test_they_mostly_agree_and_sometimes_do_not():
    same = [
        len({judge(taste, clip_id, clip_ranks, {}, seed=0)[0]["verdict"] for taste in TASTES}) == 1
        for clip_id, clip_ranks in pool(211).items()
    ]
    assert 0.6 < sum(same) / len(same) < 0.95


def test_taste_follows_the_scores():
    (motion, _), keeps = TASTES, {}
    for level in (0.0, 1.0):
        clip_ranks = {"motion": level, "sharpness": 0.5}
        verdicts = [judge(motion, f"c{n}", clip_ranks, {}, seed=0)[0]["verdict"] for n in range(50)]
        keeps[level] = verdicts.count("keep")
    assert keeps[1.0] == 50 and keeps[0.0] < 25


def test_the_origin_says_whether_the_draft_was_changed():
    clip_ranks = {"motion": 1.0, "sharpness": 1.0}
    corrected = judge(TASTES[0], "c", clip_ranks, {"short": "A street. Dark."}, seed=0)[1]
    stamped = judge(TASTES[0], "c", clip_ranks, {"short": "A street."}, seed=0)[1]
    assert (corrected["short"], stamped["short"]) == ("prediction-changed", "prediction")
