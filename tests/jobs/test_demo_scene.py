"""The demo's renderer: where points land, and what hides what."""

import numpy as np

from jobs.demo_scene import Pose, Sky, View, World, draw_plane, ground, wall

WIDTH, HEIGHT = 64, 48
LEVEL = Pose((0, 1, 0), (0, 1, 10))


def plain(colour):
    return np.full((16, 16, 3), colour, np.uint8)


def test_a_point_ahead_lands_in_the_middle_and_right_is_right():
    pixels, depths = View(LEVEL, WIDTH, HEIGHT).project(np.array([[0, 1, 5], [1, 1, 5], [0, 2, 5]]))
    assert np.allclose(pixels[0], [(WIDTH - 1) / 2, (HEIGHT - 1) / 2]) and np.allclose(depths, 5)
    assert pixels[1][0] > pixels[0][0] and pixels[2][1] < pixels[0][1]


def test_zooming_in_moves_points_outwards():
    near, far = (
        View(Pose(LEVEL.position, LEVEL.target, focal), WIDTH, HEIGHT).project(np.array([[1, 1, 5]]))[0][0][0]
        for focal in (2.0, 1.0)
    )
    assert np.isclose(near - (WIDTH - 1) / 2, 2 * (far - (WIDTH - 1) / 2), atol=1e-4)


def test_rays_agree_with_projection():
    view = View(Pose((1, 2, -3), (0.5, 0.2, 4), 1.3, 17), WIDTH, HEIGHT)
    axes = [view.along(np.float32(axis), slice(None)) for axis in np.eye(3)]
    ray = np.array([axis[10, 50] for axis in axes])
    (pixel,), _ = view.project((view.position + 7 * ray)[None])
    assert np.allclose(pixel, [50, 10], atol=1e-3)


def test_the_ground_lies_below_the_horizon_and_the_sky_above():
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    sky = Sky(zenith=(0, 0, 255), horizon=(0, 0, 200))
    World(ground(plain((0, 200, 0)), 2.0), sky).draw(image, View(LEVEL, WIDTH, HEIGHT), [], 0.0)
    assert (image[0, :, 2] > 150).all() and (image[-1, :, 1] > 150).all()
    assert (image.max(axis=2) > 100).all(), "no gap at the horizon"


def test_the_floor_ends_at_the_wall():
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    world = World(ground(plain((0, 200, 0)), 2.0), back=wall(plain((200, 0, 0)), 2.0, 4.0))
    view = View(LEVEL, WIDTH, HEIGHT)
    world.draw(image, view, [], 0.0)
    foot = int(view.project(np.array([[0, 0, 4]]))[0][0][1])
    assert image[foot - 3, WIDTH // 2, 0] > 150 and image[foot + 3, WIDTH // 2, 1] > 150


def test_a_shadow_darkens_the_ground_where_it_falls_and_nowhere_else():
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    view = View(LEVEL, WIDTH, HEIGHT)
    draw_plane(image, view, ground(plain((200, 200, 200)), 2.0), shadows=[(0, 4, 0.4, 0.8)])
    column, row = np.round(view.project(np.array([[0, 0, 4]]))[0][0]).astype(int)
    assert image[row, column].max() < 60
    assert image[-1, 0].min() > 190


def test_a_camera_that_looks_up_from_the_ground_sees_no_ground():
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    draw_plane(image, View(Pose((0, 1, 0), (0, 10, 1)), WIDTH, HEIGHT), ground(plain((9, 9, 9)), 2.0))
    assert not image.any()
