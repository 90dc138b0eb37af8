"""Sound in every container that soundfile writes, and what soundfile reads of it."""

from __future__ import annotations

import contextlib
import io
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
from numpy.random import Generator
from scipy.signal import resample_poly

from fuzz.workbench import Workbench
from helpers.recordings import recording

USUAL = {"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "FLAC", "OGG", "MP3", "MP4", "WEBM", "ADTS", "AMR"}
"""Containers that have to be read."""
RECORDINGS = {
    "MP4": ("mp4", "m4a", ("aac", "alac")), "WEBM": ("matroska", "webm", ("libopus", "flac")),
    "ADTS": ("adts", "aac", ("aac",)), "AMR": ("amr", "amr", ("libopencore_amrnb",)), "AVI": ("avi", "avi", ("mp2",)),
    "FLV": ("flv", "flv", ("libmp3lame",)), "TTA": ("tta", "tta", ("tta",)),
}  # fmt: skip
"""Containers that PyAV writes and reads: its name of each, the suffix, and codecs."""
UNREAD = {"DWVW_12", "DWVW_16", "DWVW_24"}
"""Subtypes that libsndfile writes, and that soundfile cannot read: it seeks in them, and they have no way to."""
MEASURED = {"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "FLAC", "OGG", "MP3", "CAF", "NIST", "MP4", "WEBM", "AVI"}
"""Containers that say how much sound is in them, so that a cut can be seen."""
CHECKED = {"FLAC", "OGG"}
"""Containers with a checksum of their sound."""
RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 96000)
MOST_CHANNELS = 256
"""Arrays of microphones have as many: nobody can see that fewer were meant."""
_MOST = 2**25  # samples that the oracle reads of a file
_HEARD = 3000  # Hz below which two ways of resampling give the same


@dataclass(frozen=True)
class Sound:
    """A sound and the file that holds it."""

    samples: np.ndarray
    """(T, channels) float64."""
    rate: int
    container: str
    subtype: str

    @property
    def data(self) -> bytes:
        """The file. raises ValueError where the container cannot hold it"""
        if self.container in RECORDINGS:
            return self._recording()
        stream = io.BytesIO()
        try:
            soundfile.write(stream, self.samples, self.rate, format=self.container, subtype=self.subtype)
        except (soundfile.LibsndfileError, TypeError) as error:
            raise ValueError(str(error)) from None
        return stream.getvalue()

    def _recording(self) -> bytes:
        """Return the file as PyAV writes it."""
        import av

        samples = self.samples[:, 0] if self.samples.shape[1] == 1 else self.samples
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"a.{self.extension}"
                return recording(path, samples, self.rate, self.subtype, RECORDINGS[self.container][0]).read_bytes()
        except (av.FFmpegError, KeyError) as error:
            raise ValueError(str(error)) from None

    @property
    def extension(self) -> str:
        if self.container in RECORDINGS:
            return RECORDINGS[self.container][1]
        return {"OGG": "opus" if self.subtype == "OPUS" else "ogg", "WAVEX": "wav"}.get(
            self.container, self.container.lower()
        )

    def kind(self) -> str:
        return f"{self.container} {self.subtype}"

    def with_samples(self, samples: np.ndarray, container: str | None = None, subtype: str | None = None) -> Sound:
        """Return other samples in this container, or another."""
        return replace(self, samples=samples, container=container or self.container, subtype=subtype or self.subtype)


def _kinds() -> Iterator[tuple[str, str]]:
    """Yield every container and subtype that can be written, but RAW (no header) and SD2 (one in another file)."""
    for container in soundfile.available_formats().keys() - {"RAW", "SD2"}:
        for subtype in soundfile.available_subtypes(container):
            with contextlib.suppress(ValueError):
                if Sound(np.zeros((1600, 1)), 16_000, container, subtype).data:
                    yield container, subtype
    for container, (_, _, codecs) in RECORDINGS.items():
        for codec in codecs:
            yield container, codec


KINDS = tuple(sorted(_kinds()))


def draw_sound(number: int, draw: Generator, workbench: Workbench) -> Sound:
    """Return speech in the container of this number, at some rate and of some channels that it can hold."""
    container, subtype = KINDS[number % len(KINDS)]
    mono = workbench.sound(draw)
    while True:
        rate, channels = int(draw.choice(RATES)), int(draw.choice([1, 1, 1, 2, 2, 4]))
        divisor = math.gcd(rate, 16_000)
        voice = resample_poly(mono, rate // divisor, 16_000 // divisor)
        gains = draw.uniform(0.5, 1, channels)
        sound = Sound(np.clip(voice[:, None] * gains, -0.99, 0.99), rate, container, subtype)
        try:
            if sound.data:
                return sound
        except ValueError:
            continue


def reading(path: Path) -> np.ndarray | None:
    """Return (T,) int16 at 16 kHz that soundfile or PyAV reads of a file; None if it reads nothing, or too much."""
    if not path.is_file():
        return None
    if path.suffix.removeprefix(".") in {suffix for _, suffix, _ in RECORDINGS.values()}:
        return _reading_by_av(path)
    try:
        with soundfile.SoundFile(path) as file:
            if not 1000 <= file.samplerate <= 400_000 or file.channels > MOST_CHANNELS:
                return None
            blocks, count = [], 0
            while len(block := file.read(65_536, always_2d=True)) and count < _MOST:
                blocks.append(block.mean(axis=1))
                count += block.size
            rate = file.samplerate
    except (soundfile.LibsndfileError, RuntimeError, MemoryError, ValueError):
        return None
    return None if not blocks or count >= _MOST else at_16_khz(np.concatenate(blocks), rate)


def _reading_by_av(path: Path) -> np.ndarray | None:
    """Return what PyAV reads with all its tolerance."""
    import av

    blocks: list[np.ndarray] = []
    rate = 0
    try:
        with av.open(str(path)) as file:
            form = av.AudioResampler("fltp")  # its own way to mono is louder than the average
            for frame in file.decode(audio=0):
                rate = frame.sample_rate
                blocks += [part.to_ndarray().mean(axis=0) for part in form.resample(frame)]
                if sum(map(len, blocks)) >= _MOST:
                    return None
    except (av.FFmpegError, IndexError, OSError, ValueError, MemoryError):
        pass  # what came before the damage was read
    return at_16_khz(np.concatenate(blocks).astype(float), rate) if blocks else None


def at_16_khz(wave: np.ndarray, rate: int) -> np.ndarray:
    divisor = math.gcd(rate, 16_000)
    with np.errstate(all="ignore"):
        wave = resample_poly(wave, 16_000 // divisor, rate // divisor) if rate != 16_000 else wave
        return np.nan_to_num(np.rint(wave * 32768)).clip(-32768, 32767).astype(np.int16)


def alike(wave: np.ndarray | None, twin: np.ndarray | None) -> bool:
    """Tell whether two waves are the same but for the last bits and another filter of resampling."""
    if wave is None or twin is None or abs(len(wave) - len(twin)) > 160:
        return False
    length = min(len(wave), len(twin))
    first, second = _low(wave[:length]), _low(twin[:length])
    difference = np.sqrt(np.mean((first - second) ** 2)) if length else 0.0
    return bool(difference <= 2 + 0.03 * np.sqrt(np.mean(second**2)))


def _low(wave: np.ndarray) -> np.ndarray:
    spectrum = np.fft.rfft(wave.astype(float))
    spectrum[np.fft.rfftfreq(len(wave), 1 / 16_000) > _HEARD] = 0
    return np.fft.irfft(spectrum, len(wave))
