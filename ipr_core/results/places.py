"""Paths of this machine, left out of a page that is given to others: they name its user and its folders."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ipr_core.runs.run import Run

_AS_IT_IS = frozenset({"bdata", "image/png", "image/jpeg"})
"""Fields whose text is data."""
_PART = r"[^\s/\"'`<>|:;,()\[\]{}\\]"
_PATH = re.compile(rf"data:[\w/+.;=-]*,[\w/+=]*|(?<![\w.:/~<\\+=…])/(?:{_PART}+/)+({_PART}*)")
"""An absolute path of two names or more; what an address holds as data is passed over."""


class Places:
    """The folders of a run and of this machine, and the names that stand for them on a page."""

    def __init__(self, run: Run):
        settings = [run.config.data.corpus, run.config.data.corpus_path, run.config.encoder.encoder]
        inputs = {path.parent: "…" for path in map(Path, filter(None, settings)) if path.is_absolute()}
        runs = run.folder.absolute().parent
        machine = {Path.home(): "~", Path.cwd(): ".", Path(sys.prefix): "python", Path(__file__).parents[2]: "."}
        names = machine | inputs | {runs.resolve(): runs.name, runs: runs.name}
        plain = {str(path): name for path, name in names.items() if len(path.parts) > 1}
        self._names = dict(sorted(plain.items(), key=lambda pair: -len(pair[0])))
        self._pattern = re.compile("|".join(rf"{re.escape(path)}(?![\w.-])" for path in self._names))

    def hide(self, text: str) -> str:
        """Return a text in which the folders have their names, and any other absolute path only its end."""
        text = self._pattern.sub(lambda match: self._names[match[0]], text)
        return _PATH.sub(_end, text)

    def hide_all(self, value: Any) -> Any:
        """Return a value of JSON, a notebook say, with `hide` done to every text in it."""
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, Mapping):
            return {key: part if key in _AS_IT_IS else self.hide_all(part) for key, part in value.items()}
        return [self.hide_all(part) for part in value] if isinstance(value, Iterable) else value


def _end(match: re.Match[str]) -> str:
    if match[0].startswith("data:"):
        return match[0]
    return f"…/{match[1] or match[0].rstrip('/').rpartition('/')[2]}"
