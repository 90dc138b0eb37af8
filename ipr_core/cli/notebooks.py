"""The commands of notebooks that a person opens: `ipr notebooks` copies them, `ipr lab` opens JupyterLab on them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from ipr_core.cli.arguments import check_places
from ipr_core.options import Args


def notebooks(args: Args) -> int:
    """Copy the notebooks into a folder, to work on them. One that lies there is left as it is."""
    check_places(args.folder)
    copies = _copy(args.folder)
    print(f"{args.folder}: {', '.join(copies) or 'all of them were there'}; `ipr lab {args.folder}` opens them")
    return 0


def lab(args: Args) -> int:
    """Open JupyterLab on the notebooks, on loopback: on those of the checkout, or on copies in a folder."""
    from ipr_core.batch.notebooks import checkout, folder

    target = args.folder or (folder() if checkout() else Path("ipr-notebooks"))
    if not (checkout() and target.resolve() == folder().resolve()):
        check_places(target)
        _copy(target)
    return subprocess.call([sys.executable, "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1", str(target)])


def _copy(target: Path) -> list[str]:
    """Copy the notebooks that are not in a folder yet. returns: their names"""
    from ipr_core.batch.notebooks import folder

    target.mkdir(parents=True, exist_ok=True)
    new = [source for source in sorted(folder().glob("*.ipynb")) if not (target / source.name).exists()]
    for source in new:
        shutil.copyfile(source, target / source.name)
    return [source.name for source in new]
