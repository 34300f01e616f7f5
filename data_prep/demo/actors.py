"""The figures of the walkway scene: their shapes and colours at one moment.

A figure is a list of ``Part`` tuples, painted far side first. A part's points are in metres in the
figure's own frame: forward (the way it faces), side (towards the camera), up (from the ground).
"""

from typing import NamedTuple

import numpy as np

Colour = tuple[int, int, int]

SHIRTS: tuple[Colour, ...] = (
    (232, 230, 224),
    (28, 30, 36),
    (150, 42, 44),
    (36, 62, 112),
    (44, 98, 92),
    (196, 152, 62),
    (92, 96, 104),
    (176, 106, 128),
    (84, 62, 110),
    (206, 196, 172),
    (58, 84, 48),
    (214, 108, 56),
)
TROUSERS: tuple[Colour, ...] = (
    (30, 32, 42),
    (44, 58, 88),
    (72, 66, 60),
    (112, 104, 90),
    (24, 24, 26),
    (206, 202, 192),
)
SKINS: tuple[Colour, ...] = ((226, 184, 154), (198, 148, 114), (146, 100, 72), (98, 66, 48))
HAIRS: tuple[Colour, ...] = ((32, 26, 24), (74, 50, 34), (150, 118, 70), (150, 146, 142))
VEHICLES: tuple[Colour, ...] = ((52, 92, 118), (120, 52, 46), (70, 96, 66), (188, 182, 166))


class Part(NamedTuple):
    """A filled polygon (width 0) or a round-ended line of that width; points n x 3 in metres."""

    points: np.ndarray
    width: float
    colour: Colour


class Look(NamedTuple):
    """What stays the same about a figure: height in metres, colours, what it carries."""

    height: float
    shirt: Colour
    trousers: Colour
    skin: Colour
    hair: Colour
    carries: str  # "nothing", "backpack" or "bag"
    wears: str  # "trousers" or "skirt"
    vehicle: Colour


def draw_look(rng: np.random.Generator) -> Look:
    """A random look; one figure in eight is a child."""

    def pick(palette):
        return palette[rng.integers(len(palette))]

    height = rng.uniform(1.15, 1.4) if rng.random() < 0.12 else rng.normal(1.72, 0.09)
    return Look(
        height=float(np.clip(height, 1.15, 1.95)),
        shirt=pick(SHIRTS),
        trousers=pick(TROUSERS),
        skin=pick(SKINS),
        hair=pick(HAIRS),
        carries=str(rng.choice(["nothing", "nothing", "backpack", "bag"])),
        wears=str(rng.choice(["trousers", "trousers", "trousers", "skirt"])),
        vehicle=pick(VEHICLES),
    )


def _shade(colour: Colour, factor: float) -> Colour:
    return tuple(int(min(255, c * factor)) for c in colour)


def _line(points, width: float, colour: Colour, side: float = 0.0) -> Part:
    """A line through (forward, up) points at one distance to the side."""
    placed = np.full((len(points), 3), side, float)
    placed[:, ::2] = points
    return Part(placed, width, colour)


def _limb(joint, angles, lengths) -> np.ndarray:
    """Joints (forward, up) of a limb hanging from `joint`; an angle of 0 hangs straight down."""
    steps = np.array([np.sin(angles), -np.cos(angles)]).T * np.array(lengths)[:, None]
    return np.cumsum([joint, *steps], axis=0)


def _leg(hip, phase: float, height: float, running: bool) -> np.ndarray:
    """Hip, knee, ankle and toe; the knee bends while the leg swings forward."""
    swing, bend = (0.72, 1.7) if running else (0.41, 0.8)
    thigh = swing * np.sin(phase) + (0.15 if running else 0.0)
    shin = thigh - 0.08 - bend * max(0.0, np.cos(phase + 0.35))
    return _limb(hip, [thigh, shin, shin + 1.5], [0.245 * height, 0.25 * height, 0.11 * height])


def _arm(shoulder, phase: float, height: float, running: bool) -> np.ndarray:
    """Shoulder, elbow and hand, swinging against the leg of the same side."""
    swing, elbow = (0.9, 1.5) if running else (0.5, 0.3)
    upper = -swing * np.sin(phase)
    return _limb(shoulder, [upper, upper + elbow], [0.17 * height, 0.17 * height])


def _head(neck, look: Look, lean: float) -> list[Part]:
    size = 0.125 * max(look.height, 1.45)
    centre = neck + np.array([np.sin(lean), np.cos(lean)]) * 0.75 * size
    hair = centre + np.array([-0.22, 0.2]) * size
    face = centre + np.array([0.12, -0.1]) * size
    return [
        _line([neck, centre], 0.5 * size, _shade(look.skin, 0.85)),
        _line([hair, hair], size, look.hair),
        _line([face, face], 0.8 * size, look.skin),
    ]


def _torso(hip, shoulder, look: Look) -> list[Part]:
    h = look.height
    across = np.array([1.0, 0.0]) * h
    outline = [
        hip - 0.062 * across,
        hip + 0.062 * across,
        shoulder + 0.075 * across,
        shoulder + [0.0, 0.03 * h],
        shoulder - 0.085 * across,
    ]
    lit = [shoulder - 0.045 * across, hip - 0.03 * across]
    return [
        _line(outline, 0.0, look.shirt),
        _line([hip, shoulder], 0.105 * h, look.shirt),
        _line(lit, 0.04 * h, _shade(look.shirt, 1.22)),
    ]


def _luggage(hip, shoulder, look: Look) -> list[Part]:
    h = look.height
    if look.carries == "backpack":
        back = [shoulder + [-0.12 * h, -0.04 * h], hip + [-0.1 * h, 0.1 * h]]
        return [_line(back, 0.1 * h, _shade(look.vehicle, 0.9))]
    if look.carries == "bag":
        strap = [shoulder, hip + [-0.03 * h, 0.0]]
        bag = [
            hip + [-0.1 * h, -0.02 * h],
            hip + [0.05 * h, -0.02 * h],
            hip + [0.04 * h, -0.13 * h],
            hip + [-0.09 * h, -0.13 * h],
        ]
        return [_line(strap, 0.018 * h, (40, 34, 30), 0.16), _line(bag, 0.0, look.vehicle, 0.16)]
    return []


def person(look: Look, phase: float, running: bool = False) -> list[Part]:
    """A walking or running figure at a phase of its stride (radians, one turn is two steps)."""
    h, lean = look.height, 0.22 if running else 0.05
    origin = np.zeros(2)
    legs = {side: _leg(origin, phase + (0 if side > 0 else np.pi), h, running) for side in (-1, 1)}
    flight = 0.05 * h * abs(np.sin(phase)) if running else 0.0
    hip = np.array([0.0, flight - min(leg[:, 1].min() for leg in legs.values()) + 0.02])
    shoulder = hip + np.array([np.sin(lean), np.cos(lean)]) * 0.3 * h
    neck = hip + np.array([np.sin(lean), np.cos(lean)]) * 0.36 * h
    bare = look.wears == "skirt"

    def limbs(side: int) -> list[Part]:
        leg, tone = legs[side] + hip, 1.0 if side > 0 else 0.72
        arm = _arm(shoulder, phase + (0 if side > 0 else np.pi), h, running)
        cloth = _shade(look.skin if bare else look.trousers, tone)
        return [
            _line(leg[2:], 0.045 * h, _shade((52, 46, 42), tone), 0.09 * side),
            _line(leg[1:3], 0.062 * h, cloth, 0.09 * side),
            _line(leg[:2], 0.085 * h, cloth, 0.07 * side),
            _line(arm[1:], 0.042 * h, _shade(look.skin, tone), 0.2 * side),
            _line(arm[:2], 0.058 * h, _shade(look.shirt, 0.88 * tone), 0.19 * side),
        ]

    far, near = limbs(-1), limbs(1)
    hem = hip + np.array([0.0, -0.2 * h])
    skirt = [
        _line(
            [
                hip + [-0.06 * h, 0.04 * h],
                hip + [0.06 * h, 0.04 * h],
                hem + [0.12 * h, 0.0],
                hem + [-0.12 * h, 0.0],
            ],
            0.0,
            look.trousers,
        )
    ]
    return (
        far[3:]
        + far[:3]
        + near[:3]
        + (skirt if bare else [])
        + _torso(hip, shoulder, look)
        + _luggage(hip, shoulder, look)
        + _head(neck, look, lean)
        + near[3:]
    )


def _ring(centre, radius: float, count: int = 20) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, count + 1)
    return np.asarray(centre) + radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)


def _bent(start, end, upper: float, lower: float) -> np.ndarray:
    """Start, joint and end of a leg of two given lengths, the knee pointing forward."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    reach = end - start
    distance = min(np.hypot(*reach), 0.999 * (upper + lower))
    along = (upper**2 - lower**2 + distance**2) / (2 * distance)
    out = np.sqrt(max(upper**2 - along**2, 0.0))
    unit = reach / np.hypot(*reach)
    return np.array([start, start + along * unit + out * np.array([-unit[1], unit[0]]), end])


def cyclist(look: Look, phase: float) -> list[Part]:
    """A rider on a bicycle; `phase` turns the pedals (radians)."""
    h = 1.7  # the bicycle has one size, and so has its rider
    look = look._replace(height=h)
    frame, tyre = look.vehicle, (34, 34, 36)
    rear, front, crank = np.array([-0.52, 0.35]), np.array([0.54, 0.35]), np.array([-0.06, 0.32])
    saddle, bar = np.array([-0.22, 0.98]), np.array([0.4, 1.02])
    hip, shoulder = saddle + [0.02, 0.08], np.array([0.12, 1.52])

    def leg(side: int) -> list[Part]:
        pedal = crank + 0.17 * np.array([np.cos(phase), -np.sin(phase)]) * side
        joints, tone = _bent(hip, pedal + [0.0, 0.05], 0.43, 0.45), 1.0 if side > 0 else 0.72
        return [
            _line([pedal + [-0.08, 0.03], pedal + [0.14, 0.03]], 0.075, (46, 42, 40), 0.1 * side),
            _line(joints[1:], 0.1, _shade(look.trousers, tone), 0.1 * side),
            _line(joints[:2], 0.145, _shade(look.trousers, tone), 0.09 * side),
        ]

    def arm(side: int) -> list[Part]:
        tone = 1.0 if side > 0 else 0.72
        elbow = (shoulder + bar) / 2 + [-0.04, -0.08]
        return [_line([shoulder, elbow, bar], 0.075, _shade(look.shirt, 0.88 * tone), 0.19 * side)]

    bicycle = [_line(_ring(centre, 0.33), 0.055, tyre) for centre in (rear, front)] + [
        _line([rear, crank, saddle, rear], 0.045, frame),
        _line([saddle + [0.03, -0.14], [0.4, 0.84], crank], 0.05, frame),
        _line([front, [0.4, 0.84], bar], 0.045, frame),
        _line([saddle + [-0.1, 0.0], saddle + [0.12, 0.0]], 0.07, tyre),
    ]
    neck = shoulder + [0.06, 0.1]
    return (
        leg(-1)
        + arm(-1)
        + bicycle
        + leg(1)
        + _torso(hip, shoulder, look)
        + _luggage(hip, shoulder, look)
        + _head(neck, look, 0.3)
        + arm(1)
    )


def cart(look: Look, phase: float) -> list[Part]:
    """A small electric cart with a roof and a driver; `phase` turns its wheels (radians)."""
    paint, dark, half = look.vehicle, (38, 38, 40), 0.55

    def sheet(corners, colour: Colour) -> Part:
        return Part(np.array(corners, float), 0.0, colour)

    def wheel(forward: float, side: float) -> list[Part]:
        hub = np.array([forward, 0.27])
        spoke = 0.1 * np.array([np.cos(phase), -np.sin(phase)])
        return [
            _line([hub, hub], 0.54, dark, side),
            _line([hub, hub], 0.28, (150, 150, 148), side),
            _line([hub - spoke, hub + spoke], 0.06, dark, side),
        ]

    def post(forward: float, top: float, side: float) -> Part:
        return _line([[forward, 0.75], [top, 1.83]], 0.06, (70, 70, 72), side)

    outline = [
        (1.2, 0.3),
        (1.2, 0.72),
        (0.82, 0.9),
        (0.72, 0.5),
        (0.05, 0.5),
        (-0.05, 0.85),
        (-1.15, 0.85),
        (-1.15, 0.3),
    ]
    seat = look._replace(height=1.7)
    hip, shoulder = np.array([0.02, 0.78]), np.array([-0.04, 1.28])
    return [
        *wheel(0.8, -half),
        *wheel(-0.75, -half),
        post(0.8, 0.62, -half),
        post(-1.05, -1.0, -half),
        sheet(
            [(1.2, half, 0.72), (1.2, -half, 0.72), (0.82, -half, 0.9), (0.82, half, 0.9)],
            _shade(paint, 1.1),
        ),
        sheet(
            [(-0.05, half, 0.85), (-0.05, -half, 0.85), (-1.15, -half, 0.85), (-1.15, half, 0.85)],
            _shade(paint, 0.6),
        ),
        *_torso(hip, shoulder, seat),
        *_head(shoulder + [0.02, 0.1], seat, 0.05),
        _line([shoulder, [0.25, 1.0], [0.52, 1.08]], 0.08, _shade(look.shirt, 0.85)),
        _line([[0.02, 0.8], [0.45, 0.82], [0.5, 0.45]], 0.14, look.trousers),
        _line([[0.74, 0.85], [0.5, 1.1]], 0.05, dark),
        _line(outline, 0.0, paint, half),
        _line([(-1.15, 0.6), (-0.02, 0.6)], 0.06, _shade(paint, 1.35), half),
        *wheel(0.8, half),
        *wheel(-0.75, half),
        post(0.8, 0.62, half),
        post(-1.05, -1.0, half),
        sheet(
            [(0.72, half, 1.85), (0.72, -half, 1.85), (-1.12, -half, 1.85), (-1.12, half, 1.85)],
            (214, 212, 204),
        ),
        _line([(0.72, 1.83), (-1.12, 1.83)], 0.07, (168, 166, 160), half),
    ]
