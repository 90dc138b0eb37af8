"""Tables of a page: written anew where its comments name them, and nothing else of it."""

import pytest
from pandas import DataFrame

from ipr_core import cli
from ipr_core.config import SettingsError
from ipr_core.results import pages
from ipr_core.results.table import Table

PAGE = """# Results

<!-- table emodb systems -->
old
<!-- end -->

Between.

<!-- table emodb cost -->
<!-- end -->
<!-- table ravdess systems -->
kept
<!-- end -->
"""


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(PAGE, "utf-8")
    return path


@pytest.fixture
def tables(monkeypatch):
    """Let every table be its name."""
    for name in pages.TABLES:
        monkeypatch.setitem(pages.TABLES, name, lambda runs, name=name: Table(name, "", DataFrame(), lacking=name))
    monkeypatch.setattr(pages, "largest_group", lambda runs: runs)


def test_every_table_of_the_name_is_written_and_nothing_else(page, tables):
    assert pages.fill(page, "emodb", []) == ["systems", "cost"]
    expected = PAGE.replace("old\n", "systems\n").replace("cost -->\n", "cost -->\ncost\n")
    assert page.read_text("utf-8") == expected
    pages.fill(page, "emodb", [])
    assert page.read_text("utf-8") == expected


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("cremad", PAGE, "has no table of 'cremad', only of emodb, ravdess; put <!-- table cremad systems -->"),
        ("emodb", "# Results", "has no table of 'emodb', only of none"),
        ("emodb", PAGE.replace("emodb cost", "emodb costs"), "names a table 'costs'; it must be one of systems,"),
    ],
)
def test_a_page_without_the_table_is_refused_and_kept(page, tables, name, text, sentence):
    page.write_text(text, "utf-8")
    with pytest.raises(SettingsError, match=sentence.replace("(", r"\(")):
        pages.fill(page, name, [])
    assert page.read_text("utf-8") == text


def test_a_page_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        pages.fill(tmp_path / "none.md", "emodb", [])


def test_the_command_writes_the_page(page, trained, capsys):
    assert cli.main(["table", str(trained.folder), "--page", str(page), "--name", "ravdess"]) == 0
    assert "systems written" in capsys.readouterr().out
    assert "| IPR" in page.read_text("utf-8")
    assert "old" in page.read_text("utf-8")
