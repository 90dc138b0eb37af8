"""The notebooks: thin, clean and parameterised; they run alone and in order, and refuse wrong settings at once."""

import re
import subprocess
import sys

import nbformat
import papermill
import pytest

from helpers.shipped_notebooks import FOLDER, assert_thin, code, read
from ipr_core.config import SettingsError, build
from ipr_core.runs.run import Run

NOTEBOOKS = ("01_warm_up", "02_refinement", "03_analysis")
SMALL = dict(epochs=3, warm_up=1, synthetic_size=80, test_size=16, map_size=40, batch_size=8)
PLOTLY = "application/vnd.plotly.v1+json"
MEGABYTE = 2**20


def titles(notebook):
    """Of the figures that an executed notebook holds."""
    outputs = [output.data for cell in code(notebook) for output in cell.outputs if "data" in output]
    return [data[PLOTLY]["layout"]["title"]["text"] for data in outputs if PLOTLY in data]


def run_cells(notebook, **settings):
    """What the cells leave behind, run in this process with these parameters after the parameters cell."""
    namespace = {}
    for cell in code(notebook):
        exec(cell.source, namespace)
        if "parameters" in cell.metadata.get("tags", []):
            namespace.update(settings)
    return namespace


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Where runs and cached sounds of these tests lie, for kernels too."""
    place = tmp_path_factory.mktemp("notebooks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPR_RUNS", str(place / "runs"))
        patch.setenv("IPR_CACHE", str(place / "cache"))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield place


@pytest.fixture(scope="module")
def executed(folders):
    """The three notebooks, executed by papermill in order, each with one more cell at its end."""
    again = "assert from_notebook(globals()) == config, 'no name of the notebook may pass for a setting'"
    done = {}
    for name in NOTEBOOKS:
        notebook = read(name)
        notebook.cells.append(nbformat.v4.new_code_cell(again))
        nbformat.write(notebook, folders / f"{name}.ipynb")
        out = folders / f"{name}-out.ipynb"
        papermill.execute_notebook(folders / f"{name}.ipynb", out, SMALL, kernel_name="python3", progress_bar=False)
        done[name] = nbformat.read(out, as_version=4)
    return done


# How they are written


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_thin_and_teaches(name):
    assert_thin(read(name), parameters_too=False)  # of which these have many


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_imports_come_first_then_parameters_then_the_check(name):
    imports, parameters, check = code(read(name))[:3]
    assert all(re.match("import |from |$", line) for line in imports.source.splitlines())
    assert parameters.metadata["tags"] == ["parameters"]
    assert check.source == "config = from_notebook(globals())"


def test_all_notebooks_have_the_same_parameters():
    """Else the same parameters would not lead to the same run; the third alone may have other runs beside it."""
    cells = {name: code(read(name))[1].source.splitlines() for name in NOTEBOOKS}
    assert cells["03_analysis"].pop().startswith("compare = None")
    assert len(set(map(tuple, cells.values()))) == 1


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_nothing_is_saved_but_outputs_that_nbval_checks(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in code(notebook):
        checked = "NBVAL_CHECK_OUTPUT" in cell.source
        assert bool(cell.outputs) == checked == (cell.execution_count is not None)  # nbval asks for the number too
        assert set(cell.metadata) <= {"tags"}


@pytest.mark.parametrize(("name", "equations"), [("01_warm_up", (1, 2)), ("02_refinement", (3, 4, 5, 6, 7))])
def test_the_equations_are_taught(name, equations):
    prose = "".join(cell.source for cell in read(name).cells if cell.cell_type == "markdown")
    assert [int(number) for number in re.findall(r"\\tag\{(\d)\}", prose)] == list(equations)


# What they refuse

WRONG = [
    ({"gamma": "abc"}, "gamma is 'abc'; it is a number between 0 and 1"),
    ({"gamma": 1.5}, "gamma is 1.5; it is a number between 0 and 1"),
    ({"gama": 0.9}, "gama is not a setting; did you mean gamma?"),
    ({"preset": "big"}, "preset is 'big'; it is one of recommended, paper, demo"),
]


@pytest.mark.parametrize(("settings", "sentence"), WRONG)
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_wrong_setting_stops_the_third_cell(name, settings, sentence):
    notebook = read(name)
    notebook.cells = code(notebook)[:3]
    with pytest.raises(SettingsError, match=re.escape(sentence)):
        run_cells(notebook, **settings)


def test_papermill_passes_the_sentence_on(folders):
    out = folders / "refused.ipynb"
    command = [sys.executable, "-m", "papermill", FOLDER / "02_refinement.ipynb", out, "-p", "gamma", "1.5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert "SettingsError: gamma is 1.5; it is a number between 0 and 1" in done.stderr
    ran = [cell for cell in code(nbformat.read(out, as_version=4)) if cell.execution_count]
    assert len(ran) <= 5  # the first three, the injected parameters, and papermill's own


# What they do


def test_in_order_they_train_one_run_to_its_end(executed, folders):
    (folder,) = (folders / "runs").iterdir()
    run = Run.open(folder)
    assert run.config == build("demo", SMALL)
    assert run.finished


def test_the_first_shows_the_partition_and_the_warm_up(executed):
    assert titles(executed["01_warm_up"]) == [
        "The partition, per class",
        "The partition, per speaker",
        "Loss terms, mean over the steps of an epoch",
        "Recognition on D3, the most ambiguous utterances",
        "Cosines of prototypes, epoch 0",
        "Cosine between prototypes over the epochs",
    ]


def test_the_second_shows_figures_2_and_3_and_what_the_refinement_did(executed):
    assert titles(executed["02_refinement"]) == [
        "Weight of the loss on the ambiguous utterances (Eq. 7)",
        "Loss terms, mean over the steps of an epoch",
        "Utterances that pass the gate of Eq. 4",
        "Pseudo-labels of D2 per class",
        "Cosines of prototypes, epoch 2",
        "Cosine between prototypes over the epochs",
        "Pseudo-labels of D2 that agree with the truth",
        "Recognition on D3, the most ambiguous utterances",
    ]


def test_the_third_shows_confusion_planes_and_soft_labels(executed):
    found = titles(executed["03_analysis"])
    assert found[:3] == [
        "Confusion on D3",
        "Utterances and prototypes on one UMAP plane",
        "Soft labels against the annotators' votes",
    ]
    assert found[3].startswith("Entropy of soft labels and of votes: rank correlation")
    assert found[4:] == ["Entropy of the soft labels"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_an_executed_notebook_is_light_and_warns_of_nothing(executed, name):
    assert len(nbformat.writes(executed[name])) < 2 * MEGABYTE
    errors = [o.text for cell in code(executed[name]) for o in cell.outputs if o.get("name") == "stderr"]
    assert "warn" not in "".join(errors).lower()


@pytest.mark.parametrize("name", ["01_warm_up", "03_analysis"])
def test_utterances_can_be_heard(executed, name):
    pages = [o.data.get("text/html", "") for cell in code(executed[name]) for o in cell.outputs if "data" in o]
    assert "".join(pages).count("<audio controls") > 0


@pytest.mark.parametrize(
    "settings",
    [{"system": "baseline", "warm_up": 0, "map_size": 0}, {"warm_up": 3, "annotators": "simulated"}],
    ids=str,
)
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_alone_also_where_some_figure_has_nothing_to_show(folders, tmp_path, name, settings, capsys):
    namespace = run_cells(read(name), **SMALL | settings, runs=str(tmp_path))
    assert namespace["run"].epochs == (namespace["config"].training.warm_up if name == "01_warm_up" else 3)
    assert ("SIMULATED" in capsys.readouterr().out) == ("annotators" in settings)


def test_the_third_shows_other_runs_beside_its_own(folders, tmp_path, monkeypatch):
    shown, small = [], SMALL | {"map_size": 0}  # no plane: it takes longest
    monkeypatch.setattr("IPython.display.display", lambda *what: shown.extend(what))
    baseline = run_cells(read("03_analysis"), **small, system="baseline", runs=str(tmp_path))["run"]
    assert any("ipr run --beside" in getattr(what, "data", "") for what in shown)
    shown.clear()
    namespace = run_cells(read("03_analysis"), **small, runs=str(tmp_path), compare=[str(baseline.folder)])
    assert list(namespace["beside"]) == ["IPR", "baseline"]
    assert [what.layout.title.text for what in shown if hasattr(what, "layout")] == [
        "Recognition on D3, run beside run",
        "Pseudo-labels of D2 that agree with the truth, run beside run",
        "Utterances of D3 that two runs get right",
        "Cosine between prototypes, final epoch",
        "Confusion on D3, final epoch",
    ]
