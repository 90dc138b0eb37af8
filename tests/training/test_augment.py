"""The second view: each effect by value, the random mix, independence of neighbours and padding."""

import os
import threading

import numpy as np
import pytest
import torch

from ipr_core.config import Audio
from ipr_core.data.waves import SAMPLE_RATE
from ipr_core.training import augment
from ipr_core.training.augment import (
    ORDER,
    _recipe,
    add_noise,
    change_pitch,
    change_volume,
    coloured_noise,
    impulse_responses,
    on_cores,
    reverberate,
    second_view,
    view_key,
)


def speech_like(n: int, seed: int = 0) -> torch.Tensor:
    """(n,) a voice of moving pitch, in syllables, over a little noise."""
    t = torch.arange(n) / SAMPLE_RATE
    turn = torch.cumsum(150 + 30 * torch.sin(2 * torch.pi * (1 + 0.1 * seed) * t), 0) * 2 * torch.pi / SAMPLE_RATE
    voice = sum(torch.sin(k * turn) / k for k in range(1, 20)) * torch.sin(2 * torch.pi * 2 * t).square()
    return 0.2 * voice + 0.002 * torch.randn(n, generator=torch.Generator().manual_seed(seed))


def padded(*lengths: int) -> tuple[torch.Tensor, torch.Tensor]:
    waves = torch.zeros(len(lengths), max(lengths))
    for i, n in enumerate(lengths):
        waves[i, :n] = speech_like(n, i)
    return waves, torch.tensor(lengths)


def keys(n: int, epoch: int = 0) -> list[int]:
    return [view_key(0, 0, epoch, f"u{i}") for i in range(n)]


def peak_hz(wave: torch.Tensor) -> float:
    middle = wave[len(wave) // 8 : -len(wave) // 8].numpy()
    return np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 2**20)).argmax() * SAMPLE_RATE / 2**20


def level_db(wave: torch.Tensor) -> float:
    return float(10 * wave.double().square().mean().log10())


# ---- keys ----


def test_a_view_key_is_the_same_on_every_machine():
    # blake2b("1 0 3 a17", digest of 8 bytes), big-endian, without its last bit
    assert view_key(1, 0, 3, "a17") == 0x35DE_CDB5_46CC_1DA5


def test_every_part_of_a_view_key_counts():
    different = {view_key(*parts) for parts in [(0, 0, 0, "a"), (1, 0, 0, "a"), (0, 1, 0, "a"), (0, 0, 1, "a")]}
    assert len(different | {view_key(0, 0, 0, "b")}) == 5


# ---- effects, by value ----


@pytest.mark.parametrize("colour", [0.0, 0.5, 1.0])
def test_noise_has_the_asked_ratio_to_the_utterances_own_power(colour):
    waves, lengths = padded(20_000, 50_000)
    ratios = torch.tensor([10.0, 25.0])
    noise = coloured_noise(keys(2), 50_000, torch.full((2,), colour))
    added = add_noise(waves, lengths, noise, ratios) - waves
    for i, n in enumerate(lengths):
        assert level_db(waves[i, :n]) - level_db(added[i, :n]) == pytest.approx(float(ratios[i]), abs=1e-3)
        assert not added[i, n:].any()


def test_the_colour_is_the_slope_of_the_noises_power():
    # 1/f^colour: three octaves up, the power density is 9.03 dB · colour lower
    noise = coloured_noise(keys(3), 2**15, torch.tensor([0.0, 0.5, 1.0]))
    density = torch.fft.rfft(noise).abs().square()
    low, high = density[:, 1000:1200].mean(dim=1), density[:, 8000:9600].mean(dim=1)
    assert (10 * (low / high).log10()).numpy() == pytest.approx([0, 4.515, 9.03], abs=1.0)


def test_a_silent_clip_stays_silent_and_finite():
    waves, lengths = torch.zeros(2, 8_000), torch.tensor([8_000, 4_000])
    view = second_view(waves, lengths, keys(2), Audio(effect_chance=1))
    assert view.isfinite().all()
    assert view.abs().max() < 1e-6


def test_volume_is_exact_and_clipped():
    waves = torch.tensor([[0.1, -0.2], [0.1, -0.2], [0.1, -0.2]])
    louder = change_volume(waves, torch.tensor([20.0, -20.0, 0.0]))
    expected = torch.tensor([[1.0, -1.0], [0.01, -0.02], [0.1, -0.2]])
    assert torch.allclose(louder, expected, atol=1e-7)


def test_a_room_decays_by_60_db_in_its_reverberation_time():
    seconds = torch.tensor([0.2, 0.5])
    rooms = impulse_responses(keys(2), seconds, torch.tensor([0.0, 0.0]))
    for room, rt60 in zip(rooms, seconds, strict=True):
        left = room[1:].double().square().flip(0).cumsum(0).flip(0)  # Schroeder's backward integral
        fall = (10 * (left / left[0]).clamp_min(1e-20).log10()).numpy()
        steep = (fall < -5) & (fall > -35)
        slope = np.polyfit(np.flatnonzero(steep) / SAMPLE_RATE, fall[steep], 1)[0]
        assert -60 / slope == pytest.approx(float(rt60), rel=0.1)


def test_a_room_has_energy_one_and_the_asked_share_of_direct_sound():
    rooms = impulse_responses(keys(2), torch.tensor([0.1, 0.4]), torch.tensor([0.0, 10.0]))
    assert rooms.square().sum(dim=1).numpy() == pytest.approx([1, 1], abs=1e-5)
    assert rooms[:, 0].square().numpy() == pytest.approx([1 / 2, 10 / 11], abs=1e-5)


def test_reverberation_is_the_literal_convolution_and_keeps_the_speech_in_place():
    waves, _ = padded(900, 700)
    rooms = impulse_responses(keys(2), torch.tensor([0.01, 0.02]), torch.tensor([3.0, 3.0]))
    wet = reverberate(waves, rooms)
    for i in range(2):
        assert np.allclose(wet[i], np.convolve(waves[i], rooms[i])[:900], atol=1e-6)
    impulse = torch.zeros(1, 4_000)
    impulse[0, 1_000] = 1
    echo = reverberate(impulse, rooms[:1])[0]
    assert echo.abs().argmax() == 1_000
    assert echo[:1_000].abs().max() < 1e-6


@pytest.mark.parametrize("semitones", [-12, -2, -1.5, -1, -0.5, 0.5, 1, 2, 5])
def test_pitch_moves_a_sine_by_the_ratio_and_keeps_its_length_and_level(semitones):
    sine = 0.5 * torch.sin(2 * torch.pi * 440 * torch.arange(32_000) / SAMPLE_RATE)[None]
    shifted = change_pitch(sine, torch.tensor([32_000]), [semitones])
    assert shifted.shape == sine.shape
    assert peak_hz(shifted[0]) / 440 == pytest.approx(2 ** (semitones / 12), rel=0.004)
    assert level_db(shifted[0, 2_000:-2_000]) == pytest.approx(level_db(sine), abs=0.3)


def test_pitch_keeps_the_level_and_the_timing_of_a_voice():
    # an unlocked phase vocoder loses about 3 dB here
    waves, lengths = padded(48_000, 40_000, 30_000)
    shifted = change_pitch(waves, lengths, [2, -2, 0.5])
    for i, n in enumerate(lengths):
        assert level_db(shifted[i, :n]) == pytest.approx(level_db(waves[i, :n]), abs=1.5)
        loudness = [wave[i, : n // 800 * 800].view(-1, 800).square().mean(dim=1).sqrt() for wave in (waves, shifted)]
        assert np.corrcoef(*loudness)[0, 1] > 0.95
        assert not shifted[i, n:].any()


def test_pitch_by_nothing_changes_nothing():
    waves, lengths = padded(30_000, 20_000)
    shifted = change_pitch(waves, lengths, [0.0, 1.0])
    assert torch.equal(shifted[0], waves[0])
    assert not torch.equal(shifted[1], waves[1])


def test_speech_after_digital_silence_is_not_lost():
    voice = speech_like(30_000)[None]
    delayed = torch.cat([torch.zeros(1, 20_000), voice], dim=1)
    shifted = change_pitch(delayed, torch.tensor([50_000]), [1.0])
    assert level_db(shifted[0, 20_000:]) == pytest.approx(level_db(voice), abs=1.5)
    assert shifted[0, :19_000].abs().max() < 1e-6


# ---- the mix ----


def mixes_of(audio: Audio, n: int) -> list[set[str]]:
    """The effects drawn for n views."""
    effects = _recipe(keys(n), audio).effects
    return [{name for name in ORDER if effects[name][i]} for i in range(n)]


def test_with_no_chance_a_view_has_exactly_one_effect_each_about_as_often():
    mixes = mixes_of(Audio(effect_chance=0), 400)
    assert all(len(mix) == 1 for mix in mixes)
    for effect in ORDER:  # 100 expected; 4 standard deviations of a binomial are 35
        assert sum(effect in mix for mix in mixes) == pytest.approx(100, abs=35)


def test_with_certainty_a_view_has_every_effect_that_is_allowed():
    assert all(mix == set(ORDER) for mix in mixes_of(Audio(effect_chance=1), 50))
    assert all(mix == {"noise"} for mix in mixes_of(Audio(effect_chance=1, effects=("noise",)), 50))
    pair = mixes_of(Audio(effect_chance=0, effects=("pitch", "volume")), 100)
    assert {frozenset(mix) for mix in pair} == {frozenset({"pitch"}), frozenset({"volume"})}


def test_with_half_a_chance_no_view_is_without_an_effect():
    mixes = mixes_of(Audio(), 400)
    assert min(map(len, mixes)) == 1
    # 0.5 each, and a sixteenth of the views is given one more: 2 + 1/16
    assert np.mean([len(mix) for mix in mixes]) == pytest.approx(2.0625, abs=0.2)


def test_a_view_is_one_effect_after_the_other_in_the_stated_order():
    waves, lengths = padded(20_000)
    audio = {"effect_chance": 1, "volume_db": (-12, -12), "pitch_semitones": (1, 1)}
    view = second_view(waves, lengths, keys(1), Audio(effects=("pitch", "volume"), **audio))
    by_hand = change_volume(change_pitch(waves, lengths, [1.0]), torch.tensor([-12.0]))
    assert torch.allclose(view, by_hand, atol=1e-7)


@pytest.mark.parametrize(
    ("effect", "amount", "measured"),
    [("volume", {"volume_db": (3, 6)}, (3, 6)), ("noise", {"noise_snr_db": (5, 8)}, (-8, -5))],
)
def test_amounts_lie_in_their_range_and_differ(effect, amount, measured):
    waves = 0.1 * speech_like(8_000).repeat(20, 1)
    views = second_view(waves, torch.full((20,), 8_000), keys(20), Audio(effects=(effect,), **amount))
    change = views if effect == "volume" else views - waves
    db = np.array([level_db(change[i]) - level_db(waves[i]) for i in range(20)])
    assert measured[0] - 1e-3 <= db.min() < db.max() <= measured[1] + 1e-3
    assert np.ptp(db) > 0.5 * (measured[1] - measured[0])


@pytest.mark.parametrize("effects", [(effect,) for effect in ORDER] + [ORDER])
def test_alone_or_padded_among_others_a_view_is_the_same(effects):
    waves, lengths = padded(31_111, 48_000, 9_999, 1_700, 27_000, 48_001)
    audio = Audio(effect_chance=1, effects=effects)
    # A change of pitch adds up phases from frame to frame, and with them how a processor's FFT rounds.
    rounding = 2e-4 if "pitch" in effects else 1e-5
    views = second_view(waves, lengths, keys(6), audio)
    for i, n in enumerate(lengths.tolist()):
        single = second_view(waves[i : i + 1, :n], lengths[i : i + 1], keys(6)[i : i + 1], audio)[0]
        assert (single - views[i, :n]).abs().max() < rounding
        assert not views[i, n:].any()


def test_a_view_has_the_same_bits_however_many_cores_there_are():
    waves, lengths = padded(31_111, 48_000, 9_999, 1_700, 27_000, 48_001)
    threads, audio = torch.get_num_threads(), Audio(effect_chance=1)
    views = []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            views.append(second_view(waves, lengths, keys(6), audio))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(views[0], views[1])
    assert torch.equal(views[0], views[2])


def test_cut_into_groups_or_not_a_view_is_the_same():
    waves, lengths = padded(31_111, 48_000, 9_999, 1_700, 27_000, 48_001)
    whole = augment._mixed(waves, lengths, keys(6), Audio(effect_chance=1))  # as on a GPU
    assert (second_view(waves, lengths, keys(6), Audio(effect_chance=1)) - whole).abs().max() < 2e-4


def test_the_vocoder_is_the_same_in_chunks_of_any_size(monkeypatch):
    waves, _ = padded(30_000, 20_000)
    factors = torch.tensor([18 / 17, 17 / 18])
    stretched = augment.stretch(waves, factors, 30_000)
    monkeypatch.setattr(augment, "_CHUNK", 10_000)
    torch.testing.assert_close(augment.stretch(waves, factors, 30_000), stretched, atol=1e-5, rtol=0)


def test_the_same_keys_give_the_same_bits_and_others_another_view():
    waves, lengths = padded(20_000, 30_000)
    original = waves.clone()
    first = second_view(waves, lengths, keys(2), Audio())
    torch.rand(7)  # randomness elsewhere is of no account
    assert torch.equal(first, second_view(waves, lengths, keys(2), Audio()))
    assert not torch.equal(first, second_view(waves, lengths, keys(2, epoch=1), Audio()))
    assert torch.equal(waves, original)


def test_a_view_stays_between_minus_one_and_one():
    waves, lengths = padded(20_000, 20_000)
    views = second_view(3 * waves.clamp(-0.33, 0.33), lengths, keys(2), Audio(effect_chance=1, volume_db=(10, 10)))
    assert views.abs().max() == 1


def test_the_shortest_clip_of_all_has_a_view():
    waves, lengths = padded(1_600)
    assert second_view(waves, lengths, keys(1), Audio(effect_chance=1)).isfinite().all()


# ---- work on several cores ----


@pytest.fixture
def three():
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(threads)


def test_every_part_is_worked_on_once():
    parts = []
    on_cores(parts.append, range(20))
    assert sorted(parts) == list(range(20))


def test_a_part_has_one_torch_thread_and_the_caller_and_new_threads_keep_theirs(three):
    counts = []
    on_cores(lambda _: counts.append((torch.get_num_threads(), threading.get_ident())), range(9))
    assert {count for count, _ in counts} == {1}
    assert threading.get_ident() not in {thread for _, thread in counts}
    assert torch.get_num_threads() == 3
    new_counts = []
    thread = threading.Thread(target=lambda: new_counts.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert new_counts == [3]


def test_three_parts_are_worked_on_at_the_same_time(three):
    meeting = threading.Barrier(3)
    on_cores(lambda _: meeting.wait(timeout=20), range(3))  # breaks unless all three are there


def test_what_fails_in_a_part_is_told():
    with pytest.raises(ZeroDivisionError):
        on_cores(lambda part: 1 / part, [1, 0, 2])


def test_a_forked_process_has_threads_of_its_own():
    on_cores(lambda _: None, range(2))
    child = os.fork()
    if child == 0:
        threading.Timer(20, os._exit, (1,)).start()  # it would wait for threads that are not there
        on_cores(lambda _: None, range(2))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
