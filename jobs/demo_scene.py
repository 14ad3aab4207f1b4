"""A small renderer for the demo's footage: a camera, textured planes, a sky with hills. See demo_actors for the rest.

World axes in metres: x right, y up, z away from the viewer. A frame is painted back to front:

    sky or wall -> ground (with fog and soft shadows) -> actors, farthest first -> lens (vignette, grain)

Everything works on one uint8 RGB array in place. About 6 ms a frame at 426 x 240 on one core, most of it the two
texture look-ups of the ground: one sharp, one 8 times coarser for what is far, so that it does not shimmer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Protocol

import cv2
import numpy as np

from jobs.demo_textures import Rgb, floats

COARSE = 8


@dataclass(frozen=True)
class Pose:
    """Where a camera stands and looks; `focal` is the focal length in picture heights, `roll` in degrees."""

    position: tuple[float, float, float]
    target: tuple[float, float, float]
    focal: float = 1.1
    roll: float = 0.0


class View:
    """A camera over a picture of the given size: projects points and gives the rays of all pixels."""

    def __init__(self, pose: Pose, width: int, height: int) -> None:
        self.position = floats(pose.position)
        forward = floats(pose.target) - self.position
        forward /= np.linalg.norm(forward)
        right = np.cross(floats((0, 1, 0)), forward)
        right /= np.linalg.norm(right)
        up = np.cross(forward, right)
        cos, sin = np.cos(np.radians(pose.roll)), np.sin(np.radians(pose.roll))
        self.rotation = floats([cos * right + sin * up, cos * up - sin * right, forward])
        self.width, self.height, self.focal_px = width, height, pose.focal * height
        self._x = ((np.arange(width) - (width - 1) / 2) / self.focal_px).astype(np.float32)
        self._y = (((height - 1) / 2 - np.arange(height)) / self.focal_px).astype(np.float32)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels [N, 2] and depths [N] (metres along the view) of world points [N, 3]."""
        local = (floats(points) - self.position) @ self.rotation.T
        depth = np.maximum(local[:, 2], 1e-3)
        across = self.focal_px * local[:, 0] / depth + (self.width - 1) / 2
        down = (self.height - 1) / 2 - self.focal_px * local[:, 1] / depth
        return np.stack([across, down], axis=1), local[:, 2]

    def along(self, axis: np.ndarray, rows: slice) -> np.ndarray:
        """Component of every pixel's ray along a world axis, float32 [rows, width]."""
        right, up, forward = (float(part @ axis) for part in self.rotation)
        return (self._y[rows] * up + forward)[:, None] + (self._x * right)[None, :]

    def rows_towards(self, axis: np.ndarray, above: float) -> slice:
        """The rows in which some ray's component along `axis` exceeds `above`."""
        ends = self.along(axis, slice(None))[:, (0, -1)].max(axis=1)
        rows = np.flatnonzero(ends > above)
        return slice(0, 0) if rows.size == 0 else slice(int(rows[0]), int(rows[-1]) + 1)


class Actor(Protocol):
    """Something that stands in the scene. `shadow` is (x, z, radius, strength) on the ground, or nothing."""

    @property
    def centre(self) -> np.ndarray: ...

    @property
    def shadow(self) -> tuple[float, float, float, float] | None: ...

    def draw(self, image: np.ndarray, view: View) -> None: ...


@dataclass(frozen=True)
class Plane:
    """An endless textured plane: `origin` on it, `across` and `down` the texture's axes, `tile_m` metres a tile."""

    texture: np.ndarray
    origin: tuple[float, float, float]
    across: tuple[float, float, float]
    down: tuple[float, float, float]
    tile_m: float
    drift_m_s: tuple[float, float] = (0.0, 0.0)

    @cached_property
    def coarse(self) -> np.ndarray:
        small = cv2.resize(self.texture, None, fx=1 / COARSE, fy=1 / COARSE, interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(small)

    @cached_property
    def mean(self) -> Rgb:
        red, green, blue = self.texture.reshape(-1, 3).mean(axis=0).astype(int).tolist()
        return red, green, blue


def ground(texture: np.ndarray, tile_m: float, drift_m_s: tuple[float, float] = (0.0, 0.0)) -> Plane:
    return Plane(texture, (0, 0, 0), (1, 0, 0), (0, 0, -1), tile_m, drift_m_s)


def wall(texture: np.ndarray, tile_m: float, distance_m: float) -> Plane:
    return Plane(texture, (0, 0, distance_m), (1, 0, 0), (0, -1, 0), tile_m)


@dataclass(frozen=True)
class Sky:
    """A gradient, clouds on a high plane, and skylines given as slopes over the sine of the compass direction."""

    zenith: Rgb
    horizon: Rgb
    cloud_cover: np.ndarray | None = None  # float32 [S, S] in 0..1, tileable
    cloud: Rgb = (255, 252, 248)
    skylines: tuple[tuple[np.ndarray, Rgb], ...] = ()
    wind_m_s: float = 26.0

    def draw(self, image: np.ndarray, view: View, time_s: float) -> None:
        rows = view.rows_towards(floats((0, 1, 0)), -0.02)
        if rows.stop == rows.start:
            return
        rise = view.along(floats((0, 1, 0)), rows)
        x, z = view.along(floats((1, 0, 0)), rows), view.along(floats((0, 0, 1)), rows)
        level = np.sqrt(x * x + z * z)
        slope, sine = rise / level, x / level
        colour = self._gradient[np.clip(slope * 380, 0, 255).astype(np.uint8)]
        if self.cloud_cover is not None:
            size = self.cloud_cover.shape[0]
            reach = size / 9 / np.maximum(slope, 0.03)  # clouds on a plane above, so that they get perspective
            map_x = _wrapped(sine * reach + (view.position[0] * 2 + time_s * self.wind_m_s) / 4, size)
            map_y = _wrapped(z / level * reach, size)
            cover = cv2.remap(self.cloud_cover, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
            colour = towards(colour, self.cloud, cover * np.clip(slope * 6 - 0.25, 0, 0.94))
        haze = np.zeros_like(slope)
        for line, tone in self.skylines:
            crest = line[((sine * 0.5 + 0.5) * np.float32(line.size - 1)).astype(np.int32)]
            below = crest - slope
            colour = towards(colour, tone, np.clip(below * view.focal_px, 0, 1))
            haze = np.clip(below * (0.35 / np.maximum(crest, 1e-3)), haze, 0.35)
        if self.skylines:
            colour = towards(colour, self.horizon, haze)
        image[rows] = colour

    @cached_property
    def _gradient(self) -> np.ndarray:
        """Sky colours by slope, uint8 [256, 3]: the first at the horizon, the last at slope 0.67 and above."""
        part = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
        return (floats(self.horizon) * (1 - part) + floats(self.zenith) * part).astype(np.uint8)


@lru_cache(maxsize=64)
def _flat(height: int, width: int, tone: Rgb) -> np.ndarray:
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = tone
    picture.flags.writeable = False
    return picture


def towards(colour: np.ndarray, tone: Rgb, weight: np.ndarray) -> np.ndarray:
    """Blend uint8 [H, W, 3] towards one colour by float32 weights in [0, 1]; on bytes, 5 times as fast as on floats."""
    height, width = weight.shape
    other = _flat(-(-height // 64) * 64, -(-width // 64) * 64, tone)[:height, :width]
    return cv2.blendLinear(colour, other, 1 - weight, weight)


def _wrapped(coordinate: np.ndarray, size: int) -> np.ndarray:
    """Coordinates modulo the tile: cv2.remap counts px in 16 bits; 4 times as fast as numpy's % here."""
    return coordinate - size * np.floor(coordinate * np.float32(1 / size))


def draw_plane(
    image: np.ndarray,
    view: View,
    plane: Plane,
    time_s: float = 0.0,
    fog: tuple[Rgb, float] | None = None,
    far_z: float | None = None,
    shadows: Sequence[tuple[float, float, float, float]] = (),
) -> None:
    """Paint a plane where rays meet it (nearer than `far_z` if given), fading into `fog` = (colour, metres)."""
    across, down = floats(plane.across), floats(plane.down)
    normal, offset = np.cross(across, down), floats(plane.origin) - view.position
    height = float(offset @ normal)
    if abs(height) < 1e-3:
        return
    heading = normal if height > 0 else -normal
    rows = view.rows_towards(heading, 1e-3)
    if rows.stop == rows.start:
        return
    facing = view.along(heading, rows)
    distance = abs(height) / np.maximum(facing, 1e-3)
    scale = plane.texture.shape[0] / plane.tile_m
    on_x = view.along(across, rows) * distance - float(offset @ across)
    on_y = view.along(down, rows) * distance - float(offset @ down)
    size = plane.texture.shape[0]
    texture_x = _wrapped((on_x + plane.drift_m_s[0] * time_s) * scale, size)
    texture_y = _wrapped((on_y + plane.drift_m_s[1] * time_s) * scale, size)
    colour = cv2.remap(plane.texture, texture_x, texture_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    # px of texture under one px of picture, along the steep direction
    footprint = scale / view.focal_px * distance / np.clip(facing, 0.02, 1)
    far = np.flatnonzero(footprint.max(axis=1) > 1.2)
    if far.size:
        band = slice(int(far[0]), int(far[-1]) + 1)
        blur = np.clip((footprint[band] - 1.2) / (COARSE / 2), 0, 1)
        small_x, small_y = texture_x[band] / COARSE, texture_y[band] / COARSE
        soft = cv2.remap(plane.coarse, small_x, small_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        blend = cv2.blendLinear(np.ascontiguousarray(colour[band]), soft, 1 - blur, blur)
        flat = np.clip((footprint[band] - COARSE) / (COARSE * 4), 0, 1)
        colour[band] = towards(blend, plane.mean, flat)
    if shadows:
        colour = towards(colour, (0, 0, 0), 1 - _daylight(view, rows, on_x, -on_y, shadows))
    if fog is not None:
        colour = towards(colour, fog[0], (1 - np.exp(distance / -fog[1])) * np.float32(0.85))
    seen = facing > 1e-3
    if far_z is not None:
        seen &= -on_y < far_z
    np.copyto(image[rows], colour, where=seen[..., None])


def _daylight(
    view: View, rows: slice, x: np.ndarray, z: np.ndarray, shadows: Sequence[tuple[float, float, float, float]]
) -> np.ndarray:
    """What the soft shadows leave of the light, 0..1, where the ground's points are (x, z)."""
    light = np.ones_like(x)
    for at_x, at_z, radius, strength in shadows:
        reach = 1.7 * radius
        corners = [(at_x + a * reach, 0.0, at_z + b * reach) for a in (-1, 1) for b in (-1, 1)]
        pixels, depths = view.project(floats(corners))
        if depths.max() < 0.2:
            continue
        top, left, bottom, right = 0, 0, *x.shape
        if depths.min() > 0.2:
            (left, top), (right, bottom) = np.floor(pixels.min(axis=0)), np.ceil(pixels.max(axis=0)) + 1
            top, bottom = top - rows.start, bottom - rows.start
        part = np.s_[int(max(top, 0)) : int(max(bottom, 0)), int(max(left, 0)) : int(max(right, 0))]
        spot = ((x[part] - at_x) ** 2 + (z[part] - at_z) ** 2) / np.float32(radius**2)
        light[part] *= 1 - np.float32(strength) * np.exp(-spot * np.sqrt(spot))
    return light


@dataclass(frozen=True)
class World:
    """Everything of a scene that does not move by itself: ground, and a sky or a wall behind it."""

    floor: Plane | None
    sky: Sky | None = None
    back: Plane | None = None
    fog: tuple[Rgb, float] | None = None
    props: tuple[Actor, ...] = field(default=())

    def draw(self, image: np.ndarray, view: View, actors: Sequence[Actor], time_s: float) -> None:
        """Paint one frame, uint8 RGB [height, width, 3], in place."""
        everyone = [*self.props, *actors]
        shadows = [actor.shadow for actor in everyone if actor.shadow is not None]
        if self.sky is not None:
            self.sky.draw(image, view, time_s)
        if self.back is not None:
            draw_plane(image, view, self.back)
        if self.floor is not None:
            far_z = None if self.back is None else self.back.origin[2]
            draw_plane(image, view, self.floor, time_s, self.fog, far_z, shadows)
        everyone.sort(key=lambda actor: -float(np.linalg.norm(actor.centre - view.position)))
        for actor in everyone:
            actor.draw(image, view)
