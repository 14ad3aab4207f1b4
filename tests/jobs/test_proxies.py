"""Review proxies: one playable H.264 file per clip, written once."""

import av
import pytest

from jobs.proxies import FOLDER, write_proxies
from tests.jobs.catalogue import clips_in, context_of, find_crops


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_proxy_is_written_once_and_plays(tmp_path):
    context = context_of(tmp_path, [1.0] * 2, num_shots=2)
    clips = clips_in(context)
    tally = write_proxies(context, clips)
    assert tally.holds and (tally.results, tally.new_results) == (2, 2)
    path = context.workspace.local_path(*FOLDER, f"{clips[0].clip_id}.mp4")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    written = path.stat().st_mtime_ns
    assert write_proxies(context, clips).new_results == 0
    assert path.stat().st_mtime_ns == written


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_proxy_shows_no_bars(tmp_path):
    context = context_of(tmp_path, [1.0], num_shots=1, bar_px=24)
    (crop,) = find_crops(context).values()
    assert crop.reason == "letterbox"
    assert write_proxies(context, clips_in(context)).results == 1
    with av.open(str(context.workspace.local_path(*FOLDER, f"{crop.clip_id}.mp4"))) as container:
        pictures = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    assert {picture.shape for picture in pictures} == {(crop.height, crop.width)}
    assert all(min(picture[0].mean(), picture[-1].mean()) > 40 for picture in pictures)
