"""Long work shows a bar on a terminal, and one line in a file or a pipe."""

import io

import pytest

from ipr_core import progress
from ipr_core.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds that a count of three takes."""
    times = iter([0.0, 4.2])
    monkeypatch.setattr(progress, "perf_counter", lambda: next(times))


@pytest.mark.usefixtures("clock")
def test_a_pipe_gets_one_line(capsys):
    assert list(Progress(range(3), "Decoding", "file")) == [0, 1, 2]
    assert capsys.readouterr().err == "Decoding: 3 files, 4 s\n"


def test_short_work_says_nothing(capsys):
    with Progress((), "Decoding", "file", total=1) as bar:
        bar.update()
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("clock")
def test_nothing_is_shown_where_nothing_is_wanted(capsys):
    assert list(Progress(range(3), "Decoding", "file", shown=False)) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    monkeypatch.setattr(progress, "_PATIENCE", 0)
    assert list(Progress(range(3), "Decoding", "file")) == [0, 1, 2]
    assert "Decoding:   0%" in terminal.getvalue()
    assert not terminal.getvalue().rstrip(" \r").endswith("s"), "no line is left"
