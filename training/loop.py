"""The one training loop. It knows steps, weights and checkpoints, but no network, no loss and no stage by name.

    planner --samples of a step, this process's micro-batches--> loader --fetched ahead--> objective.prepare
        --batch--> objective.loss [B] --sum / samples of the step--> gradients, summed over processes --> weights
        weights --> average        every log_every: metrics          every checkpoint_every: checkpoint (after metrics)

A checkpoint is written only after the losses up to it were seen to be finite, so the last one is always good; it holds
all that the next step depends on, and a killed run continues with the same bits (a test compares them). A step's
samples do not depend on the number of processes, so a run continued on more or fewer sees the same clips.
What uses torch's global generator (stochastic rounding) finds it seeded anew at every step.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from curation.records import UserError
from training.checkpoint import AVERAGE, CheckpointStore
from training.data import PackedClip, Sample, seed_of
from training.ema import WeightAverage
from training.loader import StepLoader
from training.lora import LORA, adapter_tensors, has_lora, lora_facts, result_tensors
from training.metrics import LossSums, Metrics, NonFiniteLossError, StepFacts
from training.optim import apply_step, build_critic_optimizers, build_optimizers, learning_rate, optimizer_tensors
from training.parallel import Ranks, accumulate, sum_over_data
from training.planner import MicroBatch, StepPlan, StepPlanner, stage_tokens
from training.stages import StageSettings

MODEL, OPTIMIZER = "model", "optimizer"
CRITIC, CRITIC_OPTIMIZER = "critic", "critic_optimizer"

OnStep = Callable[[int, float | None], None]
"""Called after every step with the step (from 1) and, when it was just read from the device, the loss."""


class Objective(Protocol):
    """What a stage trains and how its loss is formed: the part that knows the networks."""

    @property
    def model(self) -> nn.Module:
        """The module that is trained; others the objective uses are frozen."""
        ...

    @property
    def critic(self) -> nn.Module | None:
        """An adversary that is trained beside the model, by `critic_loss`; None where there is none."""
        ...

    def fetch(self, sample: Sample) -> Any:
        """What a sample needs from disk, on the CPU; may run in another process, ahead of its step."""
        ...

    def prepare(self, samples: Sequence[Sample], fetched: Sequence[Any]) -> Any:
        """Samples to a batch, without gradients; all that is random follows from the samples' seeds."""
        ...

    def loss(self, batch: Any, step: int) -> Tensor:
        """Unreduced loss, one value per sample, [B], at a step of the stage (from 1)."""
        ...

    def critic_loss(self, batch: Any) -> Tensor:
        """The same of the critic; asked after `loss` of the same batch, only where there is a critic."""
        ...

    def parts(self) -> Mapping[str, Tensor]:
        """Means of the named terms of the last loss, 0-d, without gradients."""
        ...

    def noise(self, batch: Any) -> Tensor | None:
        """Flow times in [0, 1] of a batch, [B]; None where there are none."""
        ...

    def flops(self, batch: Any) -> int:
        """Floating-point operations of forward and backward of a batch."""
        ...

    def measure(self, clips: Sequence[PackedClip]) -> tuple[float, dict[str, float]]:
        """Mean loss over held-out clips with nothing random in it, and the named parts it consists of."""
        ...

    def result(self) -> dict[str, Any]:
        """What later stages need beside the weights, as JSON; asked once, at the end, with averaged weights."""
        ...


@dataclass
class StageRun:
    """Everything that training one stage needs; see `run`.

    held_out: clips to measure on. workers: loader processes. seed: of the run, for what draws from torch's generator.
    on_sample: called with the step, averaged weights in place, every `sample_every` steps and at the end.
    """

    stage: StageSettings
    objective: Objective
    planner: StepPlanner
    held_out: Sequence[PackedClip]
    store: CheckpointStore
    metrics: Metrics
    ranks: Ranks
    on_step: OnStep
    seed: int = 0
    workers: int = 0
    on_sample: Callable[[int], None] | None = None
    _planned: deque[tuple[StepPlan, dict[str, Any]]] = field(default_factory=deque, init=False)

    def __post_init__(self) -> None:
        self.optimizers = build_optimizers(self.objective.model, self.stage, self.seed)
        self.average = WeightAverage(self.objective.model, self.stage.ema)
        critic = self.objective.critic
        self.critic_optimizers = [] if critic is None else build_critic_optimizers(critic, self.stage, self.seed)

    def run(self) -> int:
        """Train from the last checkpoint, or from the start, to the last step. Returns the step it began at.

        Raises:
            UserError: a loss or gradient was not finite, a shard is damaged, or a file could not be written; names the
                cause and the last good checkpoint.
        """
        first = max(self.store.steps(), default=0)
        if first:
            self._restore(first)
        else:
            self._measure(0)
        self.objective.model.train()
        loader = StepLoader(self.objective.fetch, self._batches(first), self.workers)
        try:
            fetched = iter(loader)
            for step in range(first + 1, self.stage.steps + 1):
                self._step(step, fetched, loader)
            self.store.wait()
        except BaseException as fault:
            with suppress(UserError):  # of two causes the first is told
                self.store.wait()
            if isinstance(fault, NonFiniteLossError | UserError) or (isinstance(fault, OSError) and fault.errno):
                raise UserError(_fault_text(fault, self.stage, self.store)) from fault
            raise
        finally:
            loader.close()
        return first

    def _batches(self, first: int) -> Iterator[Sequence[Sample]]:
        """This process's micro-batches in order; the plans they belong to queue up in `_planned`."""
        for _ in range(first, self.stage.steps):
            plan = self.planner.next_step()
            self._planned.append((plan, self.planner.state()))
            for micro_batch in plan.ranks[self.ranks.data_rank]:
                yield micro_batch.samples

    def _step(self, step: int, fetched: Iterator[tuple[Sequence[Sample], list[Any]]], loader: StepLoader) -> None:
        stage, objective = self.stage, self.objective
        torch.manual_seed(seed_of(self.seed, stage.name, step))
        stalled_s = loader.stall_s
        contents = next(fetched)[1]  # draws the plan of this step, if it was not drawn ahead
        plan, state = self._planned.popleft()
        own, sums, flops = plan.ranks[self.ranks.data_rank], LossSums(), 0
        for index, micro_batch in enumerate(own):
            contents = next(fetched)[1] if index else contents
            batch = objective.prepare(micro_batch.samples, contents)
            self._add_gradients(step, batch, micro_batch, len(plan.samples), sums, last=index == len(own) - 1)
            flops += objective.flops(batch)
        norm = self._update(step)
        facts = StepFacts(
            stage=stage.name,
            step=step,
            learning_rate=learning_rate(stage, step - 1),
            samples=len(plan.samples),
            tokens=sum(stage_tokens(sample.clip, stage) for sample in plan.samples),
            flops=flops,
            stall_s=loader.stall_s - stalled_s,
            imbalance=plan.imbalance,
        )
        self.metrics.add_step(facts, sums, norm)
        self._after(step, state)

    def _add_gradients(
        self, step: int, batch: Any, micro_batch: MicroBatch, num_samples: int, sums: LossSums, last: bool
    ) -> None:
        """Forward and backward of one micro-batch; gradients add up to those of the mean over the step's samples."""
        objective, share = self.objective, micro_batch.counts / num_samples
        with accumulate(objective.model, last):
            losses = objective.loss(batch, step)
            (losses.sum() * share).backward()
        if objective.critic is not None:
            (objective.critic_loss(batch).sum() * share).backward()
        sums.add(losses, objective.noise(batch), objective.parts(), micro_batch.counts)

    def _update(self, step: int) -> Tensor:
        """One step of the optimizers and of the average. Returns the gradients' norm before clipping."""
        norm = apply_step(self.optimizers, self.objective.model, self.stage, step - 1)
        critic = self.objective.critic
        if critic is not None:  # every process has it whole
            for weight in critic.parameters():
                weight.grad = None if weight.grad is None else sum_over_data(weight.grad, self.ranks)
            apply_step(self.critic_optimizers, critic, self.stage, step - 1, peak=self.stage.critic_learning_rate)
        self.average.update(step - 1)
        return norm

    def _after(self, step: int, state: dict[str, Any]) -> None:
        stage, last = self.stage, step == self.stage.steps
        saves = last or step % stage.checkpoint_every == 0
        seen = self.metrics.flush() if saves or step % stage.log_every == 0 else None
        if last or (stage.measure_every and step % stage.measure_every == 0):
            self._measure(step)
        if self.on_sample is not None and (last or (stage.sample_every and step % stage.sample_every == 0)):
            with self.average.in_place():
                self.on_sample(step)
        if saves:
            self._save(step, state)
        self.on_step(step, seen)

    def _measure(self, step: int) -> None:
        if self.held_out:
            with self.average.in_place():
                loss, parts = self.objective.measure(self.held_out)
            self.metrics.add_held_out(self.stage.name, step, loss, parts, len(self.held_out))

    def _restore(self, step: int) -> None:
        """Go back to the checkpoint of a step; everything is loaded in place."""
        self.store.load_into(step, self._tensors())
        self.planner.load_state(self.store.state(step)["planner"])

    def _tensors(self) -> dict[str, dict[str, Tensor]]:
        """All that the next step depends on, by file and name."""
        model, critic = self.objective.model, self.objective.critic
        tensors = {MODEL: _trained(model), OPTIMIZER: optimizer_tensors(self.optimizers, model)}
        if self.stage.ema:
            tensors[AVERAGE] = self.average.average
        if critic is not None:
            tensors[CRITIC] = _trained(critic)
            tensors[CRITIC_OPTIMIZER] = optimizer_tensors(self.critic_optimizers, critic)
        return {stem: named for stem, named in tensors.items() if named}

    def _save(self, step: int, state: dict[str, Any]) -> None:
        facts: dict[str, Any] = {"seed": self.seed, "planner": state}
        tensors = self._tensors()
        if step < self.stage.steps:
            self.store.save(step, tensors, facts)
            return
        model = self.objective.model
        tensors.pop(AVERAGE, None)  # the result stands for it
        with self.average.in_place():
            facts["result"] = {**self.objective.result(), **lora_facts(model, self.stage.lora)}
        if has_lora(model):
            tensors[LORA] = adapter_tensors(self.average.average)
        result = result_tensors(model, self.average.average)
        self.store.save(step, tensors, facts, wait=True, result=result)


def _trained(model: nn.Module) -> dict[str, Tensor]:
    """Parameters that are trained, and buffers; the others are where the stage found them."""
    named = {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}
    return {**named, **dict(model.named_buffers())}


def _fault_text(fault: Exception, stage: StageSettings, store: CheckpointStore) -> str:
    steps = store.steps()
    good = (
        f"the last good checkpoint is step {steps[-1]} in {store.workspace.path(*store.path)}"
        if steps
        else "there is no checkpoint of this stage yet"
    )
    if isinstance(fault, NonFiniteLossError):
        remedy = (
            f". Lower learning_rate ({stage.learning_rate}) or clip_norm ({stage.clip_norm}) of stage {stage.name!r}, "
            f"or raise its warmup_steps ({stage.warmup_steps})"
        )
        return f"training stopped: {fault}; {good}{remedy}"
    if "last good checkpoint" in str(fault):  # of a checkpoint that could not be written
        return str(fault)
    return f"training stopped: stage {stage.name!r}: {fault}; {good}, from which it goes on when it is run again"
