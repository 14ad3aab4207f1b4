"""What `dailies encode` writes and the loader reads: `[train.latents]` of a recipe. Settings alone, no network."""

from typing import Literal

from pydantic import BaseModel, Field


class LatentSettings(BaseModel, frozen=True, extra="forbid"):
    """How clips become latents and text states, on disk and on the fly alike; part of the key of every cache."""

    cached: bool = Field(
        default=False, description="read the shards of `dailies encode`; false: encode while training, by the same code"
    )
    dtype: Literal["float16", "bfloat16", "float32"] = Field(
        default="float16", description="of latents and text states; training on the fly rounds to it, too"
    )
    tile_px: int = Field(default=0, ge=0, multiple_of=16, description="encode in tiles of this side; 0 = whole frames")
    tile_frames: int = Field(
        default=0, ge=0, multiple_of=4, description="encode in tiles of so many frames; 0 = whole clips"
    )
