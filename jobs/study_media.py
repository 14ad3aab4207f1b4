"""Bring the videos of a study to one size, shape, rate and length, so that nothing but what they show tells them apart.

    Found --measure--> Take --engine--> media/study/<media_key>.mp4, study_videos
                         +--------> failures: what was not found, or cannot be brought to the format

The format is that of `jobs/study_format.py`. One encoder with one setting, no sound, no metadata, one time of change;
the name is an HMAC with the study's secret. Sizes of files still follow from their pictures, which judges see anyway.
A (prompt, system) is one input of the engine's job, so the printed equation inputs = results + failures(reason) +
pending is over all of them.
"""

import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

import numpy as np

from annotation.connection import MEDIA
from annotation.study.tasks import STUDY_FOLDER
from curation.filesystem import located
from curation.records import content_id
from curation.source import UnreadableVideo, fingerprint
from curation.study_records import StudyVideo
from curation.tables import Workspace
from curation.transcode import write_frames
from curation.video import measure, read_frames
from jobs.engine import Item, Job, Outcome
from jobs.study_format import Format, Take, changes
from jobs.study_inputs import Found

PROBES_AT_ONCE = 4  # reading is waiting, most of all on an object store
CRF, PRESET = 16, "veryfast"
PAINT = 128  # grey
TIME_OF_ALL_S = 1_577_836_800  # 2020-01-01, the time of change of every shown file
KEY_HEX = 32


def take_all(system: str, found: Mapping[str, Found]) -> list[Take]:
    """Measure what was found of a system; what gives no video says why."""
    with ThreadPoolExecutor(PROBES_AT_ONCE) as threads:
        return list(threads.map(lambda each: _take(system, *each), sorted(found.items())))


def _take(system: str, prompt_id: str, found: Found) -> Take:
    if not found.uri:
        return Take(system, prompt_id, reason=found.reason, detail=found.detail)
    try:
        return Take(system, prompt_id, found.uri, fingerprint(found.uri), measure(found.uri))
    except UnreadableVideo as error:
        return Take(system, prompt_id, found.uri, reason=error.reason, detail=error.detail)


def media_job(workspace: Workspace, study: str, secret: bytes, common: Format, takes: Sequence[Take]) -> Job:
    """The job that writes the shown videos; its inputs are all takes, those that cannot be shown become failures."""
    digest = content_id("study", study, common.model_dump_json())
    inputs = {media_key(secret, study, take, digest): take for take in takes}
    return Job(
        name="study",
        unit="videos",
        digest=digest,
        tables=("study_videos",),
        items=[Item(f"{take.system} {take.prompt_id}", {key: take}) for key, take in sorted(inputs.items())],
        make_worker=partial(ShowWorker, workspace.uri, study, common),
        finished=partial(_shown, workspace, study),
    )


def media_key(secret: bytes, study: str, take: Take, digest: str) -> str:
    """Name of the shown file: the same input and format give the same, and nobody without the secret can tell what."""
    text = content_id(study, take.system, take.prompt_id, take.fingerprint, take.reason, take.detail, digest)
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()[:KEY_HEX]


def _shown(workspace: Workspace, study: str) -> set[str]:
    present = workspace.file_names(MEDIA, STUDY_FOLDER)
    rows = workspace.table("study_videos").read(["study", "media_key"]).to_pylist()
    return {row["media_key"] for row in rows if row["study"] == study and f"{row['media_key']}.mp4" in present}


@dataclass(frozen=True)
class ShowWorker:
    """Writes one shown video and its row."""

    workspace_uri: str
    study: str
    common: Format

    def __call__(self, item: Item) -> Outcome:
        ((key, take),) = item.inputs.items()
        if take.reason:
            return Outcome(failures=[(key, take.reason, take.detail)])
        workspace, place = Workspace(self.workspace_uri), (MEDIA, STUDY_FOLDER, f"{key}.mp4")
        data = shown(take, self.common)
        workspace.write_bytes(data, *place)
        if workspace.is_local:
            os.utime(workspace.local_path(*place), (TIME_OF_ALL_S, TIME_OF_ALL_S))
        return Outcome({"study_videos": [self._row(key, take, data)]})

    def _row(self, key: str, take: Take, data: bytes) -> StudyVideo:
        common = self.common
        return StudyVideo(
            study=self.study,
            media_key=key,
            system=take.system,
            prompt_id=take.prompt_id,
            source_uri=take.uri,
            source_sha256=_sha256_of(take.uri),
            sha256=hashlib.sha256(data).hexdigest(),
            width=common.width,
            height=common.height,
            frame_rate=common.frame_rate,
            num_frames=common.num_frames,
            changes=changes(take, common),
        )


def shown(take: Take, common: Format) -> bytes:
    """The video as judges see it, mp4 bytes; the same file and format give the same bytes.

    Raises:
        UnreadableVideo: nothing of it decodes.
    """
    assert take.extent is not None
    width, height = common.inner(take.aspect)
    rate = Fraction(common.frame_rate).limit_denominator(1001)
    frames = read_frames(take.uri, take.extent.span, width, height, common.num_frames, rate)
    return write_frames((_painted(frame, common) for frame in frames), common.frame_rate, CRF, preset=PRESET)


def _painted(frame: np.ndarray, common: Format) -> np.ndarray:
    """RGB [H, W, 3] in the middle of the common picture, with the watermark areas painted over."""
    height, width = frame.shape[:2]
    picture = np.zeros((common.height, common.width, 3), np.uint8)
    top, left = (common.height - height) // 2, (common.width - width) // 2
    picture[top : top + height, left : left + width] = frame
    for x1, y1, x2, y2 in common.boxes:
        picture[y1:y2, x1:x2] = PAINT
    return picture


def _sha256_of(uri: str) -> str:
    filesystem, path = located(uri)
    with filesystem.open_input_stream(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
