"""Does a stage that is taken up in the middle end with the same bits? Asked of a finished run, at its own checkpoints.

    run --second workspace: links to all but the stage's last checkpoint--> train the rest again --compare--> Resumed

The run itself is not touched: the second workspace sees its shards and the stages above through links, and has of the
stage only the checkpoint before the last.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.records import UserError
from curation.tables import Workspace

if TYPE_CHECKING:
    from training.curriculum import TrainingRun
    from training.stages import StageSettings

CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class Resumed:
    """What became of a stage that went on from a checkpoint in its middle."""

    stage: str
    at_step: int
    steps: int
    same_losses: bool  # of every step after it, in every digit
    same_files: bool  # weights, moments and averages of the last checkpoint, by sha256

    @property
    def is_exact(self) -> bool:
        return self.same_losses and self.same_files

    def __str__(self) -> str:
        losses, files = ("the same" if same else "OTHER" for same in (self.same_losses, self.same_files))
        return (
            f"{self.stage} taken up at step {self.at_step} of {self.steps}: {losses} {self.steps - self.at_step} "
            f"losses, {files} weights, moments and averages"
        )


def resume(run: "TrainingRun", name: str, folder: Path) -> Resumed:
    """Train the last steps of a finished stage again, from the checkpoint before its last, in a workspace of its own.

    Args:
        folder: of that workspace; made anew.

    Raises:
        UserError: the run has no such stage, its workspace is no local folder, or the stage kept one checkpoint only.
    """
    from training.curriculum import TrainingRun

    stage = next((stage for stage in run.settings.stages if stage.name == name), None)
    if stage is None or not run.workspace.is_local:
        names = ", ".join(stage.name for stage in run.settings.stages)
        raise UserError(f"{name!r} cannot be taken up: it must be a stage of a run in a local folder; stages: {names}")
    steps = [step for step in run.store(stage).steps() if step < stage.steps]
    if not steps:
        raise UserError(
            f"stage {name!r} kept no checkpoint before its last: set its checkpoint_every below {stage.steps} and "
            f"train.keep_last above 1"
        )
    _lay_out(run, stage, steps[-1], folder)
    second = TrainingRun(Workspace(str(folder)), run.settings, run.ranks)
    assert second.run_id == run.run_id
    second.train(stage, lambda step, loss: None)
    files = [one.store(stage).state(stage.steps)["sha256"] for one in (run, second)]
    losses = [_losses(one, stage, steps[-1]) for one in (run, second)]
    return Resumed(name, steps[-1], stage.steps, losses[0] == losses[1], files[0] == files[1])


def _lay_out(run: "TrainingRun", stage: "StageSettings", step: int, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    own = folder / CHECKPOINTS / run.run_id
    own.mkdir(parents=True)
    root = Path(run.workspace.root)
    for path in root.iterdir():
        if path.name != CHECKPOINTS and path not in folder.parents:
            (folder / path.name).symlink_to(path)
    trained = root / CHECKPOINTS / run.run_id
    for above in run.settings.above(stage):
        (own / above.name).symlink_to(trained / above.name)
    shutil.copytree(trained / stage.name / f"step-{step:06d}", own / stage.name / f"step-{step:06d}")
    shutil.copy(trained / "metrics.jsonl", own)


def _losses(run: "TrainingRun", stage: "StageSettings", after: int) -> list[Any]:
    return [
        (row["step"], row["loss"], row["gradient_norm"])
        for row in run.metrics.rows
        if row["kind"] == "step" and row["stage"] == stage.name and row["step"] > after
    ]
