"""Packed clips as an endless, seeded, resumable stream of samples.

    shards/<curation stage>/*.arrow --facts--> ClipLibrary: what clips there are; pixels read from the tar on demand
        --held-out clips set apart by a hash of their id-->  SampleStream per training stage
             source by share, order by (seed, stage, source, epoch)  -->  Sample(clip, number, seed)

The order is a pure function of the seed and of how many samples each source has given, never of ranks or workers, so
the whole state is an epoch and a position per source, and which clips a stage read can be told afterwards by walking
the stream again. Every sample carries its own seed (noise, timestep, caption), so nothing depends on how samples are
batched. Opening reads the shards' indices alone, no payload; a payload is checked against its checksum when it is first
read, and a truncated shard at once. Decoded clips stay in a bounded cache.
"""

import hashlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curation.records import Shard, UserError
from curation.shards import VIDEO, current_shards
from curation.tables import Workspace
from curation.video import read_member
from training.open_shards import OpenShards, open_tar
from training.stages import StageSettings

PIXELS_PER_TOKEN = 16  # the VAE shrinks each side by 8, the DiT's patch by 2
FRAMES_PER_LATENT = 4


def seed_of(*parts: object) -> int:
    """A seed in [0, 2^63) that follows from the parts alone, the same on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True)
class PackedClip:
    """One member of a shard, without its pixels. `source` is the curation stage that packed it."""

    clip_id: str
    source: str
    shard_uri: str
    width: int
    height: int
    num_frames: int
    caption: Mapping[str, str]
    frame_rate: float
    scores: Mapping[str, float]

    @property
    def key(self) -> tuple[str, str]:
        return self.shard_uri, self.clip_id


@dataclass(frozen=True)
class Sample:
    """One draw of a clip: the `number`-th sample of its training stage, with the seed of all that is random in it."""

    clip: PackedClip
    number: int
    seed: int


class ClipLibrary:
    """The packed clips of some curation stages.

    Args:
        cache_mb: MiB of decoded clips kept in memory; the least recently used go first.

    Raises:
        UserError: a curation stage has no shards, a shard is truncated or its index is damaged or missing, or a member
            has sizes that the networks cannot take.
    """

    def __init__(self, workspace: Workspace, sources: Iterable[str], cache_mb: int = 1024) -> None:
        self.shards: dict[str, list[Shard]] = {}
        self.clips: dict[str, list[PackedClip]] = {}
        self._decoded: OrderedDict[tuple[str, str], np.ndarray] = OrderedDict()
        self._decoded_bytes, self._limit_bytes = 0, cache_mb << 20
        self._pid, self._lock = os.getpid(), threading.Lock()
        for source in sorted(set(sources)):
            self.shards[source] = current_shards(workspace, source)
            clips = [clip for shard in self.shards[source] for clip in _packed_clips(workspace, source, shard)]
            if not clips:
                raise UserError(
                    f"there are no packed clips of curation stage {source!r} in {workspace.uri}; the recipe needs "
                    f"[pack.stages.{source}] and clips that pass [gates.{source}], then `dailies pack` writes them"
                )
            self.clips[source] = sorted(clips, key=lambda clip: clip.clip_id)
        digests = {shard.uri: shard.index_sha256 for group in self.shards.values() for shard in group}
        self._open = OpenShards(workspace, digests)

    def pixels(self, clip: PackedClip) -> np.ndarray:
        """The clip's frames, uint8 [T, H, W, 3] RGB. Do not write into it.

        Raises:
            UserError: as `decode_clip`.
        """
        if os.getpid() != self._pid:  # forked, perhaps while another thread held the lock
            self._pid, self._lock = os.getpid(), threading.Lock()
        with self._lock:
            if clip.key in self._decoded:
                self._decoded.move_to_end(clip.key)
                return self._decoded[clip.key]
        frames = decode_clip(self._open, clip)
        with self._lock:
            if clip.key not in self._decoded:
                self._decoded[clip.key] = frames
                self._decoded_bytes += frames.nbytes
            while self._decoded_bytes > self._limit_bytes and len(self._decoded) > 1:
                self._decoded_bytes -= self._decoded.popitem(last=False)[1].nbytes
        return frames


def decode_clip(shards: OpenShards, clip: PackedClip) -> np.ndarray:
    """The clip's frames, uint8 [T, H, W, 3] RGB.

    Raises:
        UserError: the shard is damaged, or what decodes is not of the size that the member's facts state.
    """
    try:
        frames = read_member(bytes(shards.read(clip.shard_uri, clip.clip_id, VIDEO)))
    except ValueError as error:  # bytes that changed after they were checked, when the shard was first read
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"clip {clip.clip_id} of shard {clip.shard_uri} cannot be read: {error}; put the shard back from a copy, "
            f"or pack stage {clip.source!r} again"
        ) from error
    stated = (clip.num_frames, clip.height, clip.width, 3)
    if frames.shape != stated:
        raise UserError(
            f"clip {clip.clip_id} in {clip.shard_uri} decodes to {_size(frames.shape)}, but its facts state "
            f"{_size(stated)}; pack stage {clip.source!r} again"
        )
    return frames


def _packed_clips(workspace: Workspace, source: str, shard: Shard) -> Iterator[PackedClip]:
    tar = open_tar(workspace, shard.uri, shard.index_sha256)
    for key, facts in zip(tar.keys, tar.table.column("facts").to_pylist(), strict=True):
        yield _packed_clip(source, shard, key, json.loads(facts))
    tar.close()


def _packed_clip(source: str, shard: Shard, clip_id: str, meta: Mapping[str, Any]) -> PackedClip:
    width, height, num_frames = int(meta["width"]), int(meta["height"]), int(meta["num_frames"])
    if width % PIXELS_PER_TOKEN or height % PIXELS_PER_TOKEN or num_frames % FRAMES_PER_LATENT != 1:
        raise UserError(
            f"clip {clip_id} in {shard.uri} is {width}x{height} with {num_frames} frames; training needs sides "
            f"that are multiples of {PIXELS_PER_TOKEN} and 4n+1 frames: change [pack.stages.{source}] and pack again"
        )
    facts = (dict(meta["caption"]), float(meta["frame_rate"]), dict(meta["scores"]))
    return PackedClip(clip_id, source, shard.uri, width, height, num_frames, *facts)


def _size(shape: Sequence[int]) -> str:
    return f"{shape[2]}x{shape[1]} with {shape[0]} frames"


def held_out_ids(clips: Mapping[str, Sequence[PackedClip]], share: float) -> frozenset[str]:
    """Ids of the clips that no stage trains on, by hash of the id, so that a clip is held out everywhere or nowhere.

    A curation stage with two or more clips has at least one held-out clip, unless `share` is 0, and always one to
    train on.
    """
    if share == 0:
        return frozenset()
    ranks = {clip.clip_id: seed_of("held out", clip.clip_id) / 2**63 for group in clips.values() for clip in group}
    held_out = {clip_id for clip_id, rank in ranks.items() if rank < share}
    ordered = {source: sorted({clip.clip_id for clip in clips[source]}, key=ranks.__getitem__) for source in clips}
    for source in sorted(clips):
        ids = ordered[source]
        if len(ids) > 1 and not held_out.intersection(ids):
            held_out.add(ids[0])
    for source in sorted(clips):
        ids = ordered[source]
        if held_out.issuperset(ids):
            held_out.discard(ids[-1])
    return frozenset(held_out)


class SampleStream:
    """The endless sequence of samples that one training stage reads.

    Args:
        clips: clips to train on, by curation stage.
        stage: its name and the shares of its sources.
    """

    def __init__(self, clips: Mapping[str, Sequence[PackedClip]], stage: StageSettings, seed: int) -> None:
        self.stage, self.seed = stage, seed
        self.clips = {source: list(clips[source]) for source in sorted(stage.shards)}
        total = sum(stage.shards.values())
        self.shares = {source: stage.shards[source] / total for source in self.clips}
        self._given = dict.fromkeys(self.clips, 0)
        self._orders: dict[str, tuple[int, list[PackedClip]]] = {}

    def next_samples(self, count: int) -> list[Sample]:
        return [self._next() for _ in range(count)]

    def state(self) -> dict[str, dict[str, int]]:
        """Epoch and position in it, per source."""
        return {
            source: dict(zip(("epoch", "position"), divmod(given, len(self.clips[source])), strict=True))
            for source, given in self._given.items()
        }

    def load_state(self, state: Mapping[str, Mapping[str, int]]) -> None:
        """Continue exactly where `state()` was taken."""
        for source, place in state.items():
            self._given[source] = place["epoch"] * len(self.clips[source]) + place["position"]

    def _next(self) -> Sample:
        number = sum(self._given.values())
        # The source that lags furthest behind its share: any run of samples holds the shares to within one clip.
        source = max(self.clips, key=lambda name: self.shares[name] * (number + 1) - self._given[name])
        epoch, position = divmod(self._given[source], len(self.clips[source]))
        self._given[source] += 1
        clip = self._order(source, epoch)[position]
        return Sample(clip, number, seed_of(self.seed, self.stage.name, number))

    def _order(self, source: str, epoch: int) -> list[PackedClip]:
        if self._orders.get(source, (-1, []))[0] != epoch:
            clips = self.clips[source]
            # Raw numbers of Philox, since numpy promises to keep them as they are; 0.1 s for a million clips.
            drawn = np.random.Philox(seed_of(self.seed, self.stage.name, source, epoch)).random_raw(len(clips))
            order = [clips[place] for place in np.argsort(drawn, kind="stable").tolist()]
            self._orders[source] = (epoch, order)
        return self._orders[source][1]
