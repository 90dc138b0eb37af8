"""Odd values of settings and options: each is refused in a sentence, or read as what it says."""

import math
from datetime import date

import pytest

from ipr_core import cli
from ipr_core.config import FIELDS, SettingsError, build
from ipr_core.sections import _kinds

NUMBERS = [name for name, (_, field) in FIELDS.items() if _kinds(field.annotation) & {int, float}]
SWITCHES = [name for name, (_, field) in FIELDS.items() if field.annotation is bool]
WHOLE = [name for name in NUMBERS if _kinds(FIELDS[name][1].annotation) & {int}]
TEXTS = ("corpus_path", "encoder", "image_weights", "device")


def fault_of(name, value):
    with pytest.raises(SettingsError) as caught:
        build("recommended", {name: value})
    assert all(fault.startswith(f"{name} is ") for fault in caught.value.faults)  # one per wrong part
    return caught.value.faults[0]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "value",
    [True, False, math.nan, math.inf, -math.inf, "nan", "inf", "٥", "", "0x10", [[1]], {"a": 1}, 10**20, 1e300,
     "1" * 5000, date(2026, 1, 1), "1;2", b"\xff"],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_what_is_no_number_or_no_likely_one_is_refused(name, value):
    sentence = fault_of(name, value)
    assert sentence.startswith(f"{name} is ")
    assert "it must be " in sentence
    assert len(sentence) < 800


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("value", ["1e3", 2.5, "2.5", "many"])
def test_a_whole_number_is_written_as_one(name, value):
    assert "whole number" in fault_of(name, value)


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("value", [1, 0, 0.0, -1, 2, "perhaps", "", [True]], ids=repr)
def test_a_switch_is_true_or_false(name, value):
    assert "it must be true or false" in fault_of(name, value)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize(
    "value", ["", " ", "a\nb", "a\x00b", "\ud800", "x" * 5000, 5, ["a"]], ids=lambda v: repr(v)[:9]
)
def test_a_text_is_one_line(name, value):
    assert f"{name} is " in fault_of(name, value)


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:12", "mps"])
def test_a_device_that_may_be_somewhere(device):
    assert build("demo", {"device": device}).training.device == device


@pytest.mark.parametrize(
    "device", ["tpu", "nan", "cuda:x", "cuda:", "cuda:-1", "cuda:1234", "CPU", "gpu", "cpu:0 ", "meta"]
)
def test_a_device_that_is_nowhere(device):
    assert fault_of("device", device).startswith(
        f"device is {device!r}; it must be one of 'auto', 'cpu', 'cuda', 'cuda:N', 'mps'. Where to train"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", 2**63), ("stream", 10**20), ("data_seed", 2**32), ("batch_size", 10**12), ("epochs", 10**9),
     ("embedding", 10**6), ("frozen_layers", -2), ("max_seconds", 1e-9), ("map_size", 10**9), ("lr", 1e9),
     ("reverberation_seconds", (-1, 1)), ("pitch_semitones", (-60, 60)), ("noise_snr_db", (0, 1e9)),
     ("layers", [10**9])],
)  # fmt: skip
def test_a_number_beyond_all_use_is_refused(name, value):
    assert f"{name} is " in fault_of(name, value)


def test_the_largest_seeds_are_taken():
    config = build("demo", {"seed": 2**63 - 1, "stream": "9223372036854775807", "data_seed": 2**32 - 1})
    assert (config.training.seed, config.training.stream) == (2**63 - 1, 2**63 - 1)


@pytest.mark.parametrize("zero", [-0.0, "-0", "-0.0", 0])
def test_minus_nothing_is_nothing(zero):
    assert build("demo", {"mu": zero}).digest() == build("demo", {"mu": 0.0}).digest()


@pytest.mark.parametrize(
    ("option", "value", "cure"),
    [("--jobs", "0", "give a whole number, 1 to 10,000"), ("--jobs", "-1", "give a whole number"),
     ("--jobs", "²", "give a whole number"), ("--jobs", "1e3", "give a whole number"), ("--jobs", "9" * 50, "give"),
     ("--jobs", "true", "give a whole number"), ("--cores", "2.0", "give a whole number"),
     ("--walltime", "tomorrow", "for example 24:00:00"), ("--walltime", "0:00", "for example 24:00:00"),
     ("--walltime", "1:99:00", "for example 24:00:00"), ("--memory", "8XB", "for example 16GB"),
     ("--memory", "0GB", "for example 16GB"), ("--memory", "", "for example 16GB"), ("--account", "a b", "one name"),
     ("--partition", "gpu\nrm", "without spaces"), ("--interface", "", "without spaces")],
)  # fmt: skip
def test_an_option_of_a_batch_is_refused_with_its_cure(option, value, cure, capsys):
    assert cli.main(["batch", "table3", "--slurm", f"{option}={value}"]) == 2
    message = capsys.readouterr().err
    assert option in message
    assert cure in message


@pytest.mark.parametrize(
    "shard", ["0/0", "0/2", "3/2", "1", "1/", "/2", "1/2/3", "-1/2", "١/٢", "1/99999999", "a/b", ""]
)
def test_a_shard_is_a_worker_of_a_total(shard, capsys):
    assert cli.main(["annotate", "run", "corpus", f"--shard={shard}"]) == 2
    assert "give worker and total, for example 2/8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--memory", "8GB"], "--memory: only jobs have these; give --slurm or --pbs, or leave them out"),
        (["--dask", "tcp://a:1", "--partition", "gpu"], "--partition: only jobs have these"),
        (["--dask", "tls://a:1", "--tls-ca", "ca.pem"], "--tls-ca, --tls-cert and --tls-key belong together"),
        (["--tls-ca", "a", "--tls-cert", "b", "--tls-key", "c"], "and to --dask tls://HOST:PORT"),
        (["--slurm", "--dask", "tcp://a:1"], "not allowed with argument"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, sentence, capsys):
    assert cli.main(["batch", "table3", *options]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
@pytest.mark.parametrize(
    "words", [["train"], ["run"], ["batch", "--systems", "ipr"], ["bench"]], ids=lambda words: words[0]
)
def test_a_device_that_this_machine_does_not_have_is_refused_before_anything_begins(
    device, words, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    folder = [] if words == ["bench"] else ["--runs", str(tmp_path / "runs")]
    small = ["--preset", "demo", "--synthetic-size", "64", "--test-size", "12"]
    assert cli.main([*words, *small, "--device", device, *folder]) == 2
    assert f"device is '{device}', which this machine does not have; it has cpu" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_thousands_of_unknown_names_are_counted():
    with pytest.raises(SettingsError) as caught:
        build("demo", {f"gama_{i}": 1 for i in range(5000)})
    assert len(caught.value.faults) == 21
    assert caught.value.faults[-1] == "4,980 more names are not settings"
