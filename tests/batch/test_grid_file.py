"""Files of grids: what is no grid, in other encodings, too large, too deep or of another form, is a sentence."""

import os
import re
import tracemalloc
from time import monotonic

import pytest

from ipr_core import cli
from ipr_core.batch import grid, grid_file, plan
from ipr_core.config import SettingsError


@pytest.fixture
def faults(tmp_path):
    """Return a function: a grid's text or bytes → its faults."""

    def faults(content):
        (tmp_path / "mine.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(SettingsError) as caught:
            grid.read(tmp_path / "mine.toml")
        return caught.value.faults

    return faults


FORMS = {
    "true as a number": ("[settings]\nepochs = true", "epochs is True; it must be a whole number between 1 and"),
    "true among values": ("[cross]\ngamma = [true]", "gamma is True; it must be a number between 0 and 1."),
    "true as a seed": ("seeds = [1, true]", "seed is 'True'; it must be a whole number"),
    "a number as a switch": ("[settings]\nunit_norm = 1", "unit_norm is 1; it must be true or false."),
    "no values": ("[cross]\ngamma = []", "cross.gamma has no value; give one at least, or leave gamma out"),
    "no values alone": ("[one_at_a_time]\ntau = []", "one_at_a_time.tau has no value; give one at least"),
    "an empty table": ("[one_at_a_time]\nraw = [{}]", "one_at_a_time.raw has no value"),
    "no system": ("systems = []", "the grid has no cell: systems is empty; give one at least"),
    "seeds as a text": ('seeds = "0-4"', "mine.toml: seeds is '0-4'; it must be a list in brackets"),
    "a seed of parts": ("seeds = [1.5]", "seed is '1.5'; it must be a whole number"),
    "a large seed": (f"seeds = [{10**20}]", f"seed is {10**20}; it must be a whole number between 0 and 2**63 - 1"),
    "nested lists": ("[cross]\ngamma = [[0.9, 0.99]]", "gamma is [0.9, 0.99]; it must be a number between 0 and 1"),
    "a date": ("[settings]\nepochs = 2026-01-01", "epochs is datetime.date(2026, 1, 1); it must be a whole number"),
    "a time as seeds": ("seeds = [07:30:00]", "seed is '07:30:00'; it must be a whole number"),
    "not a number": ("[settings]\nlr = nan", "lr is nan; it must be a number above 0"),
    "infinite": ("[cross]\nmu = [inf]", "mu is inf; it must be a number between 0"),
    "a list for one": ("[settings]\ngamma = [0.9]", "gamma is [0.9]; it must be a number between 0 and 1"),
    "a table for one": ("[settings.gamma]\nvalue = 0.9", "gamma is {'value': 0.9}; it must be a number"),
    "tables in a list": ("[[cross]]\ngamma = [0.9]", "cross is [{'gamma': [0.9]}]; it must be a table"),
    "a setting outside": ("gamma = 0.9", "mine.toml: gamma is a setting; it belongs into the table [settings]"),
    "capitals": ("Seeds = [1]", "Seeds is not a key of a grid; did you mean seeds?"),
    "all capitals": ("[settings]\nGAMMA = 0.9", "GAMMA is not a setting; did you mean gamma?"),
    "no name": ('"" = 1', "'' is not a key of a grid; it has about, preset"),
    "an unknown setting": ("[cross]\nlearning_rate = [1e-3]", "learning_rate is not a setting"),
    "a preset of parts": ('[one_at_a_time]\npreset = [["paper"]]', "preset is ['paper']; it must be one of"),
    "a system that is none": ("systems = [3]", "system is 3; it must be one of"),
    "a notebook that is none": ("notebooks = [true]", "True is not a notebook; it must be one of"),
    "about": ("about = 3", "mine.toml: about is 3; it must be a text in quotes"),
    "twice in a table": ("[cross]\ngamma = [1]\n[one_at_a_time]\nraw = [{gamma = 1}]", "in one_at_a_time.raw; give"),
    "a key twice": ("seeds = [1]\nseeds = [2]", "a key or a table is given twice: give it once"),
    "a table twice": ("[cross]\n[cross]", "a key or a table is given twice: give it once"),
    "no quotes": ("preset = demo", "is not TOML: Invalid value (at line 1, column 10); texts stand in quotes"),
    "JSON": ('{"seeds": [1]}', "is not TOML: Invalid statement (at line 1, column 1)"),
    "thousands of digits": (f"seeds = [{'9' * 5000}]", "is not TOML: Exceeds the limit"),
    "deep lists": ("seeds = " + "[" * 900 + "]" * 900, "is nested too deeply"),
    "very deep lists": ("seeds = " + "[" * 100_000, "is nested too deeply"),
    "deep tables": (f"{'.'.join('a' * 3000)} = 1", "is nested too deeply"),
    "deep inline tables": ("cross = " + "{a=" * 500 + "1" + "}" * 500, "is nested too deeply"),
    "UTF-16": ("seeds = [1]".encode("utf-16"), "is written in UTF-16; save it as UTF-8"),
    "Latin-1": ("seeds = [1]\nabout = 'für Süßes'".encode("latin-1"), "line 2: it is not written in UTF-8"),
    "binary": (bytes(range(256)), "mine.toml"),
    "large": (b"#" * 2_000_000, "has more than 1,000,000 bytes; a grid is a short TOML file"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_what_is_no_grid_is_a_sentence(faults, name):
    content, sentence = FORMS[name]
    sentences = faults(content)
    assert any(sentence in fault for fault in sentences), sentences
    assert all("mine.toml" in fault for fault in sentences)
    assert all(len(fault) < 1500 for fault in sentences)


def test_all_faults_of_form_and_value_are_named_at_once(faults):
    text = "Seeds = [1]\ngamma = 1\nseeds = [true]\n[settings]\nepochs = true\n[cross]\ntau = []\nmu = [true]"
    message = "\n".join(faults(text))
    for sentence in ("Seeds is", "gamma is a set", "seed is 'True'", "epochs is True", "cross.tau has", "mu is True"):
        assert sentence in message


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b"# a comment\r\n", b""])
def test_a_mark_of_utf_8_and_other_line_ends_are_read(tmp_path, start):
    (tmp_path / "mine.toml").write_bytes(start + 'about = "für"\r\nseeds = [1, 2]\r\n'.encode())
    assert len(grid.read(tmp_path / "mine.toml").cells) == 2


def test_a_folder_a_pipe_or_an_impossible_name_is_no_grid(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for source in (tmp_path, tmp_path / "pipe", "x" * 5000, "a\0b", "", "/dev/null/x", "/dev/zero"):
        with pytest.raises(SettingsError, match="is no grid; it must be a TOML file, or one of ablations"):
            grid.read(source)


def test_a_grid_that_nobody_may_read_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "mine.toml").write_text("seeds = [1]")
    monkeypatch.setattr("builtins.open", lambda *args: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(SettingsError, match=r"mine.toml cannot be read: Permission denied"):
        grid.read(tmp_path / "mine.toml")


SMALL = ["--preset", "demo", "--synthetic-size", "64", "--test-size", "12"]

TOO_MANY = {
    "9,765,625": "seeds = [0, 1, 2, 3, 4]\n[cross]\n" + "".join(
        f"{name} = {[0.1 * i for i in range(1, 6)]}\n"
        for name in ("gamma", "mu", "alpha", "tau", "temperature", "dropout", "effect_chance", "beta_max", "lr")
    ),
    "100,000": f"seeds = {list(range(100_000))}",
    "100,001": f"[one_at_a_time]\ntau = {[i + 1 for i in range(100_000)]}",
    "12,117,361": "[cross]\n" + "".join(f"{name} = {[(i + 1) / 60 for i in range(59)]}\n" for name in (
        "gamma", "mu", "alpha", "tau")),
    "10,001": f"beside = ['baseline']\nseeds = {list(range(73))}\n[cross]\ngamma = {[i / 137 for i in range(136)]}",
}  # fmt: skip


@pytest.mark.parametrize("count", TOO_MANY)
def test_too_many_cells_are_counted_and_not_made(faults, count):
    tracemalloc.start()
    begin = monotonic()
    sentence = f"the grid has {count} cells; it must have 10,000 at most: vary less, or make several"
    assert any(sentence in fault for fault in faults(TOO_MANY[count]))
    assert monotonic() - begin < 20
    assert tracemalloc.get_traced_memory()[1] < 200_000_000
    tracemalloc.stop()


def test_too_many_cells_hide_no_fault_of_all(faults):
    text = f"sytems = [1]\nseeds = {list(range(20_000))}\n[settings]\nepochs = true"
    assert [re.split(" is | has ", fault)[0].rpartition(" ")[2] for fault in faults(text)] == [
        "sytems",
        "grid",
        "epochs",
    ]


LONG_KEYS = {
    "plain": "a." * 300_000 + "a = 1",
    "with spaces": "[" + "a . " * 200_000 + "a]",
    "quoted": '\'a\'."b\\"c".' * 60_000 + "a = 1",
}


@pytest.mark.parametrize("name", LONG_KEYS)
def test_a_key_of_many_names_takes_no_memory(faults, name):
    tracemalloc.start()
    assert "is nested too deeply" in faults(LONG_KEYS[name])[0]
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("text", ["1.2.3.4.5.6.7.8.9", "a. b. c. d. e.", "192.168.0.1 " * 50])
def test_a_text_with_points_is_no_long_key(tmp_path, text):
    (tmp_path / "mine.toml").write_text(f'about = "{text}"\nseeds = {[0.0 + i for i in range(3)]}')
    assert grid_file.read(tmp_path / "mine.toml")[0]["about"] == text


@pytest.mark.parametrize("fault", ["[cross]\ngamma = [7]", "notebooks = ['99']", "Seeds = [1]", "seeds = [", "a." * 99])
def test_a_faulty_grid_makes_no_sound_and_has_no_fault_of_another(tmp_path, monkeypatch, fault):
    monkeypatch.setenv("IPR_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mine.toml").write_text(f"preset = 'demo'\n{fault}")
    with pytest.raises(SettingsError) as caught:
        plan.make_plan(tmp_path / "mine.toml", runs=tmp_path / "runs", progress=False)
    assert [str(tmp_path / "mine.toml") in line for line in caught.value.faults] == [True]
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("setting", ["encoder = 'no/such'", "layers = [99]"])
def test_a_grid_without_its_encoder_makes_no_sound(tmp_path, monkeypatch, setting):
    monkeypatch.setenv("IPR_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mine.toml").write_text(f"preset = 'demo'\n[settings]\n{setting}")
    with pytest.raises(SettingsError, match=rf"mine\.toml: {setting.split()[0]} .*(is not a local folder|names 99)"):
        plan.make_plan(tmp_path / "mine.toml", progress=False)
    assert not (tmp_path / "cache").exists()


def test_nothing_is_begun_where_a_grid_has_a_fault(tmp_path, capsys):
    (tmp_path / "mine.toml").write_text("[cross]\ngamma = [0.9, true]")
    assert cli.main(["batch", str(tmp_path / "mine.toml"), *SMALL, "--runs", str(tmp_path / "runs")]) == 2
    assert "gamma is True; it must be a number between 0 and 1." in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
