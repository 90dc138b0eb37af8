"""The commands of notebooks that a person opens: `ipr notebooks` copies them, `ipr lab` opens JupyterLab on copies."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from ipr_core.atomic import make_folder
from ipr_core.cli.arguments import check_places
from ipr_core.options import Args

COPIES = "ipr-notebooks"
"""The folder of working copies; git ignores it in a checkout."""


def notebooks(args: Args) -> int:
    """Copy the notebooks into a folder, to work on them. One that lies there is left as it is."""
    copies = _copy(args.folder)
    print(f"{args.folder}: {', '.join(copies) or 'all of them were there'}; `ipr lab {args.folder}` opens them")
    return 0


def lab(args: Args) -> int:
    """Open JupyterLab on copies of the notebooks, on loopback.

    They lie in FOLDER, or in ipr-notebooks: of the checkout if there is one, else of this folder. What is run and saved
    there changes no file of the repository. One that lies there is left as it is.
    """
    from ipr_core.batch.notebooks import checkout, folder

    target = args.folder or (folder().parent / COPIES if checkout() else Path(COPIES))
    if not (checkout() and target.resolve() == folder().resolve()):
        _copy(target)
        print(f"Copies of the notebooks, to work on: {target}")
    sys.stdout.flush()
    # In place of this process, so that Ctrl-C is JupyterLab's own, which asks first and ends its kernels.
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1", str(target)])


def _copy(target: Path) -> list[str]:
    """Copy the notebooks that are not in a folder yet, and name those there whose cells differ.

    returns: the names of the copies that were made
    """
    from ipr_core.batch.notebooks import folder

    check_places(target)
    make_folder(target)
    names = [source.name for source in sorted(folder().glob("*.ipynb"))]
    new = [name for name in names if not (target / name).exists()]
    for name in new:
        shutil.copyfile(folder() / name, target / name)
    if edited := [name for name in names if _cells(target / name) != _cells(folder() / name)]:
        print(
            f"Other cells than this version's, by you or by an older version, in {target}: {', '.join(edited)}; "
            "rename one to get this version's too"
        )
    return new


def _cells(notebook: Path) -> list[str] | None:
    """Return the texts of a notebook's cells; None if it is no notebook."""
    import nbformat

    try:
        return [cell.source for cell in nbformat.read(notebook, as_version=4).cells]
    except Exception:  # a person's own file may be anything
        return None
