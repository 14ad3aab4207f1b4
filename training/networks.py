"""Networks from presets and checkpoints, and the frozen text encoders from folders.

A checkpoint of a stage's last step carries the network's configuration, so opening it needs no recipe. Tiny text
encoders are made from the packed captions: the same captions and seed give the same files, written once per corpus.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from curation.records import UserError, content_id
from curation.tables import Workspace
from model.dit import VideoDiT
from model.presets import DiTConfig, VAEConfig
from model.text import TextEncoder
from model.text_tiny import build_tiny_text_encoder
from model.vae import CausalVideoVAE
from model.vae_start import begin_with_small_pictures
from model.weight_config import config_from_row
from training.checkpoint import AVERAGE, CheckpointStore
from training.stages import TextSettings

TEXT_ENCODER = "text_encoder"

Network = CausalVideoVAE | VideoDiT


def build_network(config: VAEConfig | DiTConfig, seed: int) -> Network:
    """A network with new weights that follow from the seed; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(config, DiTConfig):
            return VideoDiT(config)
        vae = CausalVideoVAE(config)
    begin_with_small_pictures(vae)
    return vae


def load_network(store: CheckpointStore) -> Network:
    """The network of a finished stage, with its averaged weights.

    Raises:
        UserError: the file of the weights is damaged.
    """
    step = max(store.steps())
    result = store.state(step)["result"]
    network = build_network(config_from_row({"network": result["network"], **result["config"]}), 0)
    network.load_state_dict(store.load_whole(step, AVERAGE))
    return network


def make_text_encoder(workspace: Workspace, corpus: Sequence[str], seed: int) -> str:
    """Write tiny text encoders for these captions into the workspace, if they are not there; returns their id."""
    encoder_id = content_id("tiny text encoder", seed, *corpus)
    with tempfile.TemporaryDirectory() as scratch:
        build_tiny_text_encoder(scratch, corpus, seed)
        for file in sorted(path for path in Path(scratch).rglob("*") if path.is_file()):
            path = (TEXT_ENCODER, encoder_id, *file.relative_to(scratch).parts)
            if not workspace.exists(*path):
                workspace.write_bytes(file.read_bytes(), *path)
    return encoder_id


def open_text_encoder(
    workspace: Workspace,
    settings: TextSettings,
    encoder_id: str,
    dtype: torch.dtype = torch.float32,
    pictures: bool = False,
) -> TextEncoder:
    """The encoders that the settings name, or those that `make_text_encoder` wrote under `encoder_id`.

    Args:
        pictures: keep the eyes of a language model that can see.

    Raises:
        UserError: a folder holds no model that transformers can read, or the language model sees no pictures.
    """
    prompts = settings.prompts()
    if settings.llm:
        try:
            return TextEncoder.from_folders(settings.llm, settings.clip, prompts, dtype, pictures=pictures)
        except ValueError as error:
            raise UserError(f"train.text does not fit: {error}") from error
    if workspace.is_local:
        folder = workspace.local_path(TEXT_ENCODER, encoder_id)
        return TextEncoder.from_folders(folder / "llm", folder / "clip", prompts, dtype)
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("llm", "clip"):
            folder = Path(scratch) / name
            folder.mkdir()
            for file in workspace.file_names(TEXT_ENCODER, encoder_id, name):
                (folder / file).write_bytes(workspace.read_bytes(TEXT_ENCODER, encoder_id, name, file))
        return TextEncoder.from_folders(Path(scratch) / "llm", Path(scratch) / "clip", prompts, dtype)
