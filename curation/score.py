"""Score clips: one decode of their source, shared by all scorers and all clips, gives one row per clip and scorer.

    source --scan(specs of all, spans of all clips)--> frames per clip and spec --crop--> ClipFrames --Scorers--> Scores
                                                                                                  --Embedders--> vectors

A clip's frames are let go when the clip is over, so memory holds the clips that are open at one time. A scorer that
fails gives a score with an error; a clip of which nothing decodes gives an `UnreadableVideo` in place of its answers,
so its neighbours survive. No decision is made here, and no threshold known. `curation.curate` splits a source and
scores its clips in the same decode, with the same answers.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, Field, model_validator

from curation.crop import CropSettings, crop_specs, crop_version, find_crop
from curation.embedder import Embedder, make_embedder
from curation.records import Clip, Crop, Embedding, Score, UserError
from curation.scorer import About, Answer, ClipFrames, Scorer, make_scorer
from curation.source import UnreadableVideo, fingerprint
from curation.split import title_of
from curation.text import TextReader
from curation.video import Frame, FrameSpec, Seen, scan


class ScoreSettings(BaseModel, frozen=True, extra="forbid"):
    scorers: tuple[str, ...] = Field(
        default=("sharpness", "exposure", "motion", "text_overlay"), description="files in curation/scorers/"
    )
    embedders: tuple[str, ...] = Field(default=("perceptual_hash",), description="files in curation/embedders/")
    options: dict[str, dict[str, Any]] = Field(
        default={}, description="scorer or embedder -> its own settings; see its file"
    )
    crop: CropSettings = Field(default_factory=CropSettings, description="what is cut off before anything is judged")

    @model_validator(mode="after")
    def _check(self) -> "ScoreSettings":
        for name in self.scorers:
            make_scorer(name, self.options.get(name, {}))
        for name in self.embedders:
            make_embedder(name, self.options.get(name, {}))
        for name in self.options.keys() - {*self.scorers, *self.embedders}:
            make_scorer(name, self.options[name])
        return self


@dataclass(frozen=True)
class Answers:
    """What one clip became."""

    crop: Crop
    scores: list[Score]
    embeddings: list[Embedding]


@dataclass(frozen=True)
class Judges:
    """Everything that looks at clips, with weights read: scorers and embedders by name, and the crop before them."""

    scorers: Mapping[str, Scorer]
    embedders: Mapping[str, Embedder]
    versions: Mapping[str, str]
    crop: CropSettings
    reader: TextReader | None = None  # for a crop that looks for subtitles

    def only(self, names: Iterable[str]) -> "Judges":
        """These scorers and embedders alone, sharing the weights."""
        wanted = set(names)
        return replace(
            self,
            scorers={name: made for name, made in self.scorers.items() if name in wanted},
            embedders={name: made for name, made in self.embedders.items() if name in wanted},
        )

    @property
    def specs(self) -> list[FrameSpec]:
        """The frames that must be collected for a clip, each spec once."""
        judges = (*self.scorers.values(), *self.embedders.values())
        return list(dict.fromkeys([*crop_specs(self.crop), *(judge.frames for judge in judges)]))

    def look(
        self, clip_id: str, frames: Mapping[FrameSpec, Sequence[Frame]], about: About
    ) -> tuple[Crop, dict[FrameSpec, ClipFrames]]:
        """A clip's crop and its cropped frames, from what was collected for each of `specs`."""
        whole = {spec: ClipFrames.of(frames[spec], spec, about) for spec in self.specs}
        if self.crop.borders or self.crop.subtitles:
            crop = find_crop(clip_id, whole, self.crop, self.reader)
        else:
            crop = Crop(clip_id, crop_version(self.crop), 0, 0, about.width, about.height, "")
        return crop, {spec: each.cropped(crop) for spec, each in whole.items()}

    def answer(self, clip_id: str, frames: Mapping[FrameSpec, Sequence[Frame]], about: About) -> Answers:
        """All scores and vectors of one clip, in the order of the settings."""
        crop, cropped = self.look(clip_id, frames, about)
        scores = [
            _score(clip_id, name, self.versions[name], scorer, cropped[scorer.frames])
            for name, scorer in self.scorers.items()
        ]
        embeddings = [
            Embedding(clip_id, name, self.versions[name], tuple(embedder(cropped[embedder.frames]).tolist()))
            for name, embedder in self.embedders.items()
        ]
        return Answers(crop, scores, embeddings)


def load_judges(settings: ScoreSettings) -> Judges:
    """The judges of these settings, ready to look.

    Raises:
        UserError: something is missing; the message lists all of it.
    """
    if lacking := missing_requirements(settings):
        raise UserError("cannot score: " + "; ".join(lacking))
    scorers, embedders = _scorers(settings), _embedders(settings)
    for made in (*scorers.values(), *embedders.values()):
        made.load()
    reader = TextReader(settings.crop.text) if settings.crop.subtitles else None
    if reader is not None:
        reader.load()
    return Judges(scorers, embedders, versions(settings), settings.crop, reader)


def missing_requirements(settings: ScoreSettings) -> list[str]:
    """What scorers and embedders lack, one sentence for each that lacks anything. Quick: nothing is loaded."""
    made = {**_scorers(settings), **_embedders(settings)}
    lacking = {name: judge.missing() for name, judge in made.items()}
    if settings.crop.subtitles:
        lacking["crop.subtitles"] = TextReader(settings.crop.text).missing()
    return [f"{name} lacks {what}" for name, what in lacking.items() if what]


def versions(settings: ScoreSettings) -> dict[str, str]:
    """Name -> version of every scorer and embedder, which changes when a clip may be answered otherwise.

    The crop is part of it, as it decides what they see. Ask `missing_requirements` first.
    """
    crop = crop_version(settings.crop)
    made = {**_scorers(settings), **_embedders(settings)}
    return {name: f"{judge.version}+{crop}" for name, judge in made.items()}


def scorer_versions(settings: ScoreSettings) -> dict[str, str]:
    """The part of `versions` that answers with a number, which is what gates ask for."""
    known = versions(settings)
    return {name: known[name] for name in dict.fromkeys(settings.scorers)}


def score_clips(uri: str, clips: Sequence[Clip], judges: Judges) -> Iterator[tuple[Clip, Answers | UnreadableVideo]]:
    """Score clips of one source in one decode; each is given once, when its last frame has passed.

    An `UnreadableVideo` stands for a clip none of whose frames decode, or for all that are left when the file does not
    open or is not the file that was split.

    Raises:
        OSError: the storage failed; nothing is wrong with the footage, try again.
    """
    for clip, watched in watch_clips(uri, clips, judges.specs):
        if isinstance(watched, UnreadableVideo):
            yield clip, watched
        else:
            yield clip, judges.answer(clip.clip_id, watched.frames, watched.about)


@dataclass(frozen=True)
class Watched:
    """The frames of one clip for every spec, before any crop."""

    frames: Mapping[FrameSpec, Sequence[Frame]]
    about: About


def watch_clips(
    uri: str, clips: Sequence[Clip], specs: Sequence[FrameSpec]
) -> Iterator[tuple[Clip, Watched | UnreadableVideo]]:
    """The frames of each clip of one source, from one decode; errors as `score_clips` describes them."""
    if not clips:
        return
    waiting = dict(enumerate(clips))
    collected: dict[int, dict[FrameSpec, list[Seen]]] = defaultdict(lambda: defaultdict(list))
    try:
        _check_source(uri, clips)
        frames = scan(uri, specs, [clip.span for clip in clips])

        def watched(index: int) -> tuple[Clip, Watched | UnreadableVideo]:
            clip, seen = waiting.pop(index), collected.pop(index, {})
            if not seen or frames.facts is None:
                where = f"{clip.uri} from {clip.start_s:.3f} s to {clip.end_s:.3f} s"
                return clip, UnreadableVideo("no decodable frame", where)
            rate, num_bytes = clip.num_frames / clip.duration_s, frames.num_bytes(clip.start_pts, clip.end_pts)
            about = About(clip.width, clip.height, rate, num_bytes, clip.num_frames, title_of(uri, frames.facts))
            return clip, Watched({spec: _ticked(each) for spec, each in seen.items()}, about)

        for seen in frames:
            for index in [index for index, clip in waiting.items() if clip.end_pts <= seen.frame.pts]:
                yield watched(index)
            collected[seen.span_index][seen.spec].append(seen)
    except UnreadableVideo as error:
        for clip in waiting.values():
            yield clip, error
        return
    for index in list(waiting):
        yield watched(index)


def watch_whole(uri: str, specs: Sequence[FrameSpec], caption: str = "") -> Watched:
    """All frames of a file that is one clip, such as a generated video, for every spec.

    Args:
        caption: what it was asked to show, for scorers that compare pictures with words.

    Raises:
        UnreadableVideo: the file gives no frame.
        OSError: the storage failed.
    """
    frames = scan(uri, specs)
    collected: dict[FrameSpec, list[Seen]] = defaultdict(list)
    for seen in frames:
        collected[seen.spec].append(seen)
    facts, start_pts = frames.facts, frames.start_pts
    assert facts is not None and start_pts is not None
    duration_s = float((frames.end_pts - start_pts) * facts.time_base)
    num_bytes, rate = frames.num_bytes(start_pts, frames.end_pts), frames.num_frames / duration_s
    about = About(*facts.geometry.size, rate, num_bytes, frames.num_frames, caption)
    return Watched({spec: _ticked(each) for spec, each in collected.items()}, about)


def _ticked(seen: Sequence[Seen]) -> list[Frame]:
    """The frames that came on ticks, or the one that stands in if there are none."""
    return [each.frame for each in seen if not each.stands_in] or [each.frame for each in seen]


def _scorers(settings: ScoreSettings) -> dict[str, Scorer]:
    return {name: make_scorer(name, settings.options.get(name, {})) for name in dict.fromkeys(settings.scorers)}


def _embedders(settings: ScoreSettings) -> dict[str, Embedder]:
    return {name: make_embedder(name, settings.options.get(name, {})) for name in dict.fromkeys(settings.embedders)}


def _check_source(uri: str, clips: Sequence[Clip]) -> None:
    found = fingerprint(uri)
    for video_id in {clip.video_id for clip in clips}:
        if video_id != found:
            raise UnreadableVideo(
                "source changed", f"{uri} was split as video {video_id} and is now {found}; split it again"
            )


def _score(clip_id: str, name: str, version: str, scorer: Scorer, frames: ClipFrames) -> Score:
    try:
        answer = scorer(frames)
        value, label = (answer.value, answer.label) if isinstance(answer, Answer) else (float(answer), "")
        if not math.isfinite(value):
            raise ValueError(f"the value is {value}")
    except Exception as error:  # a score that cannot be told is data, not the end of the run
        return Score(clip_id, name, version, None, f"{type(error).__name__}: {error}")
    return Score(clip_id, name, version, value, None, label)
