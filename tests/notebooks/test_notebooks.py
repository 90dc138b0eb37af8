"""The notebooks: thin, clean and parameterised; they run alone and in order, and refuse wrong settings at once."""

import ast
import re
import subprocess
import sys

import nbformat
import numpy as np
import papermill
import pytest
import torch

from helpers.shipped_notebooks import FOLDER, assert_thin, code, read
from ipr_core.config import SettingsError, build
from ipr_core.runs.run import Run
from ipr_core.training.augment import second_view, view_key
from ipr_core.training.first_step import first_step
from ipr_core.training.model import build_model

NOTEBOOKS = ("01_warm_up", "02_refinement", "03_analysis")
SMALL = dict(epochs=3, warm_up=1, synthetic_size=80, test_size=16, map_size=40, batch_size=8)
PLOTLY = "application/vnd.plotly.v1+json"
MEGABYTE = 2**20
CELLS = {"02_refinement": 19, "03_analysis": 16}  # an equation each, and a run that follows
EQUATIONS = {
    "01_warm_up": {2: {"class_means"}},
    "02_refinement": {
        3: {"similarity", "soft_labels", "pseudo_labels"},
        4: {"one_class", "movement", "update_prototypes"},
        5: {"same_utterance", "all_others", "contrastive_loss"},
        6: {"cross_entropy", "total_loss"},
        7: {"beta"},
    },
}
"""Notebook → the equation's number → the functions of `equations` that compute it."""


def titles(notebook):
    """Return the titles of the figures that an executed notebook holds."""
    outputs = [output.data for cell in code(notebook) for output in cell.outputs if "data" in output]
    return [data[PLOTLY]["layout"]["title"]["text"] for data in outputs if PLOTLY in data]


def calls(source):
    """Return the functions of `equations` that a cell calls."""
    nodes = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    names = [node for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)]
    return {node.attr for node in names if node.value.id == "eq"}


def printed(notebook):
    """Return the text that an executed notebook shows, tables included."""
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    return "\n".join(o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in outputs)


def numbers(pattern, text):
    """Return the numbers that the pattern's groups find in a text."""
    return [float(group) for group in re.search(pattern, text).groups()]


def run_cells(notebook, **settings):
    """Run the cells in this process, with these parameters after the parameters cell, and return their names."""
    namespace = {}
    for cell in code(notebook):
        exec(cell.source, namespace)
        if "parameters" in cell.metadata.get("tags", []):
            namespace.update(settings)
    return namespace


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return the folder of the runs and cached sounds of these tests, for kernels too."""
    root = tmp_path_factory.mktemp("notebooks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPR_RUNS", str(root / "runs"))
        patch.setenv("IPR_CACHE", str(root / "cache"))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield root


@pytest.fixture(scope="module")
def executed(folders):
    """Execute the three notebooks by papermill in order, each with one more cell at its end."""
    check = "assert from_notebook(globals()) == setup, 'no name of the notebook may pass for a setting'"
    notebooks = {}
    for name in NOTEBOOKS:
        notebook = read(name)
        notebook.cells.append(nbformat.v4.new_code_cell(check))
        nbformat.write(notebook, folders / f"{name}.ipynb")
        path = folders / f"{name}-out.ipynb"
        papermill.execute_notebook(folders / f"{name}.ipynb", path, SMALL, kernel_name="python3", progress_bar=False)
        notebooks[name] = nbformat.read(path, as_version=4)
    return notebooks


@pytest.fixture(scope="module")
def trained(executed, folders):
    """Return the run of the executed notebooks and its data."""
    (folder,) = (folders / "runs").iterdir()
    run = Run.open(folder)
    return run, run.dataset(folders / "cache", progress=False)


# How they are written


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_thin_and_teaches(name):
    assert_thin(read(name), parameters_too=False, cells=CELLS.get(name, 15))  # parameters are many here


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_imports_come_first_then_parameters_then_the_check(name):
    imports, parameters, check = code(read(name))[:3]
    assert all(re.match("import |from |$", line) for line in imports.source.splitlines())
    assert parameters.metadata["tags"] == ["parameters"]
    assert check.source == "setup = from_notebook(globals())"


def test_all_notebooks_have_the_same_parameters():
    """Otherwise the same parameters would not lead to the same run. The third alone compares with other runs."""
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


@pytest.mark.parametrize(("name", "tags"), [("01_warm_up", [1, 2]), ("02_refinement", [3, 4, 5, 6, 7])])
def test_the_equations_are_written_and_computed(name, tags):
    notebook = read(name)
    prose = "".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert [int(number) for number in re.findall(r"\\tag\{(\d)\}", prose)] == tags
    functions = set().union(*(calls(cell.source) for cell in code(notebook)))
    assert set().union(*EQUATIONS[name].values()) <= functions


def test_each_result_of_the_step_stands_below_its_formula():
    cells = read("02_refinement").cells
    for number, functions in EQUATIONS["02_refinement"].items():
        prose = [cells[i - 1].source for i, cell in enumerate(cells) if cell.cell_type == "code"
                 and functions <= calls(cell.source)]  # fmt: skip
        assert [f"\\tag{{{number}}}" in source for source in prose] == [True]


# What they refuse

WRONG = [
    ({"gamma": "abc"}, "gamma is 'abc'; it must be a number between 0 and 1"),
    ({"gamma": 1.5}, "gamma is 1.5; it must be a number between 0 and 1"),
    ({"gama": 0.9}, "gama is not a setting; did you mean gamma?"),
    ({"preset": "big"}, "preset is 'big'; it must be one of recommended, paper, demo"),
]


@pytest.mark.parametrize(("settings", "sentence"), WRONG)
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_wrong_setting_stops_the_third_cell(name, settings, sentence):
    notebook = read(name)
    notebook.cells = code(notebook)[:3]
    with pytest.raises(SettingsError, match=re.escape(sentence)):
        run_cells(notebook, **settings)


def test_papermill_passes_the_sentence_on(folders):
    path = folders / "refused.ipynb"
    command = [sys.executable, "-m", "papermill", FOLDER / "02_refinement.ipynb", path, "-p", "gamma", "1.5"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert process.returncode != 0
    assert process.stderr.strip().splitlines()[-1].startswith("gamma is 1.5; it must be a number between 0 and 1")
    executed_cells = [cell for cell in code(nbformat.read(path, as_version=4)) if cell.execution_count]
    assert len(executed_cells) <= 5  # the first three, the injected parameters, and papermill's own


# What they do


def test_in_order_they_train_one_run_to_its_end(trained):
    run, _ = trained
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


def test_the_first_computes_the_prototypes_that_the_run_keeps(executed, trained):
    run, data = trained
    q, y = run.load_state("warm_up")["embeddings"].numpy()[data.rows("D1")], data.labels[data.rows("D1")]
    unit = q / np.linalg.norm(q, axis=1, keepdims=True)
    for c, name in enumerate(data.classes):
        length = np.linalg.norm(sum(unit[y == c]) / np.count_nonzero(y == c))
        pattern = rf"{name}: length of the mean (\S+), cosine to the prototype kept (\S+)"
        assert numbers(pattern, printed(executed["01_warm_up"])) == pytest.approx([length, 1], abs=1e-4)


def test_the_second_passes_the_least_certain_utterance_through_equations_3_and_4(executed, trained):
    run, data = trained
    text, method, state = printed(executed["02_refinement"]), run.config.method, run.load_state("warm_up")
    row = min(data.rows("D2"), key=lambda row: state["soft"][row].max())
    assert f"utterance {data.table['id'].iloc[row]}, with" in text
    k = state["embeddings"][row].numpy()
    k, p = k / np.linalg.norm(k), state["prototypes"].numpy()
    shares = np.exp(p @ k / method.temperature)
    soft = shares / shares.sum()
    z = int(soft.argmax())
    assert f"pseudo-label z: {data.classes[z]}\n" in text
    for c, name in enumerate(data.classes):
        assert numbers(rf"(?m)^{name} +(\S+) +(\S+)$", text) == pytest.approx([p[c] @ k, soft[c]], abs=2e-4)
        weight = soft[c] if c == z and "gate: open" in text else 0
        p_new = method.gamma * p[c] + (1 - method.gamma) * weight * k
        p_new = p_new / np.linalg.norm(p_new) if weight else p[c]
        row_of_table = numbers(rf"(?m)^{name} +(\S+) +(\S+) +(\S+)$", text)
        assert row_of_table == pytest.approx([weight, np.linalg.norm(p_new - p[c]), p_new @ k], abs=2e-4)


def test_the_second_computes_the_loss_of_that_step(executed, trained):
    run, data = trained
    text, config, state = printed(executed["02_refinement"]), run.config, run.load_state("warm_up")
    step = first_step(run, data)  # of which only the rows and D1's part are read here
    model = build_model(config).eval()
    model.load_trained_state({key[6:]: value for key, value in state.items() if key.startswith("model.")})
    waves, lengths = data.waves.padded(list(step.rows), config.audio.max_seconds)
    keys = [view_key(config.training.seed, 0, config.training.warm_up, id) for id in data.table["id"].iloc[step.rows]]
    with torch.no_grad():
        k, logits = (x.numpy() for x in model(*model.stem(waves, lengths)))
        k_aug, logits_aug = model(*model.stem(second_view(waves, lengths, keys, config.audio), lengths))
    views = np.concatenate([k, k_aug.numpy()])
    views = views / np.linalg.norm(views, axis=1, keepdims=True)
    n, similar = len(k), np.exp(views @ views.T / config.method.tau)
    terms = [-np.log(similar[v, (v + n) % (2 * n)] / (similar[v].sum() - similar[v, v])) for v in range(2 * n)]
    contrast = np.mean(terms)
    printed_terms = [-np.log(similar[v, v + n] / similar[v, n:].sum()) for v in range(n)]
    pattern = r"L_con = (\S+); log\(2B - 1\) = (\S+); as printed, Eq\. 5 is (\S+)"
    assert numbers(pattern, text) == pytest.approx([contrast, np.log(2 * n - 1), np.mean(printed_terms)], abs=1e-3)
    agreed = int((logits.argmax(axis=1) == logits_aug.numpy().argmax(axis=1)).sum())
    assert f"({agreed} of {n} in this minibatch pass)" in text
    z = state["soft"][step.rows].numpy().argmax(axis=1)
    ambiguous = np.mean([np.log(np.exp(row).sum()) - row[c] for row, c in zip(logits, z, strict=True)])
    rows = zip(step.logits_precise.numpy(), step.labels, strict=True)
    precise = np.mean([np.log(np.exp(row).sum()) - row[c] for row, c in rows])
    growth, e, epochs = config.method.beta_growth, config.training.warm_up, config.training.epochs
    beta = min(0.5 * (growth ** (2 * e / epochs) - 1) / (growth - 1), 0.5)
    pattern = r"L = (\S+) · (\S+) \+ (\S+) · (\S+) \+ (\S+) · (\S+) = (\S+)"
    terms = [config.method.alpha, precise, beta, ambiguous, config.method.mu, contrast]
    total = terms[0] * terms[1] + terms[2] * terms[3] + terms[4] * terms[5]
    assert numbers(pattern, text) == pytest.approx([*terms, total], abs=1e-3)


def test_the_second_shows_figures_2_and_3_and_what_the_refinement_did(executed):
    assert titles(executed["02_refinement"]) == [
        "Weight of the loss on the ambiguous utterances (Eq. 7)",
        "Loss terms, mean over the steps of an epoch",
        "Utterances that pass the gate of Eq. 4",
        "What D2's moves of the prototypes did (Eq. 4)",
        "Pseudo-labels of D2 per class",
        "Cosines of prototypes, epoch 2",
        "Cosine between prototypes over the epochs",
        "Pseudo-labels of D2 that agree with the truth",
        "Recognition on D3, the most ambiguous utterances",
    ]


def test_the_third_shows_confusion_planes_and_soft_labels(executed):
    figures = titles(executed["03_analysis"])
    assert figures[:3] == [
        "Confusion on D3",
        "Utterances and prototypes on one UMAP plane",
        "Soft labels against the annotators' votes",
    ]
    assert figures[3].startswith("Entropy of soft labels and of votes: rank correlation")
    assert figures[4:] == ["Entropy of the soft labels"]


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
    assert namespace["run"].epochs == (namespace["setup"].training.warm_up if name == "01_warm_up" else 3)
    assert ("SIMULATED" in capsys.readouterr().out) == ("annotators" in settings)


def test_the_third_shows_other_runs_beside_its_own(folders, tmp_path, monkeypatch):
    outputs, small = [], SMALL | {"map_size": 0}  # no plane: it takes longest
    monkeypatch.setattr("IPython.display.display", lambda *objects: outputs.extend(objects))
    baseline = run_cells(read("03_analysis"), **small, system="baseline", runs=str(tmp_path))["run"]
    assert any("ipr run --beside" in getattr(output, "data", "") for output in outputs)
    outputs.clear()
    namespace = run_cells(read("03_analysis"), **small, runs=str(tmp_path), compare=[str(baseline.folder)])
    assert list(namespace["beside"]) == ["IPR", "baseline"]
    assert [output.layout.title.text for output in outputs if hasattr(output, "layout")] == [
        "Recognition on D3, run beside run",
        "Pseudo-labels of D2 that agree with the truth, run beside run",
        "Utterances of D3 that two runs get right",
        "Cosine between prototypes, final epoch",
        "Confusion on D3, final epoch",
    ]
