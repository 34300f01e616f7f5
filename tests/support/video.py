"""Videos with sound, pauses and odd clocks, as cameras, browsers and recorders write them."""

from fractions import Fraction

import av
import numpy as np

SOUND_RATE = 8000  # samples per second


def write_media(
    path, frames, times=None, rate=20, sound_s=0.0, codec="mpeg4", form=None, options=None, **stream
):
    """Write frames, H x W x 3 BGR uint8 or H x W uint16, shown at `times` in seconds.

    `times` None: `rate` a second. `sound_s`: seconds of sound beside them. `options`: those of the
    container, such as movflags. `stream`: attributes of the stream of pictures, such as gop_size.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(len(frames)) / rate if times is None else np.asarray(times, float)
    deep = frames[0].dtype == np.uint16
    place = f"file:{path.resolve()}"
    with av.open(place, "w", format=form, container_options=options or {}) as container:
        pictures = container.add_stream(codec, rate=rate)
        pictures.height, pictures.width = frames[0].shape[:2]
        pictures.pix_fmt = "gray16le" if deep else "yuvj420p" if codec == "mjpeg" else "yuv420p"
        pictures.time_base = pictures.codec_context.time_base = Fraction(1, 1000)
        for name, value in stream.items():
            setattr(pictures, name, value)
        sound = container.add_stream("aac", rate=SOUND_RATE) if sound_s else None
        packets = [*_pictures(pictures, frames, times, deep), *_sound(sound, sound_s)]
        # The times of damaged footage do not rise; then the order is that of the frames.
        for packet in sorted(packets, key=_seconds) if sound else packets:
            container.mux(packet)
    return path


def _pictures(stream, frames, times, deep):
    for image, time_s in zip(frames, times, strict=True):
        frame = av.VideoFrame.from_ndarray(image, "gray16le" if deep else "bgr24")
        frame.pts, frame.time_base = round(1000 * time_s), Fraction(1, 1000)
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _sound(stream, seconds):
    if stream is None:
        return
    for at in range(0, int(seconds * SOUND_RATE), 1024):
        samples = np.zeros((1, 1024), np.float32)
        frame = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, at, Fraction(1, SOUND_RATE)
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _seconds(packet):
    return float(packet.dts * packet.time_base)
