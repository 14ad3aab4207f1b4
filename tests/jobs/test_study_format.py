"""What all videos of a study are brought to, and which of them cannot be."""

from fractions import Fraction

import pytest

from annotation.study.settings import NormaliseSettings, StudySettings, SystemSettings
from curation.picture import Geometry
from curation.video import Extent, StreamFacts
from jobs.study_format import Format, Take, agree, changes, tell_failures


def take(system: str, prompt_id: str = "p", size=(1280, 720), seconds=5.0, rate=24.0) -> Take:
    base = Fraction(1, 12800)
    facts = StreamFacts("mp4", "h264", "yuv420p", Geometry(*size), base, rate, "")
    return Take(system, prompt_id, "v.mp4", "f", Extent(facts, round(seconds * rate), 0, round(seconds / base)))


def study(*watermarked, **normalise) -> StudySettings:
    marks = {"a": None, "b": None, **dict(watermarked)}
    systems = tuple(SystemSettings(name=name, videos="x", watermark=mark) for name, mark in marks.items())
    return StudySettings(systems=systems, normalise=NormaliseSettings(**normalise))


def agreed(takes, settings=None, kept=None) -> tuple[Format, dict[str, str]]:
    common, judged = agree(takes, settings or study(), kept)
    assert common is not None
    return common, {f"{each.system}{each.prompt_id}": each.reason for each in judged}


def test_rate_and_length_are_those_of_the_least_and_no_frame_is_invented():
    takes = [take("a", seconds=5, rate=24), take("b", seconds=6, rate=30), take("b", "q", seconds=5.5, rate=30)]
    common, reasons = agreed(takes)
    assert (common.width, common.height, common.frame_rate, common.num_frames) == (854, 480, 24.0, 120)
    assert set(reasons.values()) == {""}
    assert str(common) == "854x480, 5.00 s: 120 frames at 24 Hz"


def test_one_slow_video_does_not_slow_all_others():
    common, reasons = agreed([take("a"), take("a", "q", rate=8), take("a", "r"), take("b", rate=30)])
    assert common.frame_rate == 24.0
    assert set(reasons.values()) == {""}
    assert "8 to 24 frames per second" in changes(take("a", "q", rate=8), common)


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        ({"size": (160, 90)}, "too small"),
        ({"rate": 2.0}, "too slow"),
        ({"seconds": 16.0}, "too long"),
        ({"seconds": 0.5}, "too short"),
        ({"seconds": 1 / 24}, "no motion"),
        ({"size": (720, 1280)}, "other shape"),
    ],
)
def test_a_video_far_from_the_others_is_refused_and_is_not_the_measure_of_all(odd, reason):
    takes = [take("a", "p"), take("a", "q"), take("b", "p"), take("b", "q"), take("a", "r", **odd)]
    common, reasons = agreed(takes)
    assert reasons.pop("ar") == reason
    assert set(reasons.values()) == {""}
    assert (common.width, common.height, common.frame_rate, common.num_frames) == (854, 480, 24.0, 120)


def test_a_wanted_length_refuses_what_is_shorter():
    common, reasons = agreed([take("a", seconds=4), take("b", seconds=5)], study(seconds=4.5, frame_rate=12))
    assert (common.num_frames, common.frame_rate) == (54, 12.0)
    assert reasons == {"ap": "too short", "bp": ""}


def test_bars_of_other_shapes_may_be_allowed():
    common, reasons = agreed([take("a"), take("a", "q"), take("b", size=(720, 720))], study(fit="pad"))
    assert set(reasons.values()) == {""}
    assert common.inner(1.0) == (480, 480) and common.inner(2.0) == (common.width, common.width // 2)


def test_a_later_video_is_brought_to_the_kept_format_or_refused():
    kept, _ = agreed([take("a"), take("b")])
    common, reasons = agreed([take("a"), take("b", seconds=4)], kept=kept)
    assert common == kept
    assert reasons == {"ap": "", "bp": "too short"}


def test_watermark_areas_of_every_system_are_painted_on_all_and_follow_the_crop():
    mark = (0.75, 0.9, 0.25, 0.1)
    plain, _ = agreed([take("a"), take("b")], study(("a", mark)))
    assert plain.boxes == ((640, 432, 854, 480),)
    wider = [take("a", size=(1440, 720)), take("b"), take("b", "q")]
    cropped, _ = agreed(wider, study(("a", mark), height=480))
    ((left, top, right, bottom),) = cropped.boxes
    assert (right, top, bottom) == (854, 432, 480)
    assert left == pytest.approx(427 + 0.25 * 960, abs=2)  # the middle, and a quarter of the uncut width


def test_an_area_that_the_crop_takes_away_needs_no_paint():
    wide = [take("a", size=(1600, 720)), take("b"), take("b", "q")]
    assert agreed(wide, study(("a", (0.0, 0.0, 0.05, 0.1))))[0].boxes == ()


def test_nothing_to_show_is_no_format():
    gone = Take("a", "p", reason="missing", detail="no video of this prompt")
    assert agree([gone], study(), None) == (None, [gone])


def test_what_was_done_to_a_video_and_what_was_left_out_is_told_in_numbers():
    common, _ = agreed([take("a"), take("b", seconds=6, rate=30)], study(("a", (0, 0, 0.1, 0.1))))
    told = changes(take("b", seconds=6, rate=30), common)
    assert told == (
        "1280x720 scaled by 0.667 to 854x480, 30 to 24 frames per second, the first 5.00 of 6.00 s, "
        "1 areas of watermarks painted over, no sound"
    )
    lines = tell_failures([take("a"), take("b"), Take("b", "q", reason="missing"), Take("b", "r", reason="missing")])
    assert lines == ["a: 1 of 1 videos", "b: 1 of 3 videos; 2 missing"]
