"""Moving pictures for the report: short excerpts of clips and generated samples, as data that lies in the page itself.

    clip --middle seconds--> write_proxy (H.264) --base64--> <video>, its middle frame as a JPEG poster

An excerpt of 3 s at 176 lines is 20-80 kB. A clip whose source has gone since is shown as a sentence that says so.
"""

import base64
import io
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import av
import cv2

from curation.gates import Outcome
from curation.records import Clip, Crop, Decision, Verdict
from curation.source import UnreadableVideo
from curation.tables import Sample, Workspace
from curation.transcode import write_proxy
from jobs.report_funnel import rule_findings
from jobs.report_snapshot import Snapshot

POSTER_QUALITY = 72


@dataclass(frozen=True)
class Media:
    """A playable picture, or why there is none. `video` and `poster` are data URIs."""

    video: str = ""
    poster: str = ""
    missing: str = ""
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class Shown:
    """A clip of the contact sheet and its verdict for one stage, or for all of them."""

    clip_id: str
    decision: str
    why: tuple[str, ...]


def clip_media(clip: Clip, height_px: int, duration_s: float, crop: Crop | None = None) -> Media:
    """The middle of a clip, playable; only what the crop keeps, as that is what was judged."""
    try:
        return media_of(write_proxy(excerpt(clip, duration_s), max_height=height_px, crop=crop))
    except (UnreadableVideo, OSError) as error:
        return Media(missing=f"cannot be shown: {error}")


def sample_media(workspace: Workspace, sample: Sample) -> Media:
    """A generated video from the workspace."""
    if not workspace.exists(sample.uri):
        return Media(missing=f"{sample.uri} is not in the workspace any more")
    return media_of(workspace.read_bytes(sample.uri))


def media_of(data: bytes) -> Media:
    """An mp4 and its middle frame."""
    with av.open(io.BytesIO(data), "r") as container:
        frames = list(container.decode(video=0))
    image = frames[len(frames) // 2].to_ndarray(format="bgr24")
    done, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, POSTER_QUALITY])
    assert done, "cv2 encodes any uint8 picture"
    height, width = image.shape[:2]
    return Media(_uri("video/mp4", data), _uri("image/jpeg", jpeg.tobytes()), "", width, height)


def excerpt(clip: Clip, duration_s: float) -> Clip:
    """The clip narrowed to its middle `duration_s`; a shorter clip stays as it is."""
    length = round(duration_s / clip.span.time_base)
    spare = clip.end_pts - clip.start_pts - length
    if spare <= 0:
        return clip
    start_pts = clip.start_pts + spare // 2
    return replace(clip, start_pts=start_pts, end_pts=start_pts + length)


def survivors(snapshot: Snapshot, number: int) -> list[Shown]:
    """Packed clips, those in most stages first, then by id; the films take turns."""
    stages: dict[str, list[str]] = defaultdict(list)
    for stage, members in snapshot.members.items():
        for clip_id, member in members.items():
            if clip_id in snapshot.clips:
                by = "gates" if member.kept_by == "gates" else f"people ({member.kept_by})"
                stages[clip_id].append(f"{stage}: kept by {by}")
    ordered = sorted(stages, key=lambda clip_id: (-len(stages[clip_id]), clip_id))
    chosen = _take_turns([(snapshot.clips[clip_id].video_id, clip_id) for clip_id in ordered], number)
    return [Shown(clip_id, "keep", tuple(stages[clip_id])) for clip_id in chosen]


def rejects(snapshot: Snapshot, number: int, shown_already: Collection[str] = ()) -> list[Shown]:
    """Clips that a gate or a person rejected from some stage, spread over the gates; most stages lost first."""
    kept = {shown.clip_id: shown.why for shown in survivors(snapshot, len(snapshot.clips))}
    reasons: dict[str, list[str]] = defaultdict(list)
    gates: dict[str, str] = {}
    for stage, verdicts in snapshot.verdicts.items():
        for clip_id, verdict in verdicts.items():
            human = snapshot.human.get(clip_id)
            if verdict.decision == Decision.REJECT:
                why = _reason_with_values(snapshot, stage, verdict)
            elif verdict.decision == Decision.REVIEW and human is not None and human.decision == "reject":
                why = f"people, {human.reason}"
            else:
                continue
            reasons[clip_id].append(f"{stage}: {why}")
            gates.setdefault(clip_id, why.partition(" ")[0])
    ordered = sorted(reasons.keys() - set(shown_already), key=lambda clip_id: (-len(reasons[clip_id]), clip_id))
    chosen = _take_turns([(gates[clip_id], clip_id) for clip_id in ordered], number)
    return [Shown(clip_id, "reject", (*reasons[clip_id], *kept.get(clip_id, ()))) for clip_id in chosen]


def _reason_with_values(snapshot: Snapshot, stage: str, verdict: Verdict) -> str:
    """What the failed rules say of the clip's scores; the verdict's own words if the rules say something else now."""
    found = rule_findings(snapshot, snapshot.gates.stages[stage], verdict.clip_id)
    texts = [finding.text for _, finding in found if finding.outcome in (Outcome.FAIL, Outcome.NARROW)]
    return "; ".join(texts) or verdict.reason


def _take_turns(grouped: Sequence[tuple[str, str]], number: int) -> list[str]:
    """Up to `number` items, one from each group in turn, keeping the order within a group."""
    queues: dict[str, list[str]] = defaultdict(list)
    for group, item in grouped:
        queues[group].append(item)
    taken: list[str] = []
    while len(taken) < number and any(queues.values()):
        for queue in queues.values():
            if queue and len(taken) < number:
                taken.append(queue.pop(0))
    return taken


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
