"""Settings in a file: written, read again, and below the options of every command and the notebooks' parameters."""

import pytest

from ipr_core.cli import main
from ipr_core.config import PRESETS, SettingsError, build, demo, from_notebook, in_file, read_file


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_written_is_read_as_the_same_configuration(preset, tmp_path):
    config = build(preset, {"corpus_path": 'a "b" \\ ü', "layers": (0, -1), "own_weight": 0.5, "test_speakers": ()})
    (tmp_path / "mine.toml").write_text(in_file(config, preset), "utf-8")
    of_file, settings = read_file(tmp_path / "mine.toml")
    assert of_file == preset
    assert build(of_file, settings) == config


def test_every_setting_stands_below_its_sentence(capsys):
    assert main(["config", "--preset", "demo", "--epochs", "9"]) == 0
    text = capsys.readouterr().out
    assert "\n# Weight of the contrastive term (Eq. 6). A number between 0 and 1,000,000.\nmu = 0.2\n" in text
    assert "\nepochs = 9\n" in text
    assert max(map(len, text.splitlines())) <= 120


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('preset = "demo"\n[settings]\nepochs = 7\nwarm_up = 2\nseed = 3\n')
    return path


def planned(capsys, *words: str) -> str:
    assert main([*words, "--dry-run"]) == 0
    return capsys.readouterr().out


def test_options_are_on_top(file, tmp_path, capsys):
    runs = str(tmp_path / "runs")
    plan = planned(capsys, "train", "--config", str(file), "--systems", "baseline", "--runs", runs)
    assert "baseline, seed 3: new" in plan
    assert planned(capsys, "train", "--config", str(file), "--seeds", "5", "--runs", runs).count("seed 5: new") == 1
    assert not (tmp_path / "runs").exists(), "a plan writes nothing"
    preset = ("--preset", "demo", "--epochs", "7", "--warm-up", "2", "--seed", "3")
    plans = [planned(capsys, "run", *words, "--runs", runs) for words in (["--config", str(file)], preset)]
    assert plans[0] == plans[1]
    assert "seed 3: new" in plans[0]


def test_a_batch_takes_them_too(file, tmp_path, capsys):
    plan = planned(capsys, "batch", "--systems", "ipr", "--seeds", "0", "--config", str(file), "--runs", str(tmp_path))
    assert "1 cell" in plan
    assert build("demo", {"epochs": 7, "warm_up": 2, "seed": 0}).digest() in plan


def test_a_notebook_takes_them(file):
    assert from_notebook({"preset": "recommended", "config": str(file), "epochs": None, "seed": 1}) == demo(
        epochs=7, warm_up=2, seed=1
    )


def test_the_settings_of_a_grid_are_read(tmp_path):
    (tmp_path / "grid.toml").write_text(
        'systems = ["all"]\npreset = "demo"\n[settings]\ngamma = 0.9\n[cross]\nmu = [0]\n'
    )
    assert read_file(tmp_path / "grid.toml") == ("demo", {"gamma": 0.9})


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("gamma = 0.9", "gamma does not belong there; it has preset and the table \\[settings\\]"),
        ("[settings]\ngama = 1", "gama is not a setting; did you mean gamma?"),
        ("[settings]\ngamma = 2", "gamma is 2; it must be a number between 0 and 1"),
        ("preset = 1", "preset is 1; it must be a text in quotes"),
        ('preset = "x"', "preset is 'x'; it must be one of"),
        ("settings = 1", "settings is 1; it has preset and the table"),
        ("[settings", "is not TOML"),
    ],
)
def test_a_fault_names_the_file(text, fault, tmp_path):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(SettingsError, match=f"mine.toml.*{fault}"):
        read_file(tmp_path / "mine.toml")


def test_a_missing_file(tmp_path, capsys):
    assert main(["run", "--config", str(tmp_path / "none.toml")]) == 2
    assert "none.toml cannot be read: No such file or directory" in capsys.readouterr().err


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("ipr ")
