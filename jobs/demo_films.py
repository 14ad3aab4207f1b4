"""The films of the demo: eleven subjects, each seen in three takes in different surroundings.

A take is a world, its actors as functions of time, and a camera that moves from one pose to another. The film's
title is true of each of its takes, because it becomes the draft caption of every clip. Some takes are spoilt on
purpose, so that each gate has something to decide: `kind` says how.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from jobs import demo_actors as actors, demo_textures as textures
from jobs.demo_scene import Actor, Pose, Sky, World, ground, wall

Staging = Callable[[float], Sequence[Actor]]
Build = Callable[[np.random.Generator], tuple[World, Staging]]

NIGHT = (10, 14, 30)


@dataclass(frozen=True)
class Take:
    """One shot: the scene, the camera's way through it, and how it is spoilt, if it is.

    Kinds: "plain", "blurred", "static" (nothing moves, not even the hand that holds the camera), "dark", "text"
    (a title and a subtitle bar burnt in). `fade_in` joins it to the take before through black instead of a cut.
    """

    build: Build
    start: Pose
    end: Pose
    duration_s: float
    kind: str = "plain"
    fade_in: bool = False


@dataclass(frozen=True)
class Film:
    name: str
    title: str
    frame_rate: int
    takes: tuple[Take, ...]


def eye(*numbers: float) -> Pose:
    """A pose from plain numbers: position x y z, target x y z, and if given focal length and roll."""
    x, y, z, to_x, to_y, to_z, *rest = numbers
    return Pose((x, y, z), (to_x, to_y, to_z), *rest)


def _fair_sky(rng: np.random.Generator, cover: float = 0.55) -> Sky:
    clouds = np.clip((textures.power_noise(rng, 1.7) - (1 - cover)) / cover * 1.5, 0, 1)
    return Sky(
        zenith=(62, 118, 196),
        horizon=(206, 226, 240),
        cloud_cover=clouds,
        skylines=((textures.hills(rng, 0.24), (118, 146, 168)), (textures.hills(rng, 0.12, 1.6), (78, 116, 88))),
    )


def _sunset_sky(rng: np.random.Generator) -> Sky:
    clouds = np.clip((textures.power_noise(rng, 1.7) - 0.5) * 2.2, 0, 1)
    return Sky(
        zenith=(92, 74, 132),
        horizon=(252, 186, 120),
        cloud_cover=clouds,
        cloud=(255, 170, 130),
        skylines=((textures.hills(rng, 0.2), (126, 84, 98)),),
    )


def _night_sky(rng: np.random.Generator) -> Sky:
    clouds = np.clip((textures.power_noise(rng, 1.8) - 0.5) * 1.4, 0, 1)
    return Sky(zenith=NIGHT, horizon=(54, 50, 84), cloud_cover=clouds, cloud=(44, 44, 66))


def _meadow(rng: np.random.Generator) -> World:
    return World(ground(textures.grass(rng), 5.0), _fair_sky(rng), fog=((198, 218, 226), 60.0))


def _room(floor: np.ndarray, back: np.ndarray, back_tile_m: float = 4.0, depth_m: float = 4.0) -> World:
    return World(ground(floor, 4.0), back=wall(back, back_tile_m, depth_m))


def _rolling(colours: tuple[textures.Rgb, textures.Rgb], speed_m_s: float, radius: float, z: float) -> Staging:
    def stage(time_s: float) -> Sequence[Actor]:
        x = speed_m_s * time_s
        spin = actors.turn(0.0, 0.3, x / radius)
        return [actors.Ball(textures.floats((x, radius, z)), radius, colours, spin)]

    return stage


def _bouncing(period_s: float, phase: float) -> Staging:
    def ball(
        time_s: float, x: float, z: float, shift: float, colours: tuple[textures.Rgb, textures.Rgb], pattern: str
    ) -> actors.Ball:
        part = (time_s / period_s + shift + phase) % 1.0
        height = 4 * part * (1 - part) * 1.5 + 0.45
        centre = textures.floats((x + 0.35 * np.sin(time_s * 1.3 + shift * 6), height, z))
        return actors.Ball(centre, 0.45, colours, actors.turn(time_s * 1.5, 0.4, time_s * 2 + shift), pattern)

    def stage(time_s: float) -> Sequence[Actor]:
        return [
            ball(time_s, -0.85, 0.2, 0.0, ((54, 158, 72), (226, 240, 214)), "band"),
            ball(time_s, 0.9, 0.7, 0.45, ((242, 134, 32), (255, 226, 178)), "band"),
        ]

    return stage


def red_ball(floor: str) -> Build:
    def build(rng: np.random.Generator) -> tuple[World, Staging]:
        red, white = (206, 34, 38), (246, 242, 236)
        if floor == "grey":
            world = _room(textures.checker(rng, (226, 224, 216), (52, 54, 60)), textures.plaster(rng, (222, 200, 160)))
            return world, _rolling((red, white), -1.0, 0.5, 0.6)
        if floor == "blue":
            squares = textures.checker(rng, (232, 226, 206), (40, 92, 158))
            return World(ground(squares, 5.0), _fair_sky(rng), fog=((206, 226, 240), 40.0)), _rolling(
                (red, white), 1.2, 0.5, 0.0
            )
        squares = textures.checker(rng, (236, 214, 160), (58, 116, 84))
        return _room(squares, textures.bricks(rng, (120, 64, 52))), _rolling((red, white), 0.8, 0.5, 0.4)

    return build


def crate(place: str) -> Build:
    def build(rng: np.random.Generator) -> tuple[World, Staging]:
        face = textures.crate(rng, (206, 158, 96), (136, 88, 46))
        if place == "yard":
            world = _room(textures.stones(rng, (150, 150, 146)), textures.bricks(rng, (172, 78, 56)), depth_m=2.6)
        elif place == "cellar":
            world = _room(textures.tiles(rng, (96, 104, 112), (70, 76, 88)), textures.bricks(rng, (206, 198, 182)))
        else:
            world = _room(textures.sand(rng), textures.bricks(rng, (92, 104, 122), (60, 64, 74)), 3.0, 2.8)
        cube = actors.box((1.4, 1.4, 1.4), face)
        shadow = (0.4, 0.4, 1.2, 0.6)
        return world, lambda time_s: [cube.moved(actors.turn(0.5 + time_s * 0.9), (0, 0.7, 0.3), shadow=shadow)]

    return build


def balloon_trip(light: str) -> Build:
    def build(rng: np.random.Generator) -> tuple[World, Staging]:
        if light == "evening":
            sky, haze, green = _sunset_sky(rng), (232, 178, 140), textures.grass(rng, (150, 132, 70), (70, 70, 44))
        else:
            sky, haze, green = _fair_sky(rng, 0.7 if light == "cloudy" else 0.4), (206, 224, 232), textures.grass(rng)
        fog = (haze, 90.0)
        floor = ground(green, 24.0)
        stripes = ((214, 48, 44), (248, 206, 62), (40, 98, 176), (244, 240, 232))
        balloon = actors.balloon(3.2, stripes, (haze, 120.0))
        return World(floor, sky, fog=fog), lambda time_s: [
            balloon.moved(actors.turn(time_s * 0.15), (1.5 * time_s - 2, 9 + 0.5 * time_s, 16)),
        ]

    return build


def tree_row(season: str) -> Build:
    leaf = {"summer": (78, 138, 50), "autumn": (212, 122, 40), "spring": (150, 186, 84)}[season]

    def build(rng: np.random.Generator) -> tuple[World, Staging]:
        if season == "autumn":
            meadow = textures.grass(rng, (178, 152, 84), (96, 84, 44))
            world = World(ground(meadow, 5.0), _sunset_sky(rng), fog=((240, 190, 140), 50.0))
        elif season == "spring":
            mist = ((214, 222, 226), 22.0)
            sky = Sky((168, 186, 206), (222, 228, 230), skylines=((textures.hills(rng, 0.2), (188, 198, 206)),))
            world = World(ground(textures.grass(rng, (162, 190, 110), (86, 124, 70)), 5.0), sky, fog=mist)
        else:
            world = _meadow(rng)
        pictures = [textures.shrunk(textures.tree(rng, leaf)) for _ in range(4)]
        spots = [(2.2 * i + rng.uniform(-0.5, 0.5), 0.4 + rng.uniform(-0.4, 0.4)) for i in range(-3, 10)]
        spots += [(2.9 * i + rng.uniform(-1, 1), 5 + rng.uniform(-1, 1)) for i in range(-4, 11)]
        heights = rng.uniform(2.6, 3.8, len(spots))

        def stage(time_s: float) -> Sequence[Actor]:
            return [
                actors.Billboard(
                    pictures[i % 4], x, z, float(heights[i]), world.fog, 0.012 * float(np.sin(time_s * 1.7 + i))
                )
                for i, (x, z) in enumerate(spots)
            ]

        return world, stage

    return build


def desert_star(light: str) -> Build:
    def build(rng: np.random.Generator) -> tuple[World, Staging]:
        gold = (248, 196, 44)
        if light == "evening":
            dunes = textures.sand(rng, (226, 160, 116), (150, 88, 74))
            world = World(ground(dunes, 4.0), _sunset_sky(rng), fog=((246, 186, 136), 40.0))
        elif light == "noon":
            world = World(ground(textures.sand(rng), 4.0), _fair_sky(rng, 0.3), fog=((226, 224, 210), 50.0))
        else:
            dunes = textures.sand(rng, (150, 148, 160), (92, 92, 118))
            sky = Sky((58, 70, 110), (166, 160, 176), skylines=((textures.hills(rng, 0.16), (92, 92, 124)),))
            world = World(ground(dunes, 4.0), sky, fog=((160, 156, 174), 40.0))
        star = actors.star(1.1, gold)

        def stage(time_s: float) -> Sequence[Actor]:
            height, yaw = 1.7 + 0.15 * float(np.sin(time_s * 2)), time_s * 1.9
            shadow = (0.5, 0.3, 1.0 * (0.45 + 0.55 * abs(float(np.cos(yaw)))), 0.45)
            return [star.moved(actors.turn(yaw), (0, height, 0), shadow=shadow)]

        return world, stage

    return build


def sailing(sea: str) -> Build:
    def build(rng: np.random.Generator) -> tuple[World, Staging]:
        if sea == "green":
            surface, sky = textures.water(rng, (120, 196, 170), (20, 96, 92)), _fair_sky(rng, 0.4)
        elif sea == "sunset":
            surface, sky = textures.water(rng, (236, 168, 128), (92, 66, 110)), _sunset_sky(rng)
        else:
            surface, sky = textures.water(rng), _fair_sky(rng, 0.75)
        floor = ground(surface, 6.0, drift_m_s=(0.5, 0.25))

        def stage(time_s: float) -> Sequence[Actor]:
            centre = (0.9 * time_s - 1.5, 0.08 * float(np.sin(time_s * 2.2)), 1.0)
            heel = 0.09 * float(np.sin(time_s * 1.6)) - 0.06
            return [actors.boat(centre, 0.15, heel, (172, 52, 46), (250, 248, 240))]

        return World(floor, sky, fog=(sky.horizon, 45.0)), stage

    return build


def towers(rng: np.random.Generator) -> tuple[World, Staging]:
    fog = ((40, 40, 68), 60.0)
    fronts = [textures.facade(rng, (58, 56, 70)) for _ in range(4)]
    blocks = []
    for i in range(-4, 14):
        tall, far = rng.uniform(7, 15), 9.0 if i % 2 else 14.0
        place = (2.6 * i + rng.uniform(-0.3, 0.3), tall / 2, far)
        block = actors.box((3.0, tall, 3.0), fronts[i % 4], glow=0.85)
        blocks.append(block.moved(actors.turn(rng.uniform(-0.2, 0.2)), place, fog=fog))
    street = ground(textures.stones(rng, (58, 58, 72)), 3.0)
    return World(street, _night_sky(rng), fog=fog, props=tuple(blocks)), lambda _time_s: []


def two_balls(wood: str) -> Build:
    def build(rng: np.random.Generator) -> tuple[World, Staging]:
        if wood == "oak":
            world = _room(textures.planks(rng, (214, 164, 104), (150, 100, 56)), textures.plaster(rng, (150, 178, 190)))
        elif wood == "ebony":
            world = _room(
                textures.planks(rng, (112, 78, 58), (60, 40, 32)), textures.tiles(rng, (226, 218, 200), (190, 96, 70))
            )
        else:
            world = _room(textures.planks(rng, (232, 220, 198), (190, 172, 146)), textures.bricks(rng, (186, 96, 70)))
        return world, _bouncing(float(rng.uniform(0.95, 1.15)), float(rng.random()))

    return build


def mill(light: str) -> Build:
    def build(rng: np.random.Generator) -> tuple[World, Staging]:
        if light == "evening":
            field = textures.grass(rng, (196, 158, 78), (120, 92, 48))
            world = World(ground(field, 6.0), _sunset_sky(rng), fog=((244, 184, 132), 70.0))
        elif light == "winter":
            snow = textures.plaster(rng, (232, 238, 246))
            sky = Sky((132, 158, 194), (214, 224, 234), skylines=((textures.hills(rng, 0.18), (176, 190, 208)),))
            world = World(ground(snow, 7.0), sky, fog=((216, 226, 236), 60.0))
        else:
            world = _meadow(rng)
        foot = (0.0, 0.0, 4.0)
        tower = actors.windmill(foot, (236, 226, 206), (150, 56, 44))
        return world, lambda time_s: [actors.join(tower, actors.sails(foot, time_s * 1.3), shadow=tower.shadow)]

    return build


def stone_wall(light: str) -> Build:
    tone = {"warm": (206, 160, 116), "grey": (140, 144, 150), "rose": (196, 138, 128)}[light]

    def build(rng: np.random.Generator) -> tuple[World, Staging]:
        floor = textures.grass(rng) if light == "grey" else textures.sand(rng)
        return _room(floor, textures.stones(rng, tone), 3.4, 1.5), lambda _time_s: []

    return build


def present(place: str) -> Build:
    def build(rng: np.random.Generator) -> tuple[World, Staging]:
        face = textures.gift(rng, (112, 44, 148), (246, 204, 70))
        if place == "kitchen":
            world = _room(textures.tiles(rng, (226, 226, 220), (76, 140, 160)), textures.plaster(rng, (236, 214, 176)))
        elif place == "hall":
            world = _room(
                textures.tiles(rng, (176, 92, 66), (226, 190, 130)),
                textures.planks(rng, (146, 172, 132), (98, 126, 92)),
            )
        else:
            world = _room(textures.tiles(rng, (58, 66, 80), (120, 130, 140)), textures.plaster(rng, (90, 140, 150)))
        cube = actors.box((1.3, 1.2, 1.3), face)
        shadow = (0.4, 0.5, 1.1, 0.6)
        return world, lambda time_s: [cube.moved(actors.turn(0.3 - time_s * 1.2), (0, 0.6, 0.4), shadow=shadow)]

    return build


FILMS: tuple[Film, ...] = (
    Film("red_ball.mp4", "a red and white ball rolls over a checkered floor", 25, (
        Take(red_ball("grey"), eye(0.6, 1.5, -3.6, 1.2, 0.5, 0.6), eye(-1.6, 1.3, -3.4, -2.2, 0.5, 0.6), 3.4),
        Take(red_ball("blue"), eye(0.0, 0.7, -3.2, 0.4, 0.6, 0), eye(3.2, 1.1, -2.6, 3.6, 0.6, 0), 3.2),
        Take(red_ball("green"), eye(0.2, 3.4, -2.6, 0.6, 0.3, 0.4, 1.0, 0),
             eye(2.0, 2.6, -2.2, 1.8, 0.4, 0.4, 1.3, 9), 3.0),
    )),
    Film("wooden_crate.mp4", "a wooden crate turns in front of a brick wall", 24, (
        Take(crate("yard"), eye(-2.2, 1.5, -3.2, -0.1, 0.7, 0.3), eye(1.6, 1.1, -3.0, 0.1, 0.8, 0.3), 3.5),
        Take(crate("cellar"), eye(0.3, 2.2, -4.0, 0, 0.9, 0.3, 0.9), eye(0.1, 1.6, -3.2, 0, 0.7, 0.3, 1.7), 3.0),
        Take(crate("sand"), eye(1.6, 0.5, -2.4, 0, 0.9, 0.3), eye(0.9, 2.0, -2.9, 0, 0.7, 0.3), 2.8),
    )),
    Film("balloon.mp4", "a striped hot air balloon drifts over hills under a cloudy sky", 25, (
        Take(balloon_trip("fair"), eye(0, 2.0, -2, 0, 7.4, 16, 1.0), eye(1, 2.4, -2, 2.6, 9.2, 16, 1.1), 3.4),
        Take(balloon_trip("evening"), eye(-4, 12, 2, -0.6, 8.2, 16, 1.0), eye(2, 13, 3, 2.2, 9.6, 16, 1.0), 3.2),
        Take(balloon_trip("cloudy"), eye(3, 1.6, 1, -0.5, 6, 16, 0.8), eye(3, 1.6, 1, 1.8, 9.5, 16, 1.6), 3.2),
    )),
    Film("row_of_trees.mp4", "a walk past a row of trees in a meadow", 24, (
        Take(tree_row("summer"), eye(0, 1.6, -5, 0.6, 1.7, 2), eye(5.2, 1.6, -5, 5.8, 1.7, 2), 3.6),
        Take(tree_row("autumn"), eye(6, 1.4, -4.6, 5.0, 1.8, 2), eye(2.2, 1.7, -4.4, 1.0, 1.9, 2), 3.2),
        Take(tree_row("spring"), eye(2, 2.6, -8, 2.6, 1.6, 2, 1.0), eye(2.6, 1.5, -4.2, 3.0, 1.7, 2, 1.1), 3.0),
    )),
    Film("golden_star.mp4", "a golden star spins above the sand of a desert", 25, (
        Take(desert_star("noon"), eye(-1.8, 1.4, -3.8, 0, 1.6, 0), eye(1.4, 1.9, -3.6, 0, 1.5, 0), 3.2),
        Take(desert_star("evening"), eye(0.4, 0.5, -3.4, 0, 1.7, 0, 1.0),
             eye(-0.4, 0.9, -3.0, 0, 1.7, 0, 1.3), 3.2, fade_in=True),
        Take(desert_star("dusk"), eye(1.5, 3.6, -3.4, 0, 1.2, 0, 1.0, -6), eye(0.4, 3.0, -3.6, 0, 1.4, 0, 1.1, 6), 2.8),
    )),
    Film("sailing_boat.mp4", "a small boat with a white sail crosses the water", 24, (
        Take(sailing("blue"), eye(0, 1.6, -5.2, -0.6, 1.1, 1), eye(0.6, 1.4, -4.8, 1.2, 1.2, 1), 3.5),
        Take(sailing("sunset"), eye(2.2, 0.9, -4.2, -0.8, 1.2, 1, 1.0), eye(2.6, 1.2, -4.4, 1.0, 1.2, 1, 1.2), 3.2),
        Take(sailing("green"), eye(-2.4, 4.6, -4.6, -1.0, 0.6, 1, 1.1), eye(0.6, 4.0, -4.4, 1.2, 0.7, 1, 1.1), 3.0),
    )),
    Film("towers_at_night.mp4", "lit windows in a row of towers at night", 25, (
        Take(towers, eye(2, 1.7, -2, 3, 4.4, 9, 0.9), eye(6, 1.7, -2, 7, 4.8, 9, 0.9), 3.2),
        Take(towers, eye(10, 8, -4, 9, 6, 9, 1.2, 0), eye(6, 9, -3, 7, 5, 9, 1.2, 7), 2.8, "dark"),
        Take(towers, eye(12, 1.2, 1, 10, 5, 9, 0.8), eye(12, 1.2, 1, 11.5, 9, 9, 1.0), 3.0),
    )),
    Film("two_balls.mp4", "a green ball and an orange ball bounce over a wooden floor", 30, (
        Take(two_balls("oak"), eye(-0.8, 1.5, -3.6, 0, 1.0, 0.4), eye(0.9, 1.4, -3.4, 0, 1.0, 0.4), 3.2),
        Take(two_balls("ebony"), eye(1.4, 1.9, -3.4, 0, 0.9, 0.4), eye(0.3, 1.6, -3.6, 0, 1.0, 0.4), 2.6, "blurred"),
        Take(two_balls("birch"), eye(0.2, 2.8, -4.2, 0, 0.8, 0.4, 0.9), eye(0, 1.6, -3.2, 0, 1.0, 0.4, 1.2), 3.0),
    )),
    Film("windmill.mp4", "a windmill turns in a field", 24, (
        Take(mill("fair"), eye(-2.6, 1.6, -8, -0.6, 3.6, 4, 1.1), eye(1.2, 1.6, -8, 0.4, 3.8, 4, 1.1), 3.4),
        Take(mill("winter"), eye(3.5, 2.2, -7, 0.4, 3.6, 4, 1.0), eye(2.6, 3.6, -6, 0, 4.2, 4, 1.2), 3.0),
        Take(mill("evening"), eye(0.6, 0.8, -5, 0.2, 2.6, 4, 0.9), eye(0.2, 0.9, -5, 0, 5.2, 4, 1.0), 3.2),
    )),
    Film("stone_wall.mp4", "a wall of stone in the evening light", 25, (
        Take(stone_wall("warm"), eye(-1.6, 1.3, -1.6, -1.4, 1.3, 1.5), eye(1.2, 1.2, -1.6, 1.6, 1.3, 1.5), 3.0),
        Take(stone_wall("grey"), eye(0, 1.4, -2.2, 0.3, 1.2, 1.5, 1.0),
             eye(0, 1.4, -2.2, 0.3, 1.2, 1.5, 1.0), 3.0, "static"),
        Take(stone_wall("rose"), eye(0.4, 2.4, -2.8, 0.2, 0.6, 1.5, 0.8), eye(0.2, 1.6, -1.6, 0.1, 1.9, 1.5, 1.2), 3.0),
    )),
    Film("gift_box.mp4", "a purple gift box with a yellow ribbon spins on a tiled floor", 25, (
        Take(present("kitchen"), eye(-1.6, 1.7, -3.0, 0, 0.6, 0.4), eye(1.2, 1.3, -3.0, 0, 0.7, 0.4), 3.2),
        Take(present("hall"), eye(1.2, 1.4, -3.4, 0, 0.8, 0.4), eye(0.4, 1.7, -3.0, 0, 0.7, 0.4), 3.2, "text"),
        Take(present("bath"), eye(0.2, 3.4, -2.4, 0, 0.4, 0.4, 1.0, -8), eye(0.4, 2.4, -3.0, 0, 0.6, 0.4, 1.2, 4), 2.8),
    )),
)  # fmt: skip
