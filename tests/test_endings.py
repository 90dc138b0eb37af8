"""The endings of commands: notes while they work, and a sentence for every way that they end."""

import errno
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ipr_core import cli
from ipr_core.atomic import WriteError
from ipr_core.encoders import EncoderError
from ipr_core.runs.run import RunError
from ipr_core.training.advance import prepare


def ending(monkeypatch, error) -> int:
    """Return the exit code of a command that ends with an error."""

    def corpora(args):
        """Raise the error."""
        raise error

    monkeypatch.setitem(cli.COMMANDS, "corpora", corpora)
    return cli.main(["corpora"])


def test_notes_are_plain_sentences_each_shown_once_in_a_command(monkeypatch, capsys):
    def corpora(args):
        """Say the same twice, once in other words, and once too softly."""
        for count in (72, 72, 71):
            logging.getLogger("ipr_core.data.audio").info("%d audio files read", count)
        logging.getLogger("ipr_core.data.audio").warning("2 left out: 1 .m4a, 1 .webm")
        logging.getLogger("ipr_core.data.audio").debug("a detail")
        return 0

    monkeypatch.setitem(cli.COMMANDS, "corpora", corpora)
    for _ in range(2):  # the next command says it again
        assert cli.main(["corpora"]) == 0
        assert capsys.readouterr().err.splitlines() == [
            "72 audio files read",
            "71 audio files read",
            "2 left out: 1 .m4a, 1 .webm",
        ]
    assert not logging.getLogger("ipr_core").handlers


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (RunError("runs/a is damaged; put it back"), 2, "runs/a is damaged; put it back"),
        (EncoderError("no such encoder"), 2, "no such encoder"),
        (WriteError("a.csv", "no room"), 1, "a.csv cannot be written: no room; name another place"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "No space left on device; make room there"),
        (OSError(errno.EROFS, "Read-only file system", "/a/b"), 1, "/a/b: Read-only file system"),
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), 1, "/a/b: Permission denied"),
        (OSError(errno.EMFILE, "Too many open files"), 1, "raise the limit of open files"),
        (MemoryError(), 1, "the memory is too small (MemoryError); a smaller batch_size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 GB"), 1, "the memory is too small"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), 1, "a smaller batch_size, max_seconds or enc"),
        (KeyboardInterrupt(), 130, "interrupted; trained epochs are kept: `ipr resume RUN`"),
    ],
)
def test_an_error_is_one_sentence(monkeypatch, capsys, error, code, sentence):
    assert ending(monkeypatch, error) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line


@pytest.mark.parametrize("error", [KeyError("speaker"), ZeroDivisionError("1/0"), RecursionError()])
def test_an_unforeseen_error_is_kept_in_a_file(monkeypatch, capsys, tmp_path, error):
    monkeypatch.setenv("IPR_CACHE", str(tmp_path))
    monkeypatch.setenv("SECRET", "not in the report")
    assert ending(monkeypatch, error) == 70
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"this is a fault of the workbench: {type(error).__name__}")
    (report,) = tmp_path.glob("ipr-fault-*.txt")
    assert str(report) in line
    text = report.read_text("utf-8")
    assert "ipr corpora" in text
    assert "Traceback" in text
    assert "torch 2" in text
    assert "not in the report" not in text


def test_a_report_that_cannot_be_kept_is_shown(monkeypatch, capsys):
    monkeypatch.setattr("ipr_core.endings._places", lambda: iter([Path("/dev/null/cache")]))
    assert ending(monkeypatch, ZeroDivisionError("1/0")) == 70
    assert "Traceback" in capsys.readouterr().err


def test_every_traceback_is_shown_on_request(monkeypatch, capsys):
    monkeypatch.setenv("IPR_DEBUG", "1")
    assert ending(monkeypatch, RunError("damaged")) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["/proc/x", "file", "file/x"])
@pytest.mark.parametrize("command", ["run", "train", "partition", "doctor"])
def test_a_place_that_cannot_be_is_said_before_a_corpus_is_read(command, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    monkeypatch.setenv("IPR_CACHE" if command == "partition" else "IPR_RUNS", folder)
    for name in ("ipr_core.data.dataset.load", "ipr_core.training.advance.load"):
        monkeypatch.setattr(name, lambda *args: pytest.fail("a corpus is read"))
    assert cli.main([command, *(["--preset", "demo"] if command != "doctor" else [])]) == 1
    captured = capsys.readouterr()
    assert re.search(f"{folder} cannot be written: .*; name another place", captured.out + captured.err)


def test_a_run_in_a_notebook_is_refused_before_the_corpus_is_read(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr("ipr_core.training.advance.load", lambda *args: pytest.fail("a corpus is read"))
    with pytest.raises(WriteError, match="file is not a folder"):
        prepare(tiny, tmp_path / "file")


# In a process of its own.

COMMAND = """
import sys, time
from ipr_core.endings import ended
def command():
    print("ready", flush={flush})
    {act}
    return 0
sys.exit(ended(command, dict, []))
"""


def start(act, **options):
    command = [sys.executable, "-c", COMMAND.format(act=act, flush=True)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_ends_a_command_with_a_sentence(name):
    number = getattr(signal, name)
    # Nohup, as in `nohup make test`, has switched one of them off.
    with start("time.sleep(60)", preexec_fn=lambda: signal.signal(number, signal.SIG_DFL)) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        error = process.stderr.read()
    assert process.returncode == 128 + number
    assert error == "interrupted; trained epochs are kept: `ipr resume RUN` or the same command continues\n"


def test_a_second_signal_ends_a_command_at_once():
    act = "exec('try:\\n print(1, flush=True); time.sleep(60)\\nfinally:\\n print(2, flush=True); time.sleep(60)')"
    with start(act) as process:
        assert [process.stdout.readline() for _ in range(2)] == ["ready\n", "1\n"]  # inside of `try`
        process.terminate()
        assert process.stdout.readline() == "2\n"
        process.terminate()
    assert process.returncode == -signal.SIGTERM


def test_a_signal_that_is_ignored_stays_ignored():
    with start("time.sleep(1)", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) as process:  # nohup
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGHUP)
    assert process.returncode == 0


def test_a_reader_that_goes_away_is_no_error():
    with start("[print('x' * 1000) for _ in range(1000)]") as process:
        assert process.stdout.readline() == "ready\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 128 + signal.SIGPIPE


def test_a_full_disk_under_the_output_is_said():
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-c", COMMAND.format(act="pass", flush=False)]
        process = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=300)
    assert process.returncode == 1
    assert process.stderr.startswith("No space left on device; make room there")
    assert "Traceback" not in process.stderr
