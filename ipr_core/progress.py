"""Progress of long work: a bar where somebody watches, one line with the time where the output is a file or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sized
from time import perf_counter
from typing import Any, Generic, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
_PATIENCE = 2.0  # seconds of work that need no sign


class Progress(Generic[Item]):
    """A count of work that is done, shown on the standard error output after two seconds.

    items: what is gone through, if it is a loop   title: what is done   unit: of the count, in the singular
    total: how much there is; by default the number of items   shown: False shows nothing
    """

    def __init__(
        self,
        items: Iterable[Item] = (),
        title: str = "",
        unit: str = "item",
        total: int | None = None,
        shown: bool = True,
    ):
        self._items, self._title, self._unit = items, title, unit
        self._total = len(items) if total is None and isinstance(items, Sized) else total
        self._line = shown and not is_watched()
        hidden = not shown or self._line
        self._bar: tqdm[Any] = tqdm(
            total=self._total, desc=title, unit=unit, delay=_PATIENCE, leave=False, disable=hidden
        )
        self._start, self._done = perf_counter(), 0

    def __iter__(self) -> Iterator[Item]:
        with self:
            for item in self._items:
                yield item
                self.update()

    def update(self) -> None:
        """Count one more."""
        self._done += 1
        self._bar.update()

    def __enter__(self) -> Progress[Item]:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        seconds = perf_counter() - self._start
        if self._line and seconds >= _PATIENCE:
            say(f"{self._title}: {self._done:,} {self._unit}{'' if self._done == 1 else 's'}, {seconds:.0f} s")


def say(line: str) -> None:
    """Print a line on the standard error output."""
    print(line, file=sys.stderr, flush=True)


def is_watched() -> bool:
    """Tell whether the standard error output is a terminal's or a notebook's, where a line can be written over."""
    stream = sys.stderr
    return stream is not None and (stream.isatty() or type(stream).__module__.startswith("ipykernel"))
