"""Review proxies: one playable H.264 file per clip, written once."""

import av
import pytest

from jobs.proxies import FOLDER, write_proxies
from tests.jobs.catalogue import clips_in, context_of


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
