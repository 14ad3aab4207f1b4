"""Rows of a blind study of generated videos: what was compared, what was asked, what was answered.

    StudyPrompt --one video per system--> StudyVideo --two of them, or one--> StudyItem --a judge--> StudyAnswer
    (prompt x system) has exactly one of {StudyVideo, Failure}

Which system made a video stands in these tables and nowhere else: media, tasks and file names carry `media_key` and
`item_key`, drawn from the study's secret.
"""

from dataclasses import dataclass
from enum import StrEnum


class ItemKind(StrEnum):
    """Why an item is asked."""

    RANDOM = "random"  # of the first share, drawn at random
    ADAPTIVE = "adaptive"  # chosen because its answer narrows the ranking most
    REPEAT = "repeat"  # an earlier item of the same judge again, sides exchanged
    GOLD = "gold"  # its answer is known
    IDENTICAL = "identical"  # one video on both sides: only a tie is right


@dataclass(frozen=True)
class StudyPrompt:
    """A prompt that every system was given."""

    study: str
    prompt_id: str
    prompt: str
    categories: str = "{}"  # JSON object: column -> value


@dataclass(frozen=True)
class StudyVideo:
    """One system's only video of a prompt, as it is shown: brought to the study's size, rate and length."""

    study: str
    media_key: str  # name of the shown file; says nothing of what is in it
    system: str
    prompt_id: str
    source_uri: str
    source_sha256: str
    sha256: str
    width: int  # px, of the shown file; so are the next three
    height: int
    frame_rate: float  # Hz
    num_frames: int
    changes: str = ""  # what normalising did, in words


@dataclass(frozen=True)
class StudyItem:
    """One question put to judges: a pair of videos, or one alone (`media_b` empty)."""

    study: str
    item_key: str  # the task's clip_id in Label Studio
    kind: str  # a value of ItemKind
    prompt_id: str
    media_a: str
    media_b: str
    round: int  # of the schedule that asked it, from 0
    answers_wanted: int
    judge: str = ""  # the one who is meant; empty: anybody
    repeats: str = ""  # item_key of the item that a repeat asks again
    expected: str = "{}"  # JSON object: axis -> answer, of gold and identical items


@dataclass(frozen=True)
class StudyAnswer:
    """What one judge said of one item, as it was shown (A is `media_a`)."""

    study: str
    answer_key: str  # of server, project, item, annotation and time of change
    item_key: str
    judge: str
    answers: str  # JSON object: axis -> "A" | "tie" | "B", or "pass" | "fail"
    lead_time_s: float | None
    answered_at: str  # ISO 8601
    simulated: bool
    skipped: bool = False
