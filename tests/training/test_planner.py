"""Plans of steps: the same samples on any number of ranks, legal micro-batches, little waiting, every clip counted."""

import itertools

import pytest

from model.presets import DIT_PRESETS
from training.data import PackedClip, SampleStream
from training.planner import (
    Cost,
    StepPlanner,
    count_reads,
    stage_tokens,
    transformer_cost,
    vae_cost,
    video_tokens,
    walk,
)
from training.stages import StageSettings

# Width, height and frames of mixed footage at 256-480p, as `pack` makes it.
SIZES = [(256, 256, 1), (480, 848, 1), (256, 256, 17), (320, 192, 33), (640, 368, 33), (480, 480, 65), (848, 480, 65)]
COST: Cost = transformer_cost(DIT_PRESETS["full"], text_tokens=128)


def clips(source: str, sizes: list[tuple[int, int, int]]) -> list[PackedClip]:
    facts = ({"short": "x"}, 24.0, {})
    return [PackedClip(f"{source}{i:03d}", source, f"{source}.tar", *size, *facts) for i, size in enumerate(sizes)]


def stage(**changes: object) -> StageSettings:
    settings = {"name": "mixed", "shards": {"video": 4, "image": 1}, "batch": 64, "micro_batch_tokens": 60_000}
    return StageSettings.model_validate(settings | changes)


def stream(of: StageSettings, seed: int = 0) -> SampleStream:
    videos = [size for size, _ in zip(itertools.cycle(SIZES[2:]), range(83), strict=False)]
    return SampleStream({"video": clips("video", videos), "image": clips("image", SIZES[:2] * 9)}, of, seed)


def planner(of: StageSettings, num_ranks: int, cost: Cost = COST) -> StepPlanner:
    return StepPlanner(stream(of), of, cost, num_ranks)


@pytest.mark.parametrize("settings", [stage(), stage(batch_tokens=300_000), stage(batch=5)])
def test_the_samples_of_a_step_do_not_depend_on_ranks(settings: StageSettings):
    planners = [planner(settings, num_ranks) for num_ranks in (1, 3, 8)]
    for _ in range(3):
        one, *others = [each.next_step() for each in planners]
        assert all((other.step, other.samples) == (one.step, one.samples) for other in others)


def test_ranks_have_the_samples_of_the_step_once_and_as_many_micro_batches():
    for num_ranks in (1, 4, 8):
        plan = planner(stage(), num_ranks).next_step()
        taken = [sample.number for rank in plan.ranks for batch in rank for sample in batch.samples]
        assert sorted(taken) == [sample.number for sample in plan.samples]
        assert len(plan.ranks) == num_ranks
        assert len({len(rank) for rank in plan.ranks}) == 1
        assert plan.warning is None


def test_micro_batches_keep_to_the_limit_and_the_order_of_the_stream():
    settings = stage(micro_batch_tokens=20_000)
    batches = [batch for rank in planner(settings, 4).next_step().ranks for batch in rank]
    assert any(len(batch.samples) == 1 and video_tokens(batch.samples[0].clip) > 20_000 for batch in batches)
    for batch in batches:
        assert len(batch.samples) == 1 or sum(video_tokens(sample.clip) for sample in batch.samples) <= 20_000
        assert list(batch.samples) == sorted(batch.samples, key=lambda sample: sample.number)


def test_tokens_fill_a_step_where_they_are_set():
    settings = stage(batch_tokens=200_000)
    for _, samples in zip(range(5), iter(planner(settings, 2).next_step, None), strict=False):
        tokens = [video_tokens(sample.clip) for sample in samples.samples]
        assert sum(tokens[:-1]) < 200_000 <= sum(tokens)


def test_compute_is_balanced_to_a_tenth_on_mixed_footage():
    steps = planner(stage(batch=256), 8)
    assert all(steps.next_step().imbalance < 0.1 for _ in range(3))


def test_imbalance_counts_waiting_within_a_step_and_repeats():
    settings = stage(batch=3, micro_batch_tokens=0)
    plan = planner(settings, 4).next_step()
    assert plan.num_repeats == 1
    assert plan.imbalance == pytest.approx(1 - sum(plan.costs) / (4 * max(plan.costs)))
    assert plan.warning is not None
    assert "raise `batch`" in plan.warning
    repeat = next(batch for rank in plan.ranks for batch in rank if not batch.counts)
    assert COST(repeat.samples[0].clip) == min(COST(sample.clip) for sample in plan.samples)


@pytest.mark.parametrize("settings", [stage(batch=9), stage(batch_tokens=100_000)])
def test_a_restored_planner_continues_on_other_ranks(settings: StageSettings):
    first, second = planner(settings, 2), planner(settings, 5)
    for _ in range(4):
        first.next_step()
    second.load_state(first.state())
    expected, found = first.next_step(), second.next_step()
    assert (found.step, found.samples) == (expected.step, expected.samples)
    assert found.step == 5


def test_every_trainable_clip_is_counted():
    settings = stage(batch=8, steps=6)
    reads = count_reads(stream(settings), settings)
    assert len(reads) == 83 + 18
    assert sum(reads.values()) == 48
    assert sum(count == 0 for count in reads.values()) == 101 - len(
        {s.clip.key for _, s in walk(stream(settings), settings)}
    )
    plans = planner(settings, 3)
    assert [s for _, s in walk(stream(settings), settings)] == [s for _ in range(6) for s in plans.next_step().samples]


def test_a_vae_stage_counts_what_it_crops():
    settings = stage(objective="vae", crop_px=64, crop_frames=9)
    big, small = clips("video", [(640, 368, 33), (64, 48, 5)])
    assert stage_tokens(big, settings) == 3 * 4 * 4
    assert stage_tokens(small, settings) == video_tokens(small) == 2 * 3 * 4
    assert vae_cost(settings)(big) == 2 * vae_cost(settings)(small)
    assert planner(settings, 4, vae_cost(settings)).next_step().imbalance < 0.1


def test_cost_grows_faster_than_tokens():
    short, long = clips("video", [(848, 480, 33), (848, 480, 129)])
    assert COST(long) / COST(short) > 1.3 * video_tokens(long) / video_tokens(short)
