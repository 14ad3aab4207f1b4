"""Clips with a planted taste: the chance that they are kept is known, so the best possible figures are, too."""

from dataclasses import dataclass

import numpy as np

from annotation.suitability import Classes, Features

CLASSES = ("handheld shot", "pan left", "static shot")


@dataclass(frozen=True)
class Planted:
    """Features, what people said, of which video each clip is, and the chance with which they said keep."""

    features: Features
    kept: np.ndarray
    videos: np.ndarray
    chance: np.ndarray

    def take(self, places: np.ndarray) -> "Planted":
        return Planted(self.features.take(places), self.kept[places], self.videos[places], self.chance[places])


def planted(num_clips: int = 400, num_videos: int = 40, seed: int = 0, steepness: float = 2.5) -> Planted:
    """People like sharp pictures and middling motion, dislike static shots and one half of the vectors' space.

    With `steepness` 0 they toss a coin. One score is noise, one is constant, one is never there, one often missing.
    """
    generator = np.random.default_rng(seed)
    sharpness, motion, noise = generator.standard_normal((3, num_clips))
    codes = generator.integers(0, len(CLASSES), num_clips)
    vectors = generator.standard_normal((num_clips, 6))
    felt = sharpness - motion**2 + 0.7 - (codes == 2) + vectors[:, 0]
    chance = 1 / (1 + np.exp(-steepness * felt))
    often_missing = np.where(generator.random(num_clips) < 0.2, np.nan, noise)
    values = np.column_stack(
        [np.exp(sharpness), motion, often_missing, np.full(num_clips, 3.0), np.full(num_clips, np.nan)]
    )
    vectors[generator.random(num_clips) < 0.05] = np.nan
    features = Features(
        ("sharpness", "motion", "noise", "constant", "absent"),
        values,
        {"camera_movement": Classes(codes, CLASSES)},
        vectors,
    )
    videos = np.array([f"video-{number:03}" for number in generator.integers(0, num_videos, num_clips)])
    return Planted(features, generator.random(num_clips) < chance, videos, chance)
