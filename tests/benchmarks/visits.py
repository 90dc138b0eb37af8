"""Visits of the notebooks in a real JupyterLab in Chromium, as a newcomer's: seconds to the first plane, and errors.

    python tests/benchmarks/visits.py [--times N] [NOTEBOOK …]

Each visit opens a notebook of the demo with *Run all* and waits until the kernel and the page rest. The first visit of
a notebook begins with no run; those after it find what it has trained. Prints the seconds until there are the board, a
figure of the first epoch and the first plane, where the notebook has them, and every error of the page's console. For a
busy machine, run something beside it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from helpers.lab import FLAGS, Visit, chromium, jupyter_lab

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
LIVE = ("01_warm_up", "02_refinement", "03_analysis")
"""The notebooks with a board."""
SHOWN = """() => {
    const plots = [...document.querySelectorAll('.js-plotly-plot')];
    const titled = plots.some(plot => /prototypes, epoch \\d+$/.test(plot.layout?.title?.text ?? ''));
    const plane = plots.some(plot => plot._fullData?.some(trace => trace.type === 'scattergl' && trace.x?.length > 3));
    return [!!document.querySelector('.ipr-board'), titled, plane];
}"""
LONGEST = 120  # seconds until a plane
REST = 10  # seconds in which figures may follow the last cell


def main() -> None:
    from playwright.sync_api import sync_playwright

    names = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="by default all")
    parser.add_argument("--times", type=int, default=5, help="visits of each notebook; 5 by default")
    args = parser.parse_args()
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        for name in args.notebooks or names:
            with tempfile.TemporaryDirectory() as path:
                visit_often(browser, name, Path(path), args.times)
        browser.close()


def visit_often(browser, name: str, root: Path, times: int) -> None:
    """Visit a notebook several times, with runs and a cache of its own."""
    (root / f"{name}.ipynb").write_bytes((NOTEBOOKS / f"{name}.ipynb").read_bytes())
    with jupyter_lab(root, IPR_RUNS=str(root / "runs"), IPR_CACHE=str(root / "cache")) as address:
        for _ in range(times):
            context = browser.new_context(viewport={"width": 1440, "height": 900})
            visit = Visit(context, address, f"{name}.ipynb")
            started = time.monotonic()
            visit.run_all()
            seconds = first_seen(visit, started) if name in LIVE else []
            visit.until_idle()
            time.sleep(REST)
            visit.until_idle()
            words = [f"{part} {'never' if second is None else f'{second:.1f} s'}" for part, second in seconds]
            print(f"{name}: {', '.join(words) or 'no board'}; errors: {visit.faults or 'none'}", flush=True)
            visit.close()
            context.close()


def first_seen(visit: Visit, started: float) -> list[tuple[str, float | None]]:
    """Return the seconds from *Run all* until board, epoch and plane are there, None for one that never is."""
    seconds: dict[str, float | None] = dict.fromkeys(("board", "epoch", "plane"))
    while None in seconds.values() and time.monotonic() - started < LONGEST:
        for name, shown in zip(seconds, visit.page.evaluate(SHOWN), strict=True):
            if shown and seconds[name] is None:
                seconds[name] = time.monotonic() - started
        time.sleep(0.1)
    return list(seconds.items())


if __name__ == "__main__":
    main()
