"""What flow stages read of a clip: its latent and the states of its texts, from files or encoded on the fly.

    packed clip --decode--> frozen VAE ---> mean, logvar --round--+--> kept in memory (ClipEncoder)
                --caption variants--> frozen text encoders --round--+--> or in latent shards (`dailies encode`)
                                                                          | LatentLibrary, by the key
    posterior draw of a seed * scaling factor <-- mean, logvar -----------+

Both sources give the same bits: what is encoded on the fly is rounded exactly as the files are, a clip is encoded by
itself and so are its texts, and the draw from the posterior comes after the rounding in both. A set of latent shards is
known by its key: the digest of all that decides its numbers. Latents of another key are never read; asking for them
says which part is another.

Legend: C channels, T H W latent frames and cells.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from pyarrow import fs as pafs
from torch import Tensor, nn

from curation.records import UserError, content_id
from curation.tables import Workspace
from model.text import Kind, TextEncoder, TextState
from model.text_cache import PromptCache
from model.text_files import model_folder, weights_digest
from model.tiling import Tiling
from model.vae import CausalVideoVAE, Posterior
from training.caption_settings import CaptionSettings
from training.captions import caption_texts
from training.clip_tensors import generator_of, to_tensor
from training.data import ClipLibrary, PackedClip
from training.latent_settings import LatentSettings
from training.latent_shards import (
    KEY,
    LATENTS,
    MEMBER,
    Encoding,
    LatentShard,
    StoredTensors,
    read_empty,
    read_latent_shards,
)
from training.open_shards import OpenShards
from training.stages import TextSettings, TrainSettings

FORMAT = "1"  # raise it when the numbers of a member, or how texts are told, change
SPACE_CELL_PX, TIME_CELL_FRAMES = 8, 4  # a tile's overlap is whole cells


class EncodedSource(Protocol):
    """Latents and text states of packed clips. `may_fork`: whether a forked process, a loader's worker, may read it."""

    may_fork: bool

    def latent(self, clip: PackedClip, seed: int | None) -> Tensor:
        """The clip's latent in the DiT's scale, float32 [C, T, H, W], on the CPU: drawn by the seed, or the mean."""
        ...

    def text(self, clip: PackedClip, variant: int) -> TextState:
        """A caption variant's states, in the dtype of the settings, on the CPU. Do not write into them."""
        ...

    def empty_text(self, clip: PackedClip) -> TextState:
        """The empty text's states under the template of the clip's kind. Do not write into them."""
        ...


@dataclass(frozen=True)
class EncodeKey:
    """All that decides the numbers in a set of latent shards, by what people call it."""

    parts: Mapping[str, str]

    @property
    def id(self) -> str:
        return content_id(*(f"{name}={value}" for name, value in sorted(self.parts.items())))

    def differences(self, other: Mapping[str, str]) -> list[str]:
        """Parts that are not the same in the other, each with both values."""
        names = sorted(self.parts.keys() | other.keys())
        return [
            f"{name} (there {other.get(name, 'unknown')}, here {self.parts.get(name, 'unknown')})"
            for name in names
            if self.parts.get(name) != other.get(name)
        ]


def encode_key(vae: nn.Module, scaling: float, text_identity: str, settings: TrainSettings) -> EncodeKey:
    """The key of what these encoders make under these settings.

    Args:
        vae: with its weights as they were loaded, in float32: a cast copy would be another.
        scaling: the factor between the VAE's latents and the DiT's.
        text_identity: see `text_identity`.
    """
    latents, prompts = settings.latents, settings.text.prompts()
    return EncodeKey(
        {
            "format": FORMAT,
            "VAE weights": _weights_sha256(vae),
            "VAE scaling": repr(scaling),
            "tiling": f"{latents.tile_px} px, {latents.tile_frames} frames",
            "dtype": latents.dtype,
            "text encoder weights": text_identity,
            "templates": content_id(prompts.model_dump_json()),
            "captions": settings.captions.model_dump_json(),
        }
    )


def text_identity(settings: TextSettings, text_encoder_id: str) -> str:
    """Digest of the text encoders' files, tokenizers included, or the id of those built from the packed captions.

    Raises:
        UserError: a named folder is not there.
    """
    if not settings.llm:
        return text_encoder_id
    try:
        return content_id(*(weights_digest(model_folder(name)) for name in (settings.llm, settings.clip)))
    except ValueError as error:
        raise UserError(f"train.text does not fit: {error}") from error


def encoded_sources(settings: TrainSettings) -> list[str]:
    """The curation stages that some stage reads as latents: all but those that only the VAE trains on."""
    return sorted({source for stage in settings.stages if stage.objective != "vae" for source in stage.shards})


def tiling_of(settings: LatentSettings) -> Tiling | None:
    """Tiles that share a quarter with their neighbours, in whole cells; None where nothing is tiled."""
    if not settings.tile_px and not settings.tile_frames:
        return None
    overlap_px = settings.tile_px // (4 * SPACE_CELL_PX) * SPACE_CELL_PX
    overlap_frames = settings.tile_frames // (4 * TIME_CELL_FRAMES) * TIME_CELL_FRAMES
    return Tiling(settings.tile_px, overlap_px, settings.tile_frames, overlap_frames)


def kind_of(clip: PackedClip) -> Kind:
    """Which template the clip's texts are read under."""
    return "image" if clip.num_frames == 1 else "video"


class ClipEncoder:
    """Encodes clips when they are asked for, where and in the precision in which the networks are.

    Args:
        pixels: a clip's frames, uint8 [T, H, W, 3].
        cache_mb: MiB of posteriors and text states kept in memory; the least recently used go first.
    """

    may_fork = False  # a GPU cannot be used in a fork, and other thread counts give other last bits

    def __init__(
        self,
        vae: CausalVideoVAE,
        text: TextEncoder,
        pixels: Callable[[PackedClip], np.ndarray],
        captions: CaptionSettings,
        latents: LatentSettings,
        cache_mb: int = 1024,
    ) -> None:
        self.vae, self.text_encoder, self.pixels = vae, text, pixels
        self.captions, self.dtype, self.tiling = captions, getattr(torch, latents.dtype), tiling_of(latents)
        self._cache, self._lock = PromptCache(cache_mb << 20), threading.Lock()
        self._empty: dict[Kind, TextState] = {}

    def latent(self, clip: PackedClip, seed: int | None) -> Tensor:
        name = f"posterior {clip.key}"
        with self._lock:
            moments = self._cache.get(name)
            if moments is None:
                moments = torch.stack(self.encode_pixels(clip, self.pixels(clip)))
                self._cache.put(name, moments)
        return draw(moments[0], moments[1], self.vae.scaling_factor, seed)

    def text(self, clip: PackedClip, variant: int) -> TextState:
        texts = caption_texts(clip, self.captions)
        first = texts.index(texts[variant])
        with self._lock:
            states, pooled = (self._cache.get(f"{part} {first} {clip.key}") for part in ("states", "pooled"))
            if states is not None and pooled is not None:
                return TextState(states, pooled)
            encoded, variants = self.encode_texts(clip)
            for number, text in enumerate(encoded):
                place = f"{variants.index(number)} {clip.key}"
                self._cache.put(f"states {place}", text.states)
                self._cache.put(f"pooled {place}", text.pooled)
        return encoded[variants[variant]]

    def empty_text(self, clip: PackedClip) -> TextState:
        kind = kind_of(clip)
        with self._lock:
            if kind not in self._empty:
                self._empty[kind] = self.encode_empty(kind)
        return self._empty[kind]

    def encode(self, clip: PackedClip, frames: np.ndarray) -> Encoding:
        """A clip as it is stored.

        Raises:
            UserError: a number is too large for the dtype of the settings.
        """
        return Encoding(*self.encode_pixels(clip, frames), *self.encode_texts(clip))

    @torch.no_grad()
    def encode_pixels(self, clip: PackedClip, frames: np.ndarray) -> tuple[Tensor, Tensor]:
        """Mean and logvar of the posterior, [C, T, H, W] each, rounded; see `encode`."""
        place = next(self.vae.parameters())
        posterior = self.vae.encode(to_tensor(frames, place.device)[None].to(place.dtype), self.tiling)
        name = f"latents of clip {clip.clip_id}"
        return self._rounded(posterior.mean[0], name), self._rounded(posterior.logvar[0], name)

    def encode_texts(self, clip: PackedClip) -> tuple[tuple[TextState, ...], tuple[int, ...]]:
        """The clip's different texts, and which of them each variant is; see `encode`."""
        texts = caption_texts(clip, self.captions)
        different = list(dict.fromkeys(texts))
        encoded = self.text_encoder.encode(different, kind_of(clip))
        rounded = tuple(self._rounded_text(text, f"texts of clip {clip.clip_id}") for text in encoded)
        return rounded, tuple(different.index(text) for text in texts)

    def encode_empty(self, kind: Kind) -> TextState:
        """The empty text under a template, rounded; see `encode`."""
        (state,) = self.text_encoder.encode([""], kind)
        return self._rounded_text(state, f"the empty text of {kind}s")

    def _rounded_text(self, text: TextState, name: str) -> TextState:
        return TextState(self._rounded(text.states, name), self._rounded(text.pooled, name))

    def _rounded(self, tensor: Tensor, name: str) -> Tensor:
        rounded = tensor.to(device="cpu", dtype=self.dtype)
        if not rounded.isfinite().all():
            raise UserError(
                f"{name}: numbers up to {tensor.abs().max().item():g} do not fit {self.dtype}; "
                'set train.latents.dtype = "bfloat16" or "float32"'
            )
        return rounded


class LatentLibrary:
    """Latents and text states from latent shards: memory-mapped where local, one range read per clip elsewhere.

    Args:
        key: of the encoders and settings that the run has; latents of another key are refused.
        sources: curation stages that are read as latents.

    Raises:
        UserError: clips of these stages have no latents under this key; says which part differs and what to do.
    """

    may_fork = True

    def __init__(self, workspace: Workspace, library: ClipLibrary, key: EncodeKey, sources: Iterable[str]) -> None:
        self.key, self._scaling = key, float(key.parts["VAE scaling"])
        shards = read_latent_shards(workspace, key.id)
        if not shards:
            raise UserError(_why_stale(workspace, key))
        self._uris = _places(library, sources, shards)
        self._open = OpenShards(workspace, {shard.uri: shard.index_sha256 for shard in shards})
        self._empty = read_empty(workspace, key.id)
        self._last = threading.local()

    def latent(self, clip: PackedClip, seed: int | None) -> Tensor:
        return draw(*self.posterior(clip), self._scaling, seed)

    def posterior(self, clip: PackedClip) -> tuple[Tensor, Tensor]:
        """Mean and logvar as they are stored, unscaled [C, T, H, W]. Do not write into them."""
        stored = self._stored(clip)
        return stored["mean"], stored["logvar"]

    def text(self, clip: PackedClip, variant: int) -> TextState:
        return self._stored(clip).variant(variant)

    def empty_text(self, clip: PackedClip) -> TextState:
        return self._empty[kind_of(clip)]

    def _stored(self, clip: PackedClip) -> StoredTensors:
        """All of a clip; what was read last is kept, since its latent and its text are asked for in turn."""
        last = getattr(self._last, "clip", None)
        if last is None or last[0] != clip.key:
            data = self._open.read(self._uris[clip.key], clip.clip_id, MEMBER)
            last = self._last.clip = clip.key, StoredTensors(bytearray(data) if data.readonly else data)
        return last[1]


def open_encoded_source(
    workspace: Workspace,
    settings: TrainSettings,
    vae: CausalVideoVAE,
    text: TextEncoder | None,
    library: ClipLibrary,
    text_encoder_id: str = "",
) -> EncodedSource:
    """Latent shards where `train.latents.cached`, else encoders on the fly; both give the same bits.

    Args:
        vae: as it was loaded, in float32, where it is to compute.
        text: None will do where latents are cached.
        text_encoder_id: of encoders that were built from the captions.

    Raises:
        UserError: as `LatentLibrary`.
    """
    if settings.latents.cached:
        identity = text_identity(settings.text, text_encoder_id)
        key = encode_key(vae, vae.scaling_factor, identity, settings)
        return LatentLibrary(workspace, library, key, encoded_sources(settings))
    assert text is not None
    return ClipEncoder(vae, text, library.pixels, settings.captions, settings.latents, settings.cache_mb)


def draw(mean: Tensor, logvar: Tensor, scaling: float, seed: int | None) -> Tensor:
    """A latent of the rounded posterior in the DiT's scale, float32; without a seed its mean."""
    mean = mean.to(torch.float32, copy=True)
    if seed is None:
        return mean.mul_(scaling)
    return Posterior(mean, logvar.float()).sample(generator_of(seed)).mul_(scaling)


def _weights_sha256(module: nn.Module) -> str:
    """sha256 over names, types, shapes and bytes of all weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _places(library: ClipLibrary, sources: Iterable[str], shards: Sequence[LatentShard]) -> dict[tuple[str, str], str]:
    """The latent shard of every clip.

    Raises:
        UserError: a clip has none, or its packed shard is another than the one that was encoded.
    """
    encoded = {(shard.shard_sha256, clip_id): shard.uri for shard in shards for clip_id in shard.clip_ids}
    places: dict[tuple[str, str], str] = {}
    for source in sorted(sources):
        clips = library.clips[source]
        sha256 = {shard.uri: shard.sha256 for shard in library.shards[source]}
        missing = [clip for clip in clips if (sha256[clip.shard_uri], clip.clip_id) not in encoded]
        if missing:
            uris = sorted({clip.shard_uri for clip in missing})
            raise UserError(
                f"shards: {len(missing)} of {len(clips)} clips of curation stage {source!r} have no latents, the first "
                f"is {missing[0].clip_id} in {uris[0]}; run `dailies encode`, which encodes what is missing and "
                "says why a clip failed"
            )
        places |= {clip.key: encoded[sha256[clip.shard_uri], clip.clip_id] for clip in clips}
    return places


def _why_stale(workspace: Workspace, key: EncodeKey) -> str:
    """Which part of the nearest set of latents differs from the key, and what to do."""
    kept = [_read_key(workspace, name) for name in _key_ids(workspace)]
    differences = sorted((key.differences(parts) for parts in kept), key=lambda names: (len(names), names))
    if not differences or not differences[0]:
        return (
            f"there are no latents in {workspace.uri}; run `dailies encode`, or set train.latents.cached = false to "
            "encode while training"
        )
    return (
        f"the latents in {workspace.uri} are of other settings or weights: {'; '.join(differences[0])}. Run `dailies "
        "encode` again, which writes new ones beside them, or set back what differs"
    )


def _key_ids(workspace: Workspace) -> list[str]:
    selector = pafs.FileSelector(workspace.path(LATENTS), allow_not_found=True)
    names = sorted(info.base_name for info in workspace.fs.get_file_info(selector))
    return [name for name in names if workspace.exists(LATENTS, name, KEY)]


def _read_key(workspace: Workspace, key_id: str) -> dict[str, Any]:
    return json.loads(workspace.read_bytes(LATENTS, key_id, KEY))


def write_key(workspace: Workspace, key: EncodeKey) -> None:
    """Say beside the latents what they were made with."""
    workspace.write_bytes(json.dumps(dict(key.parts), indent=1).encode(), LATENTS, key.id, KEY)
