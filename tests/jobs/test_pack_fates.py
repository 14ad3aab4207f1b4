"""The accounting of pack: a sum that is checked, empty buckets that are said, and rows that are kept."""

import io

import pytest
from rich.console import Console

from curation.buckets import StageBuckets
from curation.tables import PackFate, Workspace
from jobs.pack_fates import Fate, check_sum, show_fates, unused, warnings, write_fates

STAGES = {"image": StageBuckets(), "video": StageBuckets(sizes=(96,), aspects=("16:9", "1:1"), num_frames=9)}


def used(clip_id, stage, bucket, cropped=0.1, trimmed_s=None):
    return PackFate(clip_id, stage, "", Fate.USED, "", "gates", bucket, bucket.count(",") + 1, cropped, trimmed_s)


FATES = [
    used("a", "image", "64x64x1@8"),
    used("b", "image", "64x64x1@8", cropped=0.3),
    unused("c", "image", Fate.REJECTED_BY_GATES, "sharpness < 10", "gates"),
    used("a", "video", "112x64x9@8", trimmed_s=2.0),
    unused("b", "video", Fate.TOO_SHORT, "0.500 s, and 9 frames at 8/s last 1.125 s"),
    unused("c", "video", Fate.REJECTED_BY_GATES, "[bold]motion[/] < 2", "gates"),
]


def shown(fates, stages=STAGES):
    sink = io.StringIO()
    show_fates(fates, stages, Console(file=sink))
    return sink.getvalue()


def test_every_clip_in_every_stage_is_counted_once():
    check_sum(FATES, ["a", "b", "c"], STAGES)
    with pytest.raises(RuntimeError, match=r"1 have no fate and 0 have several, and 0 .*: video/c"):
        check_sum(FATES[:-1], ["a", "b", "c"], STAGES)
    with pytest.raises(RuntimeError, match="0 have no fate and 1 have several"):
        check_sum([*FATES, FATES[0]], ["a", "b", "c"], STAGES)
    with pytest.raises(RuntimeError, match="2 that are no clips have one"):
        check_sum(FATES, ["a", "b"], STAGES)


def test_the_table_adds_up_and_says_how_clips_were_used():
    lines = [line.rstrip() for line in shown(FATES).splitlines()]
    (head, *names), *rows = (line.rsplit(maxsplit=2) for line in lines[: lines.index("")])
    assert (head, names) == ("where every clip went", ["image", "video"])
    counts = {name: [int(each) for each in row] for name, *row in rows}
    total = counts.pop("= clips")
    assert [sum(column) for column in zip(*counts.values(), strict=True)] == total == [3, 3]
    assert "image: 2 clips used, 2 members; cropped by 20.0% on average, 30.0% at most" in lines
    (video,) = (line for line in lines if line.startswith("video: 1 clip used, 1 member; cropped by 10.0%"))
    assert video.endswith("trimmed by 2.00 s on average, 2.00 s at most")
    assert "       1  too short, e.g. b: 0.500 s, and 9 frames at 8/s last 1.125 s" in lines
    assert "       1  rejected by gates: 1 [bold]motion[/] < 2" in lines


def test_a_bucket_and_a_stage_without_members_are_said_aloud():
    assert warnings("video", STAGES["video"], FATES[3:]) == ["stage video has empty buckets, 1 of 2: 96x96x9@8"]
    assert warnings("image", STAGES["image"], FATES[:3]) == []
    (said,) = warnings("video", STAGES["video"], FATES[4:])
    assert said == "NOTHING WAS PACKED for stage video: 1 rejected by gates, 1 too short"
    assert warnings("video", STAGES["video"], []) == ["NOTHING WAS PACKED for stage video: there are no clips"]
    assert "WARNING: NOTHING WAS PACKED for stage image: there are no clips" in shown(FATES[3:])


def test_a_clip_in_two_sizes_counts_in_both_buckets():
    text = shown([used("a", "video", "112x64x9@8,96x96x9@8")], {"video": STAGES["video"]})
    assert "1  in 112x64x9@8" in text and "1  in 96x96x9@8" in text and "1 clip used, 2 members" in text


def test_fates_are_kept_under_the_digest_of_what_they_say(tmp_path):
    workspace = Workspace(str(tmp_path))
    first = write_fates(workspace, "video", FATES)
    assert write_fates(workspace, "video", FATES[::-1]) == first
    changed = [*FATES[:-1], unused("c", "video", Fate.WAITING, "")]
    second = write_fates(workspace, "video", changed)
    assert second != first
    rows = {row.clip_id: row.fate for row in workspace.table("pack_fates").records() if row.plan == second}
    assert rows == {"a": "used", "b": "too short", "c": "waiting for people"}
