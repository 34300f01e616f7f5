"""The place and the camera of the walkway scene: background, occluders, shadows, sensor.

World coordinates are metres: x to the right, up from the ground, z away from the camera. The
camera is a pinhole at 5 m height whose horizon lies above the picture.
"""

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from data_prep.demo.actors import Part

HEIGHT, WIDTH = 128, 192  # pixels of a frame
FOCAL, CAMERA_HEIGHT, HORIZON = 220.0, 5.0, -20.0  # pixels, metres, row
FINE = 3  # the picture is drawn at so many times its size, then averaged
SUN = np.array([-0.62, 0.0, -0.3])  # shift of a shadow in metres per metre of height
LANES = {"far": (12.3, 15.6), "near": (8.4, 10.7)}  # z of the feet, metres
DIRECTIONS = {"far": -1, "near": 1}  # the walking direction of each lane
WALKWAY, MEDIAN = (7.9, 17.4), 11.5  # z of its edges and of the line between the lanes, metres


def project(points: np.ndarray) -> np.ndarray:
    """World points n x 3 (x, up, z) to picture points n x 2 (column, row)."""
    x, up, z = np.asarray(points, float).T
    return np.stack([WIDTH / 2 + FOCAL * x / z, HORIZON + FOCAL * (CAMERA_HEIGHT - up) / z], axis=1)


def half_view(z: float) -> float:
    """Metres of ground visible to either side of the middle at distance z."""
    return WIDTH / 2 * z / FOCAL


def _draw(picture: np.ndarray, points: np.ndarray, width: float, colour, fine: int) -> None:
    """Draw picture points n x 2 as a polygon (width 0) or a line of `width` pixels."""
    corners = np.rint(points * fine - 0.5).astype(np.int32)
    if width:
        cv2.polylines(picture, [corners], False, colour, max(1, round(width * fine)))
    else:
        cv2.fillPoly(picture, [corners], colour)


class Placed(NamedTuple):
    """A figure in the picture: number (1..255, its own in a clip), distance z, shapes to paint.

    A shape is (points n x 2 in pixels, the same points' shadows on the ground, width in pixels,
    colour), in painting order.
    """

    number: int
    z: float
    shapes: list[tuple]


def place(parts: list[Part], x: float, z: float, facing: int, number: int) -> Placed:
    """Project a figure that stands at (x, z), facing right (1) or left (-1), into the picture."""
    points = np.concatenate([part.points for part in parts])
    world = np.stack([x + facing * points[:, 0], points[:, 2], z - points[:, 1]], axis=1)
    shadow = world + world[:, 1:2] * SUN
    shadow[:, 1] = 0.0
    cuts = np.cumsum([len(part.points) for part in parts])[:-1]
    shapes, shadows = (np.split(project(corners), cuts) for corners in (world, shadow))
    return Placed(
        number,
        z,
        [
            (*points_and_shadow, part.width * FOCAL / z, part.colour)
            for *points_and_shadow, part in zip(shapes, shadows, parts, strict=True)
        ],
    )


class Scenery(NamedTuple):
    """The still part of a scene.

    background: H x W x 3 float32 in [0, 255], RGB, occluders included.
    occluders: (z, mask) pairs, mask a uint8 picture at the fine size, 255 where it hides others.
    ground: H x W float32, 1 where a shadow can fall, 0 on the occluders.
    """

    background: np.ndarray
    occluders: list[tuple[float, np.ndarray]]
    ground: np.ndarray


def _noise(rng: np.random.Generator, cell: int) -> np.ndarray:
    """Smooth noise at the fine size, mean 0, deviation about 1, in spots of `cell` pixels."""
    shape = HEIGHT * FINE // cell + 2, WIDTH * FINE // cell + 2
    coarse = rng.standard_normal(shape).astype(np.float32)
    return cv2.resize(coarse, (WIDTH * FINE, HEIGHT * FINE), interpolation=cv2.INTER_CUBIC)


def _leaves(picture, mask, rng, centre, spread, count: int, colour) -> None:
    """Scatter leaf-sized dots around a centre (picture pixels), lighter towards the top."""
    places = centre + spread * np.clip(rng.standard_normal((count, 2)), -1.9, 1.9)
    for x, y in places[np.argsort(-places[:, 1])]:
        light = 0.8 + 0.25 * np.clip((centre[1] - y) / spread[1], -0.8, 1.5) + rng.normal(0, 0.1)
        spot = (int(x * FINE), int(y * FINE)), int(rng.integers(3, 7))
        cv2.circle(picture, *spot, tuple(float(c * light) for c in colour), -1)
        if mask is not None:
            cv2.circle(mask, *spot, 255, -1)


def _ground(rng: np.random.Generator) -> np.ndarray:
    """Lawn and paved walkway; a pixel's colour depends on its place on the ground."""
    rows = (np.arange(HEIGHT * FINE, dtype=np.float32) + 0.5) / FINE
    columns = (np.arange(WIDTH * FINE, dtype=np.float32) + 0.5) / FINE
    z = (FOCAL * CAMERA_HEIGHT / (rows - HORIZON))[:, None]
    x = (columns[None, :] - WIDTH / 2) * z / FOCAL
    z = np.broadcast_to(z, x.shape)
    lumps, grain = _noise(rng, 40), _noise(rng, 2)

    lawn = np.array([94, 116, 62], np.float32) * (1 + 0.1 * lumps + 0.13 * grain)[..., None]
    slab = 0.8
    row = np.floor(z / slab).astype(int)
    shifted = x / slab + 0.5 * (row % 2)
    tint = rng.normal(1, 0.045, (40, 64)).astype(np.float32)[
        row % 40, np.floor(shifted).astype(int) % 64
    ]
    joint = (np.abs(z / slab % 1 - 0.5) > 0.46) | (np.abs(shifted % 1 - 0.5) > 0.47)
    bright = tint * (1 + 0.035 * lumps + 0.045 * grain) * np.where(joint, 0.8, 1.0)
    paving = np.array([172, 164, 150], np.float32) * bright[..., None]

    paved = (z > WALKWAY[0]) & (z < WALKWAY[1])
    kerb = (np.abs(z - WALKWAY[0]) < 0.1) | (np.abs(z - WALKWAY[1]) < 0.18)
    picture = np.where(paved[..., None], paving, lawn)
    picture[kerb] = np.array([192, 188, 180]) * (1 + 0.04 * grain[kerb])[:, None]
    line = (np.abs(z - MEDIAN) < 0.07) & (x / 0.9 % 2 < 1.2)
    picture[line] = 0.35 * picture[line] + 0.65 * np.array([226, 222, 210])
    return picture


def _arrow(picture: np.ndarray, x: float, z: float, facing: int) -> None:
    """Paint an arrow on the ground that shows the lane's direction."""
    shape = [
        (-0.7, -0.1),
        (0.2, -0.1),
        (0.2, -0.32),
        (0.75, 0),
        (0.2, 0.32),
        (0.2, 0.1),
        (-0.7, 0.1),
    ]
    corners = project([(x + facing * forward, 0.0, z + side) for forward, side in shape])
    arrow = np.zeros(picture.shape[:2], np.uint8)
    _draw(arrow, corners, 0, 255, FINE)
    picture[arrow > 0] = 0.3 * picture[arrow > 0] + 0.7 * np.array([228, 224, 212])


def _bench(picture: np.ndarray, x: float, z: float) -> None:
    for up, depth, width in ((0.45, 0.0, 0.14), (0.62, 0.25, 0.09), (0.8, 0.27, 0.09)):
        edge = project([(x - 0.9, up, z + depth), (x + 0.9, up, z + depth)])
        _draw(picture, edge, width * FOCAL / z, (112, 82, 56), FINE)
    for foot in (-0.75, 0.75):
        leg = project([(x + foot, 0.0, z), (x + foot, 0.45, z)])
        _draw(picture, leg, 1.0, (58, 54, 52), FINE)


def _trunk(picture, mask, rng, x: float, z: float, width: float, top: float) -> None:
    """A tree trunk with bark, wider at the foot."""
    half = width / 2
    outline = project(
        [
            (x - 1.5 * half, 0, z),
            (x - half, 0.35, z),
            (x - 0.8 * half, top, z),
            (x + 0.8 * half, top, z),
            (x + half, 0.35, z),
            (x + 1.6 * half, 0, z),
        ]
    )
    _draw(picture, outline, 0, (92, 76, 62), FINE)
    _draw(mask, outline, 0, 255, FINE)
    for _ in range(70):
        offset, low, length = (
            rng.uniform(-0.75, 0.75) * half,
            rng.uniform(0, top),
            rng.uniform(0.1, 0.5),
        )
        tone = rng.uniform(0.7, 1.25) * (1 + 0.25 * offset / half)
        bark = project([(x + offset, low, z), (x + offset, min(top, low + length), z)])
        _draw(picture, bark, 0.5, tuple(c * tone for c in (92.0, 76.0, 62.0)), FINE)


def _lamp(picture, mask, x: float, z: float) -> None:
    """A lamp post that ends above the picture."""
    for up, width in ((0.0, 0.24), (0.5, 0.13)):
        post = project([(x, up, z), (x, 4.9 if width < 0.2 else 0.5, z)])
        _draw(mask, post, width * FOCAL / z, 255, FINE)
        _draw(picture, post, width * FOCAL / z, (66, 72, 74), FINE)
        _draw(picture, post + [0.25 * width * FOCAL / z, 0], 0.6, (118, 124, 124), FINE)


def _dapple(picture: np.ndarray, rng: np.random.Generator) -> None:
    """Paint the irregular shade of the near tree on the ground."""
    rows, columns = np.mgrid[: HEIGHT * FINE, : WIDTH * FINE].astype(np.float32) / FINE
    crown = np.exp(-(((columns - 118) / 46) ** 2 + ((rows - 92) / 20) ** 2))
    shade = np.clip(1.4 * crown + 0.35 * crown * _noise(rng, 16) - 0.35, 0, 1)
    picture *= (1 - 0.3 * cv2.GaussianBlur(shade, (0, 0), 5))[..., None]


def build_scenery(rng: np.random.Generator) -> Scenery:
    """Paint the still scene; the layout is fixed, the textures come from `rng`."""
    picture = np.ascontiguousarray(_ground(rng), np.float32)
    for x, z in ((-3.2, 14.0), (3.0, 14.0)):
        _arrow(picture, x, z, DIRECTIONS["far"])
    for x, z in ((-2.0, 9.5), (1.6, 9.5)):
        _arrow(picture, x, z, DIRECTIONS["near"])
    _dapple(picture, rng)
    for x in np.arange(-6, 200, 13):
        _leaves(picture, None, rng, (x, 12), np.array([6, 5]), 150, (58, 80, 46))
    for x in (22, 96, 131):
        _leaves(picture, None, rng, (x, 3), np.array([9, 6]), 260, (76, 100, 52))
    _bench(picture, -4.2, 18.4)
    _bench(picture, 3.4, 18.4)

    tree, lamp = (np.zeros(picture.shape[:2], np.uint8) for _ in range(2))
    _trunk(picture, tree, rng, 2.35, 7.75, 0.36, 4.6)
    _leaves(picture, tree, rng, (164, -2), np.array([19, 11]), 700, (128, 142, 58))
    _lamp(picture, lamp, -1.9, 7.8)
    small = cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    hidden = cv2.resize(cv2.max(tree, lamp), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    # Shadows fall on the ground, not on the occluders in front of it.
    return Scenery(
        np.clip(small, 0, 255), [(7.8, lamp), (7.75, tree)], 1 - hidden.astype(np.float32) / 255
    )


def _shadows(figures: list[Placed]) -> np.ndarray:
    """H x W float32 in [0, 1]: how much sunlight the figures block at each pixel of the ground."""
    shade = np.zeros((HEIGHT, WIDTH), np.uint8)
    for figure in figures:
        for _, shadow, width, _ in figure.shapes:
            _draw(shade, shadow, width, 255, 1)
    return cv2.GaussianBlur(shade, (0, 0), 1.1).astype(np.float32) / 255


def render(scenery: Scenery, figures: list[Placed]) -> tuple[np.ndarray, np.ndarray]:
    """The picture without noise, and the number of the visible figure at each pixel.

    Returns H x W x 3 float32 RGB in [0, 255] and H x W uint8: the number of the figure at the
    pixel's centre, 0 where there is none. Figures are painted from far to near; an occluder erases
    the figures behind it, since the background already shows the occluder.
    """
    fine = np.zeros((HEIGHT * FINE, WIDTH * FINE, 4), np.uint8)  # red, green, blue, number
    layers = [(figure.z, figure) for figure in figures] + list(scenery.occluders)
    for _, layer in sorted(layers, key=lambda pair: -pair[0]):
        if not isinstance(layer, Placed):
            fine[layer > 0] = 0
            continue
        for points, _, width, colour in layer.shapes:
            _draw(fine, points, width, (*colour, layer.number), FINE)
    numbers = fine[..., 3]
    size = (WIDTH, HEIGHT)
    colour = cv2.resize(fine, size, interpolation=cv2.INTER_AREA)[..., :3].astype(np.float32)
    covered = cv2.resize((numbers > 0).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    lit = 1 - 0.42 * _shadows(figures) * scenery.ground
    picture = scenery.background * (lit * (1 - covered))[..., None] + colour
    return picture, np.ascontiguousarray(numbers[FINE // 2 :: FINE, FINE // 2 :: FINE])


def expose(picture: np.ndarray, gain: float, rng: np.random.Generator) -> np.ndarray:
    """The picture as the sensor records it: gain, noise that grows with the light, uint8."""
    light = np.clip(picture * gain, 0, 255)
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    return np.clip(light + noise * np.sqrt(1.5 + 0.03 * light) + 0.5, 0, 255).astype(np.uint8)


@lru_cache(maxsize=2)
def scenery_of(seed: int) -> Scenery:
    """The scenery of a seed, the same for all of its clips."""
    return build_scenery(np.random.default_rng([seed, 0]))
