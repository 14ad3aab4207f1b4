"""Score clips: one decode of their source, shared by all scorers and all clips, gives one row per clip and scorer.

    source --scan(specs of all scorers, spans of all clips)--> ClipFrames per clip and spec --Scorers--> Scores

A clip's frames are let go when the clip is over, so memory holds the clips that are open at one time. A scorer that
fails gives a score with an error; a clip of which nothing decodes gives an `UnreadableVideo` in place of its scores, so
its neighbours survive. No decision is made here, and no threshold known. Over 28 files of real footage sharpness,
exposure and motion together took 1.4 times the CPU of a bare decode, text_overlay alone 2.5 times.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field, model_validator

from curation.records import Clip, Score, UserError
from curation.scorer import About, Answer, ClipFrames, Scorer, make_scorer
from curation.source import UnreadableVideo, fingerprint
from curation.video import Frame, FrameSpec, Seen, scan


class ScoreSettings(BaseModel, frozen=True, extra="forbid"):
    scorers: tuple[str, ...] = Field(
        default=("sharpness", "exposure", "motion", "text_overlay"), description="files in curation/scorers/"
    )
    options: dict[str, dict[str, Any]] = Field(default={}, description="scorer -> its own settings; see its file")

    @model_validator(mode="after")
    def _check(self) -> "ScoreSettings":
        for name in {*self.scorers, *self.options}:
            make_scorer(name, self.options.get(name, {}))
        return self


def load_scorers(settings: ScoreSettings) -> dict[str, Scorer]:
    """Scorers with their weights read, ready to be called.

    Raises:
        UserError: something is missing; the message lists all of it.
    """
    if lacking := missing_requirements(settings):
        raise UserError("cannot score: " + "; ".join(lacking))
    scorers = _made(settings)
    for scorer in scorers.values():
        scorer.load()
    return scorers


def missing_requirements(settings: ScoreSettings) -> list[str]:
    """What the scorers lack, one sentence for each that lacks anything. Quick: nothing is loaded."""
    lacking = {name: scorer.missing() for name, scorer in _made(settings).items()}
    return [f"{name} lacks {what}" for name, what in lacking.items() if what]


def scorer_versions(settings: ScoreSettings) -> dict[str, str]:
    """Name -> version of every scorer; changes when a clip may score otherwise. Ask `missing_requirements` first."""
    return {name: scorer.version for name, scorer in _made(settings).items()}


def score_clips(
    uri: str, clips: Sequence[Clip], scorers: Mapping[str, Scorer]
) -> Iterator[tuple[Clip, list[Score] | UnreadableVideo]]:
    """Score clips of one source in one decode; each is given once, when its last frame has passed.

    Scores are in the order of `scorers`. An `UnreadableVideo` stands for a clip none of whose frames decode, or for
    all that are left when the file does not open or is not the file that was split.

    Raises:
        OSError: the storage failed; nothing is wrong with the footage, try again.
    """
    if not clips:
        return
    waiting = dict(enumerate(clips))
    collected: dict[int, dict[FrameSpec, list[Seen]]] = defaultdict(lambda: defaultdict(list))
    specs = list(dict.fromkeys(scorer.frames for scorer in scorers.values()))
    try:
        _check_source(uri, clips)
        for seen in scan(uri, specs, [clip.span for clip in clips]):
            over = [index for index, clip in waiting.items() if clip.end_pts <= seen.frame.pts]
            for index in over:
                yield _scored(waiting.pop(index), collected.pop(index, {}), scorers)
            collected[seen.span_index][seen.spec].append(seen)
    except UnreadableVideo as error:
        for clip in waiting.values():
            yield clip, error
        return
    for index, clip in waiting.items():
        yield _scored(clip, collected.pop(index, {}), scorers)


def score_frames(clip: Clip, frames: Mapping[FrameSpec, Sequence[Frame]], scorers: Mapping[str, Scorer]) -> list[Score]:
    """All scores of one clip from the frames that were collected for each spec."""
    about = About(clip.width, clip.height, clip.frame_rate)
    specs = {scorer.frames for scorer in scorers.values()}
    stacked = {spec: ClipFrames.of(frames[spec], spec, about) for spec in specs}
    return [_score(clip, name, scorer, stacked[scorer.frames]) for name, scorer in scorers.items()]


def _made(settings: ScoreSettings) -> dict[str, Scorer]:
    return {name: make_scorer(name, settings.options.get(name, {})) for name in dict.fromkeys(settings.scorers)}


def _check_source(uri: str, clips: Sequence[Clip]) -> None:
    found = fingerprint(uri)
    for video_id in {clip.video_id for clip in clips}:
        if video_id != found:
            raise UnreadableVideo(
                "source changed", f"{uri} was split as video {video_id} and is now {found}; split it again"
            )


def _scored(
    clip: Clip, frames: Mapping[FrameSpec, Sequence[Seen]], scorers: Mapping[str, Scorer]
) -> tuple[Clip, list[Score] | UnreadableVideo]:
    if not frames:
        return clip, UnreadableVideo(
            "no decodable frame", f"{clip.uri} from {clip.start_s:.3f} s to {clip.end_s:.3f} s"
        )
    return clip, score_frames(clip, {spec: _ticked(seen) for spec, seen in frames.items()}, scorers)


def _ticked(seen: Sequence[Seen]) -> list[Frame]:
    """The frames that came on ticks, or the one that stands in if there are none."""
    return [each.frame for each in seen if not each.stands_in] or [each.frame for each in seen]


def _score(clip: Clip, name: str, scorer: Scorer, frames: ClipFrames) -> Score:
    try:
        answer = scorer(frames)
        value, label = (answer.value, answer.label) if isinstance(answer, Answer) else (float(answer), "")
        if not math.isfinite(value):
            raise ValueError(f"the value is {value}")
    except Exception as error:  # a score that cannot be told is data, not the end of the run
        return Score(clip.clip_id, name, scorer.version, None, f"{type(error).__name__}: {error}")
    return Score(clip.clip_id, name, scorer.version, value, None, label)
