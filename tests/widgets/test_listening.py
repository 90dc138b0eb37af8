"""The listening test without a browser: what the page is told, what is kept, what it is never told."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
from IPython.display import HTML

from ipr_core.config import SettingsError
from ipr_core.data.faults import CorpusError
from ipr_core.votes import record
from ipr_core.votes.record import VoteError
from ipr_widgets.listening import Listening, listen

CLASSES = ("angry", "happy", "sad", "surprised", "ox")
PER_CLIP = {"kind", "request", "number", "following", "votes", "total", "answer", "broken"}
"""All that messages to the page may hold."""


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """The manifest of eight clips, whose names, ids and labels tell the emotion."""
    monkeypatch.setenv("IPR_CACHE", str(tmp_path / "cache"))
    lines = ["id,path,label,votes_angry,votes_happy"]
    for number in range(8):
        tone = 0.3 * np.sin(2 * np.pi * (200 + 50 * number) * np.arange(4800) / 16_000)
        soundfile.write(tmp_path / f"telltale_happy_{number}.wav", tone, 16_000)
        lines.append(f"telltale-happy-{number},telltale_happy_{number}.wav,happy,1,3")
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "manifest.csv"


@pytest.fixture
def page(corpus, tmp_path, monkeypatch):
    """A function that opens the test anew, as a page would; what the page is told is in `messages`."""
    messages = []
    monkeypatch.setattr(Listening, "send", lambda test, content, buffers=None: messages.append((content, buffers)))

    def open_page(**options):
        options = dict(listener="ada", repeats=0, classes=CLASSES) | options
        test = listen(corpus, votes=tmp_path / "votes", live=True, **options)

        def ask(kind, **content):
            start = len(messages)
            test._on_message(test, dict(kind=kind, request="r", **content), [])
            return [content for content, _ in messages[start:]]

        def vote(number, *emotions, **answer):
            values = dict(other=False, cannot_tell=False, word="", sure=None, seconds=0.5) | answer
            return ask("vote", number=number, emotions=list(emotions), **values)[-1]

        return SimpleNamespace(ask=ask, vote=vote, test=test)

    open_page.messages = messages
    return open_page


def test_a_vote_is_on_disk_before_the_page_is_turned(page, tmp_path):
    session = page()
    (turn,) = session.ask("begin")
    assert (turn["number"], turn["following"], turn["total"]) == (0, 1, 8)
    file = tmp_path / "votes" / "ada.jsonl"
    lines = []
    session.test.send = lambda content: lines.append(len(file.read_text().splitlines()))
    values = dict(emotions=[1], other=True, cannot_tell=False, word="at ease", sure=3, seconds=1.23456)
    session.test._on_message(None, dict(kind="vote", number=0) | values, [])
    assert lines == [1]
    vote = json.loads(file.read_text())
    assert (vote["emotions"], vote["other"], vote["word"], vote["sure"]) == (["happy"], True, "at ease", 3)
    assert (vote["seconds"], vote["repeat"], vote["cannot_tell"]) == (1.235, 0, False)


def test_a_test_goes_on_where_it_ended_and_ends(page, tmp_path):
    session = page()
    for number in range(5):
        assert session.vote(number, 0)["number"] == number + 1
    again = page()
    (turn,) = again.ask("begin")
    assert (turn["number"], turn["votes"], turn["answer"]) == (5, 5, None)
    for number in range(5, 8):
        last = again.vote(number, 2)
    assert (last["kind"], last["votes"], last["broken"]) == ("end", 8, 0)
    table = record.read(tmp_path / "votes")
    assert len(table) == 8
    assert table["audio"].is_unique
    assert page().ask("begin")[0]["kind"] == "end"


def test_back_shows_ones_own_vote_and_replaces_it(page, tmp_path):
    session = page()
    session.vote(0, 0)
    session.vote(1, 1, 2, sure=2)
    (turn,) = page().ask("back", number=2)
    answer = dict(emotions=[1, 2], other=False, cannot_tell=False, word="", sure=2)
    assert (turn["number"], turn["answer"]) == (1, answer)
    assert session.vote(1, cannot_tell=True)["number"] == 2
    table = record.read(tmp_path / "votes")
    assert table["cannot_tell"].tolist() == [False, True]
    assert session.ask("back", number=0)[0]["number"] == 0


def test_the_first_vote_is_not_shown_when_a_clip_comes_again(page):
    session = page(repeats=0.5)
    answers = []
    turn = session.ask("begin")[0]
    while turn["kind"] == "turn":
        answers.append(turn["answer"])
        turn = session.vote(turn["number"], 0)
    assert answers == [None] * 12


def test_the_page_learns_nothing_of_a_clip_but_its_sound(page, tmp_path):
    rival = page(listener="bo")
    rival.vote(0, 0)
    page.messages.clear()
    session = page()
    session.ask("begin")
    for number in range(8):
        session.ask("sound", number=number)
        session.vote(number, 1)
    text = json.dumps([content for content, _ in page.messages])
    assert {key for content, _ in page.messages for key in content} <= PER_CLIP
    assert not [word for word in ("telltale", "happy", "bo", str(tmp_path)) if word in text]
    assert not [key for key in session.test._clips.audio if key in text]
    state = session.test.get_state()
    assert "telltale" not in str(state)
    assert [emotion["name"] for emotion in state["emotions"]] == list(CLASSES)


def test_sounds_are_the_samples(page):
    session = page()
    session.ask("sound", number=3)
    content, (buffer,) = page.messages[-1]
    assert (content["kind"], content["number"]) == ("sound", 3)
    row = session.test._hearings[3].row
    assert np.array_equal(np.frombuffer(buffer, "<i2"), session.test._clips.samples(row))


def test_a_sound_that_is_gone_is_passed_over_without_its_name(page):
    session = page()
    session.ask("begin")

    def samples(row):
        raise CorpusError([])

    object.__setattr__(session.test._clips, "samples", samples)
    (turn,) = session.ask("sound", number=0)
    assert (turn["kind"], turn["request"], turn["number"]) == ("turn", "broken", 1)
    for number in range(1, 8):
        last = session.ask("sound", number=number)[-1]
    assert (last["kind"], last["broken"]) == ("end", 8)


def test_a_vote_that_cannot_be_kept_is_a_sentence_and_no_vote(page, tmp_path):
    session = page()
    assert "says nothing" in session.vote(0)["text"]
    (tmp_path / "votes" / "ada.jsonl").mkdir(parents=True)
    fault = session.vote(0, 1)
    assert fault["kind"] == "fault"
    assert "cannot be written" in fault["text"]
    assert "telltale" not in fault["text"]


@pytest.mark.parametrize("content", [dict(number=99), dict(number="0"), dict(number=True), dict(emotions=[99])])
def test_a_message_that_no_page_sends_is_refused(page, content, tmp_path):
    session = page()
    values = dict(kind="vote", number=0, emotions=[0], other=False, cannot_tell=False, word="", sure=None, seconds=0)
    with pytest.raises((ValueError, IndexError)):
        session.test._on_message(None, values | content, [])
    assert page.messages[-1][0]["kind"] == "fault"
    assert not (tmp_path / "votes" / "ada.jsonl").exists()


def test_every_emotion_has_keys_of_its_own():
    classes = [*CLASSES, "sadder", "<b>", *(f"emotion {n}" for n in range(5))]
    test = Listening(SimpleNamespace(audio=[], ids=[]), [], classes, "ada", "nowhere")
    keys = [(emotion["digit"], emotion["letter"]) for emotion in test.emotions]
    assert keys[:7] == [("1", "a"), ("2", "h"), ("3", "s"), ("4", "r"), ("5", ""), ("6", "d"), ("7", "b")]
    letters = [letter for _, letter in keys if letter]
    assert len(set(letters)) == len(letters)
    assert not set(letters) & set("oxu")
    assert keys[9][0] == ""


def test_a_headless_notebook_says_what_would_be_heard(corpus, tmp_path):
    plan = listen(str(corpus), "ada", tmp_path / "votes", repeats=0.5, live=False, classes=["a<b", "happy"])
    assert isinstance(plan, HTML)
    assert "8 clips, 4 of them heard twice; 0 votes" in plan.data
    assert "a&lt;b, happy, other, cannot tell" in plan.data
    assert not (tmp_path / "votes").exists()


def test_wrong_requests_are_refused_with_a_sentence(corpus, tmp_path):
    with pytest.raises(VoteError, match="cannot be the name of a listener"):
        listen(corpus, "a/b", tmp_path)
    with pytest.raises(SettingsError):
        listen(corpus, "ada", tmp_path, clases=["a", "b"])
    (tmp_path / "ada.jsonl").write_text("[]\n")
    with pytest.raises(VoteError, match="line 1"):
        listen(corpus, "ada", tmp_path)
    assert isinstance(listen(corpus, "bo", tmp_path, live=False), HTML)  # whom another's damaged file does not disturb


def test_warnings_with_file_names_do_not_reach_the_page(corpus, tmp_path, caplog):
    table = pd.read_csv(corpus)
    table["odd column"] = 1
    table.to_csv(corpus, index=False)
    listen(corpus, "ada", tmp_path / "votes", live=False)
    assert "telltale" not in caplog.text
