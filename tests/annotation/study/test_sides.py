"""Sides are drawn by chance and come out even."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from annotation.study.sides import balanced_sides

SYSTEMS = ("a", "b", "c", "d", "e", "f")


def shown(pairs, exchanged):
    return Counter(pair[::-1] if turned else pair for pair, turned in zip(pairs, exchanged, strict=True))


def lean_of_systems(ways: Counter) -> list[int]:
    return [
        sum(number * ((one == name) - (other == name)) for (one, other), number in ways.items()) for name in SYSTEMS
    ]


@pytest.mark.parametrize("seed", range(20))
def test_every_pair_and_every_system_stands_on_both_sides_alike_however_often_each_pair_is_asked(seed):
    generator = np.random.default_rng(seed)
    pairs = [pair for pair in combinations(SYSTEMS, 2) for _ in range(generator.integers(0, 6))]
    pairs = [
        pair if coin else (pair[1], pair[0])
        for pair, coin in zip(pairs, generator.random(len(pairs)) < 0.5, strict=True)
    ]
    ways = shown(pairs, balanced_sides(pairs, {}, generator))
    assert all(abs(ways[pair] - ways[pair[::-1]]) <= 1 for pair in combinations(SYSTEMS, 2))
    assert max(map(abs, lean_of_systems(ways))) <= 1


def test_later_questions_mend_what_earlier_ones_left():
    generator = np.random.default_rng(0)
    before = {("a", "b"): 3, ("c", "b"): 1}
    pairs = [("a", "b")] * 5
    ways = shown(pairs, balanced_sides(pairs, before, generator)) + Counter(before)
    assert ways["a", "b"] == ways["b", "a"] == 4
    far = shown(pairs, balanced_sides(pairs, {("b", "a"): 9}, generator))
    assert far == {("a", "b"): 5}, "all of them where the earlier ones lean further than they can mend"


def test_an_odd_question_is_turned_against_a_pair_that_is_not_asked_again():
    for seed in range(10):
        turned = balanced_sides([("b", "c")], {("a", "b"): 1}, np.random.default_rng(seed))
        assert turned == [False], "b stood on side B before, so now on A"


def test_which_question_is_turned_is_chance():
    pairs = [("a", "b")] * 40
    draws = {tuple(balanced_sides(pairs, {}, np.random.default_rng(seed))) for seed in range(20)}
    assert len(draws) == 20
    assert balanced_sides(pairs, {}, np.random.default_rng(3)) == balanced_sides(pairs, {}, np.random.default_rng(3))
