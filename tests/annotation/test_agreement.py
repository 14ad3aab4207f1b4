"""Agreement: the published example, an independent implementation, planted truth, honest intervals."""

import itertools
import json

import krippendorff
import numpy as np
import pytest

from annotation.agreement import (
    Agreement,
    Answered,
    agreement,
    agreements,
    alpha_of_each,
    answered,
    percent_agreement,
)
from annotation.ballots import votes
from tests.annotation.answers import annotation, kept, rejected
from tests.annotation.crowd import Planted, answers_of_crowd

# Krippendorff (2011), section C: four observers, twelve units, values 1 to 5, with holes.
PAPER = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
    (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
)


def given(matrix, ordinal: bool) -> Answered:
    """Rows are people, columns clips; None is no answer."""
    cells = [
        (clip, person, matrix[person][clip])
        for clip, person in itertools.product(range(len(matrix[0])), range(len(matrix)))
        if matrix[person][clip] is not None
    ]
    sizes = np.bincount([clip for clip, _, _ in cells], minlength=len(matrix[0]))
    cells = [cell for cell in cells if sizes[cell[0]] > 1]
    labels = sorted({value for _, _, value in cells})
    clip, person, value = np.array([(clip, person, labels.index(value)) for clip, person, value in cells]).T
    return Answered(clip, person, value, tuple(labels), ordinal)


def alpha(matrix, ordinal: bool) -> float:
    found = agreement("q", given(matrix, ordinal)).alpha
    assert found is not None
    return found


def test_the_papers_example_comes_out_as_printed():
    assert alpha(PAPER, ordinal=False) == pytest.approx(0.743, abs=5e-4)
    assert alpha(PAPER, ordinal=True) == pytest.approx(0.815, abs=5e-4)


@pytest.mark.parametrize("ordinal", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_alpha_is_that_of_an_independent_implementation(seed, ordinal):
    generator = np.random.default_rng(seed)
    truth = generator.integers(1, 6, 60)
    noisy = np.clip(truth + generator.integers(-1, 2, (5, 60)), 1, 5)
    holes = generator.random(noisy.shape) < 0.4
    matrix = [
        [None if hole else int(value) for value, hole in zip(*row, strict=True)]
        for row in zip(noisy, holes, strict=True)
    ]
    data = np.where(holes, np.nan, noisy)
    level = "ordinal" if ordinal else "nominal"
    assert alpha(matrix, ordinal) == pytest.approx(krippendorff.alpha(data, level_of_measurement=level), abs=1e-12)


def test_identical_answers_are_one_and_noise_is_nothing():
    values = np.random.default_rng(0).integers(1, 6, 4000).tolist()
    assert alpha([values, values, values], ordinal=True) == alpha([values, values], ordinal=False) == 1
    noise = np.random.default_rng(1).integers(1, 6, (3, 4000)).tolist()
    assert abs(alpha(noise, ordinal=True)) < 0.03 and abs(alpha(noise, ordinal=False)) < 0.03


def test_people_who_contradict_each_other_are_below_nothing():
    assert alpha([["keep", "reject"] * 10, ["reject", "keep"] * 10], ordinal=False) < -0.9


def test_one_answer_to_everything_has_no_alpha():
    found = agreement("q", given([["keep"] * 5, ["keep"] * 5], ordinal=False))
    assert found == Agreement("q", 5, 5, 1.0, None, None, None)


def test_without_two_answers_on_a_clip_nothing_can_be_told():
    rows = [annotation("c1", "ann", kept()), annotation("c2", "bob", kept())]
    assert percent_agreement(rows, "verdict") == Agreement("verdict", 0, 0, None, None, None, None)
    assert all(each.num_pairs == 0 for each in agreements([]))


def test_the_interval_holds_the_truth_and_shrinks_with_more_clips():
    people = [Planted(name, noise=0.8) for name in "abc"]
    truth = agreements(answers_of_crowd(people, 3000, seed=1)[0])[0].alpha
    assert truth is not None
    few, held = [], 0
    for seed in range(15):
        found = agreements(answers_of_crowd(people, 100, seed=10 + seed)[0])[0]
        assert found.low is not None and found.high is not None and found.alpha is not None
        few.append(found.high - found.low)
        held += found.low <= truth <= found.high
    assert held >= 13, "95 of 100 are wanted"
    many = agreements(answers_of_crowd(people, 1600, seed=2)[0])[0]
    assert many.low is not None and many.high is not None
    assert (many.high - many.low) == pytest.approx(np.mean(few) / 4, rel=0.25), "16 times the clips, a quarter as wide"


def test_the_interval_is_that_of_drawing_clips_one_by_one():
    """Drawing patterns by their numbers is drawing clips: compare with krippendorff on resampled columns."""
    generator = np.random.default_rng(5)
    matrix = np.clip(generator.integers(1, 6, 50) + generator.integers(-1, 2, (3, 50)), 1, 5)
    drawn = [
        krippendorff.alpha(matrix[:, generator.integers(0, 50, 50)].astype(float), level_of_measurement="ordinal")
        for _ in range(1000)
    ]
    found = agreement("q", given(matrix.tolist(), ordinal=True))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(drawn, (2.5, 97.5))), abs=0.02)


def test_the_same_seed_draws_the_same_clips():
    rows, _ = answers_of_crowd([Planted("a", noise=1), Planted("b", noise=1)], 60)
    assert agreements(rows, seed=3) == agreements(list(reversed(rows)), seed=3)
    assert agreements(rows, seed=3) != agreements(rows, seed=4)


def test_who_answers_by_chance_stands_out_and_the_others_do_not():
    people = [Planted("a", noise=0.2), Planted("b", noise=0.2), Planted("c", noise=0.2), Planted("random", noise=1e6)]
    rows, _ = answers_of_crowd(people, 3000)
    for question in ("verdict", "motion_speed"):
        (found,) = answered(votes(rows), [question]).values()
        each = alpha_of_each(found)
        assert abs(each[3]) < 0.05
        assert all(each[person] > 0.4 for person in range(3))


def test_a_person_against_one_other_is_the_alpha_of_both():
    rows, _ = answers_of_crowd([Planted("a", noise=0.5), Planted("b", noise=0.5)], 200)
    found = answered(votes(rows), ["motion_speed"])["motion_speed"]
    assert list(alpha_of_each(found).values()) == pytest.approx([agreement("q", found).alpha] * 2)


def test_percent_agreement_counts_pairs_on_the_same_clip():
    rows = [
        *(annotation("c1", person, kept()) for person in "abc"),
        annotation("c2", "a", kept()),
        annotation("c2", "b", rejected("dull")),
        annotation("c3", "a", kept()),
    ]
    found = percent_agreement(rows, "verdict")
    assert (found.num_clips, found.num_pairs, found.share) == (2, 4, 0.75)
    assert percent_agreement(rows, "motion_blur").num_pairs == 3, "those who rejected did not rate"


def test_several_choices_at_once_are_one_answer():
    rows = [
        annotation("c1", "a", rejected("dull", "unsafe")),
        annotation("c1", "b", rejected("dull", "unsafe")),
        annotation("c2", "a", rejected("dull")),
        annotation("c2", "b", rejected("dull", "unsafe")),
    ]
    assert percent_agreement(rows, "reject_reasons").share == 0.5
    assert json.loads(rows[0].answers)["reject_reasons"] == ["dull", "unsafe"]
