"""Surfaces of the demo's footage: seeded, tileable, and of the colour asked for."""

import numpy as np
import pytest

from jobs import demo_textures as textures

SURFACES = {
    "checker": lambda rng: textures.checker(rng, (230, 230, 220), (40, 40, 50)),
    "bricks": lambda rng: textures.bricks(rng, (170, 80, 60)),
    "planks": lambda rng: textures.planks(rng, (210, 160, 100), (150, 100, 60)),
    "tiles": lambda rng: textures.tiles(rng, (220, 220, 220), (80, 140, 160)),
    "stones": lambda rng: textures.stones(rng, (150, 150, 150)),
    "grass": textures.grass,
    "sand": textures.sand,
    "water": textures.water,
    "plaster": lambda rng: textures.plaster(rng, (220, 200, 160)),
}


@pytest.mark.parametrize("surface", SURFACES.values(), ids=SURFACES)
def test_a_surface_is_a_seeded_picture_with_something_on_it(surface):
    picture = surface(np.random.default_rng(3))
    assert picture.shape == (textures.SIZE, textures.SIZE, 3) and picture.dtype == np.uint8
    assert picture.std() > 2
    assert np.array_equal(picture, surface(np.random.default_rng(3)))
    assert not np.array_equal(picture, surface(np.random.default_rng(4)))


@pytest.mark.parametrize("surface", SURFACES.values(), ids=SURFACES)
def test_a_surface_tiles(surface):
    """The step across the seam is like the largest steps inside."""
    picture = surface(np.random.default_rng(5)).astype(int)
    for axis in (0, 1):
        inside = np.abs(np.diff(picture, axis=axis)).mean(axis=(1 - axis, 2))
        seam = np.abs(np.take(picture, 0, axis=axis) - np.take(picture, -1, axis=axis)).mean()
        assert seam <= inside.max() * 1.2


def test_noise_gets_smoother_with_its_exponent():
    rough, smooth = (textures.power_noise(np.random.default_rng(1), exponent) for exponent in (0.3, 2.0))
    assert np.abs(np.diff(smooth)).mean() < 0.2 * np.abs(np.diff(rough)).mean()
    assert rough.min() == 0 and rough.max() == 1


def test_a_tree_is_opaque_in_its_crown_and_clear_around_it():
    tree = textures.tree(np.random.default_rng(2), (70, 140, 50))
    assert tree.shape[2] == 4
    assert tree[100, 96, 3] == 255 and tree[0, 0, 3] == 0 and tree[250, 10, 3] == 0


def test_shrunk_halves_each_time():
    sizes = textures.shrunk(textures.crate(np.random.default_rng(0), (200, 150, 90), (130, 80, 40)))
    assert [picture.shape[0] for picture in sizes] == [512, 256, 128, 64]


def test_dimmed_never_leaves_the_range():
    assert textures.dimmed((10, 100, 250), 1.6) == (16, 160, 255)
