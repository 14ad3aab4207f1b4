"""Stages with a result, as a run leaves them: networks of seeded random weights in checkpoints."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from curation.tables import Workspace
from model.dit import VideoDiT
from model.presets import DIT_PRESETS, VAE_PRESETS, DiTConfig, VAEConfig
from model.vae import CausalVideoVAE
from tests.model.seeded import randomised
from training.checkpoint import CheckpointStore
from training.stages import StageSettings

TINY, TINY_VAE = DIT_PRESETS["tiny"], VAE_PRESETS["tiny"]


def stores_in(folder: Path) -> Callable[[StageSettings], CheckpointStore]:
    """Where the checkpoints of a stage lie."""
    workspace = Workspace(str(folder))
    return lambda stage: CheckpointStore(workspace, "checkpoints", "run", stage.name)


def finish(store: CheckpointStore, config: DiTConfig | VAEConfig = TINY, seed: int = 0) -> VideoDiT | CausalVideoVAE:
    """Give a stage a result, and return its network."""
    network = randomised(config, seed=seed)
    kind = "dit" if isinstance(config, DiTConfig) else "vae"
    result = {"network": kind, "config": asdict(config)}
    store.save_result(3, dict(network.named_parameters()), {"result": result})
    return network
