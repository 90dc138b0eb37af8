"""The folder for files that can be made again: decoded audio, generated sounds, features."""

from __future__ import annotations

import os
from pathlib import Path


def default_cache() -> Path:
    """Return $IPR_CACHE, or ~/.cache/ipr-workbench."""
    return Path(os.environ.get("IPR_CACHE") or Path.home() / ".cache" / "ipr-workbench")
