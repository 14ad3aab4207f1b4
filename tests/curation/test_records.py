"""Ids follow content, spans are exact, records are frozen."""

import dataclasses
from fractions import Fraction

import pytest

from curation.records import Clip, Span, Video, content_id

VIDEO = Video(
    "v1", "a.mp4", 1, "mp4", "h264", "yuv420p", 640, 360, 640, 360, 0, 1, 30000, 0, 90000, 3.0, 30.0, 90, 0, ""
)


def test_ids_do_not_depend_on_where_one_part_ends_and_the_next_begins():
    assert content_id("ab", "c") != content_id("a", "bc")
    assert content_id("a", "b") == content_id("a", "b")


def test_a_clip_is_known_by_its_video_span_and_splitter():
    span = Span(0, 3000, 1, 30000)
    clip = Clip.of(VIDEO, span, 3, "content-1")
    renamed = Clip.of(dataclasses.replace(VIDEO, uri="b.mp4"), span, 3, "content-1")
    assert renamed.clip_id == clip.clip_id
    assert Clip.of(VIDEO, span, 3, "content-2").clip_id != clip.clip_id
    assert Clip.of(VIDEO, Span(0, 3001, 1, 30000), 3, "content-1").clip_id != clip.clip_id


def test_seconds_are_exact_where_floats_would_not_be():
    span = Span(1001, 2 * 1001, 1, 30000)
    assert Fraction(span.end_pts - span.start_pts) * span.time_base == Fraction(1001, 30000)
    assert span.duration_s == pytest.approx(1001 / 30000)


@pytest.mark.parametrize(("start", "end"), [(5, 5), (6, 5)])
def test_an_empty_span_is_refused_with_its_bounds(start, end):
    with pytest.raises(ValueError, match=rf"got \[{start}, {end}\)"):
        Span(start, end, 1, 30)


def test_records_cannot_be_edited():
    with pytest.raises(dataclasses.FrozenInstanceError):
        VIDEO.uri = "elsewhere"  # type: ignore[misc]


def test_a_part_of_a_clip_keeps_its_name_and_lies_within_it():
    clip = Clip.of(VIDEO, Span(1000, 4000, 1, 1000), 90, "content-1")
    part = clip.part(0.5, 2.0)
    assert (part.clip_id, part.start_pts, part.end_pts, part.num_frames) == (clip.clip_id, 1500, 3000, 45)
    assert (part.start_s, part.end_s, part.duration_s) == (1.5, 3.0, 1.5)
    assert clip.part(1.0).end_pts == clip.part(1.0, 99.0).end_pts == 4000
    for start_s, end_s in ((3.0, None), (2.0, 1.0), (-1.0, 2.0)):
        with pytest.raises(ValueError, match="no part of a clip of"):
            clip.part(start_s, end_s)
