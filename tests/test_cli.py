"""The command line, and notebooks run headless: requests, results and exit codes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import nbformat.v4 as nb
import numpy as np
import pandas as pd
import pytest
import soundfile

from ipr_core import cli, doctor, options
from ipr_core.batch import notebooks
from ipr_core.cli import arguments
from ipr_core.config import FIELDS, Config, SettingsError, build, demo
from ipr_core.runs import names
from ipr_core.training.advance import encoder_faults

COMMANDS = (
    "corpora", "config", "partition", "run", "train", "batch", "tune", "resume", "annotate", "export", "figures",
    "table", "bench", "doctor", "notebooks", "lab",
)  # fmt: skip
TINY = ["--preset", "demo", "--synthetic-size", "80", "--epochs", "2", "--warm-up", "1", "--test-size", "16"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder for everything that these tests write: the cache and the runs."""
    folder = tmp_path_factory.mktemp("cli")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPR_CACHE", str(folder / "cache"))
        patch.setenv("IPR_RUNS", str(folder / "runs"))
        yield folder


@pytest.fixture(scope="module")
def trained(home):
    """Two trained runs, IPR first."""
    assert cli.main(["train", *TINY, "--systems", "ipr", "baseline", "--runs", str(home / "trained")]) == 0
    return sorted((home / "trained").iterdir(), key=lambda folder: "ipr" not in folder.name)


def parsed(*argv):
    return arguments.config_of(arguments.with_file_(options.parse(argv, {"train": cli._train})))


def notebook(path, *cells, parameters="seed = None"):
    first = nb.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    document = nb.new_notebook(cells=[first, *map(nb.new_code_cell, cells)], metadata={"kernelspec": kernel})
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(document, path)
    return path


def printed(path):
    cells = nbformat.read(path, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream")


# Help and options.


def test_help_loads_nothing_heavy():
    code = (
        "import sys, ipr_core.cli as cli\n"
        "status = cli.main(['run', '--help'])\n"
        "heavy = {'torch', 'torchaudio', 'transformers', 'pandas', 'numpy', 'sklearn', 'papermill', 'nbconvert'}\n"
        "sys.exit(f'{status} {sorted(heavy & set(sys.modules))}')"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.stderr.strip() == "0 []"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    assert cli.main([command, "--help"]) == 0
    assert f"usage: ipr {command}" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["partition", "run", "train", "batch"])
def test_every_setting_is_an_option(command, capsys):
    cli.main([command, "--help"])
    text = capsys.readouterr().out
    assert [name for name in FIELDS if f"--{name.replace('_', '-')}" not in text] == []


def test_options_become_settings():
    config = parsed("train", "--preset", "demo", "--gamma", "0.9", "--classes", "angry,sad", "--test-size", "none",
                    "--no-merge-excited", "--speaker-disjoint", "--volume-db", "-6,6", "--layers", "-1")  # fmt: skip
    assert config == build(
        "demo", {"gamma": 0.9, "classes": ("angry", "sad"), "test_size": "none", "merge_excited": False,
                 "speaker_disjoint": True, "volume_db": (-6, 6), "layers": (-1,)}
    )  # fmt: skip
    assert config.partition.test_size is None


def test_every_wrong_setting_is_named_at_once(capsys):
    assert cli.main(["train", "--gamma", "1.5", "--gama", "1", "--epochs", "few", "--preset", "demo"]) == 2
    text = capsys.readouterr().err
    assert "gama is not a setting; did you mean gamma?" in text
    assert "gamma is '1.5'; it must be a number between 0 and 1" in text
    assert "epochs is 'few'; it must be a whole number" in text


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["trian"],
        ["train", "surplus"],
        ["resume"],
        ["table", "x", "--gamma", "0.9"],
        ["train", "--preset", "papre"],
        ["train", "--systems", "ipr", "iprr"],
        ["train", "--seeds", "one"],
        ["run", "--beside", "nobody"],
        ["partition", "--out", "parts.txt"],
    ],
)
def test_a_wrong_request_is_refused(argv, capsys):
    assert cli.main(argv) == 2
    assert capsys.readouterr().err != ""


def test_an_interruption_says_how_to_go_on(monkeypatch, capsys):
    def stop(args):
        """Stopped from the keyboard."""
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, "corpora", stop)
    assert cli.main(["corpora"]) == 130
    assert "ipr resume RUN" in capsys.readouterr().err


def test_a_bug_is_not_hidden(monkeypatch, tmp_path, capsys):
    def fail(args):
        """With a bug."""
        raise ZeroDivisionError

    monkeypatch.setitem(cli.COMMANDS, "corpora", fail)
    monkeypatch.setenv("IPR_CACHE", str(tmp_path))
    assert cli.main(["corpora"]) == 70
    assert "this is a fault of the workbench: ZeroDivisionError" in capsys.readouterr().err
    assert "in fail" in next(tmp_path.glob("ipr-fault-*.txt")).read_text("utf-8")


# Corpora.


def test_corpora_lists_every_reader(capsys):
    assert cli.main(["corpora"]) == 0
    text = capsys.readouterr().out
    for corpus in ("synthetic", "iemocap", "cremad", "emodb", "ravdess", "manifest"):
        assert f"\n{corpus} " in f"\n{text}"


def test_partition_counts_and_keeps_the_table(home, tmp_path, capsys):
    path = tmp_path / "parts.parquet"
    assert cli.main(["partition", *TINY, "--out", str(path)]) == 0
    table, text = pd.read_parquet(path), capsys.readouterr().out
    assert (table["part"] == "D3").sum() == 16
    parts = {"D1": ("D1", "V1"), "D2": ("D2", "V2"), "D3": ("D3",)}
    counts = [str(table["part"].isin(names).sum()) for names in parts.values()]
    totals = [line.split() for line in text.splitlines() if line.startswith("all")]
    assert totals == [["all", *counts, str(len(table))]] * 2
    held_out = (table["part"].value_counts()[part] for part in ("V1", "V2"))
    assert "Held out for validation: {} of D1 (V1), {} of D2 (V2)".format(*held_out) in text


def test_partition_lists_all_faults_and_writes_nothing(home, tmp_path, capsys):
    soundfile.write(tmp_path / "good.wav", np.sin(np.arange(16_000) / 20), 16_000)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16_000)
    rows = [("good.wav", "angry", 3), ("empty.wav", "sad", 3), ("gone.wav", "sad", 3), ("good.wav", "angry", -1)]
    manifest = pd.DataFrame(rows, columns=["path", "label", "votes_angry"]).assign(id=["a", "b", "c", "a"])
    manifest.to_csv(tmp_path / "manifest.csv", index=False)
    path = tmp_path / "parts.csv"
    argv = ["partition", "--corpus", "manifest", "--corpus-path", str(tmp_path / "manifest.csv"), "--out", str(path)]
    assert cli.main(argv) == 2
    text = capsys.readouterr().err
    for fault in ("row 3: ", "gone.wav", "occurs twice", "'-1'", "row 5: "):
        assert fault in text
    assert "Traceback" not in text
    assert not path.exists()


# Runs.


def test_train_makes_a_finished_run_a_system(trained):
    assert [("ipr" in folder.name, (folder / "labels.csv").exists()) for folder in trained] == [
        (True, True),
        (False, True),
    ]


def test_table_finds_the_runs_in_a_folder(trained, capsys):
    assert cli.main(["table", str(trained[0].parent)]) == 0
    whole = capsys.readouterr().out
    assert cli.main(["table", *map(str, trained)]) == 0
    assert capsys.readouterr().out == whole
    assert "| baseline" in whole
    assert "| IPR" in whole


@pytest.mark.parametrize("command", [["table"], ["resume"]])
def test_a_folder_without_a_run_is_refused(command, tmp_path, capsys):
    assert cli.main([*command, str(tmp_path)]) == 2
    assert "is not a run folder" in capsys.readouterr().err


def test_resume_ends_a_run_as_if_it_had_not_been_stopped(trained, tmp_path, capsys):
    stopped = tmp_path / "stopped"
    shutil.copytree(trained[0], stopped)
    events = (stopped / "events.jsonl").read_text().splitlines()
    (stopped / "events.jsonl").write_text(events[0] + "\n")
    shutil.copy(stopped / "warm_up.safetensors", stopped / "checkpoint.safetensors")
    (stopped / "labels.csv").unlink()
    assert cli.main(["export", str(stopped), str(tmp_path / "model")]) == 2
    assert "ipr resume" in capsys.readouterr().err
    assert cli.main(["resume", str(stopped)]) == 0
    assert (stopped / "labels.csv").read_bytes() == (trained[0] / "labels.csv").read_bytes()
    again = (stopped / "events.jsonl").read_text().splitlines()
    assert [json.loads(line) | {"clock": 0} for line in again] == [json.loads(line) | {"clock": 0} for line in events]


def test_export_is_reloaded_with_one_call(trained, tmp_path):
    from ipr_core.training.model import Recogniser

    assert cli.main(["export", str(trained[0]), str(tmp_path / "model")]) == 0
    assert "Soft labels are calibrated" in (tmp_path / "model" / "README.md").read_text("utf-8")
    exported, original = Recogniser.load(tmp_path / "model"), Recogniser.load(trained[0] / "model")
    wave = np.sin(np.arange(16_000) / 20).astype(np.float32)
    assert exported.predict([wave]).equal(original.predict([wave]))


def test_annotate_labels_a_folder_of_audio(trained, tmp_path, capsys):
    for name in ("one/a.wav", "two/b.flac"):
        (tmp_path / "audio" / name).parent.mkdir(parents=True)
        soundfile.write(tmp_path / "audio" / name, np.sin(np.arange(16_000) / 20), 16_000)
    argv = ["annotate", str(trained[0]), str(tmp_path / "audio"), "--out", str(tmp_path / "labels")]
    assert cli.main(argv) == 0
    paths = [Path(line) for line in capsys.readouterr().out.split("\n") if line]
    assert sorted(path.suffix for path in paths) == [".csv", ".parquet"]
    table = pd.read_csv(next(path for path in paths if path.suffix == ".csv"))
    soft = table[[name for name in table if name.startswith("soft_")]]
    assert len(table) == 2
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(soft.iloc[0], soft.iloc[1], atol=1e-3)  # the same tone, by way of two formats
    soundfile.write(tmp_path / "audio" / "long.wav", np.sin(np.arange(320_000) / 20), 16_000)
    assert cli.main([*argv, "--segment", "none"]) == 0
    assert "Only the middle of 1 recording was heard" in capsys.readouterr().out


def test_run_leaves_notebooks_report_and_labels(home, monkeypatch, capsys):
    train = (
        "from ipr_core.config import from_notebook\nfrom ipr_core.training.advance import advance, prepare\n"
        "run, data = prepare(from_notebook(globals()), runs)\nadvance(run, data)\nprint(gamma, test_size)"
    )
    paths = [
        notebook(home / "notebooks" / f"{name}.ipynb", code, parameters="preset = 'demo'\nruns = None")
        for name, code in {"01_warm_up": train, "03_analysis": "print('the end')"}.items()
    ]
    paths.append(notebook(home / "notebooks" / "04_beside.ipynb", "print(compare)", parameters="compare = None"))
    monkeypatch.setattr(notebooks, "main_job", lambda: paths)
    argv = ["run", *TINY, "--test-size", "none", "--gamma", "0.9", "--beside", "baseline", "--runs", str(home / "all")]
    assert cli.main(argv) == 0
    text = capsys.readouterr().out
    run = next((home / "all").glob("*-ipr-*"))
    assert printed(run / "notebooks" / "01_warm_up.ipynb").endswith("0.9 none\n")
    assert f"report  {run / 'report.html'}" in text
    assert "the end" in (run / "report.html").read_text("utf-8")
    assert "<td>baseline</td>" in (run / "report.html").read_text("utf-8")
    assert (run / "labels.csv").exists()
    rival = next((home / "all").glob("*-baseline-*"))
    assert printed(run / "notebooks" / "04_beside.ipynb") == f"{[str(rival)]}\n"  # the only one with such a parameter
    assert len(list((home / "all").iterdir())) == 2  # notebooks and command line mean the same run


def test_figures_of_an_unfinished_run_are_refused(trained, tmp_path, capsys):
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    for name in ("config.json", "corpus.parquet"):
        shutil.copy(trained[0] / name, stopped / name)
    assert cli.main(["figures", str(stopped), str(tmp_path / "figures")]) == 2
    assert "not trained to the end; `ipr resume RUN` continues" in capsys.readouterr().err
    assert not (tmp_path / "figures").exists()


def test_figures_come_from_another_python(trained, tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(subprocess, "call", lambda command: commands.append(command) or 0)
    assert cli.main(["figures", str(trained[0]), str(tmp_path), "--format", "svg", "--beside", str(trained[0])]) == 0
    words = [str(trained[0]), str(tmp_path), "svg", str(trained[0])]
    assert commands == [[sys.executable, "-m", "ipr_widgets.paper", *words]]


def test_run_tells_what_stopped_a_notebook(trained, home, monkeypatch, capsys):
    path = notebook(home / "broken" / "01_warm_up.ipynb", "raise ValueError('the sentence')")
    monkeypatch.setattr(notebooks, "main_job", lambda: [path])
    assert cli.main(["run", *TINY, "--runs", str(trained[0].parent)]) == 1
    text = capsys.readouterr().err
    assert "01_warm_up.ipynb stopped: the sentence" in text
    assert "the sentence" in (trained[0] / "notebooks" / "01_warm_up.ipynb").read_text("utf-8")


def test_every_systems_own_encoder_is_asked_for_before_the_corpus_is_read(home, tmp_path, capsys):
    runs = ["--runs", str(tmp_path / "runs")]
    nowhere = ["--image-weights", str(tmp_path / "weights")]
    assert cli.main(["train", *TINY, "--systems", "baseline", "deep_spectrum", *nowhere, *runs]) == 2
    assert "image_weights names the folder" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
    absent = ["--encoder", str(tmp_path / "none")]
    assert cli.main(["train", *TINY, "--systems", "capsules", "ipr", *absent, *runs]) == 2
    assert encoder_faults([demo(system="capsules", encoder=str(tmp_path / "none"))], tmp_path) == []


def test_run_needs_an_encoder_that_can_be_had(home, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(notebooks, "main_job", list)
    assert cli.main(["run", *TINY, "--encoder", str(tmp_path / "none"), "--runs", str(tmp_path / "runs")]) == 2
    assert "is not a local folder" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


# Notebooks.


def test_a_parameter_that_nobody_knows_is_refused_before_anything_runs(tmp_path):
    path = notebook(tmp_path / "a.ipynb", parameters="bins = 10")
    notebooks.check(path, {"bins": 20, "gamma": 0.9, "preset": "demo", "runs": None})
    with pytest.raises(SettingsError, match=r"gama is not a parameter of a\.ipynb"):
        notebooks.execute(path, tmp_path / "out.ipynb", {"gama": 0.9})
    assert not (tmp_path / "out.ipynb").exists()


def test_a_notebook_runs_in_this_python(tmp_path, monkeypatch):
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text('{"argv": ["false"], "display_name": "other", "language": "python"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    path = notebook(tmp_path / "a.ipynb", "import sys\nprint(sys.executable, seed)")
    copy = notebooks.execute(path, tmp_path / "out.ipynb", {"seed": 7})
    assert printed(copy) == f"{sys.executable} 7\n"


def test_a_package_without_its_notebooks_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(notebooks, "_BESIDE", tmp_path / "site-packages")
    with pytest.raises(notebooks.NotebookError, match="01_warm_up, 02_refinement, 03_analysis; install the workbench"):
        notebooks.folder()


def test_runs_that_exist_need_no_corpus(tmp_path, monkeypatch):
    checked: list[Config] = []
    monkeypatch.setattr("ipr_core.data.table_checks.check_table", checked.append)
    args = arguments.Args(runs=tmp_path)
    old, new = demo(seed=1), demo(seed=2)
    (tmp_path / names.name(old)).mkdir()
    (tmp_path / names.name(old) / "config.json").touch()
    arguments.check_new(args, [old])
    assert checked == []
    arguments.check_new(args, [old, new])
    assert checked == [new]


# Doctor.


def test_doctor_says_what_is_there(home, monkeypatch, capsys):
    monkeypatch.setattr(notebooks, "main_job", lambda: [home / "notebooks" / "01_warm_up.ipynb"])
    assert cli.main(["doctor", "--runs", str(home / "not yet")]) == 0
    text = capsys.readouterr().out
    lines = [line for line in text.splitlines() if line.startswith("ok")]
    for name in (
        "python",
        "torch",
        "torchaudio",
        "transformers",
        "GPU",
        "memory",
        "runs",
        "cache",
        "encoders",
        "notebooks",
    ):
        assert any(name in line for line in lines), name


def test_doctor_has_a_cure_and_fails(home, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_LEAST_DISK", 1e9)
    assert cli.main(["doctor"]) == 1
    assert "make room" in capsys.readouterr().out
