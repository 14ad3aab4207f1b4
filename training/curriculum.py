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
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from curation.records import UserError, content_id
from curation.tables import TrainRead, Workspace
from model.dit import VideoDiT
from model.presets import DIT_PRESETS, VAE_PRESETS, DiTConfig, VAEConfig
from model.text import TextEncoder
from model.vae import CausalVideoVAE
from training.captions import caption_texts
from training.checkpoint import CheckpointStore
from training.curves import TensorBoardCurves, WandbCurves
from training.data import ClipLibrary, PackedClip, SampleStream, held_out_ids, seed_of
from training.distillation import DistillationObjective
from training.encoding import EncodedSource, open_encoded_source
from training.flow_objective import FlowObjective
from training.loop import CRITIC, Objective, OnStep, StageRun
from training.lora import add_lora
from training.memory import available_bytes, check_fits
from training.metrics import Curves, Metrics
from training.networks import Network, load_network, make_text_encoder, open_text_encoder
from training.parallel import Ranks, open_ranks, parallelize, sum_over_data
from training.planner import StepPlanner, count_reads, transformer_cost, vae_cost, walk
from training.samples import SampleWriter
from training.stages import StageSettings, TrainSettings
from training.start import check_starts, origin_of, starting_files, starting_weights
from training.throughput import device_peak_flops
from training.trained import CHECKPOINTS
from training.vae_objective import VAEObjective, lpips_of


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

    Every process of a distributed run builds one with its `ranks`; the main one alone writes what all share.

    Raises:
        UserError: no stages, an unknown preset, missing shards, or clips or encoders that do not fit the networks.
    """

    def __init__(self, workspace: Workspace, settings: TrainSettings, ranks: Ranks | None = None) -> None:
        _check(settings)
        self.workspace, self.settings = workspace, settings
        self.ranks = ranks or open_ranks(settings.parallel)
        sources = {source for stage in settings.stages for source in stage.shards}
        self.library = ClipLibrary(workspace, sources, settings.cache_mb)
        self.held_out_ids = held_out_ids(self.library.clips, settings.held_out)
        self.shards = sorted({shard.sha256 for group in self.library.shards.values() for shard in group})
        self.run_id = run_id_of(settings, self.shards)
        self.results: dict[str, StageResult] = {}  # of the stages that this object walked through
        self._sources: dict[str, EncodedSource] = {}  # by the stage of their VAE
        self._vaes: dict[str, CausalVideoVAE] = {}
        self._text: TextEncoder | None = None
        self.text_encoder_id = self._make_text_encoder()
        self.metrics = Metrics(
            workspace,
            *self._parts("metrics.jsonl"),
            total=partial(sum_over_data, ranks=self.ranks),
            writes=self.ranks.is_main,
            peak_flops=device_peak_flops(self.ranks.device),
            curves=self._curves(),
        )
        if self.ranks.is_main:
            workspace.write_bytes(json.dumps(self._facts(), indent=1).encode(), *self._parts("run.json"))

    def store(self, stage: StageSettings) -> CheckpointStore:
        return CheckpointStore(self.workspace, *self._parts(stage.name), keep_last=self.settings.keep_last)

    def finished(self, stage: StageSettings) -> bool:
        return stage.steps in self.store(stage).steps()

    def train(self, stage: StageSettings, on_step: OnStep) -> StageResult:
        """Train a stage to its last step, from wherever it stands; the stages before it must be finished.

        Raises:
            UserError: as `StageRun.run`; or the stage does not fit the device's memory, with the numbers.
        """
        started_s = time.perf_counter()
        began_at = stage.steps
        if not self.finished(stage):
            began_at = self._stage_run(stage, on_step).run() if stage.steps else self._pass_on(stage)
        rows = self.metrics.held_out(stage.name)
        reads = count_reads(self._stream(stage), stage) if stage.shards else {}
        self.results[stage.name] = StageResult(
            stage=stage.name,
            began_at_step=began_at,
            steps=stage.steps,
            seconds=time.perf_counter() - started_s,
            num_packed=sum(len(self.library.clips[source]) for source in stage.shards),
            num_trainable=len(reads),
            num_held_out=len(self._apart(stage, held_out=True)),
            num_read=sum(map(bool, reads.values())),
            before=rows[0] if rows else None,
            after=rows[-1] if rows else None,
        )
        return self.results[stage.name]

    def reads(self, stage: StageSettings) -> list[TrainRead]:
        """Which clips the whole stage reads, how often and between which steps, by walking its stream again."""
        steps: dict[str, list[int]] = {}
        if stage.shards:
            for step, sample in walk(self._stream(stage), stage):
                steps.setdefault(sample.clip.clip_id, []).append(step)
        return [
            TrainRead(self.run_id, stage.name, clip_id, len(seen), seen[0], seen[-1])
            for clip_id, seen in sorted(steps.items())
        ]

    def _pass_on(self, stage: StageSettings) -> int:
        """A stage of no steps: its result is what it starts from."""
        with starting_weights(stage, self.settings, self.store) as start:
            self.store(stage).save_result(0, dict(start.tensors()), {"result": start.result()})
        return 0

    def _stage_run(self, stage: StageSettings, on_step: OnStep) -> StageRun:
        store = self.store(stage)
        self.metrics.drop_beyond(stage.name, max(store.steps(), default=-1), self._names_after(stage))
        objective = self._objective(stage)
        cost = vae_cost(stage)
        if isinstance(objective.model, VideoDiT):
            cost = transformer_cost(objective.model.config, self.settings.text.max_tokens)
        return StageRun(
            stage,
            objective,
            StepPlanner(self._stream(stage), stage, cost, self.ranks.num_data_ranks),
            self._measured(stage),
            store,
            self.metrics,
            self.ranks,
            on_step,
            seed=self.settings.seed,
            workers=self._workers(stage),
            on_sample=self._sampler(stage, objective),
        )

    def _objective(self, stage: StageSettings) -> Objective:
        with starting_weights(stage, self.settings, self.store) as start:
            self._check_fits(stage, start.config)
            network = start.network()
            if stage.lora is not None and isinstance(network, VideoDiT):
                add_lora(network, stage.lora, seed_of("lora", self.settings.seed, stage.name))
            self._spread(network)
            if isinstance(network, CausalVideoVAE):
                return self._vae_objective(stage, network)
            assert isinstance(start.config, DiTConfig)
            source, captions = self._encoded_source(stage, start.config), self.settings.captions
            if start.teacher is None:
                return FlowObjective(network, source, stage, captions, self.ranks.device)
            teacher = self._spread(start.teacher.network())
        assert isinstance(teacher, VideoDiT)
        return DistillationObjective(network, teacher, source, stage, captions, self.ranks.device)

    def _check_fits(self, stage: StageSettings, config: DiTConfig | VAEConfig) -> None:
        """Refuse before anything is loaded what the device cannot hold; the VAE's crops are small beside it."""
        if stage.steps and isinstance(config, DiTConfig):
            neighbours = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if self.ranks.device.type == "cpu" else 1
            available = available_bytes(self.ranks.device) // neighbours
            clips, text_tokens = self._apart(stage, held_out=False), self.settings.text.max_tokens
            check_fits(config, stage, self.settings.parallel, clips, text_tokens, available, self.ranks.world_size)

    def _spread(self, network: Network) -> Network:
        parallelize(network, self.ranks, self.settings.parallel)
        return network

    def _vae_objective(self, stage: StageSettings, vae: CausalVideoVAE) -> VAEObjective:
        lpips = lpips_of(self.settings.lpips) if stage.lpips_weight else None
        clips = self._apart(stage, held_out=False)
        objective = VAEObjective(vae, stage, self.library.pixels, clips, lpips, self.settings.seed, self.ranks.device)
        above = origin_of(stage, self.settings).stages
        if objective.critic is not None and len(above) == 1:
            self._go_on_with(objective.critic, above[0])
        return objective

    def _go_on_with(self, critic: nn.Module, name: str) -> None:
        """Let a critic begin where the stage of that name left its own, if it had one."""
        store = self.store(next(stage for stage in self.settings.stages if stage.name == name))
        step = max(store.steps())
        if any(file.startswith(CRITIC + ".") for file in store.state(step)["sha256"]):
            critic.load_state_dict(store.load_whole(step, CRITIC))

    def _encoded_source(self, stage: StageSettings, config: DiTConfig) -> EncodedSource:
        """What encodes clips for the transformer: the last VAE above, and the text encoders."""
        name, vae = self._frozen_vae(stage)
        if name not in self._sources:
            text = None if self.settings.latents.cached else self._text_encoder()
            if text is not None:
                _check_widths(text, config)
            self._sources[name] = open_encoded_source(
                self.workspace, self.settings, vae, text, self.library, self.text_encoder_id
            )
        return self._sources[name]

    def _frozen_vae(self, stage: StageSettings) -> tuple[str, CausalVideoVAE]:
        """The result of the last VAE stage above, with that stage's name."""
        last = [other for other in self.settings.above(stage) if other.network == "vae"][-1]
        if last.name not in self._vaes:
            vae = load_network(self.store(last))
            assert isinstance(vae, CausalVideoVAE)
            self._vaes[last.name] = vae.eval().requires_grad_(False).to(self.ranks.device)
        return last.name, self._vaes[last.name]

    def _text_encoder(self) -> TextEncoder:
        if self._text is None:
            self._text = open_text_encoder(self.workspace, self.settings.text, self.text_encoder_id)
        return self._text

    def _sampler(self, stage: StageSettings, objective: Objective) -> Callable[[int], None] | None:
        """Writes sample videos of the recipe's prompts; all processes call it together."""
        dit, clips = objective.model, self._apart(stage, held_out=False)
        if not self.settings.sample_prompts or not clips or not isinstance(dit, VideoDiT):
            return None
        vae, encode = self._frozen_vae(stage)[1], self._text_encoder().encode
        writer = SampleWriter(self.workspace, self._parts(stage.name), self.settings, stage, clips, vae, encode)

        def write(step: int) -> None:
            writer.write(dit, step, self.ranks.is_main)

        return write

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

    def _curves(self) -> list[Curves]:
        if not self.ranks.is_main:
            return []
        curves: list[Curves] = []
        if self.settings.tensorboard and self.workspace.is_local:
            curves.append(TensorBoardCurves(self.workspace.local_path(*self._parts("tensorboard"))))
        if self.settings.wandb_project:
            curves.append(WandbCurves(self.settings.wandb_project, self.run_id, self.settings.model_dump(mode="json")))
        return curves

    def _parts(self, name: str) -> tuple[str, str, str]:
        return CHECKPOINTS, self.run_id, name

    def _workers(self, stage: StageSettings) -> int:
        """Processes that read ahead, where what they read may be read in a fork."""
        may_fork = stage.network == "vae" or self._sources[self._frozen_vae(stage)[0]].may_fork
        return self.settings.parallel.loader_workers if may_fork else 0

    def _names_after(self, stage: StageSettings) -> tuple[str, ...]:
        names = [other.name for other in self.settings.stages]
        return tuple(names[names.index(stage.name) + 1 :])

    def _make_text_encoder(self) -> str:
        if self.settings.text.llm:
            return ""
        texts = {
            text
            for group in self.library.clips.values()
            for clip in group
            for text in caption_texts(clip, self.settings.captions)
        }
        return make_text_encoder(self.workspace, sorted(texts), self.settings.seed)

    def _facts(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "settings": self.settings.model_dump(mode="json"),
            "shards": self.shards,
            "held_out": sorted(self.held_out_ids),
            "text_encoder": self.text_encoder_id,
        }


NOT_LEARNED = {
    "tensorboard": True,
    "wandb_project": True,
    "sample_prompts": True,
    "sample_steps": True,
    "sample_guidance": True,
    "cache_mb": True,
    "keep_last": True,
    "latents": {"cached"},
    "parallel": {
        "replicas", "shards", "ulysses", "ring", "checkpointing", "offload_activations", "compile",
        "loader_workers",
    },
}  # fmt: skip


def run_id_of(settings: TrainSettings, shards: Sequence[str]) -> str:
    """The digest of all that decides what is learned, but for rounding: a run may go on with other processes."""
    networks = (VAE_PRESETS[settings.vae], DIT_PRESETS[settings.dit])  # a preset can change under its name
    learned = settings.model_dump(mode="json", exclude=NOT_LEARNED)
    files = sorted(starting_files(settings).values())
    return content_id(json.dumps(learned, sort_keys=True), *networks, *files, *shards)


def _check(settings: TrainSettings) -> None:
    if not settings.stages:
        raise UserError("the recipe has no [[train.stages]]; a run needs at least one, see training/README.md")
    for kind, name, presets in (("vae", settings.vae, VAE_PRESETS), ("dit", settings.dit, DIT_PRESETS)):
        if name not in presets:
            raise UserError(f"train.{kind} = {name!r} is no preset; there are {', '.join(sorted(presets))}")
    check_starts(settings)


def _check_widths(text: TextEncoder, config: DiTConfig) -> None:
    given, wanted = (text.width, text.pooled_width), (config.text_width, config.pooled_width)
    if given != wanted:
        raise UserError(
            f"the text encoders give states of width {given[0]} and a pooled vector of width {given[1]}, the "
            f"transformer takes {wanted[0]} and {wanted[1]}; change train.text or train.dit"
        )
