"""Grids: the cells that a file or options make, and all their faults at once."""

import re
from typing import Literal, get_args, get_origin

import pytest

from ipr_core.batch import grid, grid_file
from ipr_core.config import FIELDS, TABLE2, TABLE3, SettingsError, build


@pytest.fixture
def read(tmp_path):
    """Return a function: text → its grid."""

    def read(text, options=None):
        (tmp_path / "mine.toml").write_text(text, "utf-8")
        return grid.read(tmp_path / "mine.toml", options)

    return read


def settings_of(cell, *names):
    settings = cell.config.settings()
    return tuple(settings[name] for name in names)


# Cells.


def test_systems_and_seeds_are_crossed_seed_by_seed(read):
    cells = read('preset = "demo"\nsystems = ["ipr", "baseline"]\nseeds = [3, 1]').cells
    assert [settings_of(cell, "seed", "system") for cell in cells] == [
        (3, "ipr"),
        (3, "baseline"),
        (1, "ipr"),
        (1, "baseline"),
    ]
    assert cells[0].config == build("demo", {"system": "ipr", "seed": 3})


def test_crossed_settings_meet_in_every_combination_and_varied_ones_stand_alone(read):
    cells = read("[cross]\ngamma = [0.9, 0.99]\nmu = [0, 0.2]\n[one_at_a_time]\ntau = [0.5]\nmoves = ['all']").cells
    assert [settings_of(cell, "gamma", "mu", "tau", "moves") for cell in cells] == [
        (gamma, mu, tau, moves)
        for gamma in (0.9, 0.99)
        for mu in (0, 0.2)
        for tau, moves in ((0.1, "prototype"), (0.5, "prototype"), (0.1, "all"))
    ]
    assert cells[1].varied == "gamma 0.9, mu 0, tau 0.5"


def test_equal_cells_are_one(read):
    """0.999 is gamma's default: varied to that, the cell is the base."""
    cells = read("seeds = [0, 0]\n[one_at_a_time]\ngamma = [0.999, 0.9]\nmu = [0.2]").cells
    assert [(cell.varied, *settings_of(cell, "gamma")) for cell in cells] == [("", 0.999), ("gamma 0.9", 0.9)]


def test_systems_beside_are_crossed_with_what_makes_the_corpus_alone(read):
    text = (
        'systems = ["oracle"]\nbeside = ["baseline"]\nseeds = [0, 1]\n[cross]\ndata_seed = [0, 1, 2]\nlr = [1e-4, 1e-3]'
    )
    cells = read(text).cells
    references = [cell.config for cell in cells if cell.config.training.system == "baseline"]
    assert sorted((config.training.seed, config.data.data_seed) for config in references) == [
        (seed, data_seed) for seed in (0, 1) for data_seed in (0, 1, 2)
    ]
    assert len(cells) == 6 + 12


def test_systems_beside_have_nothing_varied(read):
    cells = read('systems = ["ipr"]\nbeside = ["baseline"]\nseeds = [0, 1]\n[one_at_a_time]\ntau = [0.5]').cells
    assert [settings_of(cell, "system", "seed", "tau") for cell in cells] == [
        ("baseline", 0, 0.1), ("ipr", 0, 0.1), ("ipr", 0, 0.5), ("baseline", 1, 0.1), ("ipr", 1, 0.1), ("ipr", 1, 0.5),
    ]  # fmt: skip


def test_a_preset_and_several_settings_together_can_be_varied_too(read):
    varied = '[one_at_a_time]\npreset = ["paper"]\nraw = [{soft_label = "raw", tau = 1}]'
    cells = read(f"[settings]\nepochs = 7\nwarm_up = 1\n{varied}").cells
    assert cells[1].config == build("paper", {"epochs": 7, "warm_up": 1, "system": "ipr", "seed": 0})
    assert cells[2].varied == "soft_label raw, tau 1"
    assert settings_of(cells[2], "soft_label", "tau") == ("raw", 1)


def test_options_add_to_a_file_or_replace_its_entries(read):
    options = {"settings": {"mu": "0.3"}, "seeds": ["5"], "cross": {"tau": ["0.5"]}, "preset": "paper"}
    (cell,) = read("seeds = [0, 1]\n[settings]\ngamma = 0.9\nmu = 0", options).cells
    assert settings_of(cell, "seed", "gamma", "mu", "tau") == (5, 0.9, 0.3, 0.5)
    assert cell.preset == "paper"


def test_notebooks_get_the_given_settings(read, tmp_path):
    (cell,) = read('preset = "demo"\n[settings]\ntest_size = "none"\nvolume_db = [-6, 6]').cells
    assert cell.parameters(tmp_path) == {
        "preset": "demo", "runs": str(tmp_path), "system": "ipr", "seed": 0, "test_size": "none", "volume_db": [-6, 6],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("names", "stems"), [(["03", "01_warm_up"], ["01_warm_up", "03_analysis"]), (["02"] * 2, ["02_refinement"])]
)
def test_notebooks_are_found_by_name_and_executed_in_order(read, names, stems):
    assert [path.stem for path in read(f"notebooks = {names}").notebooks] == stems


def test_a_system_has_settings_of_its_own(read):
    text = 'systems = ["ipr", "baseline"]\nbeside = ["mmd"]\n[settings]\nlr = 1e-4\n'
    text += "[own.ipr]\nlr = 1e-3\n[own.mmd]\nmu = 0"
    cells = {cell.config.training.system: cell.config for cell in read(text).cells}
    assert [cells[name].training.lr for name in ("ipr", "baseline", "mmd")] == [1e-3, 1e-4, 1e-4]
    assert cells["mmd"].method.mu == 0


def test_what_is_varied_goes_before_a_system_s_own(read):
    varied = read('systems = ["ipr"]\n[own.ipr]\ntau = 0.2\n[one_at_a_time]\ntau = [0.5]').cells
    assert [cell.config.method.tau for cell in varied] == [0.2, 0.5]


def test_a_grid_without_notebooks_only_trains(read):
    assert read("notebooks = []").notebooks == ()


@pytest.mark.parametrize("name", grid.shipped())
def test_a_grid_is_written_as_it_is_read(name, tmp_path):
    entries, faults = grid_file.read(name)
    extra = {
        "tuned": {"curve": [{"system": "ipr", "x": 1.5, "y": float("inf")}], "seeds": [1]},
        "own": {"ipr": {"mu": 0}},
    }
    grid_file.write(tmp_path / "grid.toml", entries | extra)
    assert grid_file.read(tmp_path / "grid.toml") == (entries | extra, faults)


# The grids that come with the workbench.


@pytest.mark.parametrize("name", ["ablations", "readings", "semi_supervised", "speaker_disjoint", "table2", "table3"])
def test_a_shipped_grid_has_five_seeds_and_its_sentence(name):
    shipped = grid.read(name)
    assert shipped.about == grid.shipped()[name]
    assert {cell.config.training.seed for cell in shipped.cells} == set(range(5))
    assert [path.stem for path in shipped.notebooks] == ["01_warm_up", "02_refinement", "03_analysis"]


def test_table3_has_the_four_systems_of_the_paper():
    cells = grid.read("table3").cells
    assert len(cells) == 20
    assert {cell.config.training.system for cell in cells} == {"baseline", "baseline_plus", "ipr", "supervised"}


def test_table2_has_the_ten_methods_ipr_the_baseline_and_the_committees():
    cells = grid.read("table2").cells
    assert len(cells) == 70
    assert {cell.config.training.system for cell in cells} == {*TABLE2, "baseline", "ipr", "committee", "ipr_committee"}


def test_speaker_disjoint_has_the_papers_systems_and_the_controls():
    cells = grid.read("speaker_disjoint").cells
    assert {cell.config.training.system for cell in cells} == set(TABLE3)
    assert all(cell.config.partition.speaker_disjoint for cell in cells)


READINGS = [name for name, (_, field) in FIELDS.items() if field.description.startswith("Reading:")]


@pytest.mark.parametrize("name", READINGS)
def test_every_reading_is_varied_and_every_choice_of_it(name):
    tried = {cell.config.settings()[name] for cell in grid.read("readings").cells if cell.preset == "recommended"}
    assert len(tried) > 1
    annotation = FIELDS[name][1].annotation
    if get_origin(annotation) is Literal:
        assert tried == set(get_args(annotation))


@pytest.mark.parametrize(
    "settings",
    [{"mu": 0}, {"warm_up": 0}, {"after_warm_up": "anchor"}, {"gamma": 0.9}, {"tau": 0.5}, {"beta_growth": 2},
     {"target": "soft"}],
    ids=str,
)  # fmt: skip
def test_every_part_of_ipr_is_left_out_or_changed_once(settings):
    config = build("recommended", {"system": "ipr", "seed": 0} | settings)
    assert config in [cell.config for cell in grid.read("ablations").cells]


# Refusals.


def test_every_fault_is_named_at_once(read):
    text = (
        'sytems = ["ipr"]\nseeds = ["few"]\nsystems = ["iprr"]\nnotebooks = ["07"]\n'
        "[settings]\ngama = 1\nepochs = 5\nwarm_up = 5\n[cross]\ngamma = [1.5, 0.9]\n"
        "[one_at_a_time]\ntau = 0.5\nwarm_up = [9]"
    )
    with pytest.raises(SettingsError) as raised:
        read(text)
    for sentence in (
        "sytems is not a key of a grid; did you mean systems?",
        "seed is 'few'; it must be a whole number",
        "system is 'iprr'; it must be one of 'baseline'",
        "07 is not a notebook; it must be one of 01_warm_up, 02_refinement",
        "gama is not a setting; did you mean gamma?",
        "gamma is 1.5; it must be a number between 0 and 1",
        "one_at_a_time.tau is 0.5; it must be a list",
    ):
        assert sentence in str(raised.value)
    assert len(raised.value.faults) == len(set(raised.value.faults))


def test_an_impossible_combination_is_refused(read):
    with pytest.raises(SettingsError, match=r"mine\.toml: warm_up is 9; it must not exceed epochs, which is 5$"):
        read("[settings]\nepochs = 5\nwarm_up = 1\n[one_at_a_time]\nwarm_up = [9]")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[settings]\ntau = 1\n[cross]\ntau = [2]", "tau has one value in settings and several in cross; give it once"),
        ("[cross]\ntau = [2]\n[one_at_a_time]\ntau = [2]", "tau is both in cross and in one_at_a_time; give it once"),
        ("[settings]\nseed = 1", "seed is in settings; a grid has seeds for it"),
        ('[cross]\nsystem = ["ipr"]', "system is in cross; a grid has systems for it"),
        ('systems = "ipr"', "systems is 'ipr'; it must be a list"),
        ("settings = 3", "settings is 3; it must be a table, [settings] for example"),
        ("seeds = []", "the grid has no cell: seeds is empty; give one at least, or leave seeds out"),
        ('systems = ["ipr"]\n[own.iprr]\nmu = 0', "own.iprr is of no system; it must be one of"),
        ('systems = ["ipr"]\n[own]\nipr = 1', "own.ipr is 1; it must be a table of settings"),
        ('systems = ["ipr"]\n[own.ipr]\nseed = 1', "seed is in own.ipr; a grid has seeds for it"),
        ('systems = ["ipr"]\n[own.ipr]\nmu = 1\n[cross]\nmu = [0, 1]', "mu is both in cross and in own.ipr"),
        ('systems = ["ipr"]\n[own.ipr]\nmuu = 1', "muu is not a setting"),
        ("seeds = [[1]]", "seed is '[1]'; it must be a whole number"),
        ('preset = "big"', "preset is 'big'; it must be one of recommended, paper, demo"),
        ("seeds = ", "is not TOML"),
    ],
)
def test_an_impossible_grid_is_refused(read, text, sentence):
    with pytest.raises(SettingsError, match=re.escape(sentence)):
        read(text)


def test_a_missing_grid_is_refused_with_the_shipped_names():
    with pytest.raises(SettingsError, match=r"table4 is no grid; it must be a TOML file, or one of ablations"):
        grid.read("table4")
