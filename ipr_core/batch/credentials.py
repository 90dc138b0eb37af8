"""Who may talk to the Dask scheduler of a batch: whoever has its TLS certificate and key, and nobody else.

A batch's own scheduler has a certificate made for it alone. Scheduler, workers and client show it to each other, so
that another user, or another machine, can neither run nor read anything. Only workers in jobs need it in files.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed.security import Security


def temporary() -> Security:
    """Make a certificate and its key in memory, for one batch."""
    from distributed.security import Security

    return Security.temporary()


@contextlib.contextmanager
def private_folder(parent: Path) -> Iterator[Path]:
    """Make a folder that this user alone can enter; it is removed afterwards."""
    parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".batch-", dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def for_workers(security: Security, folder: Path) -> Security:
    """Write what workers in jobs need into a private folder, and return credentials that name the files.

    The names are quoted for a shell: dask-jobqueue writes them into the command of a worker as they are.
    """
    from distributed.security import Security

    files: dict[str, Any] = {}
    for name, text in security.get_tls_config_for_role("worker").items():
        if name in ("ca_file", "cert", "key"):
            path = folder / f"{name}.pem"
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)
            files["tls_ca_file" if name == "ca_file" else f"tls_worker_{name}"] = shlex.quote(str(path))
    return Security(require_encryption=True, **files)
