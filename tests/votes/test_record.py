"""The record of a listening test: nothing that was acknowledged is lost, whatever happened to the file."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from ipr_core.atomic import WriteError
from ipr_core.votes import record
from ipr_core.votes.record import Vote, VoteError

VOTE = Vote("ada", "clip 1", "0" * 32, ("happy",), seconds=1.5)


def key(number):
    return f"{number:032x}"


def vote(number, **values):
    return replace(VOTE, id=f"clip {number}", audio=key(number), **values)


def test_a_vote_is_read_as_it_was_given(tmp_path):
    ballot = Vote("ada", "é\n🙂", key(7), ("happy", "sad"), True, False, " at  ease\n", 2, 3.25, 1)
    answer = record.add(tmp_path / "votes", ballot)
    row = record.read(tmp_path / "votes").iloc[0]
    assert tuple(row.index) == record.COLUMNS
    assert dict(row) == {
        "time": answer.time, "listener": "ada", "id": "é\n🙂", "audio": key(7), "emotions": ("happy", "sad"),
        "other": True, "cannot_tell": False, "word": "at ease", "sure": 2, "seconds": 3.25, "repeat": 1,
    }  # fmt: skip
    assert answer.time.endswith("+00:00")
    assert len(answer.time) == len("2026-11-27T14:30:00.123+00:00")


def test_the_last_vote_for_a_sound_and_hearing_counts_and_the_file_keeps_all(tmp_path):
    for emotion, repeat in (("happy", 0), ("sad", 1), ("angry", 0)):
        record.add(tmp_path, vote(1, emotions=(emotion,), repeat=repeat))
    record.add(tmp_path, vote(1, listener="bo", cannot_tell=True, emotions=()))
    table = record.read(tmp_path)
    assert table[["listener", "emotions", "repeat"]].values.tolist() == [
        ["ada", ("sad",), 1], ["ada", ("angry",), 0], ["bo", (), 0],
    ]  # fmt: skip
    assert len((tmp_path / "ada.jsonl").read_text().splitlines()) == 3
    assert record.listeners(tmp_path) == ["ada", "bo"]


def test_votes_of_all_listeners_are_ordered_by_time(tmp_path):
    times = {
        "bo": "2026-01-01T00:00:02.000Z",
        "ada": "2026-01-01T01:00:01.000+01:00",
        "cy": "2026-01-01T00:00:03+00:00",
    }
    for name, time in times.items():
        record.add(tmp_path, replace(VOTE, listener=name, time=time))
    assert record.read(tmp_path)["listener"].tolist() == ["ada", "bo", "cy"]


def test_a_folder_without_votes_gives_an_empty_table(tmp_path):
    table = record.read(tmp_path / "none")
    assert tuple(table.columns) == record.COLUMNS
    assert table.empty
    assert record.listeners(tmp_path / "none") == []


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", "a b", "con", "NUL.x", "x.", "-x", "x" * 65, "é", "a\n"]
)
def test_a_name_that_no_system_takes_as_a_file_is_refused(tmp_path, name):
    with pytest.raises(VoteError, match="cannot be the name of a listener"):
        record.add(tmp_path, replace(VOTE, listener=name))


def test_a_name_in_other_letters_is_refused(tmp_path):
    record.add(tmp_path, VOTE)
    with pytest.raises(VoteError, match="there is a listener 'ada' already"):
        record.add(tmp_path, replace(VOTE, listener="Ada"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (dict(emotions=()), "says nothing"),
        (dict(cannot_tell=True), "exclude each other"),
        (dict(emotions=("sad", "sad")), "twice"),
        (dict(audio="xyz"), "not the key of a sound"),
        (dict(sure=4), "sure is 4"),
        (dict(sure=True), "sure is True"),
        (dict(seconds=float("nan")), "seconds are nan"),
        (dict(repeat=-1), "repeat is -1"),
        (dict(time="yesterday"), "not a time"),
    ],
)
def test_an_impossible_vote_is_refused_and_not_written(tmp_path, values, message):
    with pytest.raises(VoteError, match=message):
        record.add(tmp_path, replace(VOTE, **values))
    assert not (tmp_path / "ada.jsonl").exists()


def test_the_beginning_of_a_line_that_a_kill_left_is_set_aside(tmp_path):
    record.add(tmp_path, vote(1))
    file = tmp_path / "ada.jsonl"
    whole = file.read_bytes()
    for length in range(1, len(whole) - 1):
        file.write_bytes(whole + whole[:length])
        assert len(record.read(tmp_path)) == 1
        (tmp_path / "ada.torn").unlink(missing_ok=True)
        record.add(tmp_path, vote(2))
        assert record.read(tmp_path)["id"].tolist() == ["clip 1", "clip 2"]
        assert file.read_bytes().startswith(whole)
        assert (tmp_path / "ada.torn").read_bytes() == whole[:length] + b"\n"


def test_a_line_that_lacks_only_its_end_is_a_vote(tmp_path):
    record.add(tmp_path, vote(1))
    file = tmp_path / "ada.jsonl"
    file.write_bytes(file.read_bytes()[:-1])
    assert len(record.read(tmp_path)) == 1
    record.add(tmp_path, vote(2))
    assert record.read(tmp_path)["id"].tolist() == ["clip 1", "clip 2"]
    assert not (tmp_path / "ada.torn").exists()


def test_a_torn_line_longer_than_a_block_is_set_aside_whole(tmp_path):
    record.add(tmp_path, vote(1))
    tail = b'{"word": "' + b"x" * 100_000
    with open(tmp_path / "ada.jsonl", "ab") as file:
        file.write(tail)
    record.add(tmp_path, vote(2))
    assert (tmp_path / "ada.torn").read_bytes() == tail + b"\n"
    assert len(record.read(tmp_path)) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"time": "2026', "line 2: it is not JSON"),
        (b"\xff", "line 2: it is not JSON"),
        (b"", "line 2: it is empty"),
        (b"[1]", "line 2: it should be an object with time, listener"),
        (b"\0" * 50, "line 2: it is not JSON"),
        (b"[" * 100_000, "line 2: it is not JSON"),
    ],
)
def test_a_damaged_line_is_named_with_its_cure(tmp_path, line, message):
    record.add(tmp_path, vote(1))
    file = tmp_path / "ada.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + line + b"\n" + whole)
    with pytest.raises(VoteError, match=message) as error:
        record.read(tmp_path)
    assert "ada.jsonl" in str(error.value)
    assert "correct or remove that line" in str(error.value)


def test_a_file_of_another_listener_is_named(tmp_path):
    record.add(tmp_path, vote(1))
    (tmp_path / "ada.jsonl").rename(tmp_path / "bo.jsonl")
    with pytest.raises(VoteError, match="a vote of 'ada', and the file is that of 'bo'"):
        record.read(tmp_path)


@pytest.mark.parametrize("value", ["1" * 5000, '"' + "x" * 50 + '"', "null", "-1", "{}"])
def test_odd_values_in_a_line_are_a_sentence(tmp_path, value):
    answer = record.add(tmp_path, vote(1))
    values = {name: getattr(answer, name) for name in record.COLUMNS}
    for name in ("emotions", "seconds", "repeat", "audio", "other"):
        line = json.dumps(values | {name: "VALUE"}).replace('"VALUE"', value)
        (tmp_path / "ada.jsonl").write_text(line + "\n")
        with pytest.raises(VoteError, match="line 1: "):
            record.read(tmp_path)


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    record.add(tmp_path, vote(1))
    content = (tmp_path / "ada.jsonl").read_bytes()
    write = os.write

    def write_a_part(descriptor, content):
        if len(content) < 20:
            raise OSError(28, os.strerror(28))
        return write(descriptor, content[:19])

    monkeypatch.setattr(record.os, "write", write_a_part)
    with pytest.raises(WriteError, match="cannot be written: No space left"):
        record.add(tmp_path, vote(2))
    assert (tmp_path / "ada.jsonl").read_bytes() == content


def test_a_link_is_not_written_through(tmp_path):
    (tmp_path / "votes").mkdir()
    (tmp_path / "other").write_text("mine")
    (tmp_path / "votes" / "ada.jsonl").symlink_to(tmp_path / "other")
    with pytest.raises(WriteError, match="symbolic link"):
        record.add(tmp_path / "votes", VOTE)
    assert (tmp_path / "other").read_text() == "mine"


def test_listeners_and_writers_at_the_same_moment_disturb_nobody(tmp_path):
    votes = [vote(number, listener=name) for number in range(40) for name in ("ada", "bo")]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda ballot: record.add(tmp_path, ballot), votes))
    table = record.read(tmp_path)
    assert sorted(zip(table["listener"], table["audio"], strict=True)) == sorted((v.listener, v.audio) for v in votes)
