"""Settings of a blind study: `[study]` of a recipe."""

from pydantic import BaseModel, Field, field_validator, model_validator

from annotation.study.axes import Design


class SystemSettings(BaseModel, frozen=True, extra="forbid"):
    """One system whose videos are judged."""

    name: str = Field(min_length=1, description="what the report calls it; judges never see it")
    videos: str = Field(
        description="folder of videos, or a manifest (.csv, .jsonl, .parquet) with columns prompt_id or prompt, and "
        "video; or 'samples' for this workspace's own samples (with `run`)"
    )
    run: str = Field(
        default="", description="of 'samples': the training run, or run/stage, or weights whose samples are taken"
    )
    seed: int | None = Field(
        default=None,
        description="where there are several per prompt, the one that counts for all prompts: the seed of 'samples' "
        "and manifests, the number at the end of file names",
    )
    watermark: tuple[float, float, float, float] | None = Field(
        default=None, description="x, y, width, height in shares of the frame; painted over on every system alike"
    )


class NormaliseSettings(BaseModel, frozen=True, extra="forbid"):
    """What every video is brought to before anybody sees it."""

    height: int = Field(
        default=480, ge=16, multiple_of=2, description="px; the width follows from the one shape of all"
    )
    frame_rate: float = Field(default=0.0, ge=0, description="Hz; 0: the slowest system's median")
    seconds: float = Field(default=0.0, ge=0, description="cut to this from the start; 0: the shortest video's length")
    fit: str = Field(
        default="crop",
        pattern="^(pad|crop)$",
        description="how another shape is brought to the common one; bars of `pad` tell systems of other shapes apart",
    )
    most_cropped: float = Field(
        default=0.35, ge=0, lt=1, description="share of a picture; of which `crop` would cut off more is refused"
    )
    max_length_ratio: float = Field(
        default=3.0, ge=1, description="longer or shorter than the shortest system's median by more is refused"
    )
    min_height: int = Field(default=128, ge=16, description="px; smaller sources are refused, they would be blown up")
    least_frame_rate: float = Field(default=4.0, gt=0, description="Hz; slower sources are refused")


class CheckSettings(BaseModel, frozen=True, extra="forbid"):
    """How attention is checked, and by which stated rule a judge is left out. Shares are of the ordinary items."""

    repeat_share: float = Field(default=0.05, ge=0, le=0.5, description="asked again later with the sides exchanged")
    identical_share: float = Field(default=0.03, ge=0, le=0.5, description="pairs of one video with itself")
    gold_share: float = Field(default=0.05, ge=0, le=0.5, description="items of `gold`")
    gold: str = Field(
        default="", description="table of items whose answer is known: prompt_id, system(s), axis, answer"
    )
    least_gold: float = Field(default=0.7, ge=0, le=1, description="share of gold answers that must be right")
    least_repeat: float = Field(default=0.5, ge=0, le=1, description="share of repeats answered alike")
    least_identical: float = Field(default=0.5, ge=0, le=1, description="share of identical pairs called a tie")
    least_agreement: float = Field(
        default=0.1, ge=-1, le=1, description="kappa with the other judges of the same videos; 0 is chance alone"
    )
    fewest_checks: int = Field(default=8, ge=1, description="checks of a kind before a judge can fail by it")
    least_seconds: float = Field(default=3.0, ge=0, description="median seconds per item; faster is a failed check")


class AdaptiveSettings(BaseModel, frozen=True, extra="forbid"):
    """Which pairs are asked after the first random share, and when to stop (T2VHE, arXiv 2406.08845)."""

    enabled: bool = True
    first_share: float = Field(default=0.1, gt=0, le=1, description="of all pairs x prompts, asked at random first")
    round_share: float = Field(default=0.05, gt=0, le=1, description="of all pairs x prompts, per later round")
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="of an interval that settles a difference")
    negligible: float = Field(
        default=0.02, ge=0, description="difference of win rate that nobody needs to have settled"
    )
    most_share: float = Field(default=1.0, gt=0, le=1, description="stop here whatever is settled")


class PlanSettings(BaseModel, frozen=True, extra="forbid"):
    """What `study plan` assumes of answers that nobody has given yet. Shares are of the variance of one answer."""

    prompts: int = Field(default=300, ge=2, description="planned for while the study has no table of prompts")
    half_width: float = Field(default=0.03, gt=0, lt=1, description="wanted of a difference or a net win rate")
    rate: float = Field(default=0.4, gt=0, lt=1, description="of videos that pass overall; 0.25 to 0.41 are published")
    tie_share: float = Field(default=0.3, ge=0, lt=1, description="of answers of a pairwise study")
    agreement: float = Field(
        default=0.3, ge=0, lt=1, description="of judges about the same videos, Krippendorff's alpha; 0.24 to 0.41"
    )
    prompt_share: float = Field(default=0.1, ge=0, lt=1, description="that all systems' videos of a prompt share")
    judge_share: float = Field(default=0.05, ge=0, lt=1, description="absolute: that is a judge's own severity")
    taste_share: float = Field(default=0.01, ge=0, lt=1, description="pairwise: that is a judge's own taste")
    seconds_per_answer: float = Field(default=60.0, gt=0, description="of a judge's time")

    @model_validator(mode="after")
    def _shares_fit(self) -> "PlanSettings":
        of_judge = max(self.judge_share, self.taste_share)
        if self.agreement + of_judge >= 1 or self.prompt_share > self.agreement:
            raise ValueError(
                f"shares of variance must fit: agreement {self.agreement:g} + judge_share or taste_share {of_judge:g} "
                f"below 1, prompt_share {self.prompt_share:g} at most agreement"
            )
        return self


class StudySettings(BaseModel, frozen=True, extra="forbid"):
    """A blind study of generated videos."""

    name: str = Field(default="study", pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$", description="of the study")
    design: Design = Field(default=Design.PAIRWISE, description="pairwise or absolute")
    prompts: str = Field(default="", description="table of prompts: .csv, .jsonl, .parquet, or .txt with one a line")
    categories: tuple[str, ...] = Field(default=(), description="columns of `prompts` to report by; empty: all others")
    systems: tuple[SystemSettings, ...] = Field(default=(), description="at least two (absolute: one)")
    judges: int = Field(default=2, ge=1, description="how many are expected; the items are dealt out evenly")
    answers_wanted: int = Field(default=1, ge=1, description="answers of different judges per item")
    seed: int = Field(default=0, ge=0, description="of order, sides and the choice of checks")
    normalise: NormaliseSettings = Field(default_factory=NormaliseSettings)
    checks: CheckSettings = Field(default_factory=CheckSettings)
    adaptive: AdaptiveSettings = Field(default_factory=AdaptiveSettings)
    plan: PlanSettings = Field(default_factory=PlanSettings)
    bootstraps: int = Field(default=1000, ge=100, description="resamples of prompts and judges behind an interval")

    @field_validator("systems")
    @classmethod
    def _named_apart(cls, systems: tuple[SystemSettings, ...]) -> tuple[SystemSettings, ...]:
        names = [system.name for system in systems]
        if len(set(names)) < len(names):
            raise ValueError(f"systems need names of their own, got {names}")
        return systems

    @model_validator(mode="after")
    def _checks_fit(self) -> "StudySettings":
        if self.design is Design.PAIRWISE and len(self.systems) == 1:
            raise ValueError("a pairwise study compares two systems or more, got one")
        return self
