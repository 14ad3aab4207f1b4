"""A training run: the networks, the data and the stages walked one after the other, resumable anywhere.

    settings + shards' sha256 --digest--> run_id
    <workspace>/checkpoints/<run_id>/run.json           settings, shards, held-out clips, text encoders
                                     metrics.jsonl      see training.metrics
                                     <stage>/step-.../  see training.checkpoint
    <workspace>/text_encoder/<digest>/                  tiny encoders, where the recipe names none

A stage starts from the averaged weights of the stage of its objective before it. A finished stage has a checkpoint of
its last step and is not trained again; an unfinished one continues from its last checkpoint. Changed settings or
changed shards are a new run, beside the old one.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pyarrow import fs as pafs

from curation.records import UserError, content_id
from curation.tables import TrainRead, Workspace
from model.dit import VideoDiT
from model.presets import DIT_PRESETS, VAE_PRESETS, DiTConfig
from model.text import TextEncoder
from model.vae import CausalVideoVAE
from training.captions import assemble
from training.checkpoint import CheckpointStore
from training.data import ClipLibrary, PackedClip, Sample, SampleStream, held_out_ids, seed_of
from training.loop import AVERAGE, Objective, OnStep, run_stage
from training.metrics import Metrics
from training.networks import Network, build_network, load_network, make_text_encoder, open_text_encoder
from training.objectives import FlowObjective, VAEObjective
from training.stages import StageSettings, TextSettings, TrainSettings

CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class StageResult:
    """What became of one stage: where it began, how long it took, and its held-out loss before and after."""

    stage: str
    began_at_step: int
    steps: int
    seconds: float
    num_packed: int  # members of the stage's shards; a clip in two curation stages counts twice
    num_trainable: int
    num_held_out: int
    num_read: int  # members of `num_trainable` that the steps reached
    before: dict[str, Any] | None  # metrics rows; None where no clip is held out
    after: dict[str, Any] | None


class TrainingRun:
    """One run over the packed clips of a workspace. Building it reads and checks the data and trains nothing.

    Raises:
        UserError: no stages, an unknown preset, missing shards, or clips or encoders that do not fit the networks.
    """

    def __init__(self, workspace: Workspace, settings: TrainSettings) -> None:
        _check(settings)
        self.workspace, self.settings = workspace, settings
        sources = {source for stage in settings.stages for source in stage.shards}
        self.library = ClipLibrary(workspace, sources, settings.cache_mb)
        self.held_out_ids = held_out_ids(self.library.clips, settings.held_out)
        self.shards = sorted({shard.sha256 for group in self.library.shards.values() for shard in group})
        networks = (VAE_PRESETS[settings.vae], DIT_PRESETS[settings.dit])  # a preset can change under its name
        self.run_id = content_id(settings.model_dump_json(), *networks, *self.shards)
        self.text_encoder_id = self._make_text_encoder()
        self.metrics = Metrics(workspace, CHECKPOINTS, self.run_id, "metrics.jsonl")
        self._text: TextEncoder | None = None
        workspace.write_bytes(json.dumps(self._facts(), indent=1).encode(), CHECKPOINTS, self.run_id, "run.json")

    def store(self, stage: StageSettings) -> CheckpointStore:
        path = (CHECKPOINTS, self.run_id, stage.name)
        return CheckpointStore(self.workspace, *path, keep_last=self.settings.keep_last)

    def finished(self, stage: StageSettings) -> bool:
        return stage.steps in self.store(stage).steps()

    def train(self, stage: StageSettings, on_step: OnStep) -> StageResult:
        """Train a stage to its last step, from wherever it stands; the stages before it must be finished.

        Raises:
            UserError: as `run_stage`.
        """
        started_s = time.perf_counter()
        store = self.store(stage)
        began_at = stage.steps
        if not self.finished(stage):
            self.metrics.drop_beyond(stage.name, max(store.steps(), default=-1), self._names_after(stage))
            stream, held_out = self._stream(stage), self._measured(stage)
            began_at = run_stage(stage, self._objective(stage), stream, held_out, store, self.metrics, on_step)
        rows = self.metrics.held_out(stage.name)
        return StageResult(
            stage=stage.name,
            began_at_step=began_at,
            steps=stage.steps,
            seconds=time.perf_counter() - started_s,
            num_packed=sum(len(self.library.clips[source]) for source in stage.shards),
            num_trainable=len(self._apart(stage, held_out=False)),
            num_held_out=len(self._apart(stage, held_out=True)),
            num_read=len({sample.clip.key for _, sample in self._walk(stage)}),
            before=rows[0] if rows else None,
            after=rows[-1] if rows else None,
        )

    def reads(self, stage: StageSettings) -> list[TrainRead]:
        """Which clips the whole stage reads, how often and between which steps, by walking its stream again."""
        steps: dict[str, list[int]] = {}
        for step, sample in self._walk(stage):
            steps.setdefault(sample.clip.clip_id, []).append(step)
        return [
            TrainRead(self.run_id, stage.name, clip_id, len(seen), seen[0], seen[-1])
            for clip_id, seen in sorted(steps.items())
        ]

    def _walk(self, stage: StageSettings) -> Iterator[tuple[int, Sample]]:
        stream = self._stream(stage)
        for step in range(1, stage.steps + 1):
            for sample in stream.next_samples(stage.batch):
                yield step, sample

    def _stream(self, stage: StageSettings) -> SampleStream:
        by_source: dict[str, list[PackedClip]] = {source: [] for source in stage.shards}
        for clip in self._apart(stage, held_out=False):
            by_source[clip.source].append(clip)
        return SampleStream(by_source, stage, self.settings.seed)

    def _apart(self, stage: StageSettings, held_out: bool) -> list[PackedClip]:
        clips = [clip for source in sorted(stage.shards) for clip in self.library.clips[source]]
        return [clip for clip in clips if (clip.clip_id in self.held_out_ids) == held_out]

    def _measured(self, stage: StageSettings) -> list[PackedClip]:
        clips = sorted(self._apart(stage, held_out=True), key=lambda clip: seed_of("measure", *clip.key))
        return clips[: self.settings.held_out_clips]

    def _objective(self, stage: StageSettings) -> Objective:
        pixels = self.library.pixels
        before = self.settings.stages[: self.settings.stages.index(stage)]
        same = [other for other in before if other.objective == stage.objective]
        network = self._network(stage, same)
        if isinstance(network, CausalVideoVAE):
            return VAEObjective(network, stage, pixels, self._apart(stage, held_out=False))
        vae = load_network(self.store([other for other in before if other.objective == "vae"][-1]))
        assert isinstance(vae, CausalVideoVAE)
        if self._text is None:
            self._text = open_text_encoder(self.workspace, self.settings.text, self.text_encoder_id)
        _check_widths(self._text, network.config)
        vae.eval().requires_grad_(False)
        return FlowObjective(network, vae, self._text, stage, pixels, self.settings.cache_mb)

    def _network(self, stage: StageSettings, same: Sequence[StageSettings]) -> Network:
        """The weights the stage starts from: those of the last stage of its kind, or new ones."""
        if same:
            return load_network(self.store(same[-1]))
        presets = VAE_PRESETS if stage.objective == "vae" else DIT_PRESETS
        name = self.settings.vae if stage.objective == "vae" else self.settings.dit
        return build_network(presets[name], self.settings.seed)

    def _names_after(self, stage: StageSettings) -> tuple[str, ...]:
        names = [other.name for other in self.settings.stages]
        return tuple(names[names.index(stage.name) + 1 :])

    def _make_text_encoder(self) -> str:
        if self.settings.text.llm:
            return ""
        texts = {assemble(clip.caption) for group in self.library.clips.values() for clip in group}
        return make_text_encoder(self.workspace, sorted(texts), self.settings.seed)

    def _facts(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "settings": self.settings.model_dump(mode="json"),
            "shards": self.shards,
            "held_out": sorted(self.held_out_ids),
            "text_encoder": self.text_encoder_id,
        }


def _check(settings: TrainSettings) -> None:
    if not settings.stages:
        raise UserError("the recipe has no [[train.stages]]; a run needs at least one, see training/README.md")
    for kind, name, presets in (("vae", settings.vae, VAE_PRESETS), ("dit", settings.dit, DIT_PRESETS)):
        if name not in presets:
            raise UserError(f"train.{kind} = {name!r} is no preset; there are {', '.join(sorted(presets))}")


def _check_widths(text: TextEncoder, config: DiTConfig) -> None:
    given, wanted = (text.width, text.pooled_width), (config.text_width, config.pooled_width)
    if given != wanted:
        raise UserError(
            f"the text encoders give states of width {given[0]} and a pooled vector of width {given[1]}, the "
            f"transformer takes {wanted[0]} and {wanted[1]}; change train.text or train.dit"
        )


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


def find_trained(workspace: Workspace, run_id: str) -> TrainedRun:
    """What there is to open of a run.

    Raises:
        UserError: there is no such run, or it has not finished a stage of either kind.
    """
    settings, text_encoder_id = read_run(workspace, run_id)
    last = {stage.objective: (stage, store) for stage, store in finished_stages(workspace, run_id, settings)}
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
