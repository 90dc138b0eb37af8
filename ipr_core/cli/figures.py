"""The command `ipr figures`: all figures of a run as files for a paper."""

from __future__ import annotations

import subprocess
import sys

from ipr_core.cli.arguments import check_places
from ipr_core.options import Args


def figures(args: Args) -> int:
    """Write all figures of a finished run as PDF and SVG, in the widths of one and two columns of a paper.

    A PDF holds its fonts. Runs that --beside names are drawn beside it. A Chrome or Chromium of this machine prints.
    """
    from ipr_core.runs.run import Run, RunError

    runs = [args.run, *(args.beside or [])]
    faults = [str(folder) for folder in runs if not Run.open(folder).finished]
    if faults:
        raise RunError(f"{', '.join(faults)}: not trained to the end; `ipr resume RUN` continues a run")
    check_places(args.folder)
    # The widgets draw, and nothing here imports them: another Python does, as for `ipr lab`.
    words = [str(args.run), str(args.folder), ",".join(dict.fromkeys(args.format)), *map(str, args.beside or [])]
    return subprocess.call([sys.executable, "-m", "ipr_widgets.paper", *words])
