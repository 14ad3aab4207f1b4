"""What moves in the demo's scenes: seen where it is, lit from the sun's side, turning with its spin."""

import numpy as np
import pytest

from jobs import demo_actors as actors
from jobs.demo_scene import Pose, View
from jobs.demo_textures import shrunk, tree

VIEW = View(Pose((0, 1, -5), (0, 1, 0)), 96, 64)
RED, WHITE = (220, 20, 20), (240, 240, 240)


def drawn(actor) -> np.ndarray:
    image = np.zeros((64, 96, 3), np.uint8)
    actor.draw(image, VIEW)
    return image


def ball(x=0.0, spin=0.0, pattern="sectors"):
    return actors.Ball(np.float32((x, 1, 0)), 0.8, (RED, WHITE), actors.turn(0, 0, spin), pattern)


EVERYONE = {
    "ball": ball(),
    "box": actors.box((1, 1, 1), np.full((64, 64, 3), 200, np.uint8)).moved(actors.turn(0.5), (0, 1, 0)),
    "star": actors.star(1.0, (250, 200, 40)).moved(actors.turn(0.2), (0, 1, 0)),
    "balloon": actors.balloon(0.8, (RED, WHITE), ((0, 0, 0), 1e6)).moved(np.eye(3), (0, 1.3, 0)),
    "boat": actors.boat((0, 0.5, 0), 0.2, 0.1, RED, WHITE),
    "windmill": actors.windmill((0, -2, 6), WHITE, RED),
    "sails": actors.sails((0, -4, 3), 0.3),
    "tree": actors.Billboard(shrunk(tree(np.random.default_rng(0), (80, 160, 60))), 0, 0, 2.0),
}


@pytest.mark.parametrize("actor", EVERYONE.values(), ids=EVERYONE)
def test_everyone_is_seen_around_the_middle_and_leaves_the_corners_alone(actor):
    image = drawn(actor)
    assert image.any(axis=2).sum() > 100
    assert image[16:48, 32:64].any()
    assert not image[:4, :4].any() and not image[-4:, -4:].any()


@pytest.mark.parametrize("actor", EVERYONE.values(), ids=EVERYONE)
def test_nobody_is_seen_from_the_other_side_of_the_world(actor):
    image = np.zeros((64, 96, 3), np.uint8)
    actor.draw(image, View(Pose((0, 1, 20), (0, 1, 40)), 96, 64))
    assert not image.any()


def test_a_ball_turns_with_its_spin_and_keeps_its_outline():
    still, turned = drawn(ball()), drawn(ball(spin=0.4))
    assert (still != turned).any()
    assert np.array_equal(still.any(axis=2), turned.any(axis=2))


def test_a_ball_is_brighter_towards_the_sun():
    image = drawn(actors.Ball(np.float32((0, 1, 0)), 1.2, (WHITE, WHITE), np.eye(3, dtype=np.float32))).astype(int)
    assert image[22, 40].sum() > image[42, 56].sum() + 100


def test_a_ball_refuses_a_pattern_it_does_not_know():
    with pytest.raises(ValueError, match='no ball pattern \'dots\'; the patterns are "sectors" and "band"'):
        drawn(ball(pattern="dots"))


def test_a_ball_at_the_edge_of_the_picture_is_cut_not_wrapped():
    image = drawn(ball(x=3.3))
    assert image[:, -6:].any() and not image[:, :40].any()


def test_moving_a_mesh_keeps_its_faces():
    cube = actors.box((1, 1, 1), np.zeros((64, 64, 3), np.uint8))
    moved = cube.moved(actors.turn(1.0), (2, 0, 0))
    assert moved.faces is cube.faces
    assert np.allclose(moved.centre - cube.centre, (2, 0, 0), atol=1e-6)


def test_faces_of_a_solid_look_outwards():
    for mesh in (actors.star(1.0, RED), actors.lathe([(1, 0), (0.5, 1), (0.01, 2)], (0, 0, 0), (RED,))):
        corners = mesh.points[mesh.corners]
        normals = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
        centres = corners.mean(axis=1)
        centres[:, 1] *= 0 if len(mesh.faces) > 20 else 1
        assert (np.sum(normals * centres, axis=1) > 0).all()
