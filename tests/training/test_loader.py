"""Batches ahead of the step: the same sequence whatever fetches them, and whoever is killed meanwhile."""

import os
import signal
import threading

import psutil
import pytest
import torch

from curation.records import UserError
from training.data import PackedClip, Sample, SampleStream
from training.loader import LoaderError, StepLoader
from training.stages import StageSettings

STAGE = StageSettings(name="mixed", shards={"video": 3, "image": 1})
CLIPS = {
    source: [PackedClip(f"{source}{i:03d}", source, "a.tar", 64, 64, 1, {"short": "x"}, 8.0, {}) for i in range(9)]
    for source in ("video", "image")
}


def batches(count: int, size: int = 4) -> list[list[Sample]]:
    stream = SampleStream(CLIPS, STAGE, 0)
    return [stream.next_samples(size) for _ in range(count)]


def fetch(sample: Sample) -> tuple[str, torch.Tensor]:
    return sample.clip.clip_id, torch.full((3, 5), sample.number, dtype=torch.float16)


def summary(loader: StepLoader) -> list[tuple[list[int], list[str], list[float]]]:
    return [
        ([sample.number for sample in samples], [one[0] for one in fetched], [one[1].sum().item() for one in fetched])
        for samples, fetched in loader
    ]


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_the_sequence_is_the_plan_whatever_fetches_it(num_workers):
    planned = batches(10)
    expected = [
        ([s.number for s in batch], [s.clip.clip_id for s in batch], [15.0 * s.number for s in batch])
        for batch in planned
    ]
    before = children()
    loader = StepLoader(fetch, planned, num_workers)
    assert summary(loader) == expected
    assert loader.stall_s > 0
    assert children() == before and "loader" not in {thread.name for thread in threading.enumerate()}


class Deadly:
    """Kills its worker the first time that it meets a sample; `where` remembers that across processes."""

    def __init__(self, where, number: int) -> None:
        self.where, self.number = where, number

    def __call__(self, sample: Sample) -> tuple[str, torch.Tensor]:
        if sample.number == self.number and not self.where.exists():
            self.where.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return fetch(sample)


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_the_sequence_stays_the_same(tmp_path):
    before = children()
    loader = StepLoader(Deadly(tmp_path / "killed", 13), batches(12), num_workers=2)
    assert summary(loader) == summary(StepLoader(fetch, batches(12), num_workers=0))
    assert loader.num_deaths == 1
    assert children() == before


def test_a_worker_killed_from_outside_while_the_loop_works_changes_nothing():
    loader = StepLoader(fetch, batches(30), num_workers=2)
    before, seen = children(), []
    for samples, fetched in loader:
        if len(seen) == 3:
            os.kill(min(children() - before), signal.SIGKILL)
        seen.append(
            ([s.number for s in samples], [one[0] for one in fetched], [one[1].sum().item() for one in fetched])
        )
    assert seen == summary(StepLoader(fetch, batches(30), num_workers=0))
    assert loader.num_deaths == 1


class Poison:
    def __call__(self, sample: Sample) -> None:
        if sample.number >= 6:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_workers_that_die_again_and_again_end_the_run_and_name_the_clips():
    planned = batches(3)
    loader = StepLoader(Poison(), planned, num_workers=1, ahead=1)
    with pytest.raises(LoaderError, match=rf"died 3 times in a row .*{planned[1][0].clip.clip_id} of a\.tar"):
        list(loader)


def broken(sample: Sample) -> int:
    if sample.number == 6:
        raise (UserError if sample.seed % 2 else KeyError)("no such thing")
    return sample.number


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(("seed", "error"), [(1, UserError), (2, LoaderError)])
def test_what_goes_wrong_in_fetching_names_the_clip_and_its_shard(num_workers, seed, error):
    planned = [[Sample(sample.clip, sample.number, seed) for sample in batch] for batch in batches(4)]
    clip, before = planned[1][2].clip, children()
    loader, seen = StepLoader(broken, planned, num_workers), []
    with pytest.raises(error, match=rf"clip {clip.clip_id} of shard a\.tar.*no such thing"):
        seen.extend(numbers for _, numbers in loader)
    assert seen == [[0, 1, 2, 3]]
    assert children() == before


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_error_of_the_plan_is_raised_as_it_is(num_workers):
    def planned():
        yield from batches(2)
        raise RuntimeError("the plan is at its end")

    with pytest.raises(RuntimeError, match=r"^the plan is at its end$"):
        list(StepLoader(fetch, planned(), num_workers))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_endless_plan_is_left_in_the_middle_and_nothing_stays_behind(num_workers):
    stream = SampleStream(CLIPS, STAGE, 0)
    before, loader = children(), None
    loader = StepLoader(fetch, iter(lambda: stream.next_samples(2), None), num_workers)
    for samples, _ in loader:
        if samples[0].number >= 20:
            break
    loader.close()
    assert children() == before and "loader" not in {thread.name for thread in threading.enumerate()}
    StepLoader(fetch, batches(1), num_workers).close()


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4])
def test_the_samples_of_all_ranks_together_are_the_streams_also_after_a_restart_with_others(num_ranks):
    """A rank takes every `num_ranks`-th sample of a step."""
    taken = []
    state = None
    for ranks in (num_ranks, 5 - num_ranks):
        stream = SampleStream(CLIPS, STAGE, 7)
        if state is not None:
            stream.load_state(state)
        steps = [stream.next_samples(12) for _ in range(3)]
        state = stream.state()
        parts = [
            [sample for samples, _ in StepLoader(fetch, [step[rank::ranks] for step in steps], 0) for sample in samples]
            for rank in range(ranks)
        ]
        taken += sorted((sample for part in parts for sample in part), key=lambda sample: sample.number)
    assert taken == SampleStream(CLIPS, STAGE, 7).next_samples(72)
