"""The bar that trains again, without a browser: by its traits."""

import pytest

from helpers.voted_run import D1, D3, finished_run, listening_test
from ipr_core.config import SettingsError
from ipr_core.runs import corrections
from ipr_core.training.runner import Began, Changed
from ipr_widgets.again import Again, following, news
from ipr_widgets.state import RunState


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run on a corpus of votes."""
    return finished_run(tmp_path_factory.mktemp("again"))


@pytest.fixture
def bar(run, tmp_path, monkeypatch):
    """The bar of a state that shows the finished run, and the runs that it began."""
    monkeypatch.chdir(tmp_path)
    state, began = RunState(), []
    bar = Again(state, lambda find: began.append(find()))
    state.on_event(Began(run, run.dataset(progress=False)))
    return state, bar, began


def test_it_is_shown_once_a_run_is_finished(bar):
    state, again, _ = bar
    assert again.layout.display == "none"
    state.on_event(Changed("finished"))
    assert again.layout.display is None
    assert again.button.description == "Train again with 0 votes and 0 corrections"
    assert again.button.disabled


def test_it_says_how_many_votes_and_corrections_are_new_and_trains_with_them(bar, run, tmp_path):
    state, again, began = bar
    listening_test(run, tmp_path / "votes")
    corrections.add(run, D1, "sad", "ada")
    corrections.add(run, D3, "sad", "ada")  # of the test set: no training sees it
    state.on_event(Changed("finished"))
    assert again.button.description == "Train again with 4 votes and 1 correction"
    again.button.click()
    (new, data), *others = began
    assert not others
    assert new.config.data.after == run.folder.name
    assert data.table.set_index("id").loc[D1, ["part", "label"]].tolist() == ["D1", "sad"]
    assert news(new, data, tmp_path / "votes") == (0, 0)  # what it was trained with is not new any more
    for id in (D1, D3):
        corrections.add(run, id, corrections.WITHDRAWN, "ada")


def test_another_folder_of_votes_is_counted_at_once(bar, run, tmp_path):
    state, again, _ = bar
    listening_test(run, tmp_path / "elsewhere")
    state.on_event(Changed("finished"))
    again.folder.value = "elsewhere"
    assert again.button.description == "Train again with 4 votes and 0 corrections"


def test_nothing_new_is_a_sentence(run, tmp_path):
    with pytest.raises(SettingsError, match="no new vote and no correction"):
        following(run, tmp_path, None)
