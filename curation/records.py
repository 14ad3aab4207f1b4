"""The nouns of Dailies, frozen. Bytes never travel inside a record.

    Video --has--> Clip --gets--> Score --judged into--> Verdict
                    |                                      ^
                    +--described by--> Caption       people also write these
                    +--packed into--> ShardMember of a Shard

Everything is keyed by two content-derived ids: `video_id` (fingerprint of the bytes) and `clip_id` (video, span,
splitter version), so the same footage under two names is one video and a changed splitter makes new clips.
"""

import hashlib
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from fractions import Fraction
from typing import Any


class UserError(ValueError):
    """Something the user gave or left out; the message says what was given, what was expected and what to change."""


ID_HEX = 20  # 80 bits: a chance of one collision in 10^12 among a million clips


def content_id(*parts: object) -> str:
    """Hex id of the given parts; the parts are joined unambiguously, so ("ab", "c") and ("a", "bc") differ."""
    digest = hashlib.sha256()
    for part in parts:
        text = str(part).encode()
        digest.update(len(text).to_bytes(8, "big") + text)
    return digest.hexdigest()[:ID_HEX]


@dataclass(frozen=True)
class Source:
    """One listed file and the video it turned out to be; two names of the same bytes are two sources of one video.

    `input_id` covers the address, size and modification time, so a file replaced under its old name is new work.
    """

    input_id: str
    uri: str
    size_bytes: int
    modified_ns: int
    video_id: str
    splitter: str
    num_clips: int


@dataclass(frozen=True)
class Video:
    """What one probe and one decode know of a source file.

    `width` and `height` are display sizes in px: after rotation and sample aspect ratio. Times are PTS in units of
    `time_base_num / time_base_den` seconds; `duration_s` is for people. `num_frames` counts frames that decoded.
    """

    video_id: str
    uri: str
    size_bytes: int
    container: str
    codec: str
    pixel_format: str
    coded_width: int
    coded_height: int
    width: int
    height: int
    rotation: int  # degrees, clockwise, to apply for display
    time_base_num: int
    time_base_den: int
    start_pts: int
    end_pts: int
    duration_s: float
    frame_rate: float
    num_frames: int
    num_decode_errors: int
    title: str  # the container's title or the text file beside it; empty if there is neither

    @property
    def time_base(self) -> Fraction:
        return Fraction(self.time_base_num, self.time_base_den)


@dataclass(frozen=True)
class Span:
    """Half-open interval [start_pts, end_pts) of a stream, in ticks of its time base."""

    start_pts: int
    end_pts: int
    time_base_num: int
    time_base_den: int

    def __post_init__(self) -> None:
        if self.end_pts <= self.start_pts:
            raise ValueError(f"a span needs end_pts > start_pts, got [{self.start_pts}, {self.end_pts})")
        if self.time_base_num <= 0 or self.time_base_den <= 0:
            raise ValueError(f"time base must be positive, got {self.time_base_num}/{self.time_base_den}")

    @property
    def time_base(self) -> Fraction:
        return Fraction(self.time_base_num, self.time_base_den)

    @property
    def start_s(self) -> float:
        return float(self.start_pts * self.time_base)

    @property
    def end_s(self) -> float:
        return float(self.end_pts * self.time_base)

    @property
    def duration_s(self) -> float:
        return float((self.end_pts - self.start_pts) * self.time_base)


@dataclass(frozen=True)
class Clip:
    """A single shot, virtual: a span of its source, no file of its own until a machine or a person keeps it."""

    clip_id: str
    video_id: str
    uri: str
    start_pts: int
    end_pts: int
    time_base_num: int
    time_base_den: int
    start_s: float
    end_s: float
    num_frames: int
    width: int
    height: int
    frame_rate: float
    splitter: str  # name and version, with the digest of its settings

    @classmethod
    def of(cls, video: Video, span: Span, num_frames: int, splitter: str) -> "Clip":
        return cls(
            clip_id=clip_id_of(video.video_id, span, splitter),
            video_id=video.video_id,
            uri=video.uri,
            **asdict(span),
            start_s=span.start_s,
            end_s=span.end_s,
            num_frames=num_frames,
            width=video.width,
            height=video.height,
            frame_rate=video.frame_rate,
            splitter=splitter,
        )

    @property
    def span(self) -> Span:
        return Span(self.start_pts, self.end_pts, self.time_base_num, self.time_base_den)

    @property
    def duration_s(self) -> float:
        return self.span.duration_s

    def part(self, start_s: float, end_s: float | None = None) -> "Clip":
        """The same clip, cut to a part of it, in seconds from its start; None and what lies beyond it is its end.

        Raises:
            ValueError: nothing is left.
        """
        start_pts = self.start_pts + round(start_s / self.span.time_base)
        end_pts = (
            self.end_pts if end_s is None else min(self.end_pts, self.start_pts + round(end_s / self.span.time_base))
        )
        if not self.start_pts <= start_pts < end_pts:
            raise ValueError(f"from {start_s} to {end_s} s is no part of a clip of {self.duration_s:.3f} s")
        span = replace(self.span, start_pts=start_pts, end_pts=end_pts)
        num_frames = max(1, round(self.num_frames * span.duration_s / self.duration_s))
        return replace(
            self, start_pts=start_pts, end_pts=end_pts, start_s=span.start_s, end_s=span.end_s, num_frames=num_frames
        )


def clip_id_of(video_id: str, span: Span, splitter: str) -> str:
    """The id of a clip: the same video, span and splitter are the same clip."""
    return content_id(video_id, span.start_pts, span.end_pts, span.time_base, splitter)


@dataclass(frozen=True)
class Crop:
    """The part of a clip's picture that is worth keeping, in display px; the whole picture where nothing is cut off.

    It travels with the clip: scores, review proxies and training members are made of this part only.
    """

    clip_id: str
    version: str
    left: int
    top: int
    width: int
    height: int
    reason: str  # "letterbox", "subtitles", both joined by ", ", or empty for the whole picture


@dataclass(frozen=True)
class Score:
    """One scorer's answer about one clip: a value or an error, never a sentinel such as -1.

    `label` is the class that a classifying scorer chose; its value is then the confidence in it, 0 to 1.
    """

    clip_id: str
    scorer: str
    version: str
    value: float | None
    error: str | None
    label: str = ""

    def __post_init__(self) -> None:
        if (self.value is None) == (self.error is None):
            raise ValueError(f"a score is a value or an error, got value={self.value!r} and error={self.error!r}")


@dataclass(frozen=True)
class Embedding:
    """A clip as a unit vector, for near duplicates and concepts."""

    clip_id: str
    embedder: str
    version: str
    vector: tuple[float, ...]


@dataclass(frozen=True)
class GroupMember:
    """A clip's place among the others: whose near duplicate it is, its concept cluster and how often to draw it.

    `duplicate_of` is empty for a clip that has no better twin.
    """

    clip_id: str
    grouping: str  # digest of the settings and of the embeddings that were grouped
    duplicate_of: str
    similarity: float  # cosine with `duplicate_of`, 0 without one
    concept: int
    weight: float  # mean 1 over the clips that are kept


class Decision(StrEnum):
    KEEP = "keep"
    REVIEW = "review"
    REJECT = "reject"


@dataclass(frozen=True)
class Verdict:
    """What was decided about one clip for one training stage, by whom and under which rules."""

    clip_id: str
    stage: str
    decision: Decision
    reason: str
    by: str  # "gates", or "people" for a resolved human verdict
    rules_digest: str


@dataclass(frozen=True)
class Caption:
    """HunyuanVideo's structured caption (report section 3.2); empty fields are unknown."""

    clip_id: str
    by: str
    version: str
    short: str
    dense: str = ""
    background: str = ""
    style: str = ""
    shot_type: str = ""
    lighting: str = ""
    atmosphere: str = ""
    camera_movement: str = ""


@dataclass(frozen=True)
class Annotation:
    """One person's answer to one task, as collected; appended, never edited.

    `answers` is the JSON object question -> answer; `origins` says of each answer whether it is the draft's
    (`prediction`), the draft's changed (`prediction-changed`) or the person's own (`manual`).
    """

    annotation_key: str  # server, project, annotation id and update time: the same answer is collected once
    clip_id: str
    annotator: str
    simulated: bool
    skipped: bool
    answers: str
    origins: str
    lead_time_s: float | None
    updated_at: str
    project: str
    task_id: int


@dataclass(frozen=True)
class Shard:
    """One WebDataset tar: who is in it is in the shard_members table."""

    shard_id: str
    stage: str
    uri: str
    count: int
    size_bytes: int
    sha256: str
    bucket: str  # "<width>x<height>x<frames>@<frame rate>"
    index_sha256: str = ""  # of the index beside the tar; empty: an older Dailies wrote it, without one


@dataclass(frozen=True)
class ShardMember:
    """Where one clip lies: `offset_bytes` is the tar header of its first file.

    `start_s` and `end_s` are what of the source it shows, equal for an image; None: an older Dailies wrote it. A long
    clip may have several members, each in a shard of its own `window`.
    """

    clip_id: str
    stage: str
    shard_id: str
    index_in_shard: int
    offset_bytes: int
    caption_by: str
    kept_by: str
    window: int = 0
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True)
class Failure:
    """One input of one job that has no result, and why, in words a person understands."""

    job: str
    job_digest: str
    input_id: str
    label: str  # what a person calls the input: usually its path
    reason: str  # a short kind, counted in reports: "not a video", "worker died", ...
    detail: str
    failed_at: str = field(default="")


def to_row(record: Any) -> dict[str, Any]:
    """The record as one table row."""
    return asdict(record)
