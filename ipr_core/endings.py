"""What a command says besides its result: notes while it works, and a sentence for every way that it can end."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator


class Notes(logging.Handler):
    """Log records as plain sentences on stderr, each different sentence once."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._sentences: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record's sentence, above a progress bar if there is one."""
        sentence = record.getMessage()
        if sentence not in self._sentences:
            self._sentences.add(sentence)
            self._print(sentence)

    @staticmethod
    def _print(sentence: str) -> None:
        from tqdm import tqdm  # late, so that --help is there at once

        tqdm.write(sentence, file=sys.stderr)


@contextlib.contextmanager
def notes() -> Iterator[None]:
    """Show the notes of `ipr_core`, INFO and above, while a command works."""
    logger = logging.getLogger("ipr_core")
    handler, level = Notes(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
