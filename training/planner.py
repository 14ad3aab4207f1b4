"""Which process takes which clips of a step: the only place that knows batch sizes.

    SampleStream --the step's samples, whatever the number of ranks--> divide (training.balance) by compute and tokens
        --> StepPlan: for every data rank the same number of MicroBatches, none above micro_batch_tokens

Step k's samples are a pure function of stream and stage: `batch` clips, or as many as it takes to reach `batch_tokens`.
Ranks only divide them, so the same step is the same step on 1 and on 1,000 processes, and a run may continue on others.
A bucket per rank, drawn at random (HunyuanVideo, report section 4.5), leaves ranks waiting for the one that drew the
longest videos; counts of clips or of tokens do not see that attention grows with the square. Cost here is
floating-point operations (model.flops). Measured on real footage, 256-480p with images: `tests.bench.planner`.

Where a step has fewer clips than there are ranks, the spare ranks repeat one with `counts = False`: they must take part
in gathering weights. Such a plan says so (`StepPlan.warning`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from model.flops import count_flops
from model.presets import DiTConfig
from training.balance import divide
from training.data import FRAMES_PER_LATENT, PIXELS_PER_TOKEN, PackedClip, Sample, SampleStream
from training.stages import StageSettings

Cost = Callable[[PackedClip], float]
"""What a clip costs to learn from, in any unit; only ratios matter."""


def video_tokens(clip: PackedClip) -> int:
    """Tokens of a whole clip in the transformer; a quarter of the cells of its latent."""
    return _tokens(clip.num_frames, clip.height, clip.width)


def stage_tokens(clip: PackedClip, stage: StageSettings) -> int:
    """Tokens of what a stage reads of a clip: `vae` stages crop."""
    if stage.objective != "vae":
        return video_tokens(clip)
    side, frames = stage.crop_px or max(clip.height, clip.width), stage.crop_frames or clip.num_frames
    return _tokens(min(clip.num_frames, frames), min(clip.height, side), min(clip.width, side))


def _tokens(num_frames: int, height: int, width: int) -> int:
    latent_frames = (num_frames - 1) // FRAMES_PER_LATENT + 1
    return latent_frames * (height // PIXELS_PER_TOKEN) * (width // PIXELS_PER_TOKEN)


def transformer_cost(config: DiTConfig, text_tokens: int) -> Cost:
    """Floating-point operations of a clip in a training step, its text `text_tokens` long."""
    return lambda clip: float(count_flops(config, [video_tokens(clip)], [text_tokens]).training())


def vae_cost(stage: StageSettings) -> Cost:
    """Pixels that a stage reads of a clip: convolutions cost the same at each."""
    return lambda clip: float(stage_tokens(clip, stage))


@dataclass(frozen=True)
class MicroBatch:
    """What one process takes at once, in the order of the stream.

    `counts` False: a repeat that only keeps collectives in step; its loss is multiplied by 0.
    """

    samples: tuple[Sample, ...]
    counts: bool = True


@dataclass(frozen=True)
class StepPlan:
    """One step: its samples in the stream's order, and who takes them.

    `costs` are each rank's sums, without repeats; `duration` is the sum over micro-batches of the costliest rank.
    """

    step: int
    samples: tuple[Sample, ...]
    ranks: tuple[tuple[MicroBatch, ...], ...]
    costs: tuple[float, ...]
    duration: float

    @property
    def imbalance(self) -> float:
        """Share of all ranks' time that goes into waiting and repeating, [0, 1)."""
        return 1 - sum(self.costs) / (len(self.costs) * self.duration)

    @property
    def num_repeats(self) -> int:
        """Micro-batches that do not count."""
        return sum(not batch.counts for rank in self.ranks for batch in rank)

    @property
    def warning(self) -> str | None:
        """What to change where ranks only repeat."""
        if not self.num_repeats:
            return None
        micro_batches = len(self.ranks) * len(self.ranks[0])
        return (
            f"step {self.step} has {len(self.samples)} clips for {micro_batches} micro-batches on {len(self.ranks)} "
            f"ranks, so {self.num_repeats} repeat a clip that does not count; raise `batch` or `batch_tokens` of the "
            "stage, or let several processes share a sample (train.parallel: ulysses, ring, tensor)"
        )


class StepPlanner:
    """The plans of a stage, step after step.

    Args:
        stream: gives the samples; it is the planner's from here on.
        cost: `transformer_cost` or `vae_cost`.
        num_ranks: data ranks, not those that share one sample.
    """

    def __init__(self, stream: SampleStream, stage: StageSettings, cost: Cost, num_ranks: int) -> None:
        self.stream, self.stage, self.cost, self.num_ranks = stream, stage, cost, num_ranks
        self._step = 0

    def next_step(self) -> StepPlan:
        """The plan of the next step; steps count from 1."""
        self._step += 1
        return plan_step(self._step, step_samples(self.stream, self.stage), self.stage, self.cost, self.num_ranks)

    def state(self) -> dict[str, Any]:
        """Where it stands, as JSON; nothing in it depends on the number of ranks."""
        return {"step": self._step, "stream": self.stream.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state()` was taken, on any number of ranks."""
        self._step = state["step"]
        self.stream.load_state(state["stream"])


def step_samples(stream: SampleStream, stage: StageSettings) -> tuple[Sample, ...]:
    """The next step's samples: `batch` clips, or as many as it takes to reach `batch_tokens`."""
    if not stage.batch_tokens:
        return tuple(stream.next_samples(stage.batch))
    samples, tokens = [], 0
    while tokens < stage.batch_tokens:
        samples += stream.next_samples(1)
        tokens += stage_tokens(samples[-1].clip, stage)
    return tuple(samples)


def walk(stream: SampleStream, stage: StageSettings) -> Iterator[tuple[int, Sample]]:
    """Every sample that a whole stage reads, with its step from 1: for the accounts, no plan is made."""
    for step in range(1, stage.steps + 1):
        for sample in step_samples(stream, stage):
            yield step, sample


def count_reads(stream: SampleStream, stage: StageSettings) -> dict[tuple[str, str], int]:
    """How often a whole stage reads every trainable clip, by `PackedClip.key`; 0 = not reached.

    stream: at its start.
    """
    reads = {clip.key: 0 for clips in stream.clips.values() for clip in clips}
    for _, sample in walk(stream, stage):
        reads[sample.clip.key] += 1
    return reads


def plan_step(step: int, samples: tuple[Sample, ...], stage: StageSettings, cost: Cost, num_ranks: int) -> StepPlan:
    """Divide samples over ranks and micro-batches; repeat the cheapest one where a rank would have none."""
    costs = [cost(sample.clip) for sample in samples]
    tokens = [stage_tokens(sample.clip, stage) for sample in samples]
    groups = divide(tokens, costs, num_ranks, stage.micro_batch_tokens)
    cheapest = MicroBatch((samples[min(range(len(samples)), key=costs.__getitem__)],), counts=False)
    sums = [[sum(costs[index] for index in part) for part in group] for group in groups]
    ranks = tuple(
        tuple(
            MicroBatch(tuple(samples[index] for index in group[rank])) if group[rank] else cheapest for group in groups
        )
        for rank in range(num_ranks)
    )
    totals = tuple(sum(group[rank] for group in sums) for rank in range(num_ranks))
    return StepPlan(step, samples, ranks, totals, sum(max(group) for group in sums))
