"""Sounds for tests, written by PyAV as phones, browsers and cameras write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np


def recording(
    path: Path,
    samples: np.ndarray,
    rate: int,
    codec: str,
    form: str | None = None,
    video: str = "",
    tracks: int = 1,
    bit_rate: int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    """Write (T,) or (T, 2) samples; with a codec of videos, beside a grey picture, and without one of sound alone."""
    with av.open(str(path), "w", format=form, container_options=options or {}) as file:
        layout = "mono" if samples.ndim == 1 else "stereo"
        streams = [file.add_stream(codec, rate=rate, layout=layout) for _ in range(tracks if codec else 0)]
        for stream in streams:
            forms = [choice.name for choice in stream.codec_context.codec.audio_formats]
            stream.format = next((name for name in forms if name.startswith("s16")), forms[0])
            if bit_rate:
                stream.bit_rate = bit_rate
            stream.codec_context.open()
        if video:
            _draw(file, video, len(samples) / rate)
        for stream in streams:
            for frame in _frames(stream.codec_context, samples, rate, layout):
                file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
    return path


def _draw(file: Any, codec: str, seconds: float) -> None:
    stream = file.add_stream(codec, rate=10)
    stream.width = stream.height = 64
    stream.pix_fmt = "yuv420p"
    for grey in range(round(10 * seconds)):
        picture = np.full((64, 64, 3), grey, np.uint8)
        file.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
    file.mux(stream.encode(None))


def _frames(codec: Any, samples: np.ndarray, rate: int, layout: str) -> list[Any]:
    """Return the sound in frames as the codec takes them."""
    values = np.ascontiguousarray(np.atleast_2d(samples.T), dtype=np.float32)
    frame = av.AudioFrame.from_ndarray(values, format="fltp", layout=layout)
    frame.sample_rate, frame.pts = rate, 0
    form = av.AudioResampler(codec.format.name, layout, rate, frame_size=codec.frame_size or 1024)
    return [*form.resample(frame), *form.resample(None)]


def without_packets(path: Path, copy: Path, first: int, last: int) -> Path:
    """Copy a recording without some of its packets; the others keep their time stamps."""
    with av.open(str(path)) as source, av.open(str(copy), "w") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for number, packet in enumerate(source.demux(source.streams.audio[0])):
            if packet.dts is not None and not first <= number < last:
                packet.stream = stream
                target.mux(packet)
    return copy
