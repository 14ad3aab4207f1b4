"""The demo's own footage: eleven films of three takes, drawn frame by frame, and two files that are broken on purpose.

    FILMS --View, World--> RGB frames --hand-held camera, lens, spoiling--> H.264 mp4 with a title

95 s at 426 x 240, 12-20 ms of work a frame on one core. Each film is written aside and renamed, so a file that is there
is whole and is not drawn again; the same seed gives the same bytes. See `demo_films` for what there is to see.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from jobs.demo_films import FILMS, Film, Take
from jobs.demo_scene import Pose, View
from jobs.demo_textures import floats

WIDTH, HEIGHT = 426, 240
EDITION = 1  # part of the mark in each file; raise it when films change, so that old files are drawn again
FADE_S = 0.6
CUT_OFF_NAME, NOT_A_VIDEO_NAME = "interrupted_download.mp4", "shooting_notes.mp4"
CUT_OFF_AT = 0.55  # of the bytes of the film that the interrupted download was of
NOTES = b"Day 3. Ball: three takes, second one is good. Windmill: wait for wind. Text file, renamed by mistake.\n" * 20

Report = Callable[[int, str], None]


@dataclass(frozen=True)
class Shot:
    """One shot as it lies in its file: frames [start_frame, start_frame + num_frames), and how it begins."""

    file: str
    title: str
    start_frame: int
    num_frames: int
    frame_rate: int
    kind: str
    fade_in: bool


def shot_list(seed: int) -> list[Shot]:
    """Where every cut of the whole films lies, in file order. The seed changes what is seen, and lengths a little."""
    shots = []
    for film in FILMS:
        start = 0
        for take, num_frames in zip(film.takes, _take_lengths(film, seed), strict=True):
            shots.append(Shot(film.name, film.title, start, num_frames, film.frame_rate, take.kind, take.fade_in))
            start += num_frames
    return shots


def num_frames(seed: int, num_films: int | None = None) -> int:
    """Frames that `render` counts through its callback."""
    films = {film.name for film in FILMS[:num_films]}
    return sum(shot.num_frames for shot in shot_list(seed) if shot.file in films)


def render(folder: Path, seed: int, report: Report, num_films: int | None = None, num_threads: int = 2) -> list[Path]:
    """Draw what is missing of the demo's footage into `folder`.

    Args:
        report: called with frames done since the last call and a note; whole files that were there count too.
        num_films: only the first so many films, for a quick run; the two broken files are always there.
        num_threads: films drawn at once; numpy and cv2 let go of the interpreter, so two use two cores.

    Returns:
        All files, sorted by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = Lock()

    def draw(film: Film) -> Path:
        path = folder / film.name
        if _is_done(path, seed):
            with lock:
                report(sum(_take_lengths(film, seed)), f"{film.name} was there")
            return path
        aside = path.with_name(f".{film.name}.part")
        for _ in _encode(film, seed, aside):
            with lock:
                report(1, film.name)
        return aside.rename(path)

    with ThreadPoolExecutor(max_workers=num_threads) as pool:
        paths = list(pool.map(draw, FILMS[:num_films]))
    return sorted([*paths, _write_cut_off(folder, seed), _write_notes(folder)])


def _mark(seed: int) -> str:
    return f"Dailies demo footage, edition {EDITION}, seed {seed}"


def _is_done(path: Path, seed: int) -> bool:
    """Whether the file is there and of this seed; any file of ours opens, even the interrupted download."""
    if not path.exists():
        return False
    with av.open(str(path)) as container:
        return container.metadata.get("comment") == _mark(seed)


def _write_cut_off(folder: Path, seed: int) -> Path:
    """A film whose download stopped: the index at its front is whole, so it opens; its last frames are missing."""
    path = folder / CUT_OFF_NAME
    if not _is_done(path, seed):
        film = Film(CUT_OFF_NAME, FILMS[0].title, FILMS[0].frame_rate, FILMS[0].takes[:1])
        aside = path.with_name(f".{path.name}.part")
        for _ in _encode(film, seed, aside):
            pass
        with aside.open("r+b") as file:
            file.truncate(int(aside.stat().st_size * CUT_OFF_AT))
        aside.rename(path)
    return path


def _write_notes(folder: Path) -> Path:
    path = folder / NOT_A_VIDEO_NAME
    if not path.exists() or path.read_bytes() != NOTES:
        path.write_bytes(NOTES)
    return path


def _generator(film: Film, seed: int, *parts: int) -> np.random.Generator:
    return np.random.default_rng([seed, *film.name.encode(), *parts])


def _take_lengths(film: Film, seed: int) -> list[int]:
    stretch = _generator(film, seed).uniform(0.86, 1.0, len(film.takes))
    return [
        round(take.duration_s * film.frame_rate * float(part)) for take, part in zip(film.takes, stretch, strict=True)
    ]


def _encode(film: Film, seed: int, path: Path) -> Iterator[None]:
    """Write the film as H.264 in mp4 with the index in front, BT.709; yields after each frame.

    One thread, so that the same frames give the same bytes.
    """
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata.update({"title": film.title, "comment": _mark(seed)})
        options = {"preset": "superfast", "crf": "21", "threads": "1"}
        stream = container.add_stream("libx264", rate=film.frame_rate, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.colorspace = stream.codec_context.color_primaries = stream.codec_context.color_trc = 1
        for image in film_frames(film, seed):
            frame = VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709")))
            yield
        container.mux(stream.encode())


def film_frames(film: Film, seed: int) -> Iterator[np.ndarray]:
    """The film's frames, uint8 RGB [HEIGHT, WIDTH, 3]."""
    lengths = _take_lengths(film, seed)
    for index, (take, length) in enumerate(zip(film.takes, lengths, strict=True)):
        fade_out = index + 1 < len(film.takes) and film.takes[index + 1].fade_in
        ramp = round(FADE_S * film.frame_rate)
        for frame, image in enumerate(take_frames(film, take, length, _generator(film, seed, index))):
            light = min(1.0, frame / ramp) if take.fade_in else 1.0
            light = min(light, (length - 1 - frame) / ramp) if fade_out else light
            yield image if light >= 1 else (image * np.float32(light)).astype(np.uint8)


def take_frames(film: Film, take: Take, length: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """One take, `length` frames: the scene seen from a hand-held camera on its way from start to end, then spoilt."""
    world, stage = take.build(rng)
    vignette, grain = _lens(rng)
    sway = _sway(rng, length, film.frame_rate) if take.kind != "static" else np.zeros((length, 3), np.float32)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for frame in range(length):
        time_s = frame / film.frame_rate if take.kind != "static" else 0.0
        part = frame / (length - 1)
        pose = _between(take.start, take.end, part * part * (3 - 2 * part), sway[frame])
        view = View(pose, WIDTH, HEIGHT)
        image[:] = 0
        world.draw(image, view, stage(time_s), time_s)
        picture = cv2.multiply(image, vignette, scale=1 / 255)
        if take.kind == "blurred":
            picture = cv2.GaussianBlur(picture, (0, 0), 7.0)
        elif take.kind == "dark":
            picture = cv2.convertScaleAbs(picture, alpha=0.13)
        elif take.kind == "text":
            _burn_in(picture)
        yield cv2.add(picture, grain[frame % len(grain)], dtype=cv2.CV_8U)


def _between(start: Pose, end: Pose, part: float, sway: np.ndarray) -> Pose:
    def mix(first: tuple[float, ...], second: tuple[float, ...]) -> np.ndarray:
        return floats(first) + (floats(second) - floats(first)) * part

    x, y, z = mix(start.position, end.position)
    to_x, to_y, to_z = mix(start.target, end.target)
    focal, roll = mix((start.focal, start.roll), (end.focal, end.roll))
    return Pose((x, y, z), (to_x + sway[0], to_y + sway[1], to_z), focal, roll + sway[2])


def _sway(rng: np.random.Generator, length: int, frame_rate: int) -> np.ndarray:
    """What a hand adds: metres of the target across and up, degrees of roll; slow noise, float32 [length, 3]."""
    walk = rng.standard_normal((length + 4 * frame_rate, 3))
    smooth = cv2.GaussianBlur(walk, (1, 0), sigmaX=0.1, sigmaY=frame_rate * 0.4)[2 * frame_rate :][:length]
    return (smooth / max(float(smooth.std()), 1e-6) * (0.03, 0.025, 0.35)).astype(np.float32)


def _lens(rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray]]:
    """A darkening towards the corners (uint8, 255 is none) and seven frames of grain (int16)."""
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    vignette = (255 * (1 - 0.2 * ((x * x + y * y) / 2) ** 1.4)).astype(np.uint8)
    grain = [np.repeat(rng.normal(0, 1.6, (HEIGHT, WIDTH, 1)), 3, axis=2).astype(np.int16) for _ in range(7)]
    return np.repeat(vignette[..., None], 3, axis=2), grain


def _burn_in(picture: np.ndarray) -> None:
    """A title and a subtitle bar, as a broadcaster would print them over the film."""
    font = cv2.FONT_HERSHEY_DUPLEX
    for thickness, colour in ((5, (20, 20, 24)), (2, (255, 244, 214))):
        cv2.putText(picture, "GIFT OF THE DAY", (62, 46), font, 1.05, colour, thickness, cv2.LINE_AA)
    bar = picture[HEIGHT - 58 : HEIGHT - 14]
    bar[:] = cv2.addWeighted(bar, 0.22, np.full_like(bar, (16, 26, 58)), 0.78, 0)
    cv2.putText(
        picture, "Only today, while stocks last", (20, HEIGHT - 29), font, 0.72, (255, 255, 255), 1, cv2.LINE_AA
    )
