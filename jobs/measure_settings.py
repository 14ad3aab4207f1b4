"""Settings of `dailies measure`: `[measure]` of a recipe."""

from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

CHEATED_BY_STILLNESS = (  # a video that does not move has the best value
    *("subject_consistency", "background_consistency", "flicker", "warp_error", "motion_smoothness"),
)
DYNAMICS = "dynamics"


class MeasureSettings(BaseModel, frozen=True, extra="forbid"):
    """What is measured of generated videos and of VAEs. Scorers take their options from `[score.options]`."""

    scorers: tuple[str, ...] = Field(
        default=(DYNAMICS, "motion_smoothness", "warp_error", "flicker", "technical_quality", "sharpness", "exposure"),
        description="files in curation/scorers/; subject_consistency, background_consistency, image_text (text-video "
        "similarity) and aesthetic need weights",
    )
    dynamic_above: float = Field(
        default=0.1875,
        gt=0,
        description="`dynamics` above which a video counts as dynamic, short sides per second; VBench's threshold",
    )
    vae_frames: int = Field(default=17, ge=0, description="the first frames of a held-out clip, 4n + 1; 0 = all")
    vae_side_px: int = Field(
        default=256, ge=0, multiple_of=16, description="side of the centre square that is compared; 0 = whole frames"
    )
    vae_clips: int = Field(default=64, ge=1, description="held-out clips measured at most")
    vae_tiling: Literal["none", "original", "diffusers"] = Field(
        default="none", description="tiles in which the VAE works; see generate.tiling"
    )
    device: str = Field(default="", description="torch device of VAEs; empty: CUDA if there is any, else cpu")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        still = sorted(set(CHEATED_BY_STILLNESS).intersection(self.scorers))
        if still and DYNAMICS not in self.scorers:
            raise ValueError(
                f"{', '.join(still)} are best of a video that stands still, so they are measured beside {DYNAMICS}; "
                f"add it to measure.scorers"
            )
        if self.vae_frames and self.vae_frames % 4 != 1:
            raise ValueError(f"vae_frames must be 4n + 1 (1, 5, 9, ...) or 0, got {self.vae_frames}")
        return self
