"""The figures that cross the walkway, normal and abnormal, with their times and speeds."""

from dataclasses import dataclass

import numpy as np

from data_prep.demo import actors
from data_prep.demo.scene import DIRECTIONS, LANES, Placed, half_view, place

FRAME_RATE = 12.5  # frames per second; speeds below are metres per second
MARGIN = 1.3  # metres outside the view at which a figure begins and ends
SPEEDS = {"cyclist": (2.2, 2.9), "cart": (1.3, 1.8), "running": (2.7, 3.2), "wrong-way": (1.1, 1.6)}
ANOMALIES = tuple(SPEEDS)

# For each test clip (repeated if there are more): the mean number of people in view in each lane,
# and the abnormal figures as (kind, lane, share of the clip before it appears). The busiest clip
# is normal, so that a crowd alone is no anomaly.
PLAN: tuple[tuple[float, tuple[tuple[str, str, float], ...]], ...] = (
    (3.5, (("cyclist", "far", 0.35),)),
    (4.5, (("running", "near", 0.1), ("wrong-way", "near", 0.6))),
    (6.0, ()),
    (2.0, (("cyclist", "near", 0.1), ("cart", "far", 0.75))),
    (5.0, (("running", "far", 0.1), ("wrong-way", "far", 0.7))),
    (3.0, (("cart", "near", 0.35),)),
)


@dataclass(frozen=True)
class Figure:
    """One figure of a clip; it enters at `start` and crosses the view at a constant speed."""

    number: int
    kind: str
    look: actors.Look
    start: float  # frame at which it stands `MARGIN` outside the view
    speed: float  # metres per second
    z: float  # metres from the camera
    facing: int
    phase: float  # of the stride at the start, radians

    def at(self, frame: int) -> Placed | None:
        """The figure in a frame, or None while it is outside the view."""
        distance = (frame - self.start) * self.speed / FRAME_RATE
        edge = half_view(self.z) + MARGIN
        if not 0 <= distance <= 2 * edge:
            return None
        x = self.facing * (distance - edge)
        return place(self._parts(distance), x, self.z, self.facing, self.number)

    def _parts(self, distance: float) -> list[actors.Part]:
        """The figure's parts after so many metres."""
        if self.kind == "cyclist":
            return actors.cyclist(self.look, self.phase + distance / 0.8)
        if self.kind == "cart":
            return actors.cart(self.look, distance / 0.27)
        running = self.kind == "running"
        stride = (1.45 if running else 0.82) * self.look.height
        return actors.person(self.look, self.phase + 2 * np.pi * distance / stride, running)


def _crossing(z: float, speed: float) -> float:
    """Frames that a figure needs to cross the view."""
    return 2 * (half_view(z) + MARGIN) / speed * FRAME_RATE


def _crowd(rng: np.random.Generator, lane: str, frames: int, density: float) -> list[dict]:
    """The normal walkers of a lane, a share of them in pairs."""
    crossing = _crossing(np.mean(LANES[lane]), 1.35)
    count = max(1, round(density * (frames + crossing) / crossing / 1.25))
    walkers = []
    for start in rng.uniform(-crossing, frames, count):
        z, speed = rng.uniform(*LANES[lane]), float(np.clip(rng.normal(1.4, 0.28), 0.8, 2.1))
        walkers.append(dict(start=start, speed=speed, z=z))
        if rng.random() < 0.25:
            partner_z = float(np.clip(z + rng.choice([-0.7, 0.7]), *LANES[lane]))
            walkers.append(dict(start=start + rng.uniform(-2, 2), speed=speed, z=partner_z))
    return [dict(walker, kind="walker", facing=DIRECTIONS[lane]) for walker in walkers]


def _guests(rng: np.random.Generator, plan, frames: int) -> list[dict]:
    """The abnormal figures of a clip; they come into view at their planned share of the clip."""
    guests = []
    for kind, lane, share in plan:
        speed, z = rng.uniform(*SPEEDS[kind]), rng.uniform(*LANES[lane])
        frames_outside = (MARGIN - 0.4) / speed * FRAME_RATE
        guests.append(
            dict(
                kind=kind,
                speed=speed,
                z=z,
                start=share * frames - frames_outside,
                facing=DIRECTIONS[lane] * (-1 if kind == "wrong-way" else 1),
            )
        )
    return guests


def cast(rng: np.random.Generator, frames: int, plan: tuple | None = None) -> list[Figure]:
    """All figures of a clip of `frames` frames, numbered from 1; without a plan all are normal."""
    density, guests = plan or (rng.uniform(1.5, 6.0), ())
    people = [
        *_crowd(rng, "far", frames, density),
        *_crowd(rng, "near", frames, density),
        *_guests(rng, guests, frames),
    ]
    return [
        Figure(number=number, look=actors.draw_look(rng), phase=rng.uniform(0, 2 * np.pi), **person)
        for number, person in enumerate(people, start=1)
    ]
