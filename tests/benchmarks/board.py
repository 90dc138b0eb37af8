"""What the board costs: 5,000 utterances, 50 epochs, in a real JupyterLab in Chromium.

    python tests/benchmarks/board.py

An epoch of the refinement is trained for real (embedded corpus, compact encoder) to know how long it takes. Then 50
that vary around it are recorded and told to the board, one by one, as training would. Prints the share of an
epoch that the board's update takes, how long the page needs to answer its slider, and how memory grows.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).parents[1]))
from lab import FLAGS, Visit, chromium, jupyter_lab

UTTERANCES, EPOCHS = 5000, 50

MAKE = f"""
import dataclasses, gc, os, resource, shutil, time
import numpy as np
from ipr_core.config import demo
from ipr_core.runner import Began, Runner, advance, prepare
from widgets import board
from widgets.state import RunState
config = demo(synthetic_size={UTTERANCES}, epochs={EPOCHS}, warm_up=1, map_size=1000)
short = config.replace(epochs=1, warm_up=0)
trained, data = prepare(short, progress=False)
advance(trained, data)
(last,) = trained.events()
seconds = last.clock["seconds"]
run, _ = prepare(config, data=data)
print("done", seconds)
"""

SHOW = """
state = RunState()
shown = board.board(state, Runner(), run, data)
state.on_event(Began(run, data))
shown
"""

FEED = """
def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
rng = np.random.default_rng(0)
took, memory = [], []
for epoch in range(config.training.epochs):
    arrays = {name: a + rng.normal(0, 0.002, a.shape).astype(a.dtype) for name, a in last.arrays.items()}
    event = dataclasses.replace(last, epoch=epoch, phase="warm_up" if epoch < 1 else "refinement", arrays=arrays)
    run.record(event)
    started = time.thread_time(), time.perf_counter()
    state.on_event(event)
    took.append((time.thread_time() - started[0], time.perf_counter() - started[1]))
    del event, arrays
    memory.append(resident())
    time.sleep(0.3)
print("done", *np.median(took[10:], axis=0), memory[9], memory[-1], state.faults)
"""

WATCH = """() => {
    const plots = () => [...document.querySelectorAll('.js-plotly-plot')].filter(plot => plot.offsetParent);
    const titles = () => plots().map(plot => plot.layout?.title?.text ?? '').filter(text => text.includes('epoch '));
    const before = titles();
    let started = null;
    addEventListener('keydown', () => { started ??= performance.now(); }, {capture: true, once: true});
    window.redrawn = (async () => {
        const end = performance.now() + 20000;
        while (titles().some((text, i) => text === before[i])) {
            if (performance.now() > end) return [NaN, before.length];
            await new Promise(requestAnimationFrame);
        }
        return [performance.now() - started, before.length];
    })();
}"""


def main() -> None:
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        cells = [nbformat.v4.new_code_cell(SHOW)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), root / "board.ipynb")
        own = {"IPR_RUNS": str(root / "runs"), "IPR_CACHE": str(root / "cache"), "TQDM_DISABLE": "1"}
        with jupyter_lab(root, **own) as address, sync_playwright() as play:
            browser = play.chromium.launch(executable_path=chromium(), args=list(FLAGS))
            visit = Visit(browser.new_context(viewport={"width": 1600, "height": 1200}), address, "board.ipynb")
            measure(visit)
            browser.close()


def measure(visit: Visit) -> None:
    """Make the run, show the board, tell it every epoch, move its slider."""
    visit.page.set_default_timeout(1_200_000)
    epoch = float(visit.in_kernel(MAKE).split("done")[-1])
    visit.run_all()
    visit.page.locator(".js-plotly-plot").nth(3).wait_for()
    words = visit.in_kernel(FEED).split("done")[-1].split(maxsplit=4)
    processor, wall, early, late = map(float, words[:4])
    print(f"an epoch of {UTTERANCES} utterances: {epoch:.1f} s")
    print(f"an update of the board: {processor:.3f} s of processor, {wall:.3f} s by the wall")
    print(f"its share of an epoch: {100 * processor / epoch:.2f} %, {100 * wall / epoch:.2f} % by the wall")
    print(f"memory after 10 epochs {early:.0f} MB, after {EPOCHS} {late:.0f} MB; failures: {words[4]}")
    time.sleep(60)  # the planes are laid out by now
    answers = [answer(visit) for _ in range(12)]
    print(f"the page answers its slider in {statistics.median(a[0] for a in answers):.0f} ms (median of 12, every "
          f"one of {answers[0][1]} figures redrawn), at most {max(a[0] for a in answers):.0f} ms")  # fmt: skip
    print("browser:", visit.faults or "no errors", visit.hosts)


def answer(visit: Visit) -> tuple[float, int]:
    """Milliseconds from a key on the slider until every figure that names its epoch is another, and how many do."""
    visit.page.get_by_role("slider").first.focus()
    visit.page.evaluate(WATCH)
    visit.page.keyboard.press("ArrowLeft")
    milliseconds, figures = visit.page.evaluate("() => window.redrawn")
    return milliseconds, figures


if __name__ == "__main__":
    main()
