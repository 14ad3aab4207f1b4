"""Shown videos: alike in all but what they show, the same bytes again; every one that is not shown says why."""

import io
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from annotation.study.settings import NormaliseSettings, StudySettings, SystemSettings
from curation.source import UnreadableVideo
from curation.tables import Workspace
from jobs.engine import EngineSettings, Item, run
from jobs.study_format import Format, Take, agree
from jobs.study_inputs import Found
from jobs.study_media import TIME_OF_ALL_S, ShowWorker, media_job, shown, take_all
from tests.footage import Encoding, audio_only, moving_texture

SECRET = b"s" * 32
SMALL = NormaliseSettings(height=64, min_height=16)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Two systems of two prompts: other sizes, rates, lengths, titles; one file of the second holds no picture."""
    folder = tmp_path_factory.mktemp("systems")
    titled = Encoding(title="made by Gen-9")
    return {
        "a": {
            "p": moving_texture(folder / "a/p.mp4", seconds=1.0, fps=24, size=(160, 90), seed=1),
            "q": moving_texture(folder / "a/q.mp4", seconds=1.0, fps=24, size=(160, 90), seed=2),
        },
        "b": {
            "p": moving_texture(folder / "b/p.mp4", seconds=1.5, fps=30, size=(192, 128), seed=3, encoding=titled),
            "q": audio_only(folder / "b/q.mp4"),
        },
    }


@pytest.fixture(scope="module")
def takes(sources) -> list[Take]:
    found = {
        name: {prompt_id: Found(str(path)) for prompt_id, path in files.items()} for name, files in sources.items()
    }
    return [take for name, each in found.items() for take in take_all(name, each)]


@pytest.fixture(scope="module")
def common(takes) -> Format:
    systems = (
        SystemSettings(name="a", videos="x"),
        SystemSettings(name="b", videos="x", watermark=(0.5, 0.75, 0.5, 0.25)),
    )
    found, _ = agree(takes, StudySettings(systems=systems, normalise=SMALL), None)
    assert found is not None
    return found


def facts_of(data: bytes) -> dict:
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return {
            "streams": [each.type for each in container.streams],
            "metadata": {**container.metadata, **stream.metadata},
            "shape": np.stack(frames).shape,
            "rate": stream.average_rate,
            "duration": stream.duration,
            "codec": (stream.codec.name, stream.codec_context.pix_fmt, stream.codec_context.profile),
            "last": frames[-1],
        }


def test_videos_of_two_systems_differ_in_nothing_but_their_pictures(takes, common):
    one, other = (facts_of(shown(take, common)) for take in takes[:3:2])
    pictures = one.pop("last"), other.pop("last")
    assert one == other
    assert one["streams"] == ["video"] and one["shape"] == (24, common.height, common.width, 3)
    assert "Gen-9" not in str(other["metadata"])
    assert np.abs(pictures[0].astype(int) - pictures[1]).mean() > 10


def test_the_area_of_one_systems_watermark_is_grey_on_every_video(takes, common):
    ((left, top, right, bottom),) = common.boxes
    for take in takes[:3]:
        picture = facts_of(shown(take, common))["last"][top + 2 : bottom - 2, left + 2 : right - 2].astype(int)
        assert np.abs(picture - 128).max() < 6
        assert facts_of(shown(take, common))["last"][: top - 4].std() > 10


def test_the_same_source_and_format_give_the_same_bytes(takes, common):
    assert shown(takes[0], common) == shown(takes[0], common)


def test_what_cannot_be_read_or_was_not_found_says_why(takes):
    broken = takes[3]
    assert (broken.system, broken.prompt_id, broken.reason) == ("b", "q", "no video stream")
    (missing,) = take_all("b", {"r": Found(reason="missing", detail="no video of this prompt")})
    assert (missing.reason, missing.extent) == ("missing", None)
    (gone,) = take_all("b", {"r": Found("/nowhere/at/all.mp4")})
    assert gone.reason == "not found"


def test_a_shown_file_has_an_opaque_name_and_the_time_of_all(takes, common, tmp_path):
    workspace = Workspace(str(tmp_path))
    job = media_job(workspace, "study", SECRET, common, takes)
    worker = ShowWorker(workspace.uri, "study", common)
    outcomes = [worker(item) for item in job.items]
    rows = [row for outcome in outcomes for row in outcome.rows.get("study_videos", [])]
    failures = [failure for outcome in outcomes for failure in outcome.failures]
    assert len(rows) == 3 and [reason for _, reason, _ in failures] == ["no video stream"]
    files = sorted((tmp_path / "media/study").iterdir())
    assert [file.stem for file in files] == sorted(row.media_key for row in rows)
    assert {file.stat().st_mtime for file in files} == {TIME_OF_ALL_S}
    row = next(row for row in rows if (row.system, row.prompt_id) == ("b", "p"))
    assert row.changes.startswith("192x128 scaled by ") and "30 to 24 frames per second" in row.changes


def test_names_follow_from_the_secret_and_from_what_stands_in_the_way(takes, common, tmp_path):
    workspace = Workspace(str(tmp_path))

    def keys(secret: bytes, some: list[Take]) -> set[str]:
        return {key for item in media_job(workspace, "study", secret, common, some).items for key in item.inputs}

    assert keys(SECRET, takes) == keys(SECRET, takes)
    assert keys(SECRET, takes).isdisjoint(keys(b"t" * 32, takes))
    refused = replace(takes[0], reason="too small", detail="90 px")
    assert keys(SECRET, [takes[0]]).isdisjoint(keys(SECRET, [refused])), "it would stay a failure when it fits again"


def test_a_source_that_breaks_after_it_was_measured_is_a_failure(takes, common, tmp_path):
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(Path(takes[0].uri).read_bytes())
    (take,) = take_all("a", {"p": Found(str(copy))})
    copy.write_bytes(b"no longer a video")
    with pytest.raises(UnreadableVideo, match="not a video"):
        ShowWorker(str(tmp_path / "ws"), "study", common)(Item("a p", {"k": take}))


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_every_video_is_shown_or_a_failure_and_a_second_run_makes_nothing(takes, common, tmp_path):
    workspace = Workspace(str(tmp_path))
    job = media_job(workspace, "study", SECRET, common, takes)
    settings = EngineSettings(memory_gib_per_worker=0.3)
    tally = run(job, workspace, settings)
    assert tally.holds and (tally.results, dict(tally.failures)) == (3, {"no video stream": 1})
    assert run(job, workspace, settings).new_results == 0
    lost = workspace.table("study_videos").records()[0].media_key
    path = workspace.local_path("media", "study", f"{lost}.mp4")
    before = path.read_bytes()
    path.unlink()
    assert run(job, workspace, settings).new_results == 1
    assert path.read_bytes() == before
