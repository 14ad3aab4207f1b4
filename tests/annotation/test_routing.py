"""Which clips go to people, in which order, how often and to whom."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from annotation.routing import GOLD, KEPT, REJECTED, Plan, Pool, RoutingSettings, Slice, answers_wanted, plan
from curation.records import Decision, UserError, Verdict
from curation.tables import Workspace


def ids_of(count: int, start: int = 0) -> list[str]:
    return [f"clip{number:05}" for number in range(start, start + count)]


def verdict(clip_id: str, stage: str, decision: str) -> Verdict:
    return Verdict(clip_id, stage, Decision(decision), f"{stage} says {decision}", "gates", "rules")


def pool_of(decisions: dict[str, str], **known: np.ndarray) -> Pool:
    """Clips with one stage's decision."""
    verdicts = [verdict(clip_id, "video", decision) for clip_id, decision in decisions.items()]
    return Pool(pa.array([*decisions]), Workspace(".").table("gate_verdicts").rows_of(verdicts), **known)


def mixed(count: int, start: int = 0) -> dict[str, str]:
    """Half of the clips in review, a quarter kept, a quarter rejected."""
    cycle = ("review", "keep", "review", "reject")
    return {clip_id: cycle[number % 4] for number, clip_id in enumerate(ids_of(count, start))}


def routed(made: Plan) -> list[str]:
    return made.rows.column("clip_id").to_pylist()


def by_reason(made: Plan) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in made.rows.to_pylist():
        found.setdefault(row["reason"], []).append(row["clip_id"])
    return found


def loads_of(made: Plan) -> Counter[str]:
    return Counter(email for people in made.rows.column("annotators").to_pylist() for email in people)


def accounted(made: Plan, there: Iterable[str] = ()) -> None:
    """Nothing is lost, doubled, or sent twice."""
    assert made.holds, str(made)
    assert len(set(routed(made))) == made.rows.num_rows
    assert not set(routed(made)) & set(there)
    assert set(made.there.to_pylist()) <= set(there)
    assert made.rows.column("priority").to_pylist() == [*range(made.rows.num_rows)]


def test_a_clip_goes_once_with_every_stage_that_wants_it_reviewed():
    verdicts = [
        verdict("a", "video", "review"),
        verdict("a", "image", "review"),
        verdict("a", "sft", "reject"),
        verdict("b", "image", "keep"),
        verdict("c", "image", "reject"),
        verdict("stranger", "image", "review"),
    ]
    rows = Workspace(".").table("gate_verdicts").rows_of(verdicts)
    made = plan(Pool(pa.array(["a", "b", "c", "d"]), rows), RoutingSettings(), seed=0)
    accounted(made)
    assert by_reason(made) == {"image: image says review; video: video says review": ["a"]}


def test_without_more_knowledge_the_order_is_seeded_and_does_not_follow_the_input():
    decisions = dict.fromkeys(ids_of(20), "review")
    order = routed(plan(pool_of(decisions), RoutingSettings(), seed=1))
    assert order == routed(plan(pool_of(dict(reversed(decisions.items()))), RoutingSettings(), seed=1))
    assert order != sorted(order)
    assert order != routed(plan(pool_of(decisions), RoutingSettings(), seed=2))
    assert [each for each in order if each != "clip00007"] == routed(
        plan(pool_of({each: "review" for each in decisions if each != "clip00007"}), RoutingSettings(), seed=1)
    )


def test_dictionary_columns_are_routed_as_text_and_nothing_gives_an_empty_plan():
    pool = pool_of(mixed(8))
    encoded = {name: pool.verdicts.column(name).dictionary_encode() for name in pool.verdicts.column_names}
    settings = RoutingSettings(audit_kept=Slice(number=1))
    assert plan(Pool(pool.clip_ids, pa.table(encoded)), settings, 0).rows.equals(plan(pool, settings, 0).rows)
    nothing = plan(Pool(pa.array([], pa.string()), pa.table({})), settings, 0)
    assert nothing.rows.num_rows == 0 and nothing.holds
    assert plan(Pool(pool.clip_ids, pa.table({})), settings, 0, gold={"clip00000"}).rows.num_rows == 0


def test_verdicts_laid_out_by_stage_and_verdicts_in_any_order_give_the_same_plan():
    pool = pool_of(mixed(100))
    shuffled = pool.verdicts.take(pa.array(np.random.default_rng(0).permutation(100)))
    settings = RoutingSettings(audit_kept=Slice(number=5), audit_rejected=Slice(share=0.1), max_tasks=40)
    assert plan(Pool(pool.clip_ids, shuffled), settings, 0).rows.equals(plan(pool, settings, 0).rows)


def test_audits_come_only_from_what_they_say_in_the_share_or_number_asked_for():
    decisions = mixed(4000)
    settings = RoutingSettings(audit_kept=Slice(share=0.1), audit_rejected=Slice(number=30), max_tasks=1000)
    made = plan(pool_of(decisions), settings, seed=3)
    accounted(made)
    found = by_reason(made)
    assert {decisions[clip_id] for clip_id in found[KEPT]} == {"keep"} and len(found[KEPT]) == 100
    assert {decisions[clip_id] for clip_id in found[REJECTED]} == {"reject"} and len(found[REJECTED]) == 30
    assert len(found["video: video says review"]) == 870
    early = Counter(row["reason"] for row in made.rows.to_pylist()[:500])
    assert early[KEPT] == 50 and early[REJECTED] == 15, "audits are spread over the order"


def test_a_clip_that_one_stage_keeps_is_no_audit_of_the_rejected():
    verdicts = [verdict("a", "image", "keep"), verdict("a", "video", "reject"), verdict("b", "image", "reject")]
    rows = Workspace(".").table("gate_verdicts").rows_of(verdicts)
    settings = RoutingSettings(audit_kept=Slice(number=9), audit_rejected=Slice(number=9))
    made = plan(Pool(pa.array(["a", "b"]), rows), settings, seed=0)
    assert by_reason(made) == {KEPT: ["a"], REJECTED: ["b"]}


def test_an_audit_is_a_uniform_sample():
    decisions = dict.fromkeys(ids_of(50), "keep")
    counts = Counter()
    for seed in range(200):
        counts.update(routed(plan(pool_of(decisions), RoutingSettings(audit_kept=Slice(number=10)), seed)))
    assert len(counts) == 50
    assert max(abs(counts[clip_id] - 40) for clip_id in decisions) < 25, "40 of 200 expected, standard deviation 5.7"


def test_shares_of_an_unlimited_plan_are_of_all_its_tasks_and_short_classes_are_taken_whole():
    settings = RoutingSettings(audit_kept=Slice(share=0.2), audit_rejected=Slice(share=0.1), gold_share=0.05)
    made = plan(pool_of(mixed(4000)), settings, seed=0, gold=ids_of(900))
    total = made.rows.num_rows
    sizes = {reason: len(ids) for reason, ids in by_reason(made).items()}
    assert sizes["video: video says review"] == 1550
    assert all(abs(sizes[kind] - share * total) <= 1 for kind, share in ((KEPT, 0.2), (REJECTED, 0.1), (GOLD, 0.05)))
    short = plan(pool_of(mixed(400)), settings, seed=0, gold=ids_of(4))
    assert by_reason(short)[GOLD] and len(by_reason(short)[GOLD]) == 4
    assert abs(len(by_reason(short)[REJECTED]) - 0.1 * short.rows.num_rows) <= 1
    accounted(made)
    accounted(short)


def strata(count: int) -> tuple[Pool, int]:
    """Ten concepts of very different sizes, scores, and how many strata there are."""
    generator = np.random.default_rng(5)
    concept = np.minimum(generator.geometric(0.4, count) - 1, 9)
    score = generator.random(count)
    score[::17] = np.nan
    pool = pool_of(dict.fromkeys(ids_of(count), "review"), concept=concept, score=score)
    texts = plan(pool, RoutingSettings(), 0).rows.column("stratum").to_pylist()
    return pool, len(set(texts))


def test_a_budget_as_large_as_the_number_of_strata_covers_them_all():
    pool, num_strata = strata(3000)
    made = plan(pool, RoutingSettings(max_tasks=num_strata), seed=0)
    accounted(made)
    covered = Counter(made.rows.column("stratum").to_pylist())
    assert num_strata > 40 and len(covered) == num_strata and set(covered.values()) == {1}
    assert "concept 0, score 4 of 4" in covered and "concept 0, no score" in covered


def test_strata_name_the_concept_and_the_quantile_of_the_score():
    known = {"concept": np.array([3, 3, -1, 7]), "score": np.array([0.1, 0.9, 0.2, np.nan])}
    pool = pool_of(dict.fromkeys(ids_of(4), "review"), **known)
    rows = plan(pool, RoutingSettings(quantiles=2), seed=0).rows.to_pylist()
    assert {row["clip_id"]: row["stratum"] for row in rows} == {
        "clip00000": "concept 3, score 1 of 2",
        "clip00001": "concept 3, score 2 of 2",
        "clip00002": "no concept, score 2 of 2",
        "clip00003": "concept 7, no score",
    }


def test_each_stratum_gives_its_most_informative_clip_first_and_the_unknown_before_all():
    concept = np.array([0, 0, 0, 0, 1, 1])
    information = np.array([0.1, 0.9, np.nan, 0.5, 0.2, 0.8])
    pool = pool_of(dict.fromkeys(ids_of(6), "review"), concept=concept, information=information)
    order = [int(clip_id[-1]) for clip_id in routed(plan(pool, RoutingSettings(), seed=0))]
    assert order == [2, 5, 1, 4, 3, 0]


def test_a_second_plan_over_more_clips_keeps_what_is_there_and_fills_up_to_the_budget():
    settings = RoutingSettings(max_tasks=100, audit_kept=Slice(share=0.1))
    first = plan(pool_of(mixed(1000)), settings, seed=0)
    there = set(routed(first)[:60])
    second = plan(pool_of(mixed(2000)), settings, seed=0, there=there)
    accounted(second, there)
    assert second.rows.num_rows == 40 and len(second.there) >= 50
    full = plan(pool_of(mixed(2000)), settings, seed=0, there=set(routed(first)))
    accounted(full, set(routed(first)))
    assert full.rows.num_rows == 0
    more = plan(pool_of(mixed(2000)), settings.model_copy(update={"max_tasks": 0}), seed=0, there=there)
    accounted(more, there)
    assert more.over_budget == 0


def test_what_is_there_counts_when_strata_take_turns():
    concept = np.repeat([0, 1], 50)
    pool = pool_of(dict.fromkeys(ids_of(100), "review"), concept=concept)
    made = plan(pool, RoutingSettings(max_tasks=20), seed=0, there=set(ids_of(10)))
    assert set(made.rows.column("stratum").to_pylist()) == {"concept 1"}


def test_overlap_is_a_property_of_the_clip_and_meets_the_share_on_average():
    settings = RoutingSettings(overlap_share=0.2)
    clip_ids = pa.array(ids_of(10_000))
    wanted = answers_wanted(clip_ids, settings, seed=0, overlap=3)
    assert set(wanted.tolist()) == {1, 3}
    assert abs((wanted == 3).mean() - 0.2) < 4 * (0.2 * 0.8 / 10_000) ** 0.5
    assert answers_wanted(clip_ids.slice(500, 100), settings, 0, 3).tolist() == wanted[500:600].tolist()
    made = plan(pool_of(mixed(200)), settings, seed=0, overlap=3)
    alone = dict(zip(clip_ids.to_pylist(), wanted.tolist(), strict=True))
    assert all(row["answers_wanted"] == alone[row["clip_id"]] for row in made.rows.to_pylist())


def test_annotators_share_the_load_evenly_and_nobody_sees_a_clip_twice():
    people = ("ann@x", "bob@x", "cy@x", "di@x")
    settings = RoutingSettings(annotators=people, overlap_share=0.5, gold_share=0.1, max_per_annotator=100)
    made = plan(pool_of(mixed(2000)), settings, seed=0, overlap=2, gold=ids_of(60))
    accounted(made)
    loads = loads_of(made)
    assert set(loads) == set(people) and max(loads.values()) <= 100 and min(loads.values()) >= 95
    for row in made.rows.to_pylist():
        assert len(set(row["annotators"])) == len(row["annotators"]) == row["answers_wanted"] > 0
    pairs = {tuple(row["annotators"]) for row in made.rows.to_pylist() if row["answers_wanted"] == 2}
    assert len(pairs) == 6, "everybody judges with everybody"


@pytest.mark.parametrize("num_gold", [5, 500])
def test_gold_has_its_share_of_every_annotators_tasks_evenly_over_their_order(num_gold):
    people = ("ann@x", "bob@x", "cy@x")
    settings = RoutingSettings(annotators=people, gold_share=0.1)
    made = plan(pool_of(mixed(1200)), settings, seed=0, overlap=2, gold=ids_of(num_gold, start=700))
    accounted(made)
    for email in people:
        mine = [row["reason"] == GOLD for row in made.rows.to_pylist() if email in row["annotators"]]
        wanted = min(num_gold, round(0.1 * len(mine)))
        assert abs(sum(mine) - wanted) <= 1
        at = np.flatnonzero(mine)
        assert np.diff(at).max() <= 2.5 * len(mine) / wanted and at[0] <= 1.5 * len(mine) / wanted


def test_earlier_loads_count():
    settings = RoutingSettings(annotators=("ann@x", "bob@x"), max_per_annotator=10)
    made = plan(pool_of(mixed(100)), settings, seed=0, loads={"ann@x": 7})
    accounted(made)
    assert loads_of(made) == {"ann@x": 3, "bob@x": 10}


def test_gold_is_no_candidate_otherwise_and_gold_outside_the_pool_is_left_out():
    made = plan(pool_of(mixed(100)), RoutingSettings(), seed=0, gold=[*ids_of(50), "elsewhere"])
    accounted(made)
    assert set(routed(made)) == {clip_id for clip_id, said in mixed(100).items() if said == "review"} - set(ids_of(50))


def test_the_sum_holds_whatever_is_asked():
    generator = np.random.default_rng(0)
    for _ in range(60):
        people = tuple(f"{name}@x" for name in range(generator.integers(0, 4)))
        settings = RoutingSettings(
            max_tasks=int(generator.integers(0, 120)),
            audit_kept=Slice(share=float(generator.choice([0, 0.1, 0.4]))),
            audit_rejected=Slice(number=int(generator.integers(0, 90))),
            gold_share=float(generator.choice([0, 0.2])),
            overlap_share=float(generator.random()),
            annotators=people,
            max_per_annotator=int(generator.integers(0, 50)) if people else 0,
        )
        count = int(generator.integers(1, 300))
        there = set(generator.choice(ids_of(400), generator.integers(0, 100), replace=False).tolist())
        gold = set(ids_of(int(generator.integers(0, 30)), start=10))
        pool = pool_of(mixed(count), concept=generator.integers(-1, 5, count), information=generator.random(count))
        loads = dict.fromkeys(people, int(generator.integers(0, 20)))
        overlap = min(2, len(people) or 2)
        made = plan(pool, settings, int(generator.integers(9)), overlap, gold, there, loads)
        accounted(made, there)
        if settings.max_tasks:
            assert made.rows.num_rows <= max(0, settings.max_tasks - len(there))
        if settings.max_per_annotator:
            new = loads_of(made)
            assert all(new[each] <= max(0, settings.max_per_annotator - loads[each]) for each in people)
        again = plan(pool, settings, 0, overlap, gold, there, loads)
        assert again.rows.equals(plan(pool, settings, 0, overlap, gold, there, loads).rows)


def test_more_answers_than_annotators_is_said_to_the_user():
    settings = RoutingSettings(annotators=("ann@x",))
    with pytest.raises(UserError, match=r"wants 2 answers of different people, but .* names 1"):
        plan(pool_of(mixed(10)), settings, seed=0, overlap=2)


@pytest.mark.parametrize(
    "given",
    [
        {"audit_kept": {"share": 0.6}, "audit_rejected": {"share": 0.4}},
        {"audit_kept": {"share": 0.1, "number": 3}},
        {"annotators": ("ann@x", "ann@x")},
        {"max_per_annotator": 5},
    ],
)
def test_settings_that_cannot_be_met_are_refused(given):
    with pytest.raises(ValidationError):
        RoutingSettings.model_validate(given)
