"""Who answers which task."""

from collections import Counter

import numpy as np
import pytest

from annotation.assignment import assign, assign_gold, compare, room_beside_gold
from curation.records import UserError


def counted(chosen: list[tuple[int, ...]]) -> Counter[int]:
    return Counter(person for people in chosen for person in people)


def test_loads_are_level_and_nobody_is_twice_on_a_task():
    wanted = np.random.default_rng(0).integers(1, 4, 500)
    chosen = assign(wanted, [None] * 7, seed=0)
    assert [len(set(people)) for people in chosen] == wanted.tolist()
    loads = counted(chosen)
    assert max(loads.values()) - min(loads.values()) <= 1
    assert chosen == assign(wanted, [None] * 7, seed=0) != assign(wanted, [None] * 7, seed=1)


def test_those_with_less_to_do_go_first():
    chosen = assign(np.ones(10, int), [None] * 3, seed=0, loads=[6, 0, 3])
    totals = [load + counted(chosen)[person] for person, load in enumerate([6, 0, 3])]
    assert max(totals) - min(totals) <= 1


def test_limits_hold_and_a_task_for_too_few_people_goes_to_nobody():
    chosen = assign(np.array([2, 2, 2, 1, 1]), [3, 2], seed=0)
    assert [len(people) for people in chosen] == [2, 2, 0, 1, 0]
    assert counted(chosen) == {0: 3, 1: 2}


def test_more_answers_than_people_is_said():
    with pytest.raises(UserError, match="names 2; name more people or lower"):
        assign(np.array([3]), [None, None], seed=0)


def test_gold_fills_its_share_of_what_a_person_may_take():
    assert room_beside_gold(limit=100, load=0, gold_share=0.1, num_gold=50) == 90
    assert room_beside_gold(limit=100, load=0, gold_share=0.1, num_gold=4) == 96
    assert room_beside_gold(limit=100, load=120, gold_share=0.1, num_gold=4) == 0


def test_gold_is_even_for_each_person_and_used_up_together():
    members = assign_gold([90, 90, 90], gold_share=0.1, num_gold=30, room=[None, None, None])
    assert [len(people) for people in members] == [1] * 30
    for person in range(3):
        places = [place for place, people in enumerate(members) if person in people]
        assert set(np.diff(places).tolist()) == {3}


def test_little_gold_is_answered_by_everybody_once_and_within_their_room():
    members = assign_gold([900, 900], gold_share=0.1, num_gold=5, room=[None, 902])
    assert [sorted(people) for people in members].count([0, 1]) == 2
    assert counted([tuple(people) for people in members]) == {0: 5, 1: 2}


def test_what_people_did_is_laid_beside_the_plan():
    planned = {"a": ["ann", "bob"], "b": ["ann", "bob"], "c": ["cid"], "d": ["ann"]}
    given = {"a": ["ann", "bob"], "b": ["ann", "dora"], "c": [], "other": ["ann"]}
    tally = compare(planned, given, limit=2)
    assert (tally.answers, tally.by_others, tally.due, tally.over) == (4, {"dora": 1}, {"cid": 1, "ann": 1}, {"ann": 1})
    assert str(tally) == (
        "3 of 4 answers came from people whom the plan names for the task; not planned for: dora 1; "
        "due: ann 1, cid 1; over the limit: ann 1"
    )
    quiet = compare({"a": ["ann"]}, {"a": ["ann"]})
    assert str(quiet) == "1 of 1 answers came from people whom the plan names for the task"
