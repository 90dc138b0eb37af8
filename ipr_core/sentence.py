"""Errors whose message is a sentence for the person at work, which a notebook shows alone."""

from __future__ import annotations

import os
import traceback


class SentenceError(Exception):
    """An error of which the message says all: the fault, its place and the cure."""

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows below a cell: the message, or everything with $IPR_DEBUG set."""
        return traceback.format_exception(self) if os.environ.get("IPR_DEBUG") else [str(self)]
