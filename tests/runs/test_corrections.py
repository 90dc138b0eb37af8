"""Corrections: the file in the run folder, simultaneous writers, damage, and the labels they replace."""

import os
import threading
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from ipr_core.atomic import WRITING
from ipr_core.runs import corrections
from ipr_core.runs.run import RunError
from ipr_core.training.advance import prepare


@pytest.fixture
def run(tiny, data, tmp_path):
    """A run that is not trained: nothing of a correction depends on training."""
    return prepare(tiny, tmp_path / "runs", data=data)[0]


@pytest.fixture
def ids(data):
    return data.table["id"].tolist()


def file(run):
    return run.folder / "corrections" / "history.csv"


def test_without_corrections_there_is_an_empty_table_and_no_file(run):
    assert corrections.read(run).columns.tolist() == list(corrections.COLUMNS)
    assert corrections.newest(run).empty
    assert not file(run).exists()


def test_a_correction_has_who_and_when_and_the_key_of_what_was_heard(run, data, ids):
    corrections.add(run, ids[2], "sad", "  Ada\nLovelace ", 'slow, "low"\nvoice')
    (row,) = corrections.read(run).to_dict("records")
    time = datetime.fromisoformat(row.pop("when"))
    assert timedelta() <= datetime.now(UTC) - time < timedelta(minutes=5)
    assert time.utcoffset() == timedelta()
    assert row == {
        "id": ids[2], "label": "sad", "who": "Ada Lovelace", "note": 'slow, "low" voice', "audio": data.waves.keys[2],
    }  # fmt: skip


def test_the_newest_counts_and_the_whole_history_stays(run, ids):
    for id, label in ((ids[0], "sad"), (ids[1], "angry"), (ids[0], "happy"), (ids[1], corrections.WITHDRAWN)):
        corrections.add(run, id, label, "Ada")
    assert corrections.newest(run)["label"].to_dict() == {ids[0]: "happy"}
    assert corrections.read(run)["label"].tolist() == ["sad", "angry", "happy", "withdrawn"]
    corrections.add(run, ids[1], "neutral", "Ada")
    assert corrections.newest(run)["label"].to_dict() == {ids[0]: "happy", ids[1]: "neutral"}


def test_a_line_that_was_written_is_never_changed(run, ids):
    corrections.add(run, ids[0], "sad", "Ada")
    content = file(run).read_bytes()
    corrections.add(run, ids[0], corrections.WITHDRAWN, "Grace")
    assert file(run).read_bytes().startswith(content)


def test_a_spreadsheet_reads_it_and_may_save_it(run, ids):
    corrections.add(run, ids[0], "sad", "Ada", "a, b")
    table = pd.read_csv(file(run), keep_default_na=False)
    pd.testing.assert_frame_equal(table.astype(str), corrections.read(run), check_dtype=False)
    text = file(run).read_text().rstrip("\n").replace("\n", "\r\n")  # as some save: marked, and no end to the last line
    file(run).write_bytes(b"\xef\xbb\xbf" + text.encode())
    corrections.add(run, ids[1], "happy", "Ada")
    assert corrections.newest(run)["label"].to_dict() == {ids[0]: "sad", ids[1]: "happy"}


def test_requests_that_cannot_be_kept_are_refused_and_leave_nothing(run, ids):
    with pytest.raises(ValueError, match="no utterance 'nobody' in"):
        corrections.add(run, "nobody", "sad", "Ada")
    with pytest.raises(
        ValueError, match="'bored' is not a class of this run; choose one of angry, happy, sad, neutral"
    ):
        corrections.add(run, ids[0], "bored", "Ada")
    with pytest.raises(ValueError, match="needs the name of who makes it"):
        corrections.add(run, ids[0], "sad", " \n")
    with pytest.raises(ValueError, match="has no correction that could be withdrawn"):
        corrections.add(run, ids[0], corrections.WITHDRAWN, "Ada")
    assert not file(run).exists()


KEY = "0123456789abcdef" * 2
GOOD = f"id,label,who,when,note,audio\na,sad,Ada,2026-01-01T00:00:00+00:00,,{KEY}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: it is empty"),
        ("id,label\n", "line 1: it should be id,label,who,when,note,audio"),
        (GOOD + "b,sad,Ada\n", "line 3: it has 3 of 6 fields"),
        (GOOD + f"b,bored,Ada,2026-01-01,,{KEY}\n", "line 3: 'bored' is not a class of this run"),
        (GOOD + f"b,sad,,2026-01-01,,{KEY}\n", "line 3: it does not say who"),
        (GOOD + f"b,sad,Ada,yesterday,,{KEY}\n", "line 3: 'yesterday' is not a time in ISO 8601"),
        (GOOD + 'b,sad,"Ada', "line 3: unexpected end of data"),
        (GOOD[:-3] + "\n", f"line 2: '{KEY[:-2]}' is not the key of a sound"),
        (GOOD.replace("0123", "01v3"), "line 2: '01v3"),
        (GOOD + "b,sad,Ada,2026-01-01,,\n", "line 3: '' is not the key of a sound"),
    ],
)
def test_damage_is_told_with_its_line_and_a_cure_and_nothing_is_written_onto_it(run, ids, text, message):
    file(run).parent.mkdir()
    file(run).write_text(text)
    for use in (lambda: corrections.read(run), lambda: corrections.add(run, ids[0], "sad", "Ada")):
        with pytest.raises(RunError) as caught:
            use()
        assert f"history.csv, {message}" in str(caught.value)
        assert "correct or remove that line" in str(caught.value)
    assert file(run).read_text() == text


def test_bytes_that_are_no_text_are_told_with_their_line(run):
    file(run).parent.mkdir()
    file(run).write_bytes(GOOD.encode() + b"b,sad,\xff\n")
    with pytest.raises(RunError, match="line 3: it is not UTF-8"):
        corrections.read(run)


def test_writers_at_the_same_time_lose_nothing(run, ids):
    def write(author):
        for id in ids[:8]:
            corrections.add(run, id, "sad", author)

    writers = [threading.Thread(target=write, args=(name,)) for name in ("Ada", "Grace", "Mary")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    rows = corrections.read(run)
    assert len(rows) == 24
    assert rows.groupby("who")["id"].apply(list).tolist() == [ids[:8]] * 3


def test_what_a_killed_writer_left_is_cleared_up_and_a_correction_never_touches_a_runs_own(run, ids):
    unfinished, of_training = file(run).parent / f"{WRITING}x", run.folder / f"{WRITING}y"
    for folder in (unfinished, of_training):
        folder.mkdir(parents=True)
    corrections.add(run, ids[0], "sad", "Ada")
    assert sorted(os.listdir(file(run).parent)) == [".lock", "history.csv"]
    assert of_training.exists()
    with run.locked():  # training, which removes unfinished files in its own folders only
        corrections.add(run, ids[1], "sad", "Ada")
    assert len(corrections.newest(run)) == 2


# The labels that they replace.


def corrected(*rows):
    table = pd.DataFrame(rows, columns=["id", "label", "who", "audio"]).assign(when="then", note="")
    return table.set_index("id")


def applied(ids, keys, *rows):
    table = pd.DataFrame({"id": ids, "single_label": "sad", "soft_sad": 1.0})
    labels = corrections.apply(table, keys, corrected(*rows))
    assert labels["soft_sad"].tolist() == [1.0] * len(ids)  # the model's
    return [tuple(row) for row in labels[["single_label", "corrected_by", "corrected_at"]].to_numpy()]


AS_IT_WAS, ADAS = ("sad", "", ""), ("happy", "Ada", "then")


def test_the_same_sound_is_corrected_under_any_name():
    assert applied(["a", "b"], ["k", "l"], ("a", "happy", "Ada", "k")) == [ADAS, AS_IT_WAS]
    assert applied(["x", "a"], ["k", "l"], ("a", "happy", "Ada", "k")) == [ADAS, AS_IT_WAS]


def test_another_sound_of_the_same_id_is_not():
    assert applied(["a"], ["other"], ("a", "happy", "Ada", "k")) == [AS_IT_WAS]


def test_of_clips_that_sound_alike_each_has_its_own_and_a_third_the_newer():
    rows = ("a", "happy", "Ada", "k"), ("b", "angry", "Grace", "k")
    graces = ("angry", "Grace", "then")
    assert applied(["a", "b", "c"], ["k"] * 3, *rows) == [ADAS, graces, graces]


def test_without_corrections_the_columns_are_there_and_empty():
    assert applied(["a"], ["k"]) == [AS_IT_WAS]
