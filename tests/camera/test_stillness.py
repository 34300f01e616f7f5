"""What differs by no more than the camera's noise is still; what arrives is not, however small."""

import cv2
import numpy as np
import pytest

from ddllib.camera.stillness import FLICKER, LAG_S, SCALES, Stillness

SIDE, RATE = 128, 10


def scenery(channels=1, side=SIDE):
    random = np.random.default_rng(0)
    rough = random.integers(40, 200, (side // 8, side // 8, channels)).astype(np.uint8)
    smooth = cv2.resize(rough, (side, side), interpolation=cv2.INTER_CUBIC)
    return smooth.reshape(side, side, channels).transpose(2, 0, 1).astype(np.float64)


class Sensor:
    """Makes frames of pictures, C x H x W: noise, flickering light, JPEG."""

    def __init__(self, noise=2.0, quality=None, flicker=0.0, seed=0):
        self.random, self.count = np.random.default_rng(seed), 0
        self.noise, self.quality, self.flicker = noise, quality, flicker

    def __call__(self, picture):
        self.count += 1
        light = 1 + self.flicker * np.sin(2 * np.pi * 0.37 * self.count)
        noisy = (picture * light + self.random.normal(0, self.noise, picture.shape)).clip(0, 255)
        image = noisy.round().astype(np.uint8).transpose(1, 2, 0)
        if self.quality:
            code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self.quality])[1]
            image = cv2.imdecode(code, cv2.IMREAD_UNCHANGED).reshape(image.shape)
        return np.ascontiguousarray(image.transpose(2, 0, 1))


def learnt(sensor, picture, frames=100, ignore=None):
    """What has seen so many frames of a scene in which nothing moves."""
    stillness = Stillness(ignore)
    for k in range(frames):
        stillness.push(sensor(picture), k / RATE)
    return stillness


SENSORS = [(1.0, None, 0.0), (3.0, None, 0.01), (1.0, 90, 0.01), (2.0, 80, 0.0), (3.0, 90, 0.01)]
sensors = pytest.mark.parametrize(("noise", "quality", "flicker"), SENSORS)


@sensors
def test_noise_compression_and_flicker_are_still(noise, quality, flicker):
    sensor, picture = Sensor(noise, quality, flicker), scenery()
    stillness, reference = learnt(sensor, picture), sensor(picture)
    same = [stillness.same(reference, sensor(picture)) for _ in range(100)]
    assert np.mean(same) > 0.9


@sensors
@pytest.mark.parametrize(("height", "width", "contrast"), [(10, 4, 16), (5, 3, 40), (40, 40, 8)])
def test_an_object_that_arrives_is_no_noise_wherever_it_stands(
    noise, quality, flicker, height, width, contrast
):
    sensor, picture = Sensor(noise, quality, flicker), scenery()
    stillness, reference = learnt(sensor, picture), sensor(picture)
    random = np.random.default_rng(1)
    for k in range(40):
        y, x = random.integers(0, SIDE - height), random.integers(0, SIDE - width)
        arrived = picture.copy()
        arrived[:, y : y + height, x : x + width] += contrast if k % 2 else -contrast
        assert not stillness.same(reference, sensor(arrived)), (y, x)


def test_an_object_of_another_colour_alone_is_seen():
    sensor, picture = Sensor(), scenery(channels=3)
    stillness, reference = learnt(sensor, picture), sensor(picture)
    arrived = picture.copy()
    arrived[:, 40:50, 40:44] += np.array([40, -40, 0])[:, None, None]
    assert stillness.same(reference, sensor(picture))
    assert not stillness.same(reference, sensor(arrived))


def test_what_passes_now_and_then_is_not_learnt_as_noise():
    sensor, picture, stillness = Sensor(), scenery(), Stillness()
    for k in range(200):
        walker = picture.copy()
        walker[:, 40:60, k % 120 : k % 120 + 8] += 60
        stillness.push(sensor(walker if k % 50 < 25 else picture), k / RATE)
    standing = picture.copy()
    standing[:, 45:55, 60:64] += 16
    assert not stillness.same(sensor(picture), sensor(standing))


def test_where_all_trembles_nothing_is_still():
    """The limit has a bound, so strong noise hides nothing."""
    sensor, picture = Sensor(noise=20.0), scenery()
    stillness = learnt(sensor, picture)
    for limit, scale in zip(stillness.limits, SCALES, strict=True):
        assert scale.least <= limit.min() and limit.max() <= scale.most
    assert not any(stillness.same(sensor(picture), sensor(picture)) for _ in range(20))


def test_ignored_pixels_are_not_compared():
    sensor, picture = Sensor(), scenery()
    ignore = np.zeros((SIDE, SIDE), bool)
    ignore[:20] = True
    stillness, clock = learnt(sensor, picture, ignore=ignore), picture.copy()
    clock[:, 5:15, 20:90] = 255
    assert stillness.same(sensor(picture), sensor(clock))
    clock[:, 25:35, 20:24] = 255
    assert not stillness.same(sensor(picture), sensor(clock))


def test_light_is_still_up_to_its_flicker_and_no_further():
    sensor, picture = Sensor(), scenery()
    stillness = learnt(sensor, picture)
    assert stillness.same(sensor(picture), sensor(picture * (1 + FLICKER / 2)))
    assert not stillness.same(sensor(picture), sensor(picture * (1 + 4 * FLICKER)))


def test_before_the_noise_is_known_nothing_is_still_and_a_gap_forgets_no_noise():
    picture, sensor, stillness = scenery(), Sensor(), Stillness()
    frame = sensor(picture)
    stillness.push(frame, 0.0)
    assert not stillness.same(frame, frame)
    for k in range(100):
        stillness.push(sensor(picture), k / RATE)
    stillness.cut()
    assert stillness.same(frame, frame)


def test_a_clock_set_back_and_another_size_begin_anew():
    picture, sensor = scenery(), Sensor()
    stillness = learnt(sensor, picture)
    samples = len(stillness._samples)
    for k in range(int(2 * LAG_S * RATE)):  # an hour earlier
        stillness.push(sensor(picture), k / RATE - 3600)
    assert len(stillness._samples) > samples
    stillness.push(sensor(scenery(side=64)), 0.0)
    assert stillness.limits is None
