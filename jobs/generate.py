"""`dailies generate`: a video from pure noise and a prompt, with the weights of a finished training run."""

from pydantic import BaseModel, Field


class GenerateSettings(BaseModel, frozen=True, extra="forbid"):
    """What to generate and how to sample it."""

    prompts: tuple[str, ...] = Field(
        default=("a textured object moves across the frame", "a slow camera move over a landscape"),
        description="one video per prompt; `--prompt` replaces the list",
    )
    seed: int = Field(default=0, ge=0, description="seed of the initial noise")
    width: int = Field(default=64, ge=16, description="px, a multiple of 16")
    height: int = Field(default=64, ge=16, description="px, a multiple of 16")
    num_frames: int = Field(default=17, ge=1, description="4n + 1; 1 makes a still image")
    frame_rate: float = Field(
        default=8.0, gt=0, description="frames per second of the file; train and generate with the same"
    )
    steps: int = Field(default=30, ge=1, description="Euler steps from noise to video")
    shift: float = Field(
        default=3.0, gt=0, description="timestep shift of the sampler: 7 at 50 steps, 17 below 20 for 720p"
    )
