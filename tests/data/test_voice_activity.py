"""The network for voice activity: a literal second version, block by block, and silero's own on real speech."""

import numpy as np
import pytest
import soundfile
import torch
from safetensors.numpy import load_file

from helpers.corpus_files import real
from ipr_core.data import voice_activity
from ipr_core.data.voice_activity import FRAME, Hearing


@pytest.fixture(scope="module")
def clip():
    """Two seconds of a hum that comes and goes, in noise, and a last frame that is not whole."""
    t = np.arange(2 * 16_000 - 100) / 16_000
    wave = np.sin(2 * np.pi * 120 * t) * (np.sin(2 * np.pi * t) > 0) + np.random.default_rng(0).normal(0, 0.1, len(t))
    return (3_000 * wave).astype(np.int16)


def convolved(x, weight, bias, stride):
    """Return a convolution over (channels, time), padded by one: a product at a time."""
    x = np.pad(x, ((0, 0), (1, 1)))
    steps = range(0, x.shape[1] - 2, stride)
    return np.stack([np.einsum("oik,ik->o", weight, x[:, t : t + 3]) + bias for t in steps], axis=1)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def literal(clip):
    """Return the probabilities as one would write the network down, frame by frame, in double precision."""
    weights = {name: value.astype(float) for name, value in load_file(voice_activity._weights()).items()}
    wave = np.concatenate([clip / 32768, np.zeros(-len(clip) % FRAME)])
    context, h, c, probabilities = np.zeros(64), np.zeros(128), np.zeros(128), []
    for begin in range(0, len(wave), FRAME):
        frame = np.concatenate([context, wave[begin : begin + FRAME]])
        context, frame = frame[-64:], np.concatenate([frame, frame[-2:-66:-1]])
        spectra = np.stack([weights["stft_conv.weight"][:, 0] @ frame[t : t + 256] for t in range(0, 385, 128)], axis=1)
        x = np.hypot(spectra[:129], spectra[129:])
        for i, stride in enumerate((1, 2, 2, 1), 1):
            x = np.maximum(0, convolved(x, weights[f"conv{i}.weight"], weights[f"conv{i}.bias"], stride))
        gates = weights["lstm_cell.weight_ih"] @ x[:, 0] + weights["lstm_cell.bias_ih"]
        gates += weights["lstm_cell.weight_hh"] @ h + weights["lstm_cell.bias_hh"]
        enter, forget, cell, leave = np.split(gates, 4)
        c = sigmoid(forget) * c + sigmoid(enter) * np.tanh(cell)
        h = sigmoid(leave) * np.tanh(c)
        probabilities.append(
            sigmoid(weights["final_conv.weight"][0, :, 0] @ np.maximum(0, h) + weights["final_conv.bias"])[0]
        )
    return np.array(probabilities)


def test_it_is_the_literal_network(clip):
    speech = Hearing().next(clip)
    assert speech.dtype == np.float32
    np.testing.assert_allclose(speech, literal(clip), atol=1e-5)


def test_it_goes_on_where_it_was(clip):
    hearing = Hearing()
    blocks = [hearing.next(clip[: 10 * FRAME]), hearing.next(clip[10 * FRAME :])]
    np.testing.assert_allclose(np.concatenate(blocks), Hearing().next(clip), atol=1e-6)


def test_the_threads_of_torch_stay_as_many(clip):
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        Hearing().next(clip)
        assert torch.get_num_threads() == threads + 1
    finally:
        torch.set_num_threads(threads)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_on_real_speech_it_is_as_sure_as_the_network_that_silero_loads():
    paths = sorted((real("emodb") / "wav").glob("*.wav"))[::60]
    threads = torch.get_num_threads()
    silero = pytest.importorskip("silero_vad")  # which sets the number of threads
    torch.set_num_threads(threads)
    waves = [np.concatenate([np.zeros(16_000, np.int16), soundfile.read(path, dtype="int16")[0]]) for path in paths]
    network = silero.load_silero_vad()
    with torch.no_grad():
        references = [
            network.audio_forward(torch.from_numpy(wave / np.float32(32768))[None], 16_000)[0] for wave in waves
        ]
    results = [Hearing().next(wave) for wave in waves]
    agree = np.concatenate([(a > 0.5) == (b.numpy() > 0.5) for a, b in zip(results, references, strict=True)])
    assert agree.mean() > 0.97
