"""The VAEs that runs have trained, and the engine's job that measures how well they give back held-out clips.

    run.json, shards --> held-out clips --first frames, centre--> VAE and back --> psnr_db, ssim, lpips: measurements
                                              +------------------------------> failures: no clip is as large as that

An input is the finished `vae` stage of a run. Protocol and weights of LPIPS are part of the version, so other settings
make every VAE due again, and stand beside the old rows. LPIPS is measured where `[train.lpips]` names its weights. A
released VAE is measured as a stage of no steps that starts from its file.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.records import UserError, content_id
from curation.source import fingerprint
from curation.tables import Measurement, Workspace
from jobs.engine import Item, Job, Outcome
from jobs.measure_settings import MeasureSettings

if TYPE_CHECKING:
    from training.reconstruction import Protocol
    from training.stages import LPIPSSettings

VAE = "vae"
MEASURES = ("l1", "psnr_db", "ssim")


class NothingFits(UserError):
    """No held-out clip is as long and as large as the protocol asks."""

    reason = "no clip fits"


@dataclass(frozen=True)
class TrainedVAE:
    """A finished stage: which, and what it was not trained on."""

    run_id: str
    stage: str
    step: int
    sources: tuple[str, ...]
    held_out: tuple[str, ...]

    @property
    def subject(self) -> str:
        return f"{self.run_id}/{self.stage}@{self.step}"


@dataclass(frozen=True)
class VAEMeasures:
    """How VAEs are measured. Two with one version compare where their clips are the same."""

    protocol: "Protocol"
    lpips: "LPIPSSettings"
    device: str

    @property
    def version(self) -> str:
        return content_id("reconstruction 1", *sorted(asdict(self.protocol).items()), *self._weights())

    def _weights(self) -> list[str]:
        return [fingerprint(str(Path(path).resolve())) for path in (self.lpips.backbone, self.lpips.linear) if path]

    @property
    def measures(self) -> tuple[str, ...]:
        return (*MEASURES, "lpips") if self.lpips.backbone else MEASURES


def vae_measures(settings: MeasureSettings, lpips: "LPIPSSettings") -> VAEMeasures:
    """What the recipe asks for.

    Raises:
        UserError: weights of LPIPS are named and not there.
    """
    from training.reconstruction import Protocol

    for name, path in (("backbone", lpips.backbone), ("linear", lpips.linear)):
        if path and not Path(path).is_file():
            raise UserError(f"train.lpips.{name} is {path!r}, and there is no such file")
    protocol = Protocol(settings.vae_frames, settings.vae_side_px, settings.vae_clips, settings.vae_tiling)
    return VAEMeasures(protocol, lpips, settings.device)


def find_vaes(workspace: Workspace, run_ids: Sequence[str]) -> list[TrainedVAE]:
    """The finished VAE stages of these runs; nothing is loaded."""
    from training.trained import CHECKPOINTS, finished_stages, read_run

    found = []
    for run_id in run_ids:
        settings, _ = read_run(workspace, run_id)
        held_out = json.loads(workspace.read_bytes(CHECKPOINTS, run_id, "run.json"))["held_out"]
        sources = tuple(sorted({source for stage in settings.stages for source in stage.shards}))
        for stage, store in finished_stages(workspace, run_id, settings):
            if stage.network == VAE:
                own = tuple(sorted(stage.shards)) or sources
                found.append(TrainedVAE(run_id, stage.name, max(store.steps()), own, tuple(held_out)))
    return found


class VAEWorker:
    """Measures one VAE after the other; LPIPS is read once."""

    def __init__(self, workspace_uri: str, how: VAEMeasures) -> None:
        from training.vae_objective import lpips_of

        self.workspace, self.how, self.lpips = Workspace(workspace_uri), how, lpips_of(how.lpips)

    def __call__(self, item: Item) -> Outcome:
        """Measure it.

        Raises:
            NothingFits: no held-out clip is as large as the protocol.
            UserError: the weights or the shards are damaged.
        """
        (trained,) = item.inputs.values()
        return Outcome({"measurements": self._rows(trained)})

    def _rows(self, trained: TrainedVAE) -> list[Measurement]:
        import torch

        from model.vae import CausalVideoVAE
        from training.checkpoint import CheckpointStore
        from training.data import ClipLibrary
        from training.networks import load_network
        from training.reconstruction import protocol_of, reconstruct
        from training.trained import CHECKPOINTS

        device = self.how.device or ("cuda" if torch.cuda.is_available() else "cpu")
        vae = load_network(CheckpointStore(self.workspace, CHECKPOINTS, trained.run_id, trained.stage))
        assert isinstance(vae, CausalVideoVAE)
        library = ClipLibrary(self.workspace, trained.sources)
        held_out = set(trained.held_out)
        clips = [clip for group in library.clips.values() for clip in group if clip.clip_id in held_out]
        lpips = None if self.lpips is None else self.lpips.to(device)
        measured = reconstruct(vae.eval().to(device), clips, library.pixels, self.how.protocol, lpips)
        if measured is None:
            wanted = self.how.protocol
            raise NothingFits(
                f"none of the {len(clips)} held-out clips of {', '.join(trained.sources)} has {wanted.num_frames} "
                f"frames of {wanted.side_px} px; lower measure.vae_frames or measure.vae_side_px, 0 takes clips whole"
            )
        told = json.dumps(protocol_of(self.how.protocol, measured), sort_keys=True)
        left_out = measured.num_left_out
        note = f"{left_out} of {len(clips)} held-out clips are shorter or smaller" if left_out else ""
        number, version = len(measured.clips), self.how.version
        return [
            Measurement(trained.subject, VAE, name, version, told, value, number, note)
            for name, value in measured.values.items()
        ]


@dataclass(frozen=True)
class _Finished:
    workspace: Workspace
    how: VAEMeasures

    def __call__(self) -> set[str]:
        version, found = self.how.version, dict[str, set[str]]()
        for row in self.workspace.table("measurements").records():
            if row.subject_kind == VAE and row.version == version:
                found.setdefault(row.subject, set()).add(row.measure)
        return {subject for subject, measures in found.items() if measures.issuperset(self.how.measures)}


def vae_job(vaes: Sequence[TrainedVAE], workspace: Workspace, how: VAEMeasures) -> Job:
    """The job that measures these VAEs."""
    inputs: Mapping[str, Any] = {trained.subject: trained for trained in vaes}
    return Job(
        name="measure_vae",
        unit="VAEs",
        digest=content_id(how.version),
        tables=("measurements",),
        items=[Item(subject, {subject: trained}) for subject, trained in sorted(inputs.items())],
        make_worker=partial(VAEWorker, workspace.uri, how),
        finished=_Finished(workspace, how),
    )
