"""The frozen encoders over packed shapes, tiny and seeded."""

from functools import cache

from curation.tables import Workspace
from model.presets import VAE_PRESETS
from model.text import TextEncoder
from model.vae import CausalVideoVAE
from tests.model.seeded import randomised
from training.captions import assemble
from training.data import ClipLibrary
from training.encoding import ClipEncoder, EncodeKey, LatentLibrary, encode_key
from training.latent_shards import KINDS, LatentShard, to_member, write_empty, write_latent_shard
from training.networks import make_text_encoder, open_text_encoder
from training.stages import TrainSettings


@cache
def vae_of(seed: int = 0) -> CausalVideoVAE:
    vae = randomised(VAE_PRESETS["tiny"], seed=seed)
    assert isinstance(vae, CausalVideoVAE)
    return vae.eval().requires_grad_(False)


class Encoders:
    """Everything that encodes the packed clips of a workspace under some settings."""

    def __init__(self, workspace: Workspace, settings: TrainSettings, seed: int = 0) -> None:
        self.workspace, self.settings, self.vae = workspace, settings, vae_of(seed)
        self.library = ClipLibrary(workspace, ["image", "video"])
        texts = {assemble(clip.caption) for group in self.library.clips.values() for clip in group}
        self.text_encoder_id = make_text_encoder(workspace, sorted(texts), 0)
        self.text: TextEncoder = open_text_encoder(workspace, settings.text, self.text_encoder_id)

    @property
    def key(self) -> EncodeKey:
        return encode_key(self.vae, self.vae.scaling_factor, self.text_encoder_id, self.settings)

    def on_the_fly(self, cache_mb: int = 64) -> ClipEncoder:
        settings = self.settings
        return ClipEncoder(
            self.vae, self.text, self.library.pixels, settings.captions, settings.latents, cache_mb=cache_mb
        )

    def stored(self, key: EncodeKey | None = None) -> LatentLibrary:
        return LatentLibrary(self.workspace, self.library, key or self.key, ["image", "video"])

    def write_all(self, but: int = 0) -> list[LatentShard]:
        """Latent shards of all clips, or of all but the last few of each source."""
        encoder, key_id, written = self.on_the_fly(), self.key.id, []
        write_empty(self.workspace, key_id, {kind: encoder.encode_empty(kind) for kind in KINDS})
        for source, clips in self.library.clips.items():
            (shard,) = self.library.shards[source]
            members = [
                to_member(clip.clip_id, encoder.encode(clip, self.library.pixels(clip)), {"clip_id": clip.clip_id})
                for clip in clips[: len(clips) - but]
            ]
            written.append(
                write_latent_shard(self.workspace, key_id, shard.shard_id, (shard.uri, shard.sha256), members)
            )
        return written
