import numpy as np

from curation.flow import clip_flow
from curation.flow_drawing import flow_sheet, graph, with_arrows, with_vectors
from curation.video import FrameSpec
from tests.curation.clip_frames import clip_of
from tests.footage import drift, texture


def test_arrows_lie_where_something_moves_and_point_where_it_goes() -> None:
    vectors = np.zeros((36, 64, 2), np.float32)
    vectors[18, 33] = (1.0, 0)
    still = with_arrows(np.zeros((144, 256), np.uint8), np.zeros_like(vectors), 144)
    changed = np.flatnonzero((with_arrows(np.zeros((144, 256), np.uint8), vectors, 144) != still).any(axis=(0, 2)))
    start = (33 * 4 + 2.5) / 256 * 400
    assert start - 3 <= changed.min() and changed.max() > start + 30


def test_codec_vectors_are_drawn_at_their_blocks() -> None:
    block = np.array([[0.25, 0.5, 0, -1.0, 0.1]], np.float32)
    picture = with_vectors(np.zeros((144, 256), np.uint8), block)
    rows, columns = np.nonzero(picture.sum(axis=2) > 60)
    assert columns.min() > 85 and columns.max() < 115
    assert rows.max() <= 115 and rows.min() < 80


def test_a_sheet_shows_at_most_twelve_pairs() -> None:
    pictures = list(drift(texture(0, (128, 72)), 30, (1, 0)))
    clip = clip_of(pictures, FrameSpec(10, 72))
    flow = clip_flow(clip, 0.3)
    seen = flow_sheet(clip, flow, flow.vectors, ["text"] * 29)
    assert seen.dtype == np.uint8 and seen.shape[1] <= 1640
    assert seen.shape == flow_sheet(clip, flow, flow.vectors, ["other"] * 29).shape


def test_a_graph_draws_every_line_in_its_own_colour() -> None:
    times_s = np.arange(20) / 10
    one = graph({"a": np.sin(times_s)}, times_s, 400, "px")
    two = graph({"a": np.sin(times_s), "b": np.cos(times_s)}, times_s, 400, "px")
    assert one.shape == two.shape and one.shape[1] == 400
    assert len(np.unique(two.reshape(-1, 3), axis=0)) > len(np.unique(one.reshape(-1, 3), axis=0))


def test_a_graph_of_one_still_moment_has_a_picture() -> None:
    assert graph({"a": np.zeros(1)}, np.zeros(1), 200, "px").any()
