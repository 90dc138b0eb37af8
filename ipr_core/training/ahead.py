"""What will be asked for next, made by a thread while the one at hand is worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Made = TypeVar("Made")


class Ahead(Generic[Key, Made]):
    """`make` of each key, begun `depth` keys before it is asked for; a key that was not expected is made at once."""

    def __init__(self, make: Callable[[Key], Made], depth: int = 2):
        self._make, self._depth = make, depth
        self._thread = ThreadPoolExecutor(1, "ahead")
        self._left: Iterator[Key] = iter(())
        self._begun: deque[tuple[Key, Future[Made]]] = deque()

    def expect(self, keys: Iterable[Key]) -> None:
        """These come next, in this order; what was expected before is forgotten."""
        for _, future in self._begun:
            future.cancel()
        self._begun.clear()
        self._left = iter(keys)
        self._fill()

    def get(self, key: Key) -> Made:
        if not self._begun or self._begun[0][0] != key:
            return self._make(key)
        _, future = self._begun.popleft()
        self._fill()
        return future.result()

    def _fill(self) -> None:
        while len(self._begun) < self._depth and (key := next(self._left, None)) is not None:
            self._begun.append((key, self._thread.submit(self._make, key)))
