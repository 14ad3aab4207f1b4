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
from training.caption_settings import CaptionSettings
from training.latent_settings import LatentSettings
from training.parallel_settings import ParallelSettings


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


class LoRASettings(BaseModel, frozen=True, extra="forbid"):
    """Low-rank updates of the transformer's weights (peft); the weights themselves stay as they are."""

    rank: int = Field(default=16, ge=1, description="rank of each update")
    alpha: float = Field(default=16.0, gt=0, description="updates are scaled by alpha / rank")
    targets: str = Field(
        default=r".*(attn_qkv|attn_proj|mlp\.fc1|mlp\.fc2|linear1|linear2)",
        description="regular expression that names the layers, released names",
    )


class StageSettings(BaseModel, frozen=True, extra="forbid"):
    """One stage of the curriculum."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="unique within the run; names the checkpoint folder")
    objective: Literal["vae", "flow", "distill"] = Field(
        default="flow",
        description="what is trained: the VAE, the DiT by flow matching, or a DiT that learns from the one before it "
        "to follow an embedded guidance scale",
    )
    start_from: tuple[str, ...] = Field(
        default=(),
        description="weights to begin with: none named = the last stage above of the same network, else new ones; "
        '"new"; names of stages above, averaged where several; or one file or folder of released or exported weights',
    )
    lora: LoRASettings | None = Field(default=None, description="flow, distill: train low-rank updates instead")
    shards: dict[str, float] = Field(
        default_factory=dict,
        description="curation stages to read, each with its share of the samples, e.g. {video = 4, image = 1}; "
        "every stretch of samples holds these proportions, so every batch mixes them",
    )
    steps: int = Field(
        default=100, ge=0, description="optimizer steps; 0: the stage's result is what it starts from, e.g. an average"
    )
    batch: int = Field(default=8, ge=1, description="clips per step, over all processes")
    batch_tokens: int = Field(
        default=0, ge=0, description="video tokens per step, over all processes; 0 = as many as `batch` clips have"
    )
    micro_batch_tokens: int = Field(
        default=0,
        ge=0,
        description="video tokens (vae: latent cells / 4) that a process takes at once; 0 = its share of a step",
    )
    optimizer: Literal["adamw", "adamw8bit", "muon"] = Field(
        default="adamw",
        description="adamw8bit: moments in 8 bits; muon: Muon for matrices and kernels, AdamW for the rest",
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
    lpips_weight: float = Field(
        default=0.0, ge=0, description="vae: weight of the perceptual distance (report: 0.1); needs train.lpips"
    )
    adversarial_weight: float = Field(
        default=0.0, ge=0, description="vae: weight of the adversarial term (report: 0.05)"
    )
    adversarial_from: int = Field(
        default=0,
        ge=0,
        description="vae: step of the stage from which the adversarial term counts; the critic learns before",
    )
    critic_learning_rate: float = Field(default=1e-4, gt=0, description="vae: rate of the critic")
    crop_px: int = Field(default=0, ge=0, multiple_of=16, description="vae: side of random crops; 0 = whole frames")
    crop_frames: int = Field(default=0, ge=0, description="vae: frames of random crops, 4n+1; 0 = whole clips")
    frame_interval: int = Field(
        default=1,
        ge=1,
        description="vae: largest interval between the frames of a crop; drawn from 1 to this where the clip is long "
        "enough (report: 8, against faint motion)",
    )
    tiled: float = Field(
        default=0.0, ge=0, le=1, description="vae: chance that a sample goes through the tiles (report: a last phase)"
    )
    tile_px: int = Field(default=256, ge=16, multiple_of=16, description="vae: side of a spatial tile")
    tile_frames: int = Field(default=64, ge=4, multiple_of=4, description="vae: frames of a tile in time")
    shift: float | Literal["tokens"] = Field(
        default=1.0,
        description='flow: shift of the timestep, t\' = s t / (1 + (s - 1) t); "tokens": 1 at 256 to 3 at 4,096 '
        "tokens of a frame, times the root of the latent frames (Open-Sora 2)",
    )
    uniform_times: float = Field(
        default=0.0, ge=0, le=1, description="flow: share of times drawn evenly instead of logit-normal"
    )
    guidance: float = Field(
        default=6.0, ge=1, description="flow: scale told to a network that embeds one (released weights: 6)"
    )
    guidance_scales: tuple[float, float] = Field(
        default=(1.0, 8.0), description="distill: range of the scales to learn, drawn evenly (report section 4.5)"
    )
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
    image_to_video: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="flow: chance that the first latent frame of a video is given clean and not learned "
        "(HunyuanVideo-I2V: 0.9, its image condition drops out with 0.1); the others are text-to-video",
    )
    sample_every: int = Field(
        default=0,
        ge=0,
        description="flow, distill: steps between sample videos of train.sample_prompts; 0 = at the end",
    )
    log_every: int = Field(default=20, ge=1, description="steps between writing metrics")
    measure_every: int = Field(
        default=0, ge=0, description="steps between held-out measurements; 0 = only before and after"
    )
    checkpoint_every: int = Field(
        default=50, ge=1, description="steps between checkpoints; the last step always has one"
    )

    @property
    def network(self) -> Literal["vae", "dit"]:
        """What the stage trains."""
        return "vae" if self.objective == "vae" else "dit"

    @model_validator(mode="after")
    def _fits_the_networks(self) -> Self:
        if (self.steps and not self.shards) or any(share <= 0 for share in self.shards.values()):
            raise ValueError(
                f"stage {self.name!r} needs `shards` with at least one curation stage and positive shares, "
                f"got {self.shards}; e.g. shards = {{ video = 4, image = 1 }}"
            )
        if self.crop_frames and self.crop_frames % 4 != 1:
            raise ValueError(f"stage {self.name!r}: crop_frames must be 4n+1 (1, 5, 9, ...), got {self.crop_frames}")
        return self


class LPIPSSettings(BaseModel, frozen=True, extra="forbid"):
    """Where the pretrained weights of LPIPS lie: the VGG16 backbone and the linear layers on top."""

    backbone: str = Field(
        default="",
        description="state dict of torchvision's vgg16 (features.*), .pth read as tensors only, or .safetensors",
    )
    linear: str = Field(
        default="", description="state dict of LPIPS v0.1's linear layers for vgg (lin0.model.1.weight, ...)"
    )


class TrainSettings(BaseModel, frozen=True, extra="forbid"):
    """A training run: the networks, the seed and the stages in the order in which they are walked."""

    vae: str = Field(default="tiny", description="preset of the causal 3D VAE, a name in model.presets.VAE_PRESETS")
    dit: str = Field(
        default="tiny", description="preset of the diffusion transformer, a name in model.presets.DIT_PRESETS"
    )
    text: TextSettings = Field(default=TextSettings(), description="the frozen text encoders")
    captions: CaptionSettings = Field(default=CaptionSettings(), description="from fields to texts")
    latents: LatentSettings = Field(default=LatentSettings(), description="how clips are encoded, and whether ahead")
    lpips: LPIPSSettings = Field(default=LPIPSSettings(), description="weights of the perceptual distance")
    parallel: ParallelSettings = Field(default=ParallelSettings(), description="processes, numbers and memory")
    tensorboard: bool = Field(default=True, description="write curves for TensorBoard beside metrics.jsonl")
    wandb_project: str = Field(default="", description="Weights & Biases project to log to, if wandb is installed")
    sample_prompts: tuple[str, ...] = Field(
        default=(), description="prompts of the sample videos that the stages of the transformer write"
    )
    sample_steps: int = Field(default=20, ge=1, description="sampling steps of the sample videos")
    sample_guidance: float = Field(
        default=1.0,
        ge=1,
        description="scale of the sample videos: told to a network that embeds one, else by two forwards",
    )
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

    def above(self, stage: StageSettings) -> tuple[StageSettings, ...]:
        """The stages that come before one."""
        return self.stages[: self.stages.index(stage)]

    @model_validator(mode="after")
    def _stages_are_in_order(self) -> Self:
        names = [stage.name for stage in self.stages]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"names of train.stages must differ, but {repeated} occur more than once in {names}")
        kinds = [stage.network for stage in self.stages]
        if "dit" in kinds and "vae" not in kinds[: kinds.index("dit")]:
            raise ValueError(
                f"stage {names[kinds.index('dit')]!r} trains on latents, but no `vae` stage comes before it "
                f"in {names}; "
                'put a stage with objective = "vae" first (steps = 0 and start_from for a released one)'
            )
        return self
