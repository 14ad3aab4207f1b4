"""Opening and telling apart files, whole and broken."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from curation.source import UnreadableVideo, fingerprint, open_source
from curation.video import FrameSpec, scan
from tests.footage import Cuts, broken_files, moving_texture

REASONS = {
    "empty": "empty file",
    "truncated": "not a video",
    "text": "not a video",
    "noise": "not a video",
    "audio-only": "no video stream",
}


def read_through(path: Path) -> None:
    for _ in scan(str(path), [FrameSpec(fps=None, short_side_px=32)]):
        pass


@pytest.mark.parametrize(("name", "reason"), REASONS.items())
def test_a_broken_file_says_in_a_few_words_what_it_is(tmp_path: Path, name: str, reason: str) -> None:
    path = broken_files(tmp_path)[name]
    with pytest.raises(UnreadableVideo, match=str(path)) as caught:
        read_through(path)
    assert caught.value.reason == reason
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(UnreadableVideo, match="does not exist") as caught:
        read_through(tmp_path / "nothing.mp4")
    assert caught.value.reason == "not found"


def test_a_playlist_may_not_open_other_files(tmp_path: Path) -> None:
    moving_texture(tmp_path / "clip.ts")
    playlist = tmp_path / "playlist.mp4"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nclip.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(UnreadableVideo) as caught:
        read_through(playlist)
    assert caught.value.reason == "not a video"


def test_cover_art_is_no_video_stream(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=48000)
        picture = container.add_stream("mjpeg", rate=1)
        picture.width = picture.height = 64
        picture.pix_fmt = "yuvj420p"
        picture.disposition = Disposition.attached_pic
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 48000
        container.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
        container.mux(picture.encode())
    with pytest.raises(UnreadableVideo, match=r"no video stream: .*holds audio, video"):
        read_through(path)


def test_the_fingerprint_follows_the_content(tmp_path: Path) -> None:
    path = moving_texture(tmp_path / "one.mp4")
    copy = Path(shutil.copy(path, tmp_path / "two.mp4"))
    assert fingerprint(str(path)) == fingerprint(str(copy)) == fingerprint(f"file://{copy}")
    copy.write_bytes(copy.read_bytes() + b"\0")
    assert fingerprint(str(path)) != fingerprint(str(copy))
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(5 << 20))
    before = fingerprint(str(large))
    large.write_bytes(bytes((5 << 20) - 1) + b"\1")
    assert fingerprint(str(large)) != before


def test_open_source_gives_a_container(hard: Callable[[str], Cuts]) -> None:
    with open_source(str(hard("plain").path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
