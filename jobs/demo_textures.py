"""Surfaces for the demo's footage: seeded, tileable RGB pictures of floors, walls, water, grass and sky.

All of them start from one idea, noise with a power-law spectrum made by one inverse FFT: it tiles by construction and
costs 10 ms at 512 x 512. Every function takes a generator and returns uint8 [SIZE, SIZE, 3] unless it says otherwise.
"""

import cv2
import numpy as np
import numpy.typing as npt

SIZE = 512

Rgb = tuple[int, int, int]


def floats(values: npt.ArrayLike) -> np.ndarray:
    """The values as a float32 array."""
    return np.asarray(values, np.float32)


def dimmed(colour: Rgb, factor: float) -> Rgb:
    """The colour times `factor`, at most 255."""
    red, green, blue = (int(min(255, channel * factor)) for channel in colour)
    return red, green, blue


def power_noise(rng: np.random.Generator, exponent: float, size: int = SIZE, stretch: float = 1.0) -> np.ndarray:
    """Tileable noise in [0, 1], float32 [size, size], amplitude falling as 1 / frequency ** exponent.

    `stretch` above 1 draws the grain out along the horizontal axis, as in wood.
    """
    rows, columns = np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size) * stretch, indexing="ij")
    radius = np.hypot(rows, columns)
    radius[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) / radius**exponent
    noise = np.fft.irfft2(spectrum, s=(size, size))
    low, high = np.percentile(noise, (1, 99))
    return np.clip((noise - low) / (high - low), 0, 1).astype(np.float32)


def _mix(first: Rgb, second: Rgb, weight: np.ndarray) -> np.ndarray:
    """Float32 [..., 3] between two colours, `weight` in [0, 1]."""
    start, end = floats(first), floats(second)
    return start + (end - start) * weight[..., None].astype(np.float32)


def _picture(colour: np.ndarray) -> np.ndarray:
    return np.clip(colour, 0, 255).astype(np.uint8)


def _cells(rows: int, columns: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A grid of bricks over the tile: index of each px's cell and its position (0..1) in it; odd rows are shifted."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / SIZE
    row = np.floor(y * rows).astype(int)
    across = x * columns + shift * (row % 2)
    column = np.floor(across).astype(int) % columns
    return row * columns + column, y * rows - row, across - np.floor(across)


def _joints(down: np.ndarray, across: np.ndarray, width_down: float, width_across: float) -> np.ndarray:
    """1 inside a cell, 0 in the joint around it, with a soft edge; widths are fractions of a cell."""
    inside = np.minimum(
        np.minimum(down, 1 - down) / width_down,
        np.minimum(across, 1 - across) / width_across,
    )
    return np.clip(inside * 2 - 1, 0, 1)


def checker(rng: np.random.Generator, first: Rgb, second: Rgb) -> np.ndarray:
    """8 x 8 polished squares with marble veins."""
    cell, down, across = _cells(8, 8)
    odd = (cell // 8 + cell % 8) % 2
    veins = 1 - np.abs(power_noise(rng, 1.6) * 2 - 1) ** 0.35
    colour = _mix(first, second, odd) * (0.86 + 0.14 * power_noise(rng, 1.4))[..., None]
    colour += (veins * np.where(odd, -34, 26))[..., None]
    return _picture(colour * (0.55 + 0.45 * _joints(down, across, 0.03, 0.03))[..., None])


def bricks(rng: np.random.Generator, base: Rgb, mortar: Rgb = (196, 188, 176)) -> np.ndarray:
    """A running bond of 16 x 6 bricks, each of its own shade."""
    cell, down, across = _cells(16, 6, shift=0.5)
    shade = rng.uniform(0.68, 1.16, 96)[cell] * (0.78 + 0.36 * power_noise(rng, 0.9))
    tint = rng.normal(0, 4, (96, 3))[cell]
    face = floats(base) * shade[..., None] + tint
    edge_light = np.clip((0.22 - down) * 2.4, 0, 0.25) - np.clip((down - 0.8) * 1.6, 0, 0.25)
    inside = _joints(down, across, 0.11, 0.045)[..., None]
    joint = floats(mortar) * (0.7 + 0.4 * power_noise(rng, 0.6))[..., None]
    return _picture(face * (1 + edge_light[..., None]) * inside + joint * (1 - inside))


def planks(rng: np.random.Generator, light: Rgb, dark: Rgb) -> np.ndarray:
    """A floor of 8 x 2 boards with grain along the horizontal axis."""
    cell, down, across = _cells(8, 2, shift=0.5)
    grain = power_noise(rng, 1.1, stretch=14.0)
    rings = 0.5 + 0.5 * np.sin(grain * 26 + rng.uniform(0, 6, 16)[cell])
    colour = _mix(dark, light, np.clip(0.25 + 0.45 * grain + 0.3 * rings, 0, 1))
    colour *= rng.uniform(0.8, 1.12, 16)[cell][..., None]
    return _picture(colour * (0.35 + 0.65 * _joints(down, across, 0.05, 0.012))[..., None])


def tiles(rng: np.random.Generator, base: Rgb, accent: Rgb) -> np.ndarray:
    """10 x 10 glazed tiles, one in five in the accent colour."""
    cell, down, across = _cells(10, 10)
    accented = (rng.random(100) < 0.2)[cell]
    colour = _mix(base, accent, accented) * rng.uniform(0.86, 1.08, 100)[cell][..., None]
    glaze = 22 * np.exp(-((down - 0.3) ** 2 + (across - 0.3) ** 2) * 22)
    colour += (glaze + 26 * (power_noise(rng, 1.2) - 0.5))[..., None]
    inside = _joints(down, across, 0.07, 0.07)[..., None]
    return _picture(colour * inside + floats((206, 202, 194)) * (1 - inside))


def stones(rng: np.random.Generator, base: Rgb) -> np.ndarray:
    """Irregular field stones with dark joints (cells around random points, the tile repeated so that it wraps)."""
    points = rng.integers(0, SIZE, (70, 2))
    seeds = np.full((SIZE * 3, SIZE * 3), 255, np.uint8)
    for down in range(3):
        for across in range(3):
            seeds[points[:, 0] + down * SIZE, points[:, 1] + across * SIZE] = 0
    _, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    middle = slice(SIZE, SIZE * 2)
    # a label is per point and per repeat; the position inside one tile names the stone
    owner = np.zeros(int(labels.max()) + 1, int)
    where = np.argwhere(seeds == 0)
    key = (where[:, 0] % SIZE) * SIZE + where[:, 1] % SIZE
    nearest = np.asarray(labels, int)
    owner[nearest[where[:, 0], where[:, 1]]] = key
    stone = owner[nearest[middle, middle]]
    _, index = np.unique(stone, return_inverse=True)
    index = index.reshape(stone.shape)
    edges = (stone != np.roll(stone, 1, 0)) | (stone != np.roll(stone, 1, 1))
    wrapped = np.pad(~edges, 16, mode="wrap").astype(np.uint8)
    depth = cv2.distanceTransform(wrapped, cv2.DIST_L2, 5)[16:-16, 16:-16]
    dome = np.clip(depth / 14, 0, 1) ** 0.6
    shade = rng.uniform(0.72, 1.18, 128)[index % 128] * (0.72 + 0.5 * power_noise(rng, 1.0))
    tint = rng.normal(0, 4, (128, 3))[index % 128]
    return _picture((floats(base) * shade[..., None] + tint) * (0.25 + 0.75 * dome)[..., None])


def grass(rng: np.random.Generator, light: Rgb = (140, 170, 72), dark: Rgb = (44, 88, 34)) -> np.ndarray:
    """A meadow: broad patches, fine blades, some flowers."""
    blades = power_noise(rng, 0.35, stretch=0.35)
    patches = power_noise(rng, 1.8)
    colour = _mix(dark, light, np.clip(0.55 * patches + 0.6 * blades - 0.08, 0, 1))
    flowers = cv2.GaussianBlur((rng.random((SIZE, SIZE)) < 0.0008).astype(np.float32), (0, 0), 1.3) * 9
    return _picture(colour + np.minimum(flowers, 1)[..., None] * floats((110, 90, 120)))


def sand(rng: np.random.Generator, light: Rgb = (236, 204, 148), dark: Rgb = (176, 130, 80)) -> np.ndarray:
    """Wind ripples, bent by slow noise."""
    y = np.arange(SIZE, dtype=np.float32)[:, None] / SIZE
    ripples = 0.5 + 0.5 * np.sin(2 * np.pi * (18 * y + 2.6 * power_noise(rng, 2.0)))
    weight = 0.55 * ripples + 0.3 * power_noise(rng, 1.6) + 0.22 * power_noise(rng, 0.2)
    return _picture(_mix(dark, light, np.clip(weight, 0, 1)))


def water(rng: np.random.Generator, shallow: Rgb = (96, 176, 196), deep: Rgb = (18, 70, 116)) -> np.ndarray:
    """Wave crests as ridges of noise."""
    ridge = 1 - np.abs(power_noise(rng, 1.5, stretch=0.55) * 2 - 1)
    swell = power_noise(rng, 2.0)
    colour = _mix(deep, shallow, np.clip(0.5 * swell + 0.55 * ridge**3, 0, 1))
    return _picture(colour + (72 * ridge**9)[..., None])


def plaster(rng: np.random.Generator, base: Rgb) -> np.ndarray:
    """A painted wall with trowel marks and stains."""
    marks = 0.9 + 0.1 * power_noise(rng, 0.8, stretch=2.5)
    return _picture(floats(base) * (marks * (0.9 + 0.14 * power_noise(rng, 1.7)))[..., None])


def crate(rng: np.random.Generator, light: Rgb, dark: Rgb) -> np.ndarray:
    """One face of a wooden crate: boards, a frame, a brace and nails."""
    face = planks(rng, light, dark)
    frame = np.zeros((SIZE, SIZE), np.uint8)
    cv2.line(frame, (40, 40), (SIZE - 40, SIZE - 40), 255, 58, cv2.LINE_AA)
    cv2.rectangle(frame, (30, 30), (SIZE - 30, SIZE - 30), 255, 60)
    beam = cv2.rotate(planks(rng, light, dark), cv2.ROTATE_90_CLOCKWISE)
    weight = frame[..., None] / np.float32(255)
    rim = cv2.morphologyEx(frame, cv2.MORPH_GRADIENT, np.ones((7, 7), np.uint8))[..., None] / 255
    picture = _picture((face * 0.78 * (1 - weight) + beam * 1.12 * weight) * (1 - 0.6 * rim))
    for x in (34, SIZE // 2, SIZE - 34):
        for y in (34, SIZE - 34):
            cv2.circle(picture, (x, y), 8, (50, 44, 40), -1, cv2.LINE_AA)
    return picture


def gift(rng: np.random.Generator, paper: Rgb, ribbon: Rgb) -> np.ndarray:
    """One face of a wrapped present: dotted paper and a crossed ribbon."""
    picture = _picture(floats(paper) * (0.82 + 0.2 * power_noise(rng, 1.3))[..., None])
    bright = dimmed(paper, 1.6)
    for row in range(8):
        for column in range(8):
            centre = (int((column + 0.5 * (row % 2) + 0.25) * 64), row * 64 + 32)
            cv2.circle(picture, centre, 11, bright, -1, cv2.LINE_AA)
    sheen = (np.abs(np.linspace(-1, 1, 92)) * -70 + 40)[None, :, None]
    band = slice(SIZE // 2 - 46, SIZE // 2 + 46)
    picture[:, band] = _picture(np.broadcast_to(floats(ribbon) + sheen, (SIZE, 92, 3)))
    picture[band, :] = _picture(np.broadcast_to((floats(ribbon) + sheen).transpose(1, 0, 2), (92, SIZE, 3)))
    return picture


def facade(rng: np.random.Generator, wall: Rgb) -> np.ndarray:
    """A tower's front at night: 14 x 8 windows, about half of them lit, each in its own warmth."""
    cell, down, across = _cells(14, 8)
    glass = _joints(down, across, 0.36, 0.4) > 0
    lit = (rng.random(112) < 0.5)[cell]
    warm = _mix((255, 236, 190), (255, 178, 84), rng.random(112))[cell] * rng.uniform(0.5, 1.05, 112)[cell][..., None]
    blind = np.where(down < rng.uniform(0.2, 0.7, 112)[cell], 0.72, 1.0)[..., None]
    brick = floats(wall) * (0.7 + 0.5 * power_noise(rng, 1.0))[..., None]
    return _picture(np.where(glass[..., None], np.where(lit[..., None], warm * blind, floats((22, 28, 42))), brick))


def tree(rng: np.random.Generator, leaf: Rgb, trunk: Rgb = (84, 62, 44)) -> np.ndarray:
    """A tree to stand upright in a scene: uint8 RGBA [256, 192, 4]."""
    height, width = 256, 192
    colour = np.full((height, width, 3), floats(leaf) * 0.6, np.float32)  # no black fringe when it is shrunk
    alpha = np.zeros((height, width), np.float32)
    stem = np.array([[88, 255], [92, 120], [100, 120], [106, 255]], np.int32)
    cv2.fillPoly(colour, [stem], [float(channel) for channel in trunk], cv2.LINE_AA)
    cv2.fillPoly(alpha, [stem], (1.0,), cv2.LINE_AA)
    blobs = []
    for _ in range(170):
        angle, reach = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random())
        blobs.append((96 + 66 * reach * np.cos(angle), 96 + 74 * reach * np.sin(angle)))
    for x, y in sorted(blobs, key=lambda blob: -blob[1]):  # upper leaves lie over lower ones
        light = 1.18 - 0.75 * (y - 20) / 150 - 0.24 * (x - 96) / 66 + rng.normal(0, 0.12)
        radius = int(rng.uniform(7, 15))
        shade = tuple(float(np.clip(channel * light, 0, 255)) for channel in leaf)
        cv2.circle(colour, (int(x), int(y)), radius, shade, -1, cv2.LINE_AA)
        cv2.circle(alpha, (int(x), int(y)), radius, (1.0,), -1, cv2.LINE_AA)
    speckle = 0.72 + 0.56 * power_noise(rng, 0.4)[:height, :width, None]
    return np.dstack([_picture(colour * speckle), _picture(alpha * 255)])


def hills(rng: np.random.Generator, height: float, exponent: float = 1.9) -> np.ndarray:
    """A skyline: slopes (rise over distance) between 0 and `height`, float32 [8 * SIZE], smooth at that density."""
    frequency = np.fft.rfftfreq(SIZE)
    frequency[0] = np.inf
    line = np.fft.irfft(np.fft.rfft(rng.standard_normal(SIZE)) / frequency**exponent, n=SIZE)
    line = np.interp(np.arange(8 * SIZE) / 8, np.arange(SIZE), line)
    return ((line - line.min()) / (line.max() - line.min()) * height).astype(np.float32)


def shrunk(picture: np.ndarray, levels: int = 4) -> tuple[np.ndarray, ...]:
    """A picture and its halves."""
    sizes = [picture]
    for _ in range(levels - 1):
        sizes.append(cv2.resize(sizes[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    return tuple(sizes)
