"""A textured 3-D scene seen by a moving pinhole camera: footage whose camera movement is known exactly.

    Scene (planes with textures, some of them moving) + Camera at each time --ray per pixel, z-buffer--> luma [T, H, W]

    rendered("tilt left", seed=3)                 the luma of one clip of that class, at random speed and place
    rendered("pan left", seed=3, mover=True)      the same with somebody walking through the foreground

World axes: x right, y down, z away from the camera, which starts at the origin; lengths are those of the scene, focal
lengths in short sides of the picture. Scenes have a far wall, a ground, a subject at 3 to 5 and things nearer and
further than it. Sub-pixel exact (each pixel's ray is met with each plane), seeded, with sensor noise. 0.1 s a second of
footage.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

CLASSES = (
    *("zoom in", "zoom out", "pan up", "pan down", "pan left", "pan right"),
    *("tilt up", "tilt down", "tilt left", "tilt right", "around left", "around right"),
    *("static shot", "handheld shot"),
)
LINES, COLUMNS, FPS = 144, 256, 10.0
NOISE_LEVELS = 2.0
DIRECTIONS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}


@dataclass(frozen=True)
class Camera:
    """Where the camera is and where it looks; yaw above 0 turns right, pitch above 0 turns up (radians)."""

    position: np.ndarray  # [3]
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    focal: float = 1.3  # short sides

    def rotation(self) -> np.ndarray:
        """World from camera, [3, 3]."""
        about_y, about_x, about_z = (
            cv2.Rodrigues(np.array(axis, np.float64))[0]
            for axis in ((0, self.yaw, 0), (self.pitch, 0, 0), (0, 0, self.roll))
        )
        return about_y @ about_x @ about_z


@dataclass(frozen=True)
class Plane:
    """A rectangle: one corner, the two edges from there, its texture uint8 [h, w], and how fast it moves."""

    corner: np.ndarray
    right: np.ndarray
    down: np.ndarray
    texture: np.ndarray
    velocity: np.ndarray


def speckle(generator: np.random.Generator, width: int, height: int, grain_px: float) -> np.ndarray:
    """A random texture of two scales, uint8."""
    fine = generator.uniform(0, 255, (max(2, int(height / grain_px)), max(2, int(width / grain_px))))
    coarse = generator.uniform(0, 255, (max(2, int(height / grain_px / 5)), max(2, int(width / grain_px / 5))))
    layers = [
        cv2.resize(layer.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC) for layer in (fine, coarse)
    ]
    return np.clip(0.5 * layers[0] + 0.5 * layers[1], 0, 255).astype(np.uint8)


def card(generator: np.random.Generator, x: float, y: float, z: float, width: float, height: float) -> Plane:
    """An upright rectangle around (x, y) that faces the camera, about one texel a pixel where it stands."""
    texel = z / (1.3 * LINES)
    size = (max(8, int(width / texel)), max(8, int(height / texel)))
    shade = generator.uniform(0.5, 1)
    texture = (speckle(generator, *size, grain_px=generator.uniform(4, 9)) * shade).astype(np.uint8)
    return Plane(
        np.array([x - width / 2, y - height / 2, z]),
        np.array([width, 0, 0.0]),
        np.array([0, height, 0.0]),
        texture,
        np.zeros(3),
    )


def scene(generator: np.random.Generator, subject_z: float, mover: bool) -> list[Plane]:
    """Far wall, ground, a subject in the middle, four to eight other things, and perhaps somebody who walks by."""
    far_z = subject_z * generator.uniform(2, 4)
    ground_y = generator.uniform(0.9, 1.5)
    planes = [card(generator, 0, 0, far_z, 8 * far_z, 8 * far_z)]
    ground = card(generator, 0, ground_y, subject_z, 12 * subject_z, 2 * far_z)
    near_z = 0.3
    planes.append(
        replace(
            ground,
            corner=np.array([-6 * subject_z, ground_y, near_z - 3]),
            down=np.array([0, 0.0, far_z - near_z + 3]),
        )
    )
    height = generator.uniform(1.2, 2.0)
    planes.append(card(generator, generator.uniform(-0.3, 0.3), ground_y - height / 2, subject_z, height * 0.6, height))
    for _ in range(generator.integers(4, 9)):
        z = subject_z * generator.uniform(0.6, 1.8)
        x = generator.uniform(-1.2, 1.2) * z
        height = generator.uniform(0.4, 2.0)
        planes.append(card(generator, x, ground_y - height / 2, z, height * generator.uniform(0.3, 1), height))
    if mover:
        z = subject_z * generator.uniform(0.6, 0.9)
        speed = generator.choice([-1, 1]) * generator.uniform(0.2, 0.5) * z
        walker = card(generator, -speed, ground_y - 0.45 * z / 1.3, z, 0.25 * z, 0.9 * z / 1.3)
        planes.append(replace(walker, velocity=np.array([speed, 0, 0])))
    return planes


def render(planes: list[Plane], camera: Camera, time_s: float) -> np.ndarray:
    """What the camera sees, float32 [LINES, COLUMNS] before noise."""
    right, down = np.meshgrid(np.arange(COLUMNS) + 0.5 - COLUMNS / 2, np.arange(LINES) + 0.5 - LINES / 2)
    rays = np.stack([right, down, np.full_like(right, camera.focal * LINES)], -1).reshape(-1, 3).T
    rays = camera.rotation() @ rays / LINES
    picture = np.zeros(LINES * COLUMNS, np.float32)
    nearest = np.zeros(LINES * COLUMNS)
    for plane in planes:
        corner = plane.corner + plane.velocity * time_s - camera.position
        along, across, nearness = np.linalg.inv(np.column_stack([plane.right, plane.down, corner])) @ rays
        with np.errstate(divide="ignore", invalid="ignore"):
            along, across = along / nearness, across / nearness
        hit = (nearness > nearest) & (along >= 0) & (along < 1) & (across >= 0) & (across < 1)
        rows, columns = plane.texture.shape
        at_x, at_y = (
            np.where(hit, texel, 0).astype(np.float32).reshape(LINES, COLUMNS)
            for texel in (along * columns - 0.5, across * rows - 0.5)
        )
        seen = cv2.remap(plane.texture, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        picture[hit], nearest[hit] = seen.ravel()[hit], nearness[hit]
    return picture.reshape(LINES, COLUMNS)


def shake(generator: np.random.Generator, num_frames: int, highest_hz: float) -> np.ndarray:
    """Band-limited noise, [T, 5] of unit deviation: yaw, pitch, roll, x, y of somebody's hands."""
    spectrum = generator.normal(size=(5, num_frames // 2 + 1)) + 1j * generator.normal(size=(5, num_frames // 2 + 1))
    hertz = np.fft.rfftfreq(num_frames, 1 / FPS)
    spectrum *= (hertz > 0) * (hertz < highest_hz) / (0.7 + hertz)
    path = np.fft.irfft(spectrum, num_frames).T
    return path / path.std(axis=0)


def cameras(label: str, generator: np.random.Generator, subject_z: float, num_frames: int) -> list[Camera]:
    """The camera of every frame. Speeds are such that the subject would cross 0.05 to 0.4 short sides a second."""
    focal = generator.uniform(1.0, 2.0)
    speed = np.exp(generator.uniform(np.log(0.06), np.log(0.4)))
    times = np.arange(num_frames) / FPS
    origin = Camera(np.zeros(3), pitch=generator.uniform(-0.15, 0.05), focal=focal)
    kind, _, way = label.partition(" ")
    if kind == "zoom":
        sign = 1 if way == "in" else -1
        if generator.random() < 0.5:
            return [replace(origin, focal=focal * np.exp(sign * speed * (t - times[-1] / 2))) for t in times]
        ahead = np.array([0, 0, sign * speed * subject_z * 0.7])
        return [replace(origin, position=ahead * (t - times[-1] / 2)) for t in times]
    if kind == "pan":
        along = np.array([*DIRECTIONS[way], 0]) * speed * subject_z / focal
        return [replace(origin, position=along * (t - times[-1] / 2)) for t in times]
    if kind == "tilt":
        right, down = DIRECTIONS[way]
        turned = [(t - times[-1] / 2) * speed / focal for t in times]
        return [replace(origin, yaw=right * angle, pitch=origin.pitch - down * angle) for angle in turned]
    if kind == "around":
        sign = -1 if way == "left" else 1
        rate = sign * speed / focal * generator.uniform(1, 1.6)
        return [_orbiting(origin, subject_z, rate * (t - times[-1] / 2)) for t in times]
    if label == "handheld shot":
        size = np.exp(generator.uniform(np.log(0.006), np.log(0.03))) / focal
        hands = shake(generator, num_frames, highest_hz=generator.uniform(2, 4)) * size
        return [
            replace(
                origin,
                yaw=hand[0],
                pitch=origin.pitch + hand[1],
                roll=0.5 * hand[2],
                position=np.array([hand[3], hand[4], 0]) * subject_z * 0.5,
            )
            for hand in hands
        ]
    return [origin] * num_frames


def _orbiting(origin: Camera, distance: float, angle: float) -> Camera:
    """The camera carried around the point `distance` ahead by an angle (above 0 to the right), still facing it."""
    position = np.array([np.sin(angle) * distance, 0, distance * (1 - np.cos(angle))])
    return replace(origin, position=position, yaw=-angle)


def rendered(
    label: str, seed: int, seconds: float = 2.0, mover: bool = False, shaky: float = 0.0, flat: bool = False
) -> np.ndarray:
    """Luma uint8 [T, LINES, COLUMNS] of a clip of one of CLASSES; `shaky` short sides of hand tremor on top.

    `flat` takes away everything but the far wall, so that nothing tells near from far.
    """
    generator = np.random.default_rng([seed, CLASSES.index(label)])
    subject_z = generator.uniform(3, 5)
    num_frames = round(seconds * FPS)
    planes = scene(generator, subject_z, mover)
    path = cameras(label, generator, subject_z, num_frames)
    if flat:
        planes = planes[:1]
    if shaky:
        hands = shake(generator, num_frames, highest_hz=4) * shaky / path[0].focal
        path = [
            replace(camera, yaw=camera.yaw + hand[0], pitch=camera.pitch + hand[1])
            for camera, hand in zip(path, hands, strict=True)
        ]
    pictures = np.stack([render(planes, camera, index / FPS - seconds / 2) for index, camera in enumerate(path)])
    noisy = pictures + generator.normal(0, NOISE_LEVELS, pictures.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)
