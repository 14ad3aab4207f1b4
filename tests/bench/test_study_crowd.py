"""The proof on a small crowd: what is planted is found, and intervals hold the truth as often as they say."""

import pytest

from tests.bench.study_crowd import absolute, coverage, leaning_of, make_study, pairwise


@pytest.fixture(scope="module")
def study():
    return make_study(num_prompts=150, num_judges=9, seed=4)


def test_an_absolute_study_recovers_the_published_table_and_its_careless_judge(study):
    found = absolute(study, 0)
    assert found.figures == 24 and found.covered >= 22 and found.in_order
    assert (found.careless_found, found.wrongly_left_out) == (1, 0)


def test_a_pairwise_study_recovers_net_win_rates_and_who_leans_to_a_side(study):
    found, _, order, people = pairwise(study, 0)
    assert found.figures == 60 and found.covered >= 54 and found.in_order
    assert (found.careless_found, found.wrongly_left_out) == (1, 0)
    assert set(order[:3]) == {"HunyuanVideo", "CNTopA", "CNTopB"}
    assert leaning_of(people, study.crowd)[0] == 1


def test_intervals_hold_the_truth_about_as_often_as_they_say_and_oftener_than_if_answers_were_independent():
    found = coverage(num_prompts=120, num_judges=15, repetitions=25, seed=0)
    for name in ("rates", "differences", "net wins", "standings"):
        assert 0.9 < found[name].share < 0.995, name
    assert found["rates as independent"].share < found["rates"].share
