"""The run that tests/training/soak.py kills: every kind of stage, small, on one process or under torchrun.

python -m tests.training.soak_worker WORKSPACE LOADER_WORKERS
"""

import os
import sys

import torch

from curation.tables import Workspace
from training.curriculum import TrainingRun
from training.parallel_settings import ParallelSettings
from training.stages import StageSettings, TrainSettings

SHARED = {"batch": 4, "log_every": 2, "checkpoint_every": 3, "warmup_steps": 2, "learning_rate": 1e-3}
STAGES = (
    StageSettings(
        name="vae", objective="vae", shards={"image": 1, "video": 1}, steps=8, crop_px=32, crop_frames=5,
        adversarial_weight=0.05, tiled=0.5, tile_px=32, tile_frames=4, **SHARED,
    ),
    StageSettings(name="flow", shards={"video": 3, "image": 1}, steps=12, image_to_video=0.3, **SHARED),
    StageSettings(name="distill", objective="distill", shards={"video": 1}, steps=6, **SHARED),
)  # fmt: skip


def settings(loader_workers: int = 0) -> TrainSettings:
    """Of the run; workers of the loader change nothing in it."""
    parallel = ParallelSettings(loader_workers=loader_workers)
    return TrainSettings(threads=1, stages=STAGES, held_out_clips=2, tensorboard=False, parallel=parallel)


def main() -> None:
    torch.set_num_threads(1)
    run = TrainingRun(Workspace(sys.argv[1]), settings(int(sys.argv[2])))
    last_stage, last_step = sys.argv[3].split(":") if len(sys.argv) > 3 else ("", "0")

    def end_at(stage: str, step: int) -> None:
        if (stage, step) == (last_stage, int(last_step)):
            os._exit(1)

    for stage in run.settings.stages:
        run.train(stage, lambda step, loss, name=stage.name: end_at(name, step))


if __name__ == "__main__":
    main()
