"""The demo's order of steps, and how people's answers divide it. The whole demo runs in CI, as `make demo`."""

import argparse
from dataclasses import replace

import pytest

from jobs import demo
from jobs.demo import steps_of
from tests.jobs.catalogue import context_of

BEFORE, AFTER = ["curate", "group", "route"], ["collect", "pack", "train", "generate", "report"]


@pytest.mark.parametrize(
    ("reviewers", "after_review", "names"),
    [
        ("simulated", False, [*BEFORE, "review", *AFTER]),
        ("me", False, BEFORE),
        ("me", True, AFTER),
        ("simulated", True, AFTER),
    ],
)
def test_people_divide_the_demo_and_simulated_annotators_do_not(reviewers, after_review, names):
    assert [step.name for step in steps_of(reviewers, after_review)] == names


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_step_that_fails_stops_the_demo_and_says_how_to_go_on(tmp_path, capsys):
    """Nothing was routed or packed here, so `train` has nothing to read: the demo must not go on to `generate`."""
    context = context_of(tmp_path, [20.0] * 4)
    args = argparse.Namespace(footage=str(tmp_path), reviewers=None, after_review=True, simulate=False)
    stopping = demo.Step("train", "fails", lambda _: 1)
    steps = demo.AFTER_REVIEW
    try:
        demo.AFTER_REVIEW = (stopping, demo.Step("generate", "must not run", lambda _: pytest.fail("it ran")))
        assert demo.run(replace(context, args=args)) == 1
    finally:
        demo.AFTER_REVIEW = steps
    assert "train ended with exit code 1; run the demo again to go on from here" in capsys.readouterr().out
