"""A changed scene is told, by its kind, soon and once; ordinary footage is not."""

import numpy as np
import pytest
from studies import drift_study

from ddllib.camera.backgrounds import FEW, backgrounds
from ddllib.camera.drift import SAMPLES, DriftMonitor
from ddllib.errors import DDLError

SIZE = (96, 96)


def told(name: str, minutes: int = 2) -> list[dict]:
    return drift_study.told(drift_study.seconds_of(minutes, SIZE, drift_study.CHANGES[name]))


def test_minutes_of_ordinary_footage_pass_in_silence():
    assert drift_study.told(drift_study.seconds_of(5, SIZE)) == []


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("exposure, 1.4 times", "light", "1.4 times brighter, suddenly"),
        ("exposure, 0.6 times", "light", "times darker, suddenly"),
        ("nudged, 3 pixels right", "moved", "of the picture right;"),
        ("nudged, 2 pixels left, 2 down", "moved", "picture left and 1."),
        ("something parked", "background", "of the background look different"),
    ],
)
def test_a_change_is_reported_once_within_seconds(name, kind, words):
    (change,) = told(name)
    assert change["kind"] == kind and words in change["sentence"]
    assert 0 < change["second"] - drift_study.BEFORE_S < 20


def test_dusk_is_reported_as_a_gradual_change():
    changes = told("dusk", minutes=3)
    assert changes[0]["kind"] == "light" and "darker, gradually" in changes[0]["sentence"]


def frames(seed, count, gain=1.0, grey=(60, 180)):
    rng = np.random.default_rng(seed)
    still = np.random.default_rng(0).integers(*grey, (32, 48))
    for _ in range(count):
        noisy = gain * still + rng.normal(0, 3, still.shape)
        yield np.clip(noisy, 0, 255).astype(np.uint8)[None]


def pushed(monitor, pictures, score=0.0):
    return [change for frame in pictures if (change := monitor.push(frame, score))]


def test_the_scene_comes_back_and_the_drift_is_over():
    monitor = DriftMonitor(2.0)
    pushed(monitor, frames(1, 60))
    assert [change.kind for change in pushed(monitor, frames(2, 80, gain=0.5))] == ["light"]
    assert monitor.drift
    assert pushed(monitor, frames(3, 80)) == [] and monitor.drift is None


def test_a_little_less_light_on_a_bright_scene_is_not_reported():
    monitor = DriftMonitor(2.0)
    pushed(monitor, frames(1, 60, grey=(200, 250)))
    assert pushed(monitor, frames(2, 80, gain=0.84, grey=(200, 250))) == []


def test_scores_that_do_not_come_down_are_reported():
    monitor = DriftMonitor(2.0, high=0.5)
    assert pushed(monitor, frames(1, 200), score=0.3) == []
    (change,) = pushed(monitor, frames(2, 200), score=0.8)
    assert change.kind == "score"


def test_one_long_alarm_is_no_drift():
    monitor = DriftMonitor(2.0, high=0.5)
    pushed(monitor, frames(1, 200), score=0.3)
    assert pushed(monitor, frames(2, 70), score=0.8) == []
    assert pushed(monitor, frames(3, 200), score=0.3) == []


def test_a_background_of_known_footage_is_the_reference_from_the_first_second():
    references = backgrounds(list(frames(1, 12)))
    monitor = DriftMonitor(1.0, references=references)
    (change,) = pushed(monitor, frames(2, SAMPLES + 5, gain=0.5))
    assert change.kind == "light"


def other_screen(pictures, change=lambda frame: frame):
    """The same scene with something else on a screen that fills its right half."""
    screen = np.random.default_rng(7).integers(0, 255, (32, 24)).astype(np.uint8)
    for frame in pictures:
        frame = change(frame.copy())
        frame[0, :, 24:] = screen
        yield frame


def test_a_camera_watched_day_and_night_knows_both():
    day, night = list(frames(1, 30)), list(frames(2, 20, gain=0.3))
    references = backgrounds([*day, *night])
    assert references.shape == (2, 32, 48) and references[0].mean() < 0.4 * references[1].mean()
    monitor = DriftMonitor(1.0, references=references)
    assert pushed(monitor, [*frames(3, 40), *frames(4, 40, gain=0.3), *frames(5, 40)]) == []
    (change,) = pushed(monitor, frames(6, 40, gain=0.55))  # neither
    assert change.kind == "light"
    assert pushed(monitor, frames(7, 40, gain=0.3)) == [] and monitor.drift is None
    nudged = [np.roll(frame, 4, axis=2) for frame in frames(8, 40, gain=0.3)]
    assert [change.kind for change in pushed(monitor, nudged)] == ["moved"]


def test_a_light_has_a_background_of_its_own_unless_it_lasts_a_moment_only():
    same = list(frames(1, 30))
    still = np.median([frame.mean(axis=0) for frame in same], axis=0)
    assert np.allclose(backgrounds(same), still[None], atol=1e-3)
    assert len(backgrounds([*same, *frames(2, FEW - 1, gain=0.3)])) == 1
    assert len(backgrounds(list(frames(3, 3)))) == 1


def test_what_is_ignored_is_no_change_of_the_scene():
    mask = np.zeros((32, 48), bool)
    mask[:, 24:] = True
    references = backgrounds(list(frames(1, 12)))

    def kinds(ignore, pictures):
        monitor = DriftMonitor(1.0, references=references, ignore=ignore)
        return [change.kind for change in pushed(monitor, pictures)]

    assert kinds(None, other_screen(frames(2, 40))) == ["background"]
    assert kinds(mask, other_screen(frames(2, 40))) == []
    assert kinds(mask, other_screen(frames(2, 40, gain=0.5))) == ["light"]
    other_frames = other_screen(frames(2, 40), lambda frame: np.roll(frame, 2, axis=2))
    assert kinds(mask, other_frames) == ["moved"]


def test_memory_does_not_grow():
    monitor = DriftMonitor(1.0, high=0.5)
    pushed(monitor, frames(1, 300))
    stores = (monitor._pictures, monitor._scores, monitor._second)
    assert [len(values) for values in stores] == [SAMPLES, 60, 0]


def test_a_frame_of_another_size_and_a_rate_of_nothing_are_refused():
    monitor = DriftMonitor(1.0, references=np.zeros((1, 16, 16), np.float32))
    with pytest.raises(DDLError, match="32x48 pixels, the reference background 16x16"):
        pushed(monitor, frames(1, SAMPLES))
    with pytest.raises(DDLError, match="frame_rate is 0"):
        DriftMonitor(0)
