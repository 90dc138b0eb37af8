"""The speed of the second view against audiomentations, on the CPU.

    pip install audiomentations
    python tests/benchmarks/augmentation.py [ROUNDS]

All four effects are applied to 8 clips of 4 s. Both sides get the same clips and ranges and take turns; the medians of
their turns are compared. audiomentations runs clip after clip, and also on a pool of two threads; the faster of the two
counts. Its rooms are read once and kept, while the rooms here are drawn anew for every view.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import numpy as np
import soundfile
import torch

from ipr_core.config import Audio
from ipr_core.data.corpora import synthetic, voice
from ipr_core.data.waves import SAMPLE_RATE
from ipr_core.training.augment import ORDER, impulse_responses, second_view, view_key

CLIPS, SECONDS = 8, 4.0
AUDIO = Audio(effect_chance=1)


def main(rounds: int = 30) -> None:
    clips = voices()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        peers = audiomentations_effects(Path(folder))
        print(f"{CLIPS} clips of {SECONDS:g} s, {torch.get_num_threads()} threads, medians of {rounds} turns, ms")
        print(f"{'effect':14}{'ours':>8}{'audiomentations':>18}{'on two threads':>16}{'ratio':>8}")
        for name, transform in peers.items():
            audio = AUDIO if name == "all four" else AUDIO.model_copy(update={"effects": (name,)})
            calls = [
                batched_views(clips, audio),
                lambda apply=transform: [apply(clip, SAMPLE_RATE) for clip in clips],
                lambda apply=transform: list(pool.map(lambda clip: apply(clip, SAMPLE_RATE), clips)),
            ]
            mine, plain, pooled = (1000 * seconds for seconds in turns(calls, rounds))
            print(f"{name:14}{mine:8.1f}{plain:18.1f}{pooled:16.1f}{mine / min(plain, pooled):8.2f}")


def voices() -> np.ndarray:
    """Return (CLIPS, samples) float32 of the embedded corpus's speakers, each with a mixture of emotions."""
    rng = np.random.default_rng(0)
    emotions = voice.prototypes(("angry", "happy", "sad", "neutral"), 0)
    waves = [
        voice.utter(mixture, emotions, speaker, SECONDS, rng)
        for mixture, speaker in zip(
            synthetic.mixtures(CLIPS, 4, rng), voice.speakers(0, synthetic.SPEAKERS), strict=False
        )
    ]
    return np.stack(waves).astype(np.float32)


def batched_views(clips: np.ndarray, audio: Audio) -> Callable[[], object]:
    """Return a call that makes the second views of all clips at once."""
    waves, lengths = torch.from_numpy(clips), torch.full((len(clips),), clips.shape[1])
    keys = [view_key(0, 0, 0, str(i)) for i in range(len(clips))]
    return lambda: second_view(waves, lengths, keys, audio)


def audiomentations_effects(folder: Path) -> dict[str, Callable]:
    """Return audiomentations' transform of each effect, and of all in our order: (samples, rate) → samples."""
    try:
        import audiomentations as am
    except ModuleNotFoundError:
        sys.exit("audiomentations is not installed: pip install audiomentations")
    seconds = torch.linspace(*AUDIO.reverberation_seconds, CLIPS)
    for i, room in enumerate(impulse_responses(range(CLIPS), seconds, torch.full((CLIPS,), 5.0))):
        soundfile.write(folder / f"{i}.wav", room.numpy(), SAMPLE_RATE, subtype="FLOAT")
    effects = {
        "pitch": am.PitchShift(*AUDIO.pitch_semitones, p=1),
        "reverberation": am.ApplyImpulseResponse(folder, p=1),
        "noise": am.AddColorNoise(*AUDIO.noise_snr_db, min_f_decay=-3.01, max_f_decay=0, p=1),
        "volume": am.Gain(*AUDIO.volume_db, p=1),
    }
    effects = {name: effects[name] for name in ORDER}
    return effects | {"all four": am.Compose(list(effects.values()), p=1)}


def turns(calls: list[Callable[[], object]], rounds: int) -> list[float]:
    """Return the median seconds of each call over `rounds` in which the calls take turns."""
    times: list[list[float]] = [[] for _ in calls]
    for round_ in range(rounds + 2):  # the first two are not counted
        for call, seconds in zip(calls, times, strict=True):
            start = perf_counter()
            call()
            if round_ > 1:
                seconds.append(perf_counter() - start)
    return [statistics.median(seconds) for seconds in times]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
