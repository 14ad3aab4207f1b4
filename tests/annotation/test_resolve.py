"""From many answers to one verdict and one caption."""

import itertools
import json
import random
from dataclasses import replace

import pyarrow as pa

from annotation.resolve import resolve, resolve_rows
from annotation.rules import ResolveSettings
from curation.records import Annotation, Caption
from curation.tables import HumanVerdict, schema_of
from tests.annotation.answers import annotation, kept, rejected


def decide(*answers: dict | None, wanted: int | None = None) -> tuple[HumanVerdict, Caption]:
    rows = [annotation("c1", f"person{number}", given) for number, given in enumerate(answers)]
    verdicts, captions = resolve(rows, len(answers) if wanted is None else wanted)
    assert len(verdicts) == len(captions) == 1
    return verdicts[0], captions[0]


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
    assert resolve([annotation("c1", "ann", kept())], 2) == ([], [])
    assert decide(kept(), None, wanted=2)[0].num_answers == 1, "who skips abstains"
    assert resolve([annotation("c1", person, None) for person in "ab"], 2) == ([], [])


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


ADJUDICATED = ResolveSettings(rule="adjudicated", adjudicator="zoe")


def test_where_people_differ_the_adjudicator_decides_and_the_clip_waits_for_them():
    rows = [annotation("c1", "ann", kept("A dog.")), annotation("c1", "bob", rejected("dull"))]
    agreed = [annotation("c2", person, kept()) for person in ("ann", "bob")]
    verdicts, _ = resolve(rows + agreed, 2, ADJUDICATED)
    assert [row.clip_id for row in verdicts] == ["c2"], "c1 waits for zoe, c2 needs her not"
    zoe = annotation("c1", "zoe", kept("A dog, says the judge."))
    overruled = annotation("c1", "cat", rejected("unsafe"))
    verdicts, captions = resolve([*rows, zoe, overruled], 2, ADJUDICATED)
    assert (verdicts[0].decision, verdicts[0].reason) == ("keep", "2 keep, 2 reject, zoe decided: dull, unsafe")
    assert verdicts[0].rule == "disagreements adjudicated by zoe, version 2"
    assert captions[0].short == "A dog, says the judge.", "the longest of the winning side"
    assert resolve([*rows, annotation("c1", "zoe", None)], 2, ADJUDICATED) == ([], []), "a skip decides nothing"


def test_how_many_clips_wait_for_the_adjudicator_is_counted():
    rows = pa.Table.from_pylist(
        [
            vars(annotation(clip, person, answer))
            for clip in "ab"
            for person, answer in (("x", kept()), ("y", rejected("dull")))
        ],
        schema=schema_of(Annotation),
    )
    found = resolve_rows(rows, 2, ADJUDICATED)
    assert (found.num_waiting_for_adjudicator, found.verdicts.num_rows) == (2, 0)


def test_ratings_are_the_median_of_those_who_rated():
    given = [kept(motion_speed=1), kept(motion_speed=2), kept(motion_speed=5), rejected("dull")]
    verdict, _ = decide(*given)
    ratings = json.loads(verdict.ratings)
    assert ratings["motion_speed"] == 2 and ratings["lighting_quality"] == 3 and len(ratings) == 7
    assert json.loads(decide(*given[:2])[0].ratings)["motion_speed"] == 1.5
    assert decide(rejected("dull"))[0].ratings == "{}"


def test_the_best_part_is_the_median_start_and_end_of_those_who_marked_one():
    first, second = kept(segment_start_s=1.0, segment_end_s=3.0), kept(segment_start_s=2.0, segment_end_s=6.0)
    verdict, _ = decide(first, second, kept(segment_end_s=5.0), kept())
    assert (verdict.best_start_s, verdict.best_end_s) == (1.0, 5.0), "an end alone begins with the clip"
    verdict, _ = decide(kept(segment_start_s=1.5))
    assert (verdict.best_start_s, verdict.best_end_s) == (1.5, None), "a start alone lasts to the end of the clip"
    verdict, _ = decide(kept(), rejected("dull"))
    assert (verdict.best_start_s, verdict.best_end_s) == (None, None)


def test_a_withdrawn_answer_does_not_count():
    rows = [annotation("c1", "ann", kept()), annotation("c1", "bob", rejected("dull"))]
    verdicts, _ = resolve(rows, 1, withdrawn={rows[1].annotation_key, "of another workspace"})
    assert (verdicts[0].decision, verdicts[0].num_answers) == ("keep", 1)
    assert resolve(rows, 1, withdrawn={row.annotation_key for row in rows}) == ([], [])


def test_more_answers_than_wanted_all_count():
    verdict, _ = decide(kept(), rejected("dull"), rejected("dull"), wanted=1)
    assert (verdict.decision, verdict.num_answers) == ("reject", 3)


def test_a_known_answer_is_the_verdict_of_its_clip_whatever_people_say():
    rows = [annotation(clip, person, kept()) for clip in ("c1", "c2") for person in ("ann", "bob")]
    known = {"c1": "reject", "nobody answered this one": "keep"}
    verdicts, captions = resolve(rows, 2, known=known)
    assert [(row.clip_id, row.decision) for row in verdicts] == [("c1", "reject"), ("c2", "keep")]
    assert verdicts[0].reason == "known answer; people: 2 keep, 0 reject" and verdicts[0].rule.startswith("known")
    assert len(captions) == 2, "captions still come from people"
    assert resolve(rows[:1], 2, known=known) == ([], []), "it waits for its answers like any other"


def test_a_clip_without_a_caption_gets_none():
    verdicts, captions = resolve([annotation("c1", "ann", {"verdict": "keep"})], 1)
    assert (len(verdicts), captions) == (1, [])


def test_the_fast_and_the_full_pass_of_one_person_are_one_vote():
    fast = annotation("c1", "ann", {"verdict": "keep"}, at="2026-01-01T00:00:00Z")
    full = replace(annotation("c1", "ann", kept("A dog."), at="2026-01-02T00:00:00Z"), project="Dailies full")
    captioned = {name: value for name, value in kept("A cat.").items() if name != "verdict"}
    other = replace(annotation("c1", "bob", captioned), project="Dailies full")
    verdicts, captions = resolve([full, fast, other], 1)
    assert (verdicts[0].num_answers, verdicts[0].by, captions[0].short) == (1, "ann", "A dog.")
    assert json.loads(verdicts[0].ratings)["motion_speed"] == 5, "bob has no vote, but he rated"


def test_nothing_resolves_to_nothing():
    assert resolve([], 1) == ([], [])


def test_many_clips_resolve_as_each_of_them_alone():
    """Against the same rules told one clip at a time: columns must not mix clips."""
    generator = random.Random(7)
    answers = [kept(f"A dog {number}.", motion_speed=1 + number % 5) for number in range(9)]
    answers += [rejected("dull"), rejected("unsafe", "dull"), rejected("badly lit"), None]
    origins = ("manual", "prediction")
    rows = [
        annotation(
            f"c{clip:02}",
            person,
            generator.choice(answers),
            origins={"short": generator.choice(origins)},
        )
        for clip in range(40)
        for person in generator.sample("abcd", generator.randint(1, 4))
    ]
    verdicts, captions = resolve(rows, 2)
    alone = [resolve([row for row in rows if row.clip_id == f"c{clip:02}"], 2) for clip in range(40)]
    assert verdicts == [verdict for found, _ in alone for verdict in found] and len(verdicts) > 10
    assert captions == [caption for _, found in alone for caption in found]
