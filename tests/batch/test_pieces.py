"""A corpus labelled by workers of a batch: the same labels to the bit, whoever dies."""

import os
import signal
from contextlib import nullcontext
from functools import partial

import pytest

from helpers.corpus_files import clips_of
from ipr_core import annotation, cli
from ipr_core.batch import pieces
from ipr_core.batch.workers import Workers, local_workers, share
from ipr_core.runs.run import RunError
from ipr_core.training.advance import advance, prepare

annotate = partial(annotation.annotate, segment="none")
"""Here every row of a corpus is an utterance."""


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Pieces of four utterances."""
    monkeypatch.setattr(annotation, "PIECE", 4)


@pytest.fixture(scope="module")
def team():
    """Two workers, as `--jobs 2` starts them."""
    with local_workers(2, share(2)) as workers:
        yield workers


@pytest.fixture
def corpus(data, tmp_path):
    """Thirty clips as a manifest: eight pieces."""
    return clips_of(data, tmp_path, speakers=3)


@pytest.fixture
def centred(frozen, data, tmp_path):
    """A finished run whose vectors are centred by speaker."""
    run, _ = prepare(frozen.replace(centring="speaker"), tmp_path / "runs", data=data, progress=False)
    return advance(run, data)


def contents(paths):
    return [path.read_bytes() for path in paths]


def by_team(team, check=lambda: None):
    """The work of a team, which `check` looks after."""
    return pieces.by_workers(lambda count: nullcontext(Workers(team.client, check=check)))


def test_workers_give_the_same_labels_also_when_one_is_killed(trained, corpus, team, tmp_path):
    expected = annotate(trained, corpus, tmp_path / "alone", progress=False)
    killed = []

    def kill_one():
        if not killed:
            killed.extend(team.client.run(os.getpid).values())
            os.kill(killed[0], signal.SIGKILL)

    labels = annotate(trained, corpus, tmp_path / "together", progress=False, work=by_team(team, kill_one))
    assert len(killed) == 2
    assert contents(labels) == contents(expected)


def test_workers_know_the_means_of_speakers(centred, corpus, team, tmp_path):
    expected = annotate(centred, corpus, tmp_path / "alone", progress=False)
    labels = annotate(centred, corpus, tmp_path / "together", progress=False, work=by_team(team))
    assert contents(labels) == contents(expected)


def test_finished_pieces_are_not_sent_again(trained, corpus, team, tmp_path):
    annotate(trained, corpus, tmp_path, progress=False, shard=(1, 2))
    numbers = []

    def work(order, rest, count):
        unfinished = list(rest)
        numbers.extend(number for number, *_ in unfinished)
        assert count == len(unfinished)
        return by_team(team)(order, unfinished, count)

    assert annotate(trained, corpus, tmp_path, progress=False, work=work)
    assert numbers == [1, 3, 5, 7]


def test_an_error_of_a_worker_is_said_and_the_other_pieces_stay(trained, corpus, team, tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "_AHEAD", 1)

    def work(order, rest, count):
        *unfinished, (number, name, utterances) = rest
        broken_piece = number, name, utterances.assign(path=str(tmp_path / "none.wav"))
        return by_team(team)(order, [*unfinished, broken_piece], count)

    with pytest.raises(Exception, match=r"none\.wav"):
        annotate(trained, corpus, tmp_path / "out", progress=False, work=work)
    (folder,) = (tmp_path / "out").glob("*.pieces")
    assert len(list(folder.glob("*.parquet"))) == 7


def test_another_version_of_the_code_is_refused(trained, corpus, team, tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "_code", lambda: "another")
    with pytest.raises(RunError, match=r"has another version of the code, or of its packages, than this process"):
        annotate(trained, corpus, tmp_path, progress=False, work=by_team(team))


def test_the_command_starts_workers_of_its_own(trained, corpus, tmp_path, capsys, monkeypatch):
    plain = annotate(trained, corpus, tmp_path / "alone", progress=False)
    command = [
        "annotate",
        str(trained.folder),
        corpus.corpus_path,
        "--out",
        str(tmp_path / "jobs"),
        "--segment",
        "none",
    ]
    assert cli.main([*command, "--jobs", "2"]) == 0
    assert contents(sorted((tmp_path / "jobs").glob("*.*"))) == contents(sorted(plain))
    monkeypatch.setattr(pieces, "by_workers", partial(pytest.fail, "no workers are needed"))
    assert cli.main(command) == 0
