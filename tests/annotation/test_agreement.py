"""From many answers to one verdict and one caption."""

import itertools
import random

import pytest

from annotation.agreement import Standing, ballots, percent_agreement, resolve, standing
from tests.annotation.answers import annotation, kept, rejected


def decide(*answers: dict | None, wanted: int | None = None):
    rows = [annotation("c1", f"person{number}", given) for number, given in enumerate(answers)]
    verdicts, captions = resolve(rows, len(answers) if wanted is None else wanted)
    assert len(verdicts) == len(captions) <= 1
    return (verdicts[0], captions[0]) if verdicts else (None, None)


def test_the_majority_decides():
    verdict, _ = decide(kept(), kept(), rejected("dull"))
    assert verdict.decision == "keep"
    assert verdict.reason == "2 keep, 1 reject: dull"
    assert (verdict.num_answers, verdict.by) == (3, "person0, person1, person2")


def test_a_tie_rejects():
    verdict, _ = decide(kept(), rejected("unsafe"))
    assert verdict.decision == "reject"


def test_reasons_are_named_by_frequency_then_alphabet():
    verdict, _ = decide(rejected("unsafe", "dull"), rejected("dull"), rejected("badly lit"))
    assert verdict.reason == "0 keep, 3 reject: dull, badly lit, unsafe"


def test_a_clip_waits_until_enough_people_answered_or_skipped():
    assert decide(kept(), wanted=2) == (None, None)
    assert decide(kept(), None, wanted=2)[0].num_answers == 1, "who skips abstains"
    assert decide(None, None, wanted=2) == (None, None)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [((), "waiting"), ((None,), "waiting"), ((None, None), "skipped"), ((None, "keep"), "answered")],
)
def test_a_task_stands_in_exactly_one_place(answers, expected):
    rows = [annotation("c1", str(number), kept() if given else None) for number, given in enumerate(answers)]
    assert standing(ballots(rows).get("c1", []), 2) == Standing(expected)


def test_the_newest_answer_of_a_person_counts():
    rows = [
        annotation("c1", "ann", kept(), at="2026-01-01T00:00:00Z"),
        annotation("c1", "ann", rejected("dull"), at="2026-01-02T00:00:00Z"),
    ]
    verdicts, _ = resolve(rows, 1)
    assert [verdict.decision for verdict in verdicts] == ["reject"]
    assert verdicts[0].num_answers == 1


def test_the_caption_comes_whole_from_the_winning_side():
    _, caption = decide(
        rejected("dull", short="A long and beautiful sentence about a dog."), kept("A dog."), kept("Dog.")
    )
    assert caption.short == "A dog."


def test_own_words_beat_a_longer_rubber_stamp():
    rows = [
        annotation("c1", "ann", kept("The draft as it was, at length."), origins={"short": "prediction"}),
        annotation("c1", "bob", kept("A dog."), origins={"short": "prediction-changed"}),
    ]
    _, captions = resolve(rows, 2)
    assert captions[0].short == "A dog."
    assert captions[0].version == rows[1].annotation_key


def test_simulated_answers_stay_marked_through_resolution():
    rows = [annotation("c1", "simulated-motion@localhost", kept()), annotation("c2", "ann", kept())]
    verdicts, captions = resolve(rows, 1)
    assert [verdict.simulated for verdict in verdicts] == [True, False]
    assert [caption.by for caption in captions] == ["people (simulated)", "people"]


def test_the_order_of_answers_does_not_matter():
    given = [kept("A dog."), kept("A cat."), rejected("dull"), None]
    rows = [
        annotation(clip, person, answer)
        for (clip, person), answer in zip(itertools.product("ab", "xy"), given, strict=True)
    ]
    expected = resolve(rows, 2)
    for seed in range(5):
        shuffled = random.Random(seed).sample(rows, len(rows))
        assert resolve(shuffled, 2) == expected


def test_percent_agreement_counts_pairs_on_the_same_clip():
    rows = [
        *(annotation("c1", person, kept()) for person in "abc"),
        annotation("c2", "a", kept()),
        annotation("c2", "b", rejected("dull")),
        annotation("c3", "a", kept()),
    ]
    agreement = percent_agreement(rows, "verdict")
    assert (agreement.num_pairs, agreement.share) == (4, 0.75)
    assert percent_agreement(rows[-1:], "verdict").share is None
    assert percent_agreement(rows, "motion_blur").num_pairs == 3, "those who rejected did not rate"
