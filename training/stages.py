"""The curriculum as data: what a training run is, and what each of its stages reads, trains and measures.

A stage is one row of `[[train.stages]]` in a recipe; the loop, the data reader and the objectives read it and know no
stage by name. HunyuanVideo's curriculum (report sections 4.1 and 4.5) in this form:

    vae -> image_256 -> mixed_scale -> video_short -> sft

Each `flow` stage starts from the averaged (EMA) weights of the `flow` stage before it, each `vae` stage likewise, and a
`flow` stage sees latents of the last `vae` stage above it.
"""

from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from model.text_settings import TextSettings as PromptSettings


class TextSettings(PromptSettings, frozen=True, extra="forbid"):
    """The two frozen text encoders: where they lie, and how prompts become their states.

    Both places empty: tiny ones are built from the captions that were packed.
    """

    llm: str = Field(
        default="",
        description="folder, or name in the local Hugging Face cache, of the language model: any decoder-only one "
        "(released: llava-llama-3-8b-v1_1's language part)",
    )
    clip: str = Field(
        default="", description="the same of the CLIP text model (released: openai/clip-vit-large-patch14)"
    )

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if bool(self.llm) != bool(self.clip):
            raise ValueError(
                f"train.text needs both folders or neither, got llm={self.llm!r} and clip={self.clip!r}; "
                "leave both empty to build tiny encoders from the packed captions"
            )
        return self

    def prompts(self) -> PromptSettings:
        """How prompts become states, wherever the encoders lie."""
        return PromptSettings(**self.model_dump(exclude={"llm", "clip"}))


class StageSettings(BaseModel, frozen=True, extra="forbid"):
    """One stage of the curriculum."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="unique within the run; names the checkpoint folder")
    objective: Literal["vae", "flow"] = Field(default="flow", description="what is trained: the VAE, or the DiT")
    shards: dict[str, float] = Field(
        description="curation stages to read, each with its share of the samples, e.g. {video = 4, image = 1}; "
        "every stretch of samples holds these proportions, so every batch mixes them"
    )
    steps: int = Field(default=100, ge=1, description="optimizer steps")
    batch: int = Field(default=8, ge=1, description="clips per step")
    optimizer: Literal["adamw", "muon"] = Field(
        default="adamw",
        description="muon: Muon for matrices and kernels, AdamW for the rest; fewer steps for the VAE",
    )
    learning_rate: float = Field(default=1e-4, gt=0, description="peak rate, the same for both optimizers")
    warmup_steps: int = Field(default=10, ge=0, description="steps of linear rise from zero to the peak rate")
    final_rate_share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="share of the peak rate that is left at the last step (cosine decay; 1 = constant)",
    )
    weight_decay: float = Field(default=0.0, ge=0, description="decoupled weight decay of matrices and kernels")
    clip_norm: float = Field(default=1.0, gt=0, description="gradients are scaled down to this norm")
    ema: float = Field(
        default=0.99, ge=0, lt=1, description="decay of the averaged weights, which are the stage's result"
    )
    kl_weight: float = Field(
        default=1e-6, ge=0, description="vae: weight of the KL term beside L1 (report section 4.1)"
    )
    crop_px: int = Field(default=0, ge=0, multiple_of=16, description="vae: side of random crops; 0 = whole frames")
    crop_frames: int = Field(default=0, ge=0, description="vae: frames of random crops, 4n+1; 0 = whole clips")
    shift: float = Field(default=1.0, gt=0, description="flow: shift of the timestep, t' = s t / (1 + (s - 1) t)")
    text_dropout: float = Field(
        default=0.1, ge=0, le=1, description="flow: chance that the caption becomes the empty text"
    )
    pooled_text_dropout: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="flow: chance, drawn by itself, that CLIP reads the empty text; left out: whenever the language "
        "model does. Open-Sora 2: 0.316 here and in text_dropout, so both in 0.1",
    )
    field_dropout: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="flow: chance that a field of the structured caption is left out of the text",
    )
    image_to_video: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="flow: chance that the first latent frame of a video is given clean and not learned "
        "(HunyuanVideo-I2V: 0.9, its image condition drops out with 0.1); the others are text-to-video",
    )
    log_every: int = Field(default=20, ge=1, description="steps between writing metrics")
    measure_every: int = Field(
        default=0, ge=0, description="steps between held-out measurements; 0 = only before and after"
    )
    checkpoint_every: int = Field(
        default=50, ge=1, description="steps between checkpoints; the last step always has one"
    )

    @model_validator(mode="after")
    def _fits_the_networks(self) -> Self:
        if not self.shards or any(share <= 0 for share in self.shards.values()):
            raise ValueError(
                f"stage {self.name!r} needs `shards` with at least one curation stage and positive shares, "
                f"got {self.shards}; e.g. shards = {{ video = 4, image = 1 }}"
            )
        if self.crop_frames and self.crop_frames % 4 != 1:
            raise ValueError(f"stage {self.name!r}: crop_frames must be 4n+1 (1, 5, 9, ...), got {self.crop_frames}")
        return self


class TrainSettings(BaseModel, frozen=True, extra="forbid"):
    """A training run: the networks, the seed and the stages in the order in which they are walked."""

    vae: str = Field(default="tiny", description="preset of the causal 3D VAE, a name in model.presets.VAE_PRESETS")
    dit: str = Field(
        default="tiny", description="preset of the diffusion transformer, a name in model.presets.DIT_PRESETS"
    )
    text: TextSettings = Field(default=TextSettings(), description="the frozen text encoders")
    seed: int = Field(default=0, ge=0, description="everything random follows from it")
    threads: int = Field(
        default=2, ge=1, description="torch threads; part of the run's identity, since sums depend on it"
    )
    held_out: float = Field(
        default=0.1, ge=0, lt=1, description="share of clips that no stage trains on, chosen by a hash of the clip id"
    )
    held_out_clips: int = Field(default=16, ge=1, description="at most so many held-out clips are measured per stage")
    cache_mb: int = Field(
        default=1024, ge=0, description="memory in MiB for decoded clips, and as much again for latents"
    )
    keep_last: int = Field(default=2, ge=1, description="checkpoints kept per stage")
    stages: tuple[StageSettings, ...] = Field(default=(), description="the curriculum, `[[train.stages]]`")

    @model_validator(mode="after")
    def _stages_are_in_order(self) -> Self:
        names = [stage.name for stage in self.stages]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"names of train.stages must differ, but {repeated} occur more than once in {names}")
        kinds = [stage.objective for stage in self.stages]
        if "flow" in kinds and "vae" not in kinds[: kinds.index("flow")]:
            raise ValueError(
                f"stage {names[kinds.index('flow')]!r} trains on latents, but no `vae` stage comes before it "
                f"in {names}; "
                'put a stage with objective = "vae" first'
            )
        return self
