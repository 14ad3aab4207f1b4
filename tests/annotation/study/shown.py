"""A small study as `study create` makes it: videos of two systems brought to one format, items dealt, rows kept.

The systems' names, folders, file names, titles, codecs and containers all differ and are all known here, so that a test
can look for them wherever a judge can look. Of the prompts in `SAME` both systems show the same pictures.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from annotation.study.axes import Design
from annotation.study.dealing import first_items
from annotation.study.settings import (
    AdaptiveSettings,
    CheckSettings,
    NormaliseSettings,
    StudySettings,
    SystemSettings,
)
from curation.study_records import StudyItem, StudyPrompt, StudyVideo
from curation.tables import Workspace
from jobs.study_format import agree
from jobs.study_inputs import Found
from jobs.study_media import ShowWorker, media_job, take_all
from tests.footage import Encoding, drift, texture, write_video

SECRET = b"only the workspace knows this one"
SYSTEMS = ("zebravid", "quaggamotion")
SAME = ("p0", "p1")
PROMPTS = {f"p{number}": f"A texture of kind {number} drifts to the right." for number in range(4)}
LOSSLESS = {"preset": "ultrafast", "qp": "0"}
ENCODINGS = {
    "zebravid": Encoding(options=LOSSLESS, pixel_format="yuv444p", title="made by zebravid 2"),
    "quaggamotion": Encoding(codec="ffv1", options={}, pixel_format="yuv444p", title="quaggamotion export"),
}
ENDINGS = {"zebravid": "mp4", "quaggamotion": "mkv"}
TELLING = ("zebra", "quagga", "ffv1", "yuv444")
SIZE, RATE, SECONDS = (192, 108), 24, 1


@dataclass(frozen=True)
class Study:
    """What lies in the workspace."""

    settings: StudySettings
    prompts: tuple[StudyPrompt, ...]
    videos: tuple[StudyVideo, ...]
    items: tuple[StudyItem, ...]

    @property
    def texts(self) -> dict[str, str]:
        return {prompt.prompt_id: prompt.prompt for prompt in self.prompts}

    @property
    def system(self) -> dict[str, str]:
        """Media key -> system, which no judge may find out."""
        return {video.media_key: video.system for video in self.videos}


def small_study(workspace: Workspace, name: str, design: Design, judges: tuple[str, ...] = ()) -> Study:
    """Make it; its files and rows lie in the workspace afterwards."""
    folder = workspace.local_path().parent / "systems"
    settings = StudySettings(
        name=name,
        design=design,
        systems=tuple(SystemSettings(name=system, videos=str(folder / system)) for system in SYSTEMS),
        judges=max(1, len(judges)),
        normalise=NormaliseSettings(height=96, min_height=16),
        checks=CheckSettings(identical_share=0.25, gold_share=0.0),
        adaptive=AdaptiveSettings(enabled=False),
    )
    prompts = tuple(StudyPrompt(name, prompt_id, text) for prompt_id, text in PROMPTS.items())
    found = {system: {each: Found(str(_source(folder, system, each))) for each in PROMPTS} for system in SYSTEMS}
    takes = [take for system in SYSTEMS for take in take_all(system, found[system])]
    common, usable = agree(takes, settings, None)
    assert common is not None
    worker = ShowWorker(workspace.uri, name, common)
    made = [worker(item) for item in media_job(workspace, name, SECRET, common, usable).items]
    videos = tuple(row for outcome in made for row in outcome.rows["study_videos"])
    items = tuple(first_items(settings, prompts, videos, SECRET, judges=judges))
    for table, rows in (("study_prompts", prompts), ("study_videos", videos), ("study_items", items)):
        workspace.table(table).append(name, rows)
    return Study(settings, prompts, videos, items)


def _source(folder: Path, system: str, prompt_id: str) -> Path:
    """A system's video of a prompt: without loss, so that the same pictures are the same to the bit."""
    path = folder / system / f"{system}-{prompt_id}.{ENDINGS[system]}"
    if not path.exists():
        seed = [*PROMPTS].index(prompt_id) + (0 if prompt_id in SAME else 10 * SYSTEMS.index(system))
        encoding = ENCODINGS[system]
        assert encoding.fps == Fraction(RATE)
        write_video(path, drift(texture(seed, SIZE), RATE * SECONDS, (3.0, 0.0)), encoding)
    return path
