"""Crowds with known truth: what was planted in a person comes out, and the others stay without remarks."""

from dataclasses import replace

import numpy as np
import pytest

from annotation.annotators import Annotator, annotators
from annotation.gold import GoldItem
from tests.annotation.answers import annotation, kept, rejected
from tests.annotation.crowd import Planted, answers_of_crowd

CROWD = [
    Planted("ann", noise=0.3, stamps=0.3),
    Planted("bob", noise=0.3, stamps=0.3),
    Planted("cat", noise=0.3, stamps=0.3),
    Planted("guess", noise=1e9, stamps=0.3),
    Planted("hurry", noise=0.3, stamps=1.0, lead_time_s=1.5),
    Planted("kind", bias=0.8, noise=0.3, stamps=0.3),
]
NUM_CLIPS = 400


@pytest.fixture(scope="module")
def crowd() -> dict[str, Annotator]:
    rows, quality = answers_of_crowd(CROWD, NUM_CLIPS, seed=4)
    gold = [
        GoldItem(f"c{clip:05}", "verdict", "keep" if quality[clip] > 0 else "reject")
        for clip in range(NUM_CLIPS)
        if abs(quality[clip]) > 1
    ]
    return {each.name: each for each in annotators(rows, gold)}


def test_severity_comes_out_as_planted(crowd):
    """Of standard normal qualities, a bias of 0.8 keeps P(-0.8 < quality < 0) = 0.29 more, a little less with noise."""
    kind = crowd["kind"].keeps_more
    assert kind.num_clips == NUM_CLIPS and kind.mean == pytest.approx(0.27, abs=0.03)
    for name in ("ann", "bob", "cat"):
        assert crowd[name].keeps_more.mean == pytest.approx(-kind.mean / 5, abs=0.03), (
            "kind is one of their five others"
        )
    assert crowd["kind"].keep + crowd["kind"].reject == NUM_CLIPS
    sides = [each.keeps_more.mean for each in crowd.values()]
    assert sum(sides) == pytest.approx(0, abs=1e-9), "who is above is balanced by who is below"


def test_a_constant_step_in_ratings_comes_out_as_that_step():
    low = [annotation(f"c{clip}", "low", kept(motion_speed=2, lighting_quality=3)) for clip in range(30)]
    high = [annotation(f"c{clip}", "high", kept(motion_speed=5, lighting_quality=3)) for clip in range(30)]
    above, below = (each.rates_higher for each in annotators(low + high))
    assert above and below and (above.mean, below.mean) == pytest.approx((3 / 7, -3 / 7))
    assert above.error == pytest.approx(0, abs=1e-9) and above.num_clips == 30


def test_rubber_stamps_come_out_as_planted(crowd):
    assert crowd["hurry"].stamped_share == 1.0
    assert crowd["ann"].stamped_share == pytest.approx(0.3, abs=0.06)


def test_alpha_is_nothing_for_guessing_and_much_for_the_careful(crowd):
    assert abs(crowd["guess"].alpha_verdict) < 0.1 and abs(crowd["guess"].alpha_ratings) < 0.1
    assert crowd["ann"].alpha_verdict > 0.5 and crowd["ann"].alpha_ratings > 0.5


def test_gold_tells_guessing_from_care(crowd):
    ann, guess = crowd["ann"].gold, crowd["guess"].gold
    assert ann.share > 0.98 and guess.low < 0.5 < guess.high
    assert [each.question for each in crowd["ann"].gold_by_question] == ["verdict"]


def test_pace_is_that_of_the_clock(crowd):
    """The crowd answers every 2 x lead time; the first answer costs its own lead time."""
    assert crowd["ann"].median_lead_time_s == 6.0
    assert crowd["ann"].answers_per_hour == pytest.approx(300, rel=0.01)
    assert crowd["hurry"].answers_per_hour == pytest.approx(1200, rel=0.01)


def test_a_pause_is_no_work():
    times = ["2026-01-01T10:00:00Z", "2026-01-01T10:00:20Z", "2026-01-01T18:00:00Z", "2026-01-01T18:00:20Z"]
    rows = [
        replace(annotation(f"c{number}", "ann", kept(), at=at), lead_time_s=10.0) for number, at in enumerate(times)
    ]
    (ann,) = annotators(rows)
    assert ann.answers_per_hour == pytest.approx(4 / (10 + 20 + 10 + 20) * 3600)


def test_only_who_stands_out_is_remarked_on(crowd):
    assert crowd["ann"].remarks == crowd["bob"].remarks == crowd["cat"].remarks == ()
    points = round(100 * crowd["kind"].keeps_more.mean)
    assert f"keeps {points} points more than the others on the same 400 clips" in crowd["kind"].remarks
    assert "sends 100% of 400 drafts back unchanged" in crowd["hurry"].remarks
    assert "answers in 1.5 s, where the others take 6.0 s" in crowd["hurry"].remarks
    said = " ".join(crowd["guess"].remarks)
    assert "hardly agrees beyond chance" in said and "gold answers" in said


def test_a_few_answers_are_no_ground_for_a_remark():
    rows = [
        annotation(f"c{clip}", name, kept() if name == "a" else rejected("dull")) for clip in range(19) for name in "ab"
    ]
    assert [each.remarks for each in annotators(rows)] == [(), ()]


def test_who_only_skipped_or_shared_nothing_is_there_without_figures():
    rows = [annotation("c1", "ann", None), annotation("c2", "bob", kept())]
    ann, bob = annotators(rows)
    assert (ann.answers, ann.skipped, ann.keep, ann.keeps_more, ann.alpha_verdict) == (1, 1, 0, None, None)
    assert (bob.answers, bob.keep, bob.rates_higher, bob.gold, bob.answers_per_hour) == (1, 1, None, None, None)
    assert annotators(rows, withdrawn={rows[0].annotation_key})[0].name == "bob"
    assert annotators([]) == []


def test_the_order_of_answers_does_not_matter():
    rows, _ = answers_of_crowd(CROWD[:3], 50)
    shuffled = [rows[place] for place in np.random.default_rng(1).permutation(len(rows))]
    assert annotators(shuffled) == annotators(rows)
