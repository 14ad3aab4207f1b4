"""What a run has trained: found by its files, opened without its recipe.

<workspace>/checkpoints/<run_id>/run.json --read_run--> settings --finished_stages--> checkpoints
                                                        find_trained -> load_trained -> averaged networks
"""

import json
from dataclasses import dataclass

import torch
from pyarrow import fs as pafs

from curation.records import UserError
from curation.tables import Workspace
from model.dit import VideoDiT
from model.text import TextEncoder
from model.vae import CausalVideoVAE
from training.checkpoint import AVERAGE, CheckpointStore
from training.networks import load_network, open_text_encoder
from training.stages import StageSettings, TextSettings, TrainSettings

CHECKPOINTS = "checkpoints"


def newest_run(workspace: Workspace) -> str:
    """The run whose metrics were written last.

    Raises:
        UserError: nothing was trained in this workspace.
    """
    selector = pafs.FileSelector(workspace.path(CHECKPOINTS), allow_not_found=True)
    folders = [info.base_name for info in workspace.fs.get_file_info(selector)]
    files = [workspace.fs.get_file_info(workspace.path(CHECKPOINTS, name, "metrics.jsonl")) for name in folders]
    times = {name: file.mtime_ns or 0 for name, file in zip(folders, files, strict=True) if file.is_file}
    if not times:
        raise UserError(f"nothing was trained in {workspace.uri} yet; run `dailies train` first")
    return max(times, key=lambda name: (times[name], name))


@dataclass(frozen=True)
class TrainedRun:
    """What a run has trained so far, known without loading it: its last finished flow and VAE stages."""

    run_id: str
    stage: str
    vae_stage: str
    text: TextSettings
    text_encoder_id: str
    weights_sha256: dict[str, str]  # by objective


@dataclass(frozen=True)
class TrainedNetworks:
    """The result of a run: the last averaged weights of each network."""

    dit: VideoDiT
    vae: CausalVideoVAE
    text: TextEncoder


def read_run(workspace: Workspace, run_id: str) -> tuple[TrainSettings, str]:
    """The settings of a run and the id of its text encoders.

    Raises:
        UserError: there is no such run.
    """
    if not workspace.exists(CHECKPOINTS, run_id, "run.json"):
        raise UserError(f"there is no training run {run_id!r} in {workspace.uri}; newest_run names the last one")
    facts = json.loads(workspace.read_bytes(CHECKPOINTS, run_id, "run.json"))
    return TrainSettings.model_validate(facts["settings"]), facts["text_encoder"]


def finished_stages(
    workspace: Workspace, run_id: str, settings: TrainSettings
) -> list[tuple[StageSettings, CheckpointStore]]:
    """The stages of a run that have their last step, in their order, with their checkpoints."""
    stores = [(stage, CheckpointStore(workspace, CHECKPOINTS, run_id, stage.name)) for stage in settings.stages]
    return [(stage, store) for stage, store in stores if stage.steps in store.steps()]


def find_trained(workspace: Workspace, run_id: str, stage: str = "") -> TrainedRun:
    """What there is to open of a run.

    Args:
        stage: the flow stage whose weights are taken; by default the last one that is finished.

    Raises:
        UserError: there is no such run, or it has not finished a stage of either kind, or not that one.
    """
    settings, text_encoder_id = read_run(workspace, run_id)
    finished = finished_stages(workspace, run_id, settings)
    last = {_kind(each): (each, store) for each, store in finished}
    flows = {each.name: (each, store) for each, store in finished if _kind(each) == "flow"}
    if stage and stage not in flows:
        raise UserError(f"run {run_id} has no finished flow stage {stage!r}; it has {', '.join(flows) or 'none'}")
    if stage:
        last["flow"] = flows[stage]
    if set(last) != {"vae", "flow"}:
        raise UserError(
            f"run {run_id} has finished {sorted(stage.name for stage, _ in last.values()) or 'no stage'}; generating "
            "needs a finished `vae` and a finished `flow` stage: run `dailies train` again, which continues it"
        )
    digests = {kind: store.state(max(store.steps()))["sha256"][AVERAGE] for kind, (_, store) in last.items()}
    stages = {kind: stage.name for kind, (stage, _) in last.items()}
    return TrainedRun(run_id, stages["flow"], stages["vae"], settings.text, text_encoder_id, digests)


def load_trained(
    workspace: Workspace, found: TrainedRun, text_dtype: torch.dtype = torch.float32, pictures: bool = False
) -> TrainedNetworks:
    """Open what `find_trained` found; `pictures` as in `open_text_encoder`.

    Raises:
        UserError: weights are damaged, or text encoders are not where they were.
    """
    stores = [CheckpointStore(workspace, CHECKPOINTS, found.run_id, name) for name in (found.stage, found.vae_stage)]
    dit, vae = map(load_network, stores)
    assert isinstance(dit, VideoDiT)
    assert isinstance(vae, CausalVideoVAE)
    text = open_text_encoder(workspace, found.text, found.text_encoder_id, text_dtype, pictures)
    return TrainedNetworks(dit.eval(), vae.eval(), text)


def _kind(stage: StageSettings) -> str:
    """Whether a stage gives a VAE or a transformer."""
    return "vae" if stage.objective == "vae" else "flow"
