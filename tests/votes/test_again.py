"""A run that follows another: new votes and corrections train, and D3 stays what it was."""

import numpy as np
import pandas as pd
import pytest

from helpers.voted_run import D1, D2, D3, corpus, finished_run, listening_test
from ipr_core.cli import main
from ipr_core.data import dataset
from ipr_core.data.cache import default_cache
from ipr_core.data.waves import WaveStore
from ipr_core.results import succession
from ipr_core.runs import corrections
from ipr_core.runs.run import RunError
from ipr_core.training.advance import advance, prepare
from ipr_core.votes import again, record
from ipr_core.votes.usefulness import PANEL, worth_in_run
from ipr_widgets.listening import listen


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run on a corpus of votes."""
    return finished_run(tmp_path_factory.mktemp("again"))


@pytest.fixture
def votes(run, tmp_path):
    """Votes of two listeners on an utterance of each part."""
    return listening_test(run, tmp_path / "votes")


@pytest.fixture
def corrected(run):
    """A correction of an utterance of D2 and of one of D3, which are withdrawn after the test."""
    for id in ("u10", D3):
        corrections.add(run, id, "sad", "ada")
    yield
    for id in ("u10", D3):
        corrections.add(run, id, corrections.WITHDRAWN, "ada")


def parts(run):
    return run.table.set_index("id")["part"]


def test_the_corpus_has_every_part(run):
    assert parts(run)[[D1, D2, D3]].tolist() == ["D1", "D2", "D3"]


def test_votes_and_corrections_move_utterances_and_d3_stays(run, votes, corrected):
    following = again.next_corpus(run, votes, default_cache(), progress=False)
    assert (following.votes, following.corrections) == (4, 1)
    config = again.next_config(run, following.save(run))
    data = dataset.load(config, progress=False)
    table = data.table.set_index("id")
    assert set(table.index[table["part"] == "D3"]) == set(parts(run).index[parts(run) == "D3"])
    assert table.loc[D3, ["votes_angry", "votes_sad"]].tolist() == run.table.set_index("id").loc[
        D3, ["votes_angry", "votes_sad"]
    ].tolist()  # fmt: skip
    assert table.loc["u10", ["part", "label"]].tolist() == ["D1", "sad"]
    assert table.loc[D1, "part"] == "D2"
    assert table.loc[D1, ["votes_angry", "votes_sad"]].tolist() == [4, 2]
    assert config.data.after == run.folder.name
    assert "2 votes on utterances of D3 left out" in "\n".join(following.merged.sentences)


def test_the_same_votes_are_the_same_corpus_and_others_another(run, votes):
    first = again.next_corpus(run, votes, default_cache(), progress=False).save(run)
    assert again.next_corpus(run, votes, default_cache(), progress=False).save(run) == first
    of_ada = again.next_corpus(run, votes[votes["listener"] == "ada"], default_cache(), progress=False)
    assert of_ada.save(run).parent.name == str(int(first.parent.name) + 1)


def test_nothing_new_is_nothing_to_train_on(run, tmp_path):
    following = again.next_corpus(run, None, default_cache(), progress=False)
    assert (following.votes, following.corrections) == (0, 0)


def test_the_run_that_follows_is_compared_with_the_first(run, votes):
    following = again.next_corpus(run, votes, default_cache(), progress=False)
    new, data = prepare(again.next_config(run, following.save(run)), run.folder.parent, progress=False)
    new = advance(new, data)
    assert succession.predecessor(new).folder == run.folder
    assert succession.predecessor(run) is None
    rows = succession.changes(run, new).values.set_index("part before")
    assert rows["utterances"].sum() == len(run.table)
    assert rows.loc["D3", "now in D3"] == (parts(run) == "D3").sum()
    assert rows.loc["D1", "now in D2"] == 1
    before, after = run.history()[-1].accuracy, new.history()[-1].accuracy
    assert f"from {100 * before:.1f} to {100 * after:.1f} %" in succession.outcome(run, new)


def test_a_listening_test_begins_where_a_vote_is_worth_most_and_ends_with_d3(run, votes, tmp_path):
    keys = WaveStore.build(run.table, default_cache(), progress=False).keys
    worth = worth_in_run(run, run.table["id"].tolist(), keys, votes)
    part = parts(run).to_numpy()
    assert (worth[part == "D3"] == 0).all()
    unheard = worth_in_run(run, run.table["id"].tolist(), keys, votes[:0])
    heard_twice = run.table["id"].isin([D1, D2]).to_numpy()
    np.testing.assert_allclose(worth[heard_twice], unheard[heard_twice] / 3)
    assert worth_in_run(run, ["a stranger"], ["0" * 32], votes).tolist() == [1]
    test = listen(run.folder, "cy", tmp_path / "votes", repeats=0, live=True, next="most useful")
    rows = [run.table["id"].tolist().index(test._clips.ids[hearing.row]) for hearing in test._hearings]
    ranks = worth[rows]
    assert sorted(rows) == list(range(len(run.table)))
    assert np.mean(ranks[:6]) > np.mean(ranks[6:])


def test_only_a_run_can_say_what_is_most_useful(tmp_path):
    with pytest.raises(record.VoteError, match="only a run can say"):
        listen(corpus(tmp_path), "ada", tmp_path / "votes", next="most useful")


def test_a_run_whose_predecessor_is_gone_says_so(run, votes, tmp_path):
    config = again.next_config(run, again.next_corpus(run, votes, default_cache(), progress=False).save(run))
    new, _ = prepare(config, tmp_path / "elsewhere", progress=False)
    with pytest.raises(RunError, match=r"follows .*, which is not beside it"):
        succession.predecessor(new)


def test_what_a_person_has_heard_counts_in_place_of_simulated_votes(tiny, tmp_path):
    run, _ = prepare(
        tiny.replace(annotators="simulated", precise_share=0.7, ambiguous_share=0.5), tmp_path / "runs", progress=False
    )
    assert run.meta["simulated_annotators"]
    table = run.table
    key = dict(zip(table["id"], WaveStore.build(table, default_cache(), progress=False).keys, strict=True))
    first, name = table.loc[table["part"] != "D3", "id"].iloc[:2]
    record.add(tmp_path / "votes", record.Vote("ada", first, key[first], ("sad",)))
    following = again.next_corpus(run, record.read(tmp_path / "votes"), default_cache(), progress=False)
    manifest = following.merged.manifest.set_index("id")
    assert manifest.loc[first, "votes_sad"] == 1
    assert manifest.loc[first].filter(like="votes_").sum() == 1
    assert manifest.loc[name].filter(like="votes_").sum() == run.config.data.annotator_count
    assert manifest.loc[first].filter(like="mixture_").sum() == pytest.approx(1)


def test_votes_of_a_run_say_how_many_more_settle_which_part(run, votes, tmp_path, capsys):
    assert main(["votes", str(run.folder), "--votes", str(tmp_path / "votes"), "--out", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out" / "votes_needed.csv").set_index("id")
    assert set(table.index) == set(parts(run).index[parts(run) != "D3"])
    assert table.loc[D1, "votes"] == 6
    assert table["votes_needed"].between(0, PANEL).all()
    assert set(table["part"]) == {"D1", "D2"}  # D3 is fixed
    assert "simulated" not in text
    assert f"{(table['votes_needed'] == 0).sum()} of {len(table)} utterances are settled" in text
    assert main(["votes", str(run.folder), "--classes", "angry,sad"]) == 2
