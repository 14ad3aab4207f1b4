"""Copies are near duplicates, other shots are not: on rendered footage, and on real footage where it is present."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from curation.embedder import make_embedder
from curation.groups import GroupSettings
from tests.curation.clip_frames import clip_of, frames_of_file
from tests.footage import Encoding, moving_texture

LEAST = GroupSettings().duplicate_similarity
SMALL_CRF = Encoding(options={"preset": "ultrafast", "crf": "34"})


def vector_of(path: Path) -> np.ndarray:
    embedder = make_embedder("perceptual_hash", {})
    return embedder(frames_of_file(path, embedder.frames))


def test_copies_are_near_and_other_shots_are_not(tmp_path: Path) -> None:
    shot = {"seconds": 3.0, "seed": 7, "step_px": (0.5, 0.25)}
    origin = vector_of(moving_texture(tmp_path / "origin.mp4", **shot))
    cosines = {
        name: float(origin @ vector_of(moving_texture(tmp_path / f"{name}.mp4", **{**shot, **changed})))
        for name, changed in {
            "encoded again": {"encoding": SMALL_CRF},
            "darker": {"brightness": 0.8},
            "at half the rate": {"fps": 12, "step_px": (1.0, 0.5)},
            "another shot": {"seed": 8},
            "one more": {"seed": 9},
        }.items()
    }
    near = [name for name, cosine in cosines.items() if cosine >= LEAST]
    assert near == ["encoded again", "darker", "at half the rate"], cosines
    assert max(cosines["another shot"], cosines["one more"]) < 0.5, cosines


def test_another_size_is_near() -> None:
    embedder = make_embedder("perceptual_hash", {})
    generator = np.random.default_rng(0)
    coarse = [generator.uniform(0, 255, (9, 16, 3)).astype(np.float32) for _ in range(4)]
    resized = [
        [np.clip(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8) for image in coarse]
        for size in ((640, 360), (320, 180))
    ]
    large, small = (embedder(clip_of(pictures, embedder.frames)) for pictures in resized)
    assert large @ small >= LEAST


def test_cosine_counts_differing_bits() -> None:
    embedder = make_embedder("perceptual_hash", {})
    generator = np.random.default_rng(0)
    first, second = (
        embedder(clip_of([generator.integers(0, 255, (48, 64, 3), np.uint8)] * 4, embedder.frames)) for _ in range(2)
    )
    assert first.shape == (256,) and set(np.abs(first)) == {np.float32(1 / 16)}
    assert first @ second == pytest.approx(1 - 2 * np.count_nonzero(first != second) / 256)


def test_the_order_of_pictures_matters() -> None:
    embedder = make_embedder("perceptual_hash", {})
    pictures = [np.random.default_rng(seed).integers(0, 255, (48, 64, 3), np.uint8) for seed in range(4)]
    forward, backward = (embedder(clip_of(order, embedder.frames)) for order in (pictures, pictures[::-1]))
    assert forward @ backward < 0.5


def test_a_copy_with_another_frame_rate_is_found_in_real_footage(real_footage: Path) -> None:
    origin = vector_of(real_footage / "dvr_traffic_camera.mp4")
    assert origin @ vector_of(real_footage / "dvr_traffic_camera_vfr.mp4") >= LEAST
    for other in ("koala_4.31_w_HPjTkEUJg_48.mp4", "mdn_flower.mp4", "imageio_cockatoo.mp4", "skv_bikes.mp4"):
        assert origin @ vector_of(real_footage / other) < 0.8, other
