"""`dailies encode`: packed clips -> latent shards, by the frozen encoders of a training run, on all GPUs there are.

    packed shards --groups of clips--> engine --> EncodeWorker per GPU (or CPU) --> latents/<key>/*.tar, .arrow, .json
                                                    threads: decode ahead -> VAE, text encoders of this process

The VAE is that of the recipe's last `vae` stage, so `dailies train` comes first: it walks the VAE's stages and stops
where it needs latents. What decides the numbers is in the key (training.encoding.EncodeKey), which names the folder:
another VAE, template or tiling makes new latents beside the old ones, and the same ones are never made twice.
An input is a clip of a packed shard, and one is the empty text; each ends as a result or as a failure with its reason.

Frames are decoded by threads of the encoding process, ahead of the encoder: the decoder lets go of the interpreter's
lock, so the frames (357 MB of a 129-frame clip of 720p) need not travel between processes.
"""

import argparse
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from curation.records import Shard, UserError
from curation.tables import Workspace
from jobs.engine import EngineSettings, Item, Job, Outcome, Tally, report, run as run_job

if TYPE_CHECKING:
    import numpy as np

    from jobs.config import Context
    from training.data import PackedClip
    from training.encoding import ClipEncoder, EncodeKey
    from training.stages import StageSettings, TrainSettings

EMPTY_TEXT = "the empty text"
CLIPS_PER_ITEM = 16  # what a killed worker repeats, and what one tar holds: 0.6 GB of 129-frame clips of 720p
DECODED_AHEAD = 2


@dataclass(frozen=True)
class EncodePlan:
    """Which encoders make latents of which key; all that a worker needs to build them."""

    settings: "TrainSettings"
    run_id: str
    vae_stage: str
    text_encoder_id: str
    key: "EncodeKey"


class EncodeWorker:
    """The engine's worker: encoders are loaded once, an item is a group of clips of one packed shard."""

    def __init__(self, workspace_uri: str, plan: EncodePlan) -> None:
        self.workspace, self.plan = Workspace(workspace_uri), plan
        self.encoder = _open_encoder(self.workspace, plan)

    def __call__(self, item: Item) -> Outcome:
        from training.latent_shards import KINDS, is_written, write_empty, write_latent_shard

        key_id = self.plan.key.id
        if item.shared is None:
            write_empty(self.workspace, key_id, {kind: self.encoder.encode_empty(kind) for kind in KINDS})
            return Outcome()
        shard: Shard = item.shared
        if is_written(self.workspace, key_id, shard.shard_id, [clip.clip_id for clip in item.inputs.values()]):
            return Outcome()  # by this very item, before its process died
        members, failures = [], []
        for key, clip, decoded in self._decoded(shard, item.inputs):
            try:
                members.append(self._member(clip, decoded.result()))
            except OSError:  # the storage's fault: the engine tries the item again
                raise
            except Exception as error:  # the clip's own failure row; its neighbours are encoded
                failures.append((key, getattr(error, "reason", type(error).__name__), str(error)))
        if members:
            write_latent_shard(self.workspace, key_id, shard.shard_id, (shard.uri, shard.sha256), members)
        return Outcome(failures=failures)

    def _decoded(
        self, shard: Shard, clips: "Mapping[str, PackedClip]"
    ) -> "Iterator[tuple[str, PackedClip, Future[np.ndarray]]]":
        """Each clip with its frames, or what was wrong with them; a few are decoded ahead."""
        from training.data import decode_clip
        from training.open_shards import OpenShards

        shards = OpenShards(self.workspace, {shard.uri: shard.index_sha256})
        waiting: deque[tuple[str, PackedClip, Future[np.ndarray]]] = deque()
        with ThreadPoolExecutor(DECODED_AHEAD) as threads:
            for key, clip in sorted(clips.items()):
                waiting.append((key, clip, threads.submit(decode_clip, shards, clip)))
                if len(waiting) > DECODED_AHEAD:
                    yield waiting.popleft()
            yield from waiting

    def _member(self, clip: "PackedClip", frames: "np.ndarray") -> Any:
        from training.captions import caption_texts
        from training.latent_shards import to_member

        facts = {
            "clip_id": clip.clip_id,
            "shard": clip.shard_uri,
            "size": [clip.num_frames, clip.height, clip.width],
            "texts": list(caption_texts(clip, self.plan.settings.captions)),
        }
        return to_member(clip.clip_id, self.encoder.encode(clip, frames), facts)


def _open_encoder(workspace: Workspace, plan: EncodePlan) -> "ClipEncoder":
    """The frozen encoders on the GPU, where this process has one, in the precision of released weights there."""
    import torch

    from training.checkpoint import CheckpointStore
    from training.encoding import ClipEncoder
    from training.networks import load_network, open_text_encoder
    from training.trained import CHECKPOINTS

    cuda, settings = torch.cuda.is_available(), plan.settings
    device, vae_number, text_number = ("cuda", torch.float16, torch.bfloat16) if cuda else ("cpu", None, torch.float32)
    vae: Any = load_network(CheckpointStore(workspace, CHECKPOINTS, plan.run_id, plan.vae_stage))
    text = open_text_encoder(workspace, settings.text, plan.text_encoder_id, text_number)
    vae.eval().requires_grad_(False).to(device=device, dtype=vae_number)

    def pixels(clip: "PackedClip") -> "np.ndarray":
        raise AssertionError(f"frames of {clip.clip_id} are given to `encode`")

    return ClipEncoder(vae, text.to(device), pixels, settings.captions, settings.latents, cache_mb=0)


def encode_job(context: "Context") -> Job:
    """What there is to encode with which encoders; loads the VAE, to know it by its weights.

    Raises:
        UserError: no stage reads latents, no finished `vae` stage, or as `TrainingRun`.
    """
    from training.curriculum import TrainingRun
    from training.encoding import encode_key, encoded_sources, text_identity, write_key
    from training.networks import load_network

    settings, workspace = context.recipe.train, context.workspace
    run = TrainingRun(workspace, settings)
    sources = encoded_sources(settings)
    if not sources:
        raise UserError("no stage of [[train.stages]] reads latents; `dailies encode` is for `flow` and `distill`")
    stage = _vae_stage(settings)
    if not run.finished(stage):
        raise UserError(
            f"stage {stage.name!r} of run {run.run_id} is not finished, and latents are made by its VAE: run `dailies "
            "train` first, which walks the VAE's stages, and with train.latents.cached = true stops where it needs "
            "latents"
        )
    vae: Any = load_network(run.store(stage))
    identity = text_identity(settings.text, run.text_encoder_id)
    key = encode_key(vae, vae.scaling_factor, identity, settings)
    write_key(workspace, key)
    items = [Item(EMPTY_TEXT, {EMPTY_TEXT: None})]
    for source in sources:
        items += _items(run.library.shards[source], run.library.clips[source])
    plan = EncodePlan(settings, run.run_id, stage.name, run.text_encoder_id, key)
    return Job(
        name="encode",
        unit="clips and the empty text",
        digest=key.id,
        tables=(),
        items=items,
        make_worker=partial(EncodeWorker, workspace.uri, plan),
        finished=partial(encoded_inputs, workspace, key.id),
    )


def _vae_stage(settings: "TrainSettings") -> "StageSettings":
    """The last of the VAE's stages above the first stage that reads latents; settings have one there."""
    above = takewhile(lambda stage: stage.objective == "vae", settings.stages)
    return list(above)[-1]


def _items(shards: Sequence[Shard], clips: "Sequence[PackedClip]") -> list[Item]:
    """Groups of clips of each packed shard, in order of id."""
    by_shard: dict[str, list[PackedClip]] = {shard.uri: [] for shard in shards}
    for clip in clips:
        by_shard[clip.shard_uri].append(clip)
    items = []
    for shard in shards:
        inside = by_shard[shard.uri]
        for start in range(0, len(inside), CLIPS_PER_ITEM):
            group = {_input_id(shard.sha256, clip.clip_id): clip for clip in inside[start : start + CLIPS_PER_ITEM]}
            items.append(Item(f"{shard.uri} from clip {start}", group, shard))
    return items


def _input_id(shard_sha256: str, clip_id: str) -> str:
    return f"{clip_id}@{shard_sha256[:20]}"


def encoded_inputs(workspace: Workspace, key_id: str) -> set[str]:
    """Ids of the inputs that have their result under a key."""
    from training.latent_shards import EMPTY, LATENTS, read_latent_shards

    shards = read_latent_shards(workspace, key_id)
    done = {_input_id(shard.shard_sha256, clip_id) for shard in shards for clip_id in shard.clip_ids}
    return done | ({EMPTY_TEXT} if workspace.exists(LATENTS, key_id, EMPTY) else set())


def encode(context: "Context") -> Tally:
    """Encode what is due; every clip ends in a latent shard or in `failures`."""
    from jobs.cluster import joined

    job = encode_job(context)
    with joined():
        return run_job(job, context.workspace, _with_gpus(context.recipe.engine))


def _with_gpus(settings: EngineSettings) -> EngineSettings:
    """One GPU per worker where the cluster has some and nothing else was said."""
    import ray

    num_gpus = ray.cluster_resources().get("GPU", 0.0)
    if settings.gpus_per_worker or not num_gpus:
        return settings
    print(f"encode: one of the cluster's {num_gpus:g} GPUs for each worker", flush=True)
    return settings.model_copy(update={"gpus_per_worker": 1.0})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # the recipe says it all


def run(context: "Context") -> int:
    return report(encode(context))
