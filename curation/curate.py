"""Split a source and score its clips in one decode: the fused pass over `curation.split` and `curation.score`.

    source --scan--> every frame, small --Splitter--> clips, as soon as they are sure
                 \\-> the judges' frames --kept while their shot runs--> answers of each clip

Each source frame is decoded once and only the frames of the shot that is running are kept, so an hour costs the memory
of its longest window. Clips, crops, scores and vectors are the same, bit for bit, as from splitting first and scoring
after; a clip too short to have a frame of every kind is left to `score_clips`, which looks again.
"""

from dataclasses import dataclass

from curation.records import Clip, Span, Video, clip_id_of
from curation.score import Answers, Judges
from curation.scorer import About
from curation.source import fingerprint
from curation.split import SplitSettings, Splitter, clip_of, splitter_version, title_of, video_of
from curation.video import Frame, FrameSpec, Scan, Ticks, scan

PRUNE_EVERY_FRAMES = 64


@dataclass(frozen=True)
class Curated:
    """What a source became. `answers` lacks the clips that are left to `score_clips`."""

    video: Video
    clips: list[Clip]
    answers: list[Answers]


def curate_video(uri: str, settings: SplitSettings, judges: Judges) -> Curated:
    """Decode a source once; give what it is, its clips in order and what the judges say of them.

    Raises:
        UnreadableVideo: the file gives no frame at all.
        OSError: the storage failed.
    """
    frames = scan(uri, [settings.frames, *judges.specs])
    curator: _Curator | None = None
    for seen in frames:
        if curator is None:
            curator = _Curator(frames, settings, judges)
        curator.push(seen.spec, seen.frame)
    assert curator is not None
    return curator.finish()


class _Curator:
    """Holds the frames of the shot that is running, and answers for its clips when they end."""

    def __init__(self, frames: Scan, settings: SplitSettings, judges: Judges) -> None:
        assert frames.facts is not None
        self.frames, self.settings, self.judges, self.facts = frames, settings, judges, frames.facts
        self.splitter, self.version = Splitter(self.facts, settings), splitter_version(settings)
        self.video_id, self.title = fingerprint(frames.uri), title_of(frames.uri, self.facts)
        self.ticks = {spec: Ticks(spec.fps, self.facts.time_base) for spec in judges.specs if spec.fps is not None}
        self.kept: dict[FrameSpec, list[Frame]] = {spec: [] for spec in judges.specs}
        self.ranges: list[tuple[int, int]] = []
        self.answers: list[Answers] = []

    def push(self, spec: FrameSpec, frame: Frame) -> None:
        """Frames come in rising PTS; those for the splitter come before the others of the same PTS."""
        if spec in self.kept:
            self.kept[spec].append(frame)
        if spec == self.settings.frames:
            self._answer(self.splitter.push(frame))

    def finish(self) -> Curated:
        self._answer(self.splitter.finish(self.frames.end_pts))
        pts = self.splitter.pts
        video = video_of(self.frames.uri, self.frames, pts[:-1])
        clips = [clip_of(video, pts, first, last, self.version) for first, last in self.ranges]
        return Curated(video, clips, self.answers)

    def _answer(self, ranges: list[tuple[int, int]]) -> None:
        for first, last in ranges:
            answers = self._answers(first, last)
            self.ranges.append((first, last))
            if answers is not None:
                self.answers.append(answers)
        if ranges or len(self.splitter.pts) % PRUNE_EVERY_FRAMES == 0:
            open_pts = self.splitter.open_pts
            for spec, frames in self.kept.items():
                self.kept[spec] = [frame for frame in frames if frame.pts >= open_pts]

    def _answers(self, first: int, last: int) -> Answers | None:
        """None if a judge has no frame of the clip."""
        start_pts, end_pts = self.splitter.pts[first], self.splitter.pts[last]
        base = self.facts.time_base
        span = Span(start_pts, end_pts, base.numerator, base.denominator)
        frames = {spec: self._ticked(spec, start_pts, end_pts) for spec in self.kept}
        if not all(frames.values()):
            return None
        num_bytes = self.frames.num_bytes(start_pts, end_pts)
        about = About(*self.facts.geometry.size, (last - first) / span.duration_s, num_bytes, last - first, self.title)
        return self.judges.answer(clip_id_of(self.video_id, span, self.version), frames, about)

    def _ticked(self, spec: FrameSpec, start_pts: int, end_pts: int) -> list[Frame]:
        """A clip's frames: all of its span, without the first one if only what came before the clip made it a tick."""
        frames = [frame for frame in self.kept[spec] if start_pts <= frame.pts < end_pts]
        if spec in self.ticks and frames and frames[0].pts == start_pts and not self.ticks[spec].hit(start_pts):
            return frames[1:]
        return frames
