"""The cost of the board: 5,000 utterances, 50 epochs, in a real JupyterLab in Chromium.

    python tests/benchmarks/board.py

An epoch of the refinement is trained for real (embedded corpus, compact encoder) to know how long it takes. Then 50
variations of it are recorded and reported to the board, one by one, as training would. Prints the share of an
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
from helpers.lab import FLAGS, Visit, chromium, jupyter_lab

UTTERANCES, EPOCHS = 5000, 50

MAKE = f"""
import dataclasses, gc, os, shutil, time
import numpy as np
from ipr_core.config import demo
from ipr_core.training.advance import advance, prepare
from ipr_core.training.runner import Began, Runner
from ipr_widgets import board
from ipr_widgets.state import RunState
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
    const line = plot => plot.layout.shapes?.find(s => s.type === 'line' && s.x0 === s.x1)?.x0;
    const told = plot => [plot.layout.title.text, line(plot), plot.data.map(t => t.x?.bdata ?? t.x)];
    const looks = plot => JSON.stringify(told(plot));
    const named = plot => /epoch \\d+$/.test(plot.layout.title.text);
    const show = plot => named(plot) || line(plot) !== undefined || plot.layout.title.text.startsWith('Soft label');
    const all = plots().filter(show), before = new Map(all.map(plot => [plot, looks(plot)]));
    let started = null, moved = 0, frames = 0, last = '';
    const begin = () => { started = performance.now(); moved++; };
    addEventListener('keydown', begin, {capture: true, once: true});
    const drag = (event) => { if (event.buttons) begin(); };
    addEventListener('pointermove', drag, {capture: true});
    const [plane] = all;
    const at = () => Number(document.querySelector('[role=slider]').getAttribute('aria-valuenow'));
    const done = plot => named(plot) ? plot.layout.title.text.endsWith(` ${at()}`)
        : line(plot) === undefined ? looks(plot) !== before.get(plot) : line(plot) === at();
    window.redrawn = (async () => {
        const end = performance.now() + 20000;
        let first = NaN;
        for (;;) {
            await new Promise(requestAnimationFrame);
            if (plane.layout.title.text !== last) { last = plane.layout.title.text; frames++; }
            if (window.moving || started === null) continue;
            const now = performance.now() - started;
            if (isNaN(first) && all.filter(named).every(done)) first = now;
            const finished = all.every(done);
            if (finished || performance.now() > end) {
                removeEventListener('pointermove', drag, {capture: true});
                return [first, finished ? now : NaN, all.filter(named).length, all.length, frames - 1, moved];
            }
        }
    })();
}"""


def main() -> None:
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as path:
        root = Path(path)
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        cells = [nbformat.v4.new_code_cell(SHOW)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), root / "board.ipynb")
        environment = {"IPR_RUNS": str(root / "runs"), "IPR_CACHE": str(root / "cache"), "TQDM_DISABLE": "1"}
        with jupyter_lab(root, **environment) as address, sync_playwright() as play:
            browser = play.chromium.launch(executable_path=chromium(), args=list(FLAGS))
            visit = Visit(browser.new_context(viewport={"width": 1600, "height": 1200}), address, "board.ipynb")
            measure(visit)
            browser.close()


def measure(visit: Visit) -> None:
    """Make the run, show the board, report every epoch to it, move its slider."""
    visit.page.set_default_timeout(1_200_000)
    epoch = float(visit.in_kernel(MAKE).split("done")[-1])
    visit.run_all()
    visit.page.locator(".js-plotly-plot").nth(3).wait_for()
    words = visit.in_kernel(FEED).split("done")[-1].split(maxsplit=4)
    processor, wall, memory_10, memory_end = map(float, words[:4])
    print(f"an epoch of {UTTERANCES} utterances: {epoch:.1f} s")
    print(f"an update of the board: {processor:.3f} s of processor, {wall:.3f} s by the wall")
    print(f"its share of an epoch: {100 * processor / epoch:.2f} %, {100 * wall / epoch:.2f} % by the wall")
    print(f"memory after 10 epochs {memory_10:.0f} MB, after {EPOCHS} {memory_end:.0f} MB; failures: {words[4]}")
    time.sleep(60)  # the planes are laid out by now
    visit.in_kernel("state.change(focus=int(state.sample[0]))")
    time.sleep(2)
    slide(visit)
    print("browser:", visit.faults or "no errors", visit.hosts)


def slide(visit: Visit) -> None:
    """Move the slider by key and by drag, and print the time until all figures follow."""
    answers = [key(visit) for _ in range(24)]
    print(f"a key on the slider, {len(answers)} times:", _words(answers[2:]))
    answers = [drag(visit, i) for i in range(8)]
    print(f"after a drag over {EPOCHS // 2} epochs, {len(answers)} times:", _words(answers))
    planes = sum(answer[4] for answer in answers) / len(answers)
    print(f"meanwhile {planes:.0f} of the planes were drawn")


def key(visit: Visit) -> list[float]:
    """Press a key; return the milliseconds until plane and matrix, then all figures follow, and more."""
    visit.page.get_by_role("slider").first.focus()
    visit.page.evaluate(WATCH)
    visit.page.keyboard.press("ArrowLeft")
    answer = visit.page.evaluate("() => window.redrawn")
    time.sleep(0.5)
    return answer


def drag(visit: Visit, number: int) -> list[float]:
    """Drag the slider for a second; return the same from the pointer's last movement."""
    track, handle = (
        visit.page.locator(f".widget-slider .noUi-{name}").first.bounding_box() for name in ("base", "handle")
    )
    start, end = handle["x"] + handle["width"] / 2, track["x"] + track["width"] * (0.2, 0.7)[number % 2]
    middle = track["y"] + track["height"] / 2
    visit.page.mouse.move(start, middle)
    visit.page.mouse.down()
    visit.page.evaluate("() => { window.moving = true; }")
    visit.page.evaluate(WATCH)
    for step in range(1, 26):
        visit.page.mouse.move(start + (end - start) * step / 25, middle)
        time.sleep(0.04)
    visit.page.evaluate("() => { window.moving = false; }")
    answer = visit.page.evaluate("() => window.redrawn")
    visit.page.mouse.up()
    time.sleep(0.5)
    return answer


def _words(answers: list[list[float]]) -> str:
    first, whole = ([answer[i] for answer in answers] for i in (0, 1))
    return (
        f"plane and matrix {statistics.median(first):.0f} ms (at most {max(first):.0f}), "
        f"all {answers[0][3]} figures {statistics.median(whole):.0f} ms (at most {max(whole):.0f})"
    )


if __name__ == "__main__":
    main()
