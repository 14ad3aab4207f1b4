"""Curves of a run in the tools that people look at: TensorBoard beside the run, Weights & Biases where it is installed.

Both are fed the rows of metrics.jsonl, which stays the truth; one scalar per number, named `<stage>/<what>`.
A resumed run writes over the steps that it takes again.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from curation.records import UserError


def scalars(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of a metrics row under the names of their curves."""
    stage, kind = row["stage"], row["kind"]
    if kind == "held_out":
        yield f"{stage}/held_out/loss", row["loss"]
        yield from ((f"{stage}/held_out/{name}", value) for name, value in row["parts"].items())
        return
    yield from ((f"{stage}/{name}", row[name]) for name in ("loss", "gradient_norm", "learning_rate", "tokens"))
    for group in ("parts", "noise", "speed"):
        yield from ((f"{stage}/{group}/{name}", value) for name, value in row[group].items())


class TensorBoardCurves:
    """Event files of one run.

    Args:
        folder: where they lie; one sub-folder per stage, as a stage's steps begin at 1.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, Any] = {}

    def write(self, row: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter  # seconds to import

        stage, step = row["stage"], row["step"]
        if stage not in self._writers:
            self._writers[stage] = SummaryWriter(str(self._folder / stage), purge_step=step, flush_secs=30)
        for name, value in scalars(row):
            self._writers[stage].add_scalar(name.removeprefix(f"{stage}/"), value, step)
        self._writers[stage].flush()


class WandbCurves:
    """A run of Weights & Biases, continued under the same id.

    Raises:
        UserError: wandb is not installed.
    """

    def __init__(self, project: str, run_id: str, settings: Mapping[str, Any]) -> None:
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise UserError(
                f"train.wandb_project = {project!r} needs the package wandb, which is not installed; "
                "`pip install wandb`, or leave the project empty: TensorBoard's files hold the same curves"
            ) from error
        self._run = wandb.init(project=project, id=run_id, resume="allow", config=dict(settings))

    def write(self, row: Mapping[str, Any]) -> None:
        stage = row["stage"]
        self._run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
        self._run.log({f"{stage}/step": row["step"], **dict(scalars(row))})
