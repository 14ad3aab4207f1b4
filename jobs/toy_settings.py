"""Settings of the tiny run: the sizes of its clips, and how its samples are scored. `[toy]` of a recipe."""

from pydantic import BaseModel, Field, field_validator


class ClipSet(BaseModel, frozen=True, extra="forbid"):
    """One size of clips, packed as curation stages `shapes_<name>` and `real_<name>`."""

    size_px: int = Field(ge=16, multiple_of=16, description="side of the square frame")
    num_frames: int = Field(ge=1, description="4n + 1; 1 makes stills")
    scenes: int = Field(default=0, ge=0, description="scenes of this set, from the first; 0 = all")
    chosen: bool = Field(default=False, description="only what the simulated annotator keeps")

    @field_validator("num_frames")
    @classmethod
    def _fits_the_vae(cls, num_frames: int) -> int:
        if num_frames % 4 != 1:
            raise ValueError(f"num_frames must be 4n + 1 (1, 5, 9, ...), got {num_frames}")
        return num_frames


class ToySettings(BaseModel, frozen=True, extra="forbid"):
    """The toy set of `dailies train-tiny`, and how its samples are scored."""

    scenes: int = Field(default=384, ge=48, description="scenes of shapes; 48 hold every combination once")
    footage_cuts: int = Field(default=24, ge=2, description="cuts of real footage at most")
    films: int = Field(default=3, ge=1, description="films to render where no footage is given")
    sets: dict[str, ClipSet] = Field(default_factory=dict, description="sizes of clips by name")
    prompts: int = Field(default=48, ge=1, description="samples that are scored, from the first combination on")
    sample_steps: int = Field(default=16, ge=1, description="sampling steps of a scored sample")
    cfg_scale: float = Field(default=3.0, ge=1, description="guidance of a scored sample, by two forwards or embedded")
    shift: float = Field(default=2.0, gt=0, description="timestep shift of the sampler")
    sample_set: str = Field(default="large", description="the set whose size the scored samples have")
    resume: tuple[str, ...] = Field(default=(), description="stages that are taken up again in the middle, to compare")
