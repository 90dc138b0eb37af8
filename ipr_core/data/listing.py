"""The audio files below a folder, and what is left out of them and why."""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from ipr_core.data.faults import Fault, Note, number_of, quoted

READ_KINDS = frozenset((
    ".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".mp3", ".mp2", ".ogg", ".oga", ".opus", ".aiff", ".aif",
    ".aifc", ".au", ".snd", ".caf", ".sph", ".nist", ".m4a", ".m4b", ".m4r", ".aac", ".adts", ".amr", ".awb", ".weba",
    ".mka", ".wma", ".wv", ".tta", ".spx",
))  # fmt: skip
"""Suffixes of sound that the decoder reads."""
VIDEO_KINDS = frozenset((
    ".mp4", ".m4v", ".mov", ".3gp", ".3gpp", ".3g2", ".webm", ".mkv", ".avi", ".flv", ".wmv", ".asf", ".ogv",
))  # fmt: skip
"""Suffixes of videos, whose sound it reads."""
OTHER_KINDS = frozenset((
    ".m4p", ".ra", ".rm", ".ape", ".mpc", ".ac3", ".eac3", ".dts", ".dsf", ".dff", ".gsm", ".qcp", ".dss", ".ds2",
    ".shn", ".alac", ".raw", ".pcm", ".ul", ".ulaw", ".vox", ".voc", ".sf", ".mpeg", ".mpg", ".mpga", ".mts", ".m2ts",
    ".vob",
))  # fmt: skip
"""Suffixes of sound that the decoder does not read."""
NOT_CONTENT = frozenset(("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"))
"""Folders of operating systems and file servers, passed over as hidden ones are."""
_TWIN = "video whose sound is in another file"
_NAMED = 3  # examples in a note


def _kind(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _is_video(path: str) -> bool:
    return _kind(path) in VIDEO_KINDS


class AudioFiles:
    """The audio files below some folders, in the order of their paths.

    Iterating yields paths relative to `root`. Links to files and folders are followed; a folder that can be reached
    twice is listed once, so that a link to a folder above ends. One directory's names are in memory at a time.
    """

    def __init__(self, root: Path, folders: Iterable[str] = ("",), deep: bool = True):
        """folders: relative to `root`, by default that one itself   deep: whether folders in them are listed too"""
        self.root, self.folders, self.deep = root, list(folders), deep
        self.faults: list[Fault] = []
        """Names that no table can hold."""
        self.read = 0
        """Files that were yielded, less those that a reader left out."""
        self._causes: Counter[str] = Counter()
        self._examples: defaultdict[str, list[str]] = defaultdict(list)
        self._foreign: Counter[str] = Counter()  # files that are no audio, by suffix

    def __iter__(self) -> Iterator[str]:
        visited: set[tuple[int, int]] = set()
        for folder in self.folders:
            prefix = f"{folder.rstrip('/')}/" if folder else ""
            stack = [(prefix, self._entries(prefix, visited))]
            while stack:
                prefix, entries = stack[-1]
                entry = next(entries, None)
                if entry is None:
                    stack.pop()
                elif self._is_folder(entry):
                    if self._is_content(entry.name, prefix, folder=True) and self._is_deep(entry.name, prefix):
                        deeper = f"{prefix}{entry.name}/"
                        stack.append((deeper, self._entries(deeper, visited)))
                elif self._is_audio(entry, prefix):
                    self.read += 1
                    yield prefix + entry.name

    def by_stem(self) -> dict[str, str]:
        """Return every file's path by its name without suffix; two files of the same stem are a fault.

        Of a video and a sound, as a corpus has them of the same clip, the video is left out.
        """
        paths: dict[str, str] = {}
        for path in sorted(self, key=_is_video):
            stem = os.path.splitext(os.path.basename(path))[0]
            if stem in paths and _is_video(path) and not _is_video(paths[stem]):
                self.leave_out(path, _TWIN)
            elif stem in paths:
                problem = f"{paths[stem]} and {path} are both the clip {stem!r}"
                self.faults.append(Fault(str(self.root), None, problem, "keep one of them", "clips of the same name"))
            paths.setdefault(stem, path)
        return paths

    def leave_out(self, name: str, cause: str) -> None:
        """Count a yielded file as one that its reader does not use.

        cause: in words that follow a number, such as "without votes"
        """
        self.read -= 1
        self._pass_over(name, cause)

    def note(self) -> Note:
        """Return one sentence on the files: how many are read, how many are left out, and why."""
        sentence = f"{self.root}: {number_of(self.read, 'audio file')} read"
        if self._causes:
            causes = (self._cause(cause, count) for cause, count in sorted(self._causes.items()))
            sentence += f"; {self._causes.total():,} left out: {'; '.join(causes)}"
        if self._foreign:
            kinds = ", ".join(sorted(self._foreign)[:_NAMED]) + (" …" if len(self._foreign) > _NAMED else "")
            sentence += f"; {number_of(self._foreign.total(), 'other file')} without sound ({kinds})"
        return Note(logging.WARNING if self._causes else logging.INFO, sentence)

    def _cause(self, cause: str, count: int) -> str:
        ending = ", …" if count > _NAMED else ""
        return f"{count:,} {cause} ({', '.join(self._examples[cause])}{ending})"

    def _pass_over(self, name: str, cause: str) -> None:
        self._causes[cause] += 1
        if len(self._examples[cause]) < _NAMED:
            self._examples[cause].append(name)

    def _entries(self, prefix: str, visited: set[tuple[int, int]]) -> Iterator[os.DirEntry[str]]:
        """Return a folder's entries in order; none of a folder that is listed already or cannot be read."""
        folder = self.root / prefix
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in visited:
                self._pass_over(prefix, "linked to a folder that is listed already")
                return iter(())
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                return self._without_twins(sorted(entries, key=lambda entry: entry.name), prefix)
        except OSError as error:
            self._pass_over(prefix or str(folder), f"folder that cannot be read: {error.strerror}")
            return iter(())

    def _without_twins(self, entries: list[os.DirEntry[str]], prefix: str) -> Iterator[os.DirEntry[str]]:
        """Yield entries but for a video beside a sound of the same name."""
        sounds = {os.path.splitext(entry.name)[0] for entry in entries if _kind(entry.name) in READ_KINDS}
        for entry in entries:
            if _is_video(entry.name) and os.path.splitext(entry.name)[0] in sounds:
                self._pass_over(prefix + entry.name, _TWIN)
            else:
                yield entry

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        try:
            return entry.is_dir()
        except OSError:  # a link to itself
            return False

    def _is_deep(self, name: str, prefix: str) -> bool:
        if not self.deep:
            self._pass_over(f"{prefix}{name}/", "folder inside the one that is read")
        return self.deep

    def _is_audio(self, entry: os.DirEntry[str], prefix: str) -> bool:
        kind = _kind(entry.name)
        if kind in OTHER_KINDS and not entry.name.startswith("."):
            self._pass_over(prefix + entry.name, f"{kind}, which the decoder does not read: convert to wav")
            return False
        if kind not in READ_KINDS | VIDEO_KINDS:
            self._foreign[kind or "no suffix"] += not entry.name.startswith(".")
            return False
        return self._is_content(entry.name, prefix, folder=False) and self._is_file(entry, prefix)

    def _is_content(self, name: str, prefix: str, folder: bool) -> bool:
        """Tell whether a file or folder counts by its name, and note one that does not."""
        if name.startswith(".") or (folder and name in NOT_CONTENT):
            self._pass_over(prefix + name, f"hidden {'folder' if folder else 'file'}")
            return False
        try:
            name.encode()
        except UnicodeEncodeError:
            problem, cure = f"the name {quoted(prefix + name)} is not UTF-8", "rename it, by hand or with convmv"
            self.faults.append(Fault(str(self.root), None, problem, cure, "a name that is not UTF-8"))
            return False
        return True

    def _is_file(self, entry: os.DirEntry[str], prefix: str) -> bool:
        try:
            if entry.is_file():
                return True
        except OSError:
            pass
        cause = "link to a file that does not exist" if entry.is_symlink() else "pipe, socket or device"
        self._pass_over(prefix + entry.name, cause)
        return False
