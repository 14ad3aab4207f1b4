"""The simulated crowd: it reproduces the published table, its truth is what it answers, its habits are the planted."""

import json
from collections import Counter

import numpy as np
import pytest

from annotation.study.axes import ALL_AXES, AXES
from annotation.study.crowd import (
    HUNYUAN_TABLE,
    Crowd,
    Moments,
    answers_to,
    common_share,
    crowd_for,
    make_judges,
)
from curation.study_records import StudyItem, StudyVideo

NAMES = [f"simulated-{number}" for number in range(20)]
PROMPTS = [f"p{number}" for number in range(2000)]


def drawn(crowd: Crowd, number: int, seed: int) -> tuple[np.ndarray, np.ndarray, Moments]:
    """Random prompts and judges."""
    generator = np.random.default_rng(seed)
    prompt, judge = (generator.integers(0, len(some), number) for some in (crowd.prompts, crowd.judges.names))
    return prompt, judge, Moments.drawn(generator, number)


def crowd_of(judges: int = 400, seed: int = 0, **habits) -> Crowd:
    return Crowd(HUNYUAN_TABLE, PROMPTS, make_judges([f"j{number}" for number in range(judges)], seed, **habits), seed)


def test_rates_are_the_published_on_every_axis_and_overall():
    votes = crowd_of().rate(np.arange(300_000) % 6, *drawn(crowd_of(), 300_000, 1))
    for number, row in enumerate(HUNYUAN_TABLE):
        rates = votes.passed_NA[votes.system_N == number].mean(0)
        published = [getattr(row, axis) for axis in ALL_AXES]
        np.testing.assert_allclose(rates, published, atol=0.025)
        assert rates[3] > np.prod(rates[:3]), "the axes go together"


def test_an_overall_that_no_correlation_gives_is_refused():
    normal = (0.0, 0.0, 0.0)
    assert common_share(normal, 0.125) == pytest.approx(0, abs=1e-6)
    assert common_share(normal, 0.25) == pytest.approx(0.5, abs=0.001)  # 1/8 + 3 asin(r) / (4 pi)
    with pytest.raises(ValueError, match="expected an overall between"):
        common_share(normal, 0.1)


@pytest.mark.parametrize("pair", [(0, 5), (1, 2), (3, 0)])
def test_true_net_win_rates_are_those_of_many_answers(pair):
    crowd = crowd_of()
    one, other = (np.full(60_000, number) for number in pair)
    answers = crowd.compare(one, other, *drawn(crowd, 60_000, 2)).answer_NA
    nets = ((answers == 0).mean(0) - (answers == 2).mean(0)).tolist()
    truth = [crowd.net_win(pair[0], pair[1], axis) for axis in ALL_AXES]
    assert nets == pytest.approx(truth, abs=0.035)
    assert crowd.net_win(pair[1], pair[0], "overall") == pytest.approx(-truth[3])


def test_a_bias_to_a_side_shows_in_identical_videos_and_carelessness_in_fewer_ties():
    crowd = crowd_of(20, side_bias={3: 0.5, 4: -0.5}, careless=[7])
    prompt, judge = np.tile(np.arange(2000), 20), np.repeat(np.arange(20), 2000)
    same = np.zeros(40_000, dtype=int)
    answers = crowd.compare(same, same, prompt, judge, Moments.drawn(np.random.default_rng(0), 40_000)).answer_NA[:, 3]
    share = {number: np.bincount(answers[judge == number], minlength=3) / 2000 for number in range(20)}
    assert share[3][0] > 2 * share[3][2] and share[4][2] > 2 * share[4][0]
    assert share[7] == pytest.approx([1 / 3] * 3, abs=0.04)
    assert abs(share[0][0] - share[0][2]) < 0.06


def items_of(videos: list[StudyVideo], pairwise: bool) -> list[StudyItem]:
    by_prompt: dict[str, list[StudyVideo]] = {}
    for video in videos:
        by_prompt.setdefault(video.prompt_id, []).append(video)
    return [
        StudyItem(
            "study", f"i{prompt}", "random", prompt, some[0].media_key, some[1].media_key if pairwise else "", 0, 1
        )
        for prompt, some in by_prompt.items()
    ]


@pytest.mark.parametrize("pairwise", [True, False])
def test_any_study_can_be_answered_and_an_answer_depends_on_item_and_judge_alone(pairwise):
    videos = [
        StudyVideo("study", f"m-{system}-{prompt}", system, prompt, "", "", "", 64, 64, 8.0, 8)
        for system in "xyz"
        for prompt in PROMPTS[:40]
    ]
    crowd = crowd_for(videos, NAMES, 5)
    asked = [(item, NAMES[place % 20]) for place, item in enumerate(items_of(videos, pairwise))]
    rows = answers_to(crowd, videos, asked)
    again = {row.item_key: row for row in answers_to(crowd_for(videos, NAMES, 5), videos, asked[::-1])}
    assert {row.item_key: row.answers for row in rows} == {key: row.answers for key, row in again.items()}
    assert all(row.simulated and (row.lead_time_s or 0) > 0 for row in rows)
    said = [json.loads(row.answers) for row in rows]
    assert {tuple(sorted(each)) for each in said} == {tuple(sorted(ALL_AXES if pairwise else AXES))}
    words = Counter(word for each in said for word in each.values())
    assert set(words) == ({"A", "tie", "B"} if pairwise else {"pass", "fail"}) and min(words.values()) > 5
    assert answers_to(crowd, videos, []) == []


def test_whoever_answers_a_repeat_mostly_says_the_same_with_the_sides_exchanged():
    crowd = crowd_of(20)
    prompt, judge = np.tile(np.arange(500), 20), np.repeat(np.arange(20), 500)
    one, other = np.zeros(10_000, dtype=int), np.full(10_000, 5)
    first = crowd.compare(one, other, prompt, judge, Moments.drawn(np.random.default_rng(0), 10_000)).answer_NA[:, 3]
    second = crowd.compare(other, one, prompt, judge, Moments.drawn(np.random.default_rng(1), 10_000)).answer_NA[:, 3]
    assert 0.55 < (first == 2 - second).mean() < 0.9
