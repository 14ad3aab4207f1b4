"""What stands and moves in the demo's scenes: shaded balls, flat-shaded meshes, upright pictures, and their builders.

Each actor paints itself into a uint8 RGB picture through a `View`; between 0.1 and 1 ms each at 426 x 240.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

from jobs.demo_scene import View, towards
from jobs.demo_textures import Rgb, dimmed, floats, shrunk

SUN = floats((-0.52, 0.74, -0.43))  # unit vector towards the light: upper left, behind the camera


@dataclass(frozen=True)
class Ball:
    """A shaded ball with a painted pattern that turns with it.

    `spin` rotates world directions into the ball's own: rows are its axes. Patterns: "sectors" (8 of them, like a
    beach ball), "band" (a stripe around the middle).
    """

    centre: np.ndarray
    radius: float
    colours: tuple[Rgb, Rgb]
    spin: np.ndarray
    pattern: str = "sectors"

    @property
    def shadow(self) -> tuple[float, float, float, float]:
        rise = max(0.0, float(self.centre[1]) - self.radius)
        return (
            float(self.centre[0]) + 0.4 * rise + 0.35 * self.radius,
            float(self.centre[2]) + 0.3 * rise + 0.2 * self.radius,
            self.radius * (1.15 + 0.5 * rise),
            0.72 / (1 + 0.9 * rise),
        )

    def draw(self, image: np.ndarray, view: View) -> None:
        (pixel,), (depth,) = view.project(self.centre[None])
        if depth < self.radius * 1.2:
            return
        radius = view.focal_px * self.radius / depth
        top, bottom = int(max(0, pixel[1] - radius - 1)), int(min(view.height, pixel[1] + radius + 2))
        left, right = int(max(0, pixel[0] - radius - 1)), int(min(view.width, pixel[0] + radius + 2))
        if top >= bottom or left >= right:
            return
        y = (pixel[1] - np.arange(top, bottom, dtype=np.float32)[:, None]) / radius
        x = (np.arange(left, right, dtype=np.float32)[None, :] - pixel[0]) / radius
        square = x * x + y * y
        z = np.sqrt(np.clip(1 - square, 0, 1))
        normal = np.stack(np.broadcast_arrays(x, y, -z), axis=-1) @ view.rotation
        own = normal @ self.spin.T
        weight = self._pattern(own, radius)[..., None]
        colour = floats(self.colours[0]) + (floats(self.colours[1]) - floats(self.colours[0])) * weight
        light = np.clip(normal @ SUN, 0, 1)
        sky = 0.5 + 0.5 * normal[..., 1]
        colour = colour * (0.2 + 0.28 * sky + 0.62 * light)[..., None]
        half_way = SUN - view.rotation[2]
        shine = np.clip(normal @ (half_way / np.linalg.norm(half_way)), 0, 1) ** 48
        colour += 190 * shine[..., None]
        cover = np.clip((1 - np.sqrt(square)) * radius + 0.5, 0, 1)[..., None]
        part = image[top:bottom, left:right]
        part[:] = np.clip(part + (colour - part) * cover, 0, 255).astype(np.uint8)

    def _pattern(self, own: np.ndarray, radius_px: float) -> np.ndarray:
        if self.pattern == "band":
            return np.clip((0.26 - np.abs(own[..., 1])) * radius_px + 0.5, 0, 1)
        if self.pattern == "sectors":
            angle = np.arctan2(own[..., 2], own[..., 0])
            reach = np.sqrt(own[..., 0] ** 2 + own[..., 2] ** 2)
            return np.clip(np.sin(angle * 4) * reach * radius_px / 4 + 0.5, 0, 1)
        raise ValueError(f'no ball pattern {self.pattern!r}; the patterns are "sectors" and "band"')


@dataclass(frozen=True)
class Face:
    """A flat piece of a mesh: indices of its corners, counter-clockwise from outside, and a colour or a texture.

    A textured face has four corners, in the texture's order: top left, top right, bottom right, bottom left.
    """

    corners: tuple[int, ...]
    colour: Rgb = (200, 200, 200)
    texture: tuple[np.ndarray, ...] | None = None  # `textures.shrunk`
    two_sided: bool = False
    glow: float = 0.0  # 1 is lit by nothing but itself, as a window at night


@dataclass(frozen=True)
class Mesh:
    """Flat-shaded faces over world points [N, 3]; faces that look away are dropped, the rest painted far to near."""

    points: np.ndarray
    faces: tuple[Face, ...]
    shadow: tuple[float, float, float, float] | None = None
    fog: tuple[Rgb, float] | None = None

    @cached_property
    def corners(self) -> np.ndarray:
        """Corner indices, int [F, 4]: the first three and the last of each face."""
        return np.array([(*face.corners[:3], face.corners[-1]) for face in self.faces])

    @property
    def centre(self) -> np.ndarray:
        return self.points.mean(axis=0)

    def moved(self, rotation: np.ndarray, offset: tuple[float, float, float], **changes: object) -> "Mesh":
        """The same faces with their points rotated about the origin, then shifted."""
        mesh = replace(self, points=self.points @ rotation.T + floats(offset), **changes)
        mesh.__dict__["corners"] = self.corners  # the faces are the same
        return mesh

    def draw(self, image: np.ndarray, view: View) -> None:
        pixels, depths = view.project(self.points)
        corners = self.corners
        normals, depth = _normals(self.points[corners]), depths[corners]
        away = np.sum(normals * (self.points[corners[:, 0]] - view.position), axis=1) > 0
        normals[away] *= -1
        lit = 0.42 + 0.16 * normals[:, 1] + 0.55 * np.maximum(0, normals @ SUN)
        fade = np.zeros(len(corners)) if self.fog is None else 1 - np.exp(-depth.mean(axis=1) / self.fog[1])
        tone = floats(self.fog[0] if self.fog else (0, 0, 0))
        for index in np.argsort(-depth.mean(axis=1), kind="stable"):
            face = self.faces[index]
            if depth[index].min() < 0.1 or (away[index] and not face.two_sided):
                continue
            light = float(lit[index]) * (1 - face.glow) + face.glow
            outline = pixels[list(face.corners)]
            if face.texture is not None:
                _draw_textured(image, outline, face.texture, light, tone, float(fade[index]))
                continue
            colour = np.clip(floats(face.colour) * light * (1 - fade[index]) + tone * fade[index], 0, 255)
            if np.abs(outline).max() < 2**20:
                cv2.fillPoly(image, [np.round(outline * 256).astype(np.int32)], colour.tolist(), cv2.LINE_AA, 8)


def _normals(corners: np.ndarray) -> np.ndarray:
    """Unit normals [F, 3] of faces [F, 4, 3]; from the diagonals, so that a face may taper to a point."""
    (a, b, c), (d, e, f) = (corners[:, 2] - corners[:, 0]).T, (corners[:, 3] - corners[:, 1]).T
    normal = np.stack([b * f - c * e, c * d - a * f, a * e - b * d], axis=1)  # 5 times as fast as np.cross here
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)


def _draw_textured(
    image: np.ndarray, corners: np.ndarray, sizes: tuple[np.ndarray, ...], lit: float, tone: np.ndarray, fade: float
) -> None:
    """Warp a square texture into the quadrilateral `corners` [4, 2], lit and fogged, with soft edges."""
    height, width = image.shape[:2]
    left, top = np.floor(corners.min(axis=0) - 1).astype(int)
    right, bottom = np.ceil(corners.max(axis=0) + 2).astype(int)
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if left >= right or top >= bottom:
        return
    side = float(np.sqrt(max(cv2.contourArea(floats(corners)), 1.0)))
    texture = sizes[int(np.clip(np.log2(sizes[0].shape[0] / side), 0, len(sizes) - 1))]
    size = texture.shape[0]
    square = floats([[0, 0], [size, 0], [size, size], [0, size]]) - 0.5
    warp = cv2.getPerspectiveTransform(square, floats(corners) - floats((left, top)))
    shape = (right - left, bottom - top)
    colour = cv2.warpPerspective(texture, warp, shape, borderMode=cv2.BORDER_REPLICATE)
    shades = np.arange(256, dtype=np.float32)[None, :, None] * lit * (1 - fade) + tone * fade
    colour = cv2.LUT(colour, np.clip(shades, 0, 255).astype(np.uint8))
    cover = np.zeros(shape[::-1], np.uint8)
    cv2.fillPoly(cover, [np.round((corners - (left, top)) * 256).astype(np.int32)], (255,), cv2.LINE_AA, 8)
    part, weight = image[top:bottom, left:right], cover / np.float32(255)
    part[:] = cv2.blendLinear(np.ascontiguousarray(part), colour, 1 - weight, weight)


@dataclass(frozen=True)
class Billboard:
    """A picture with transparency that stands on the ground at (x, z) and faces the camera.

    `sizes` holds the picture (uint8 RGBA) whole, halved, and so on: `textures.shrunk` makes them.
    """

    sizes: tuple[np.ndarray, ...]
    x: float
    z: float
    height: float
    fog: tuple[Rgb, float] | None = None
    lean: float = 0.0  # how far its top hangs to the right, in heights, as in wind

    @property
    def centre(self) -> np.ndarray:
        return floats((self.x, self.height / 2, self.z))

    @property
    def shadow(self) -> tuple[float, float, float, float]:
        return (self.x + 0.15 * self.height, self.z + 0.1 * self.height, 0.34 * self.height, 0.5)

    def draw(self, image: np.ndarray, view: View) -> None:
        ends, depths = view.project(floats([[self.x, 0, self.z], [self.x, self.height, self.z]]))
        tall = float(ends[0, 1] - ends[1, 1])
        if depths.min() < 0.3 or tall < 3:
            return
        level = int(np.clip(np.log2(self.sizes[0].shape[0] / tall), 0, len(self.sizes) - 1))
        picture = self.sizes[level]
        rows, columns = picture.shape[:2]
        scale = tall / rows
        wide = columns * scale
        left, top = int(np.floor(ends[0, 0] - wide / 2)) - 1, int(np.floor(ends[1, 1])) - 1
        right, bottom = int(left + wide + 3), int(top + tall + 3)
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, view.width), min(bottom, view.height)
        if left >= right or top >= bottom:
            return
        bend = self.lean * tall
        across = ends[0, 0] - wide / 2 - left + bend
        move = floats([[scale, -bend / rows, across], [0, scale, ends[1, 1] - top]])
        layer = cv2.warpAffine(picture, move, (right - left, bottom - top))
        colour, cover = cv2.cvtColor(layer, cv2.COLOR_RGBA2RGB), layer[..., 3] / np.float32(255)
        if self.fog is not None:
            fade = np.float32(1 - np.exp(-float(depths[0]) / self.fog[1]))
            colour = towards(colour, self.fog[0], np.full(cover.shape, fade))
        part = image[top:bottom, left:right]
        part[:] = cv2.blendLinear(np.ascontiguousarray(part), colour, 1 - cover, cover)


def turn(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """Rotation matrix [3, 3] for column vectors: roll about z, then pitch about x, then yaw about y; radians."""
    (cy, cp, cr), (sy, sp, sr) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    about_y = floats([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = floats([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = floats([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return about_y @ about_x @ about_z


_BOX_SIDES = ((3, 2, 1, 0), (6, 7, 4, 5), (7, 3, 0, 4), (2, 6, 5, 1), (7, 6, 2, 3))


def box(size: tuple[float, float, float], texture: np.ndarray, glow: float = 0.0) -> Mesh:
    """A box (width, height, depth in metres) around the origin with one texture on its sides and top."""
    signs = [(-1, -1, -1), (1, -1, -1), (1, 1, -1), (-1, 1, -1), (-1, -1, 1), (1, -1, 1), (1, 1, 1), (-1, 1, 1)]
    sizes = shrunk(texture)
    faces = tuple(Face(side, texture=sizes, glow=glow) for side in _BOX_SIDES)
    return Mesh(floats(signs) * floats(size) / 2, faces)


def star(radius: float, colour: Rgb) -> Mesh:
    """A thick five-pointed star around the origin whose faces rise to a ridge in the middle."""
    angles = np.arange(10) * np.pi / 5 + np.pi / 2
    reach = np.where(np.arange(10) % 2 == 0, radius, radius * 0.46)
    rim = np.stack([reach * np.cos(angles), reach * np.sin(angles), np.zeros(10)], axis=1)
    points = np.concatenate([rim, [[0, 0, -0.3 * radius], [0, 0, 0.3 * radius]]]).astype(np.float32)
    front = [Face((10, (corner + 1) % 10, corner), colour) for corner in range(10)]
    back = [Face((11, corner, (corner + 1) % 10), colour) for corner in range(10)]
    return Mesh(points, tuple(_outwards(points, front + back)))


def lathe(
    profile: list[tuple[float, float]],
    foot: tuple[float, float, float],
    colours: tuple[Rgb, ...],
    segments: int = 20,
    fog: tuple[Rgb, float] | None = None,
) -> Mesh:
    """A solid of revolution from (radius, height) pairs, bottom to top; segments take the colours in turn."""
    angles = np.arange(segments) * 2 * np.pi / segments
    rings = [
        np.stack([radius * np.cos(angles), np.full(segments, height), radius * np.sin(angles)], axis=1)
        for radius, height in profile
    ]
    points = (np.concatenate(rings) + floats(foot)).astype(np.float32)
    faces = [
        Face(
            (
                ring * segments + part,
                ring * segments + (part + 1) % segments,
                (ring + 1) * segments + (part + 1) % segments,
                (ring + 1) * segments + part,
            ),
            colours[part * len(colours) // segments if len(colours) <= 2 else part % len(colours)],
        )
        for ring in range(len(profile) - 1)
        for part in range(segments)
    ]
    return Mesh(points, tuple(_outwards(points, faces, (foot[0], foot[2]))), None, fog)


def join(*meshes: Mesh, shadow: tuple[float, float, float, float] | None = None) -> Mesh:
    """Several meshes as one actor, so that their faces are sorted together."""
    faces, count = [], 0
    for mesh in meshes:
        for face in mesh.faces:
            faces.append(replace(face, corners=tuple(corner + count for corner in face.corners)))
        count += len(mesh.points)
    return Mesh(np.concatenate([mesh.points for mesh in meshes]), tuple(faces), shadow, meshes[0].fog)


def balloon(radius: float, colours: tuple[Rgb, ...], fog: tuple[Rgb, float]) -> Mesh:
    """A hot air balloon around the origin: a striped envelope, ropes and a basket."""
    heights = np.linspace(-1.25, 1.0, 13)
    # a sphere above, a cone below that meets it at height -0.35
    envelope = [(float(np.sqrt(max(0.0, 1 - h * h)) if h > -0.35 else 0.89 * (h + 1.4)), float(h)) for h in heights]
    skin = lathe([(r * radius, h * radius) for r, h in envelope], (0, 0, 0), colours, 24, fog)
    low, high, half = -1.72 * radius, -1.5 * radius, 0.16 * radius
    ring = [(-half, -half), (half, -half), (half, half), (-half, half)]
    corners = floats([(a, level, b) for level in (low, high) for a, b in ring])
    weave = (126, 86, 48)
    sides = [Face((i, (i + 1) % 4, (i + 1) % 4 + 4, i + 4), weave, two_sided=True) for i in range(4)]
    knot = -1.2 * radius
    ropes = floats([end for a, b in ring for end in _rope((a, high, b), (a, knot, b), radius)])
    lines = [Face((4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3), (70, 60, 52), two_sided=True) for i in range(4)]
    return join(skin, Mesh(corners, tuple(sides)), Mesh(ropes, tuple(lines)))


def _rope(low: tuple[float, float, float], high: tuple[float, float, float], radius: float) -> list:
    thick = 0.012 * radius
    (ax, ay, az), (bx, by, bz) = low, high
    return [(ax - thick, ay, az), (ax + thick, ay, az), (bx + thick, by, bz), (bx - thick, by, bz)]


def boat(centre: tuple[float, float, float], heading: float, heel: float, hull: Rgb, sail: Rgb) -> Mesh:
    """A small sailing boat, 2.4 m long; `heel` is its lean in radians."""
    points = floats(
        [
            (-1.1, 0.42, 0.4), (-1.1, 0.42, -0.4), (0.5, 0.4, -0.46), (1.4, 0.52, 0), (0.5, 0.4, 0.46),
            (-0.9, -0.1, 0.24), (-0.9, -0.1, -0.24), (0.4, -0.12, -0.26), (1.0, -0.08, 0), (0.4, -0.12, 0.26),
            (0.1, 0.4, 0), (0.13, 3.0, 0), (-0.95, 0.72, 0.22), (0.06, 2.9, 0), (0.06, 0.72, 0),
            (0.2, 2.5, 0), (0.2, 0.7, 0), (1.2, 0.72, -0.12), (0.06, 0.4, 0), (0.06, 3.0, 0),
        ]
    )  # fmt: skip
    points = points @ turn(heading, 0.0, heel).T + floats(centre)
    deck = (206, 176, 130)
    dark = dimmed(hull, 0.8)
    rims = [(1, 0, 5, 6), (2, 1, 6, 7), (3, 2, 7, 8), (4, 3, 8, 9), (0, 4, 9, 5)]
    faces = [Face(rim, hull if i % 2 else dark, two_sided=True) for i, rim in enumerate(rims)]
    faces += [Face((0, 1, 2, 3, 4), deck, two_sided=True), Face((10, 11, 19, 18), (96, 70, 46), two_sided=True)]
    faces += [Face((12, 13, 14), sail, two_sided=True, glow=0.45), Face((15, 16, 17), sail, two_sided=True, glow=0.3)]
    return Mesh(points, tuple(faces), (centre[0], centre[2] - 0.25, 1.25, 0.5))


def windmill(foot: tuple[float, float, float], tower: Rgb, cap: Rgb) -> Mesh:
    """A windmill's tower, 7 m tall, without its sails."""
    shaded = (tower, dimmed(tower, 0.94), tower)
    body = lathe([(1.5, 0), (1.15, 3), (0.9, 5.4)], foot, shaded, 18)
    roof = lathe([(1.08, 5.3), (0.75, 6.1), (0.02, 6.9)], foot, (cap, cap, cap), 18)
    door = floats([(-0.4, 0, -1.52), (0.4, 0, -1.52), (0.36, 1.5, -1.38), (-0.36, 1.5, -1.38)]) + floats(foot)
    doorway = Mesh(door, (Face((0, 1, 2, 3), (70, 48, 36), two_sided=True),))
    return join(body, roof, doorway, shadow=(foot[0] + 1.2, foot[2] + 0.4, 2.6, 0.55))


def sails(foot: tuple[float, float, float], angle: float) -> Mesh:
    """The four sails of the windmill that stands at `foot`, turned by `angle` radians, facing the camera."""
    hub = floats(foot) + floats((0, 5.5, -1.35))
    points, faces = [], []
    for blade in range(4):
        spin = turn(0.0, 0.0, angle + blade * np.pi / 2).T
        arm = [(-0.07, 0, 0), (0.07, 0, 0), (0.07, 3.7, 0), (-0.07, 3.7, 0)]
        cloth = [(0.07, 0.7, 0.03), (0.85, 0.8, 0.1), (0.85, 3.6, 0.1), (0.07, 3.6, 0.03)]
        for shape, colour in ((arm, (92, 66, 44)), (cloth, (240, 234, 220))):
            faces.append(Face(tuple(range(len(points), len(points) + 4)), colour, two_sided=True, glow=0.3))
            points.extend(floats(shape) @ spin + hub)
    return Mesh(floats(points), tuple(faces))


def _outwards(points: np.ndarray, faces: list[Face], axis: tuple[float, float] | None = None) -> list[Face]:
    """Faces with their corners ordered so that the normal points away from the middle (or from a vertical axis)."""
    corners = points[np.array([(*face.corners[:3], face.corners[-1]) for face in faces])]
    centres = corners.mean(axis=1)
    middle = np.broadcast_to(points.mean(axis=0), centres.shape).copy()
    if axis is not None:
        middle = np.stack([np.full(len(centres), axis[0]), centres[:, 1], np.full(len(centres), axis[1])], axis=1)
    outward = np.sum(_normals(corners) * (centres - middle), axis=1) >= 0
    return [
        face if keep else replace(face, corners=face.corners[::-1]) for face, keep in zip(faces, outward, strict=True)
    ]
