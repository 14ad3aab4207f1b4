"""The one training loop. It knows steps, weights and checkpoints, but no network, no loss and no stage by name.

    stream --samples--> objective.prepare --batch--> objective.loss [B] --mean--> gradients --> weights --> average
                        every log_every: metrics        every checkpoint_every: checkpoint (after metrics)

A checkpoint is written only after the losses up to it were seen to be finite, so the last one is always good; it holds
all that the next step depends on, and a killed run continues with the same bits (a test compares them).
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from curation.records import UserError
from training.checkpoint import Checkpoint, CheckpointStore
from training.data import PackedClip, Sample, SampleStream
from training.ema import WeightAverage
from training.metrics import Metrics, NonFiniteLossError
from training.optim import apply_step, build_optimizers, learning_rate, load_optimizer_tensors, optimizer_tensors
from training.stages import StageSettings

MODEL, AVERAGE, OPTIMIZER = "model", "average", "optimizer"

OnStep = Callable[[int, float | None], None]
"""Called after every step with the step (from 1) and, when it was just read from the device, the loss."""


class Objective(Protocol):
    """What a stage trains and how its loss is formed: the part that knows the networks."""

    @property
    def model(self) -> nn.Module:
        """The module that is trained; others the objective uses are frozen."""
        ...

    def prepare(self, samples: Sequence[Sample]) -> Any:
        """Samples to a batch, without gradients; all that is random follows from the samples' seeds."""
        ...

    def loss(self, batch: Any) -> Tensor:
        """Unreduced loss, one value per sample, [B]."""
        ...

    def measure(self, clips: Sequence[PackedClip]) -> tuple[float, dict[str, float]]:
        """Mean loss over held-out clips with nothing random in it, and the named parts it consists of."""
        ...

    def result(self) -> dict[str, Any]:
        """What later stages need beside the weights, as JSON; asked once, at the end, with averaged weights."""
        ...


def run_stage(
    stage: StageSettings,
    objective: Objective,
    stream: SampleStream,
    held_out: Sequence[PackedClip],
    store: CheckpointStore,
    metrics: Metrics,
    on_step: OnStep,
) -> int:
    """Train one stage from its last checkpoint, or from the start, to its last step. Returns the step it began at.

    Raises:
        UserError: a loss or gradient was not finite; names the step and the last good checkpoint.
    """
    model = objective.model
    optimizers = build_optimizers(model, stage)
    average = WeightAverage(model, stage.ema)
    first = max(store.steps(), default=0)
    if first:
        checkpoint = store.load(first)
        model.load_state_dict(checkpoint.tensors[MODEL])
        average.load(checkpoint.tensors[AVERAGE])
        load_optimizer_tensors(optimizers, model, checkpoint.tensors[OPTIMIZER])
        stream.load_state(checkpoint.state["stream"])
    else:
        _measure(stage, 0, objective, average, held_out, metrics)
    model.train()
    try:
        for step in range(first + 1, stage.steps + 1):
            losses = objective.loss(objective.prepare(stream.next_samples(stage.batch)))
            loss = losses.mean()
            loss.backward()
            norm = apply_step(optimizers, model, stage, step - 1)
            average.update(step - 1)
            metrics.add_step(stage.name, step, loss, norm, learning_rate(stage, step - 1), len(losses))
            last = step == stage.steps
            saves = last or step % stage.checkpoint_every == 0
            seen = metrics.flush() if saves or step % stage.log_every == 0 else None
            if last or (stage.measure_every and step % stage.measure_every == 0):
                _measure(stage, step, objective, average, held_out, metrics)
            if saves:
                store.save(_checkpoint(step, objective, average, optimizer_tensors(optimizers, model), stream, last))
            on_step(step, seen)
    except NonFiniteLossError as fault:
        raise UserError(_fault_text(fault, stage, store)) from fault
    return first


def _measure(
    stage: StageSettings,
    step: int,
    objective: Objective,
    average: WeightAverage,
    held_out: Sequence[PackedClip],
    metrics: Metrics,
) -> None:
    if held_out:
        with average.in_place():
            loss, parts = objective.measure(held_out)
        metrics.add_held_out(stage.name, step, loss, parts)


def _checkpoint(
    step: int,
    objective: Objective,
    average: WeightAverage,
    moments: dict[str, Tensor],
    stream: SampleStream,
    last: bool,
) -> Checkpoint:
    state: dict[str, Any] = {"seed": stream.seed, "stream": stream.state()}
    if last:
        with average.in_place():
            state["result"] = objective.result()
    tensors = {MODEL: dict(objective.model.state_dict()), AVERAGE: average.average, OPTIMIZER: moments}
    return Checkpoint(step, tensors, state)


def _fault_text(fault: NonFiniteLossError, stage: StageSettings, store: CheckpointStore) -> str:
    steps = store.steps()
    good = (
        f"the last good checkpoint is step {steps[-1]} in {store.workspace.path(*store.path)}"
        if steps
        else "there is no checkpoint of this stage yet"
    )
    return (
        f"training stopped: {fault}; {good}. Lower learning_rate ({stage.learning_rate}) or clip_norm "
        f"({stage.clip_norm}) of stage {stage.name!r}, or raise its warmup_steps ({stage.warmup_steps})"
    )
