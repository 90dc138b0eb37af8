"""The result notebooks: thin, clean and parameterised; they show a small batch, and a sentence where there is none."""

import json
import re

import nbformat
import papermill
import pytest

from helpers.fake_runs import fake_run
from helpers.shipped_notebooks import FOLDER, assert_thin, code, read
from ipr_core.config import SettingsError
from ipr_core.results import ablations, examples, over_seeds
from ipr_core.training.advance import train_all

NOTEBOOKS = ("10_table3", "11_ablations", "12_table2")
PLOTLY = "application/vnd.plotly.v1+json"
FILES = {
    "10_table3": [
        "cost",
        "differences",
        "moves",
        "over_seeds",
        "over_utterances",
        "paper",
        "recalls",
        "soft_labels",
        "systems",
    ],
    "11_ablations": ["ablations", "readings", "systems"],
    "12_table2": ["cost", "differences", "over_seeds", "over_utterances", "paper", "systems"],
}


def run_cells(name, **settings):
    """Run the cells in this process with these parameters; return their names and values."""
    namespace = {}
    for cell in code(read(name)):
        exec(cell.source, namespace)
        if "parameters" in cell.metadata.get("tags", []):
            namespace.update(settings)
    return namespace


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, cache):
    """A folder with a small batch: four systems, and one with several settings, two seeds each."""
    folder = tmp_path_factory.mktemp("prepared")
    train_all([*examples.configs("systems"), *examples.configs("ablations")], folder, progress=False)
    return folder


@pytest.fixture(scope="module")
def executed(prepared, tmp_path_factory):
    """The notebooks, executed by papermill on that folder, and the folders of their tables."""
    notebooks, folder = {}, tmp_path_factory.mktemp("executed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPR_RUNS", str(folder / "none"))
        for name in NOTEBOOKS:
            source, path = FOLDER / f"{name}.ipynb", folder / f"{name}.ipynb"
            parameters = {"runs": str(prepared), "tables": str(folder / "tables")}
            papermill.execute_notebook(source, path, parameters, kernel_name="python3", progress_bar=False)
            notebooks[name] = nbformat.read(path, as_version=4), folder / "tables" / name.partition("_")[2]
    return notebooks


# How they are written


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_thin_and_teaches(name):
    assert_thin(read(name))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_imports_come_first_then_parameters_then_the_check(name):
    imports, parameters, check = code(read(name))[:3]
    assert all(re.match("import |from |$", line) for line in imports.source.splitlines())
    assert parameters.metadata["tags"] == ["parameters"]
    assert all(re.fullmatch(r"\w+ = \S+  # .+", line) for line in parameters.source.splitlines())
    assert "examples.runs_or_example(runs, grid" in check.source


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_no_output_is_committed(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    for cell in code(notebook):
        assert (cell.outputs, cell.execution_count) == ([], None)
        assert set(cell.metadata) <= {"tags"}


# What they show


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_tables_are_written_in_three_forms(executed, name):
    _, tables = executed[name]
    expected = [f"{table}{suffix}" for table in FILES[name] for suffix in (".csv", ".md", ".tex")]
    assert sorted(path.name for path in tables.iterdir()) == sorted(expected)


def test_no_notebook_writes_over_anothers_tables_and_no_label_is_there_twice(executed):
    sources = [path.read_text("utf-8") for _, tables in executed.values() for path in tables.glob("*.tex")]
    labels = re.findall(r"\\label{(.+?)}", "".join(sources))
    assert len(labels) == len(set(labels)) == sum(map(len, FILES.values()))
    assert {"tab:table3-paper", "tab:table2-paper", "tab:ablations-systems"} <= set(labels)


def test_table3_shows_curves_differences_recalls_and_soft_labels(executed):
    assert titles(executed["10_table3"][0]) == [
        "Over the epochs: mean and standard deviation over the seeds",
        "Differences and their 95 % intervals",
        "Differences over seeds and their 95 % intervals",
        "Recall of each class on D3",
        "Soft labels against the annotators' votes, D2 and D3: lower is better, of AUPRC higher",
    ]


def test_ablations_show_differences_to_the_base(executed):
    assert titles(executed["11_ablations"][0]) == ["Differences from the base and their 95 % intervals"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_an_executed_notebook_is_light_and_warns_of_nothing(executed, name):
    notebook, _ = executed[name]
    assert len(nbformat.writes(notebook)) < 2**20
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    assert "warn" not in "".join(o.text for o in outputs if o.get("name") == "stderr").lower()
    assert "EXAMPLE" not in "".join(str(o.get("data", "")) for o in outputs)


def test_a_mixed_folder_is_sorted_out(prepared, tmp_path):
    names = run_cells("10_table3", runs=str(prepared), tables=str(tmp_path))
    assert [run.config.training.system for run in names["batch"]].count("supervised") == 2
    audio = names["cost"].values.set_index("system")["audio trained on, s"]
    assert audio["baseline"] < audio["IPR"] == audio["supervised"]  # the baseline does not hear D2
    assert "8 more finished runs" in over_seeds.circumstances(names["batch"], names["finished"])
    names = run_cells("11_ablations", runs=str(prepared), tables=str(tmp_path))
    assert names["ablation"].varied == ["mu", "beta_growth", "gamma", "target"]
    assert len(names["ablation"].base) == 4  # two seeds, two random streams
    assert {run.config.training.system for run in names["ablation"].other_systems} == {
        "baseline", "baseline_plus", "supervised"
    }  # fmt: skip


def titles(notebook):
    """Return the titles of the figures in an executed notebook."""
    outputs = [output.data for cell in code(notebook) for output in cell.outputs if "data" in output]
    return [data[PLOTLY]["layout"]["title"]["text"] for data in outputs if PLOTLY in data]


# Where there is little or nothing


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_an_empty_folder_gives_sentences(tmp_path, name):
    names = run_cells(name, runs=str(tmp_path))
    tables = [names["effects"], names["readings"]] if name == "11_ablations" else names["written"]
    for table in tables:
        assert table.values.empty
        assert "ipr " in table._repr_html_()
    assert list(tmp_path.iterdir()) == []


def test_one_seed_gives_figures_and_says_what_tests_need(tmp_path, frozen, data):
    counts = [[2, 1, 0, 0]] * 4
    runs = [
        fake_run(tmp_path, frozen.replace(system=system), data, (0.2, 0.5), confusion=counts)
        for system in ("baseline", "ipr")
    ]
    names = run_cells("10_table3", runs=str(tmp_path))
    assert len(names["batch"]) == len(runs)
    assert names["systems"].texts["Acc D3 %"].tolist() == ["50.0", "50.0"]
    assert "needs two seeds" in names["by_seeds"]._repr_html_()
    assert names["by_utterances"].values["seeds"].tolist() == [1]
    assert "needs runs of one system" in run_cells("11_ablations", runs=str(tmp_path))["effects"]._repr_html_()


def test_where_nothing_is_asked_for_and_nothing_is_there_an_example_is_shown(prepared, tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / examples.FOLDER).symlink_to(prepared)  # so that nothing is trained again
    monkeypatch.setenv("IPR_RUNS", str(tmp_path / "runs"))
    runs = examples.runs_or_example()
    assert {run.config.training.system for run in runs} == {"baseline", "baseline_plus", "ipr", "supervised"}
    assert "EXAMPLE" in examples.warning(runs)
    assert ablations.arrange(examples.runs_or_example(kind="ablations")).varied == [
        "mu",
        "beta_growth",
        "gamma",
        "target",
    ]
    assert examples.runs_or_example(str(tmp_path / "runs")) == []  # a folder that is named is taken as it stands


def test_what_can_be_compared_already_is_no_example(prepared, monkeypatch):
    monkeypatch.setenv("IPR_RUNS", str(prepared))
    for kind in ("systems", "ablations"):
        runs = examples.runs_or_example(kind=kind)
        assert len(runs) == len({run.folder for run in runs}) == 20
        assert examples.warning(runs) == ""


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_grid_that_is_not_there_stops_the_notebook_with_a_sentence(tmp_path, name):
    with pytest.raises(SettingsError, match="tabel3"):
        run_cells(name, runs=str(tmp_path), grid="tabel3")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_score_that_there_is_not_stops_the_third_cell(tmp_path, name):
    with pytest.raises(SettingsError, match="score is 'acc'; it must be one of accuracy, uar, macro_f1"):
        run_cells(name, runs=str(tmp_path), score="acc")


def test_a_system_that_there_is_not_stops_the_ablations(tmp_path):
    with pytest.raises(SettingsError, match="system is 'ipr2'; it must be one of baseline, "):
        run_cells("11_ablations", runs=str(tmp_path), system="ipr2")


def test_other_systems_are_no_ablation(tmp_path, frozen, data, monkeypatch):
    runs = [
        fake_run(tmp_path, frozen.replace(system=s, seed=n), data, (0.2,)) for s in ("baseline", "ipr") for n in (0, 1)
    ]
    assert examples._enough(runs, "systems")
    assert not examples._enough(runs, "ablations")
    variation = [fake_run(tmp_path, frozen.replace(seed=n, gamma=0.5), data, (0.2,)) for n in (0, 1)]
    assert not examples._enough([*runs, variation[0]], "ablations")  # one seed is shared
    assert examples._enough([*runs, *variation], "ablations")


def test_a_grid_names_its_runs(prepared, tmp_path):
    settings = examples.configs("systems")[0].settings()
    preset = {"system", "seed", "stream"}
    text = [f"{key} = {toml(value)}" for key, value in settings.items() if key not in preset and value is not None]
    lines = ['preset = "demo"', 'systems = ["baseline", "ipr"]', "seeds = [0, 1]", "[settings]", *text]
    (tmp_path / "mine.toml").write_text("\n".join(lines), "utf-8")
    names = run_cells("10_table3", runs=str(prepared), grid=str(tmp_path / "mine.toml"), tables=str(tmp_path))
    assert names["systems"].values["system"].tolist() == ["baseline", "IPR"]


def toml(value):
    return json.dumps(value)


@pytest.mark.parametrize("name", ["10_table3", "12_table2"])
def test_the_reference_of_the_tests_may_be_chosen(prepared, tmp_path, name):
    default = run_cells(name, runs=str(prepared), tables=str(tmp_path))
    for table in ("by_seeds", "by_utterances"):
        assert default[table].values["comparison"].tolist()[0] == "baseline − IPR"
    names = run_cells(name, runs=str(prepared), tables=str(tmp_path), against="baseline")
    for table in ("by_seeds", "by_utterances"):
        assert names[table].values["comparison"].str.endswith(" − baseline").all()
    with pytest.raises(SettingsError, match="against is 'mcil'; the finished runs here are of baseline, "):
        run_cells(name, runs=str(prepared), tables=str(tmp_path), against="mcil")
