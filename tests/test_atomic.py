"""Files written whole or not at all, where they cannot be written, and locks that a stranger has prepared."""

import errno
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from ipr_core.atomic import WriteError, clear_unfinished, is_locked, locked, prepare_folder, write, write_text

NO_ROOM = "No space left on device; make room there, and the same command goes on"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), NO_ROOM),
        (Exception('IoError(Os { code: 28, message: "No space left on device" })'), NO_ROOM),  # as safetensors has it
        (OSError(errno.EFBIG, os.strerror(errno.EFBIG)), r"File too large; raise the limit of a file's size"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), "quota exceeded; make room there"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), "Read-only file system; name another place"),
    ],
)
def test_a_failed_write_names_file_reason_and_cure(tmp_path, error, sentence):
    def save(copy):
        Path(copy).write_text("half")
        raise error

    with pytest.raises(WriteError, match=f"a.txt cannot be written: .*{sentence}"):
        write(tmp_path / "a.txt", save)
    assert not list(tmp_path.iterdir())


def test_another_error_in_a_write_stays_as_it_is(tmp_path):
    for error in (ValueError("no label"), FileNotFoundError(errno.ENOENT, "No such file", "/somewhere/else.wav")):
        with pytest.raises(type(error)) as info:
            write(tmp_path / "a.txt", lambda copy, error=error: (_ for _ in ()).throw(error))
        assert info.value is error


@pytest.mark.parametrize(
    "place",
    ["/dev/null/x", "/etc/passwd", "/etc/passwd/a/b", "/tmp/" + 300 * "a", "file/x", "/proc/x", "/proc/x/y"],
)
def test_a_place_that_cannot_be_is_noticed_before_work_starts(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(WriteError, match=r"cannot be written: .*; (name another|give a shorter)"):
        prepare_folder(Path(place))
    with pytest.raises(WriteError, match="cannot be written"):
        write_text(Path(place) / "x", "text")


def test_a_place_without_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *args: False)  # root may write anywhere
    with pytest.raises(WriteError, match="Permission denied; name another place, or get permission to write there"):
        prepare_folder(tmp_path)


def test_a_place_that_can_be_is_not_made_before_it_is_needed(tmp_path):
    prepare_folder(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


def test_a_folder_or_a_device_is_not_replaced_by_a_file(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(WriteError, match="it is a folder"):
        write_text(tmp_path / "a", "text")
    with pytest.raises(WriteError, match="it is not a plain file"):
        write_text(Path(os.devnull), "text")


def test_a_link_is_replaced_and_its_target_left(tmp_path):
    (tmp_path / "target").write_text("precious")
    (tmp_path / "a").symlink_to("target")
    write_text(tmp_path / "a", "text")
    assert (tmp_path / "target").read_text() == "precious"


# Locks.


@pytest.mark.parametrize("dangling", [False, True])
def test_a_lock_that_is_a_link_does_not_touch_its_target(tmp_path, dangling):
    target = tmp_path / "target"
    if not dangling:
        target.write_text("precious")
    (tmp_path / ".lock").symlink_to(target)
    with pytest.raises(WriteError, match="it is a symbolic link; remove it"), locked(tmp_path / ".lock"):
        pass
    assert target.exists() != dangling
    assert dangling or target.read_text() == "precious"


def test_a_lock_that_is_a_pipe_or_a_folder_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(WriteError, match="cannot be written"), locked(tmp_path / name):
            pass


def test_a_lock_is_held_by_one(tmp_path):
    path = tmp_path / ".lock"
    with locked(path):
        assert is_locked(path)
        with pytest.raises(BlockingIOError), locked(path, wait=False):
            pass
    assert not is_locked(path)


# Clearing away.


def test_clearing_leaves_a_living_writer_and_removes_a_dead_ones_folder(tmp_path):
    def wait(copy):
        Path(copy).write_text("half")
        ready.set()
        signal.pause()

    ready = multiprocessing.get_context("fork").Event()
    writer = multiprocessing.get_context("fork").Process(target=write, args=(tmp_path / "a.txt", wait))
    writer.start()
    ready.wait()
    clear_unfinished(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    writer.kill()
    writer.join()
    clear_unfinished(tmp_path)
    assert not list(tmp_path.iterdir())


def test_clearing_follows_no_link(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / ".writing-a").symlink_to(tmp_path / "precious")
    (tmp_path / ".writing-b").write_text("a file")
    clear_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
