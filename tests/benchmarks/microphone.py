"""Time from the end of a recording to its place on the plane, in a real JupyterLab in Chromium.

    python tests/benchmarks/microphone.py RUN CLIP

RUN: the folder of a finished run   CLIP: a WAV file, which Chromium's fake microphone plays. Eight recordings of a
second are made. Prints the median and the longest time, from the click on Stop to the drawn plane.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).parents[1]))
from helpers.lab import FLAGS, Visit, chromium, jupyter_lab

CELL = "from ipr_core.runs.run import Run\nfrom ipr_widgets.board import replay\nreplay(Run({run!r}))"
RECORD = "button.ipr-record"
READY = f"() => document.querySelector('{RECORD}') && !document.body.textContent.includes('laying out')"
WAIT = """(count) => new Promise((resolve) => {
    const began = performance.now(), plots = () => [...document.querySelectorAll('.ipr-board .js-plotly-plot')];
    const look = () => plots().some((plot) => plot.data?.some((t) => t.name === 'recording' && t.text.length === count))
        ? resolve(performance.now() - began) : requestAnimationFrame(look);
    document.querySelector('button.ipr-record').click();
    look();
})"""
TIMES = 8


def main(run: str, clip: str) -> None:
    from playwright.sync_api import sync_playwright

    fake = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with tempfile.TemporaryDirectory() as root, jupyter_lab(Path(root)) as address, sync_playwright() as play:
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        cell = nbformat.v4.new_code_cell(CELL.format(run=str(Path(run).resolve())))
        nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), Path(root, "board.ipynb"))
        flags = [*FLAGS, *fake, f"--use-file-for-fake-audio-capture={Path(clip).resolve()}"]
        browser = play.chromium.launch(executable_path=chromium(), args=flags)
        visit = Visit(browser.new_context(viewport={"width": 1440, "height": 900}), address, "board.ipynb")
        visit.run_all()
        visit.page.wait_for_function(READY)
        visit.page.get_by_role("button", name="Speak").click()
        visit.page.wait_for_timeout(8000)  # in which the model is loaded
        times = [_record(visit, count) for count in range(1, TIMES + 1)]
        print(f"{TIMES} recordings: {statistics.median(times):.0f} ms, at most {max(times):.0f} ms")
        print("browser:", visit.faults or "no errors")
        browser.close()


def _record(visit: Visit, count: int) -> float:
    visit.page.click(RECORD)
    visit.page.wait_for_function("() => /^1\\.0/.test(document.querySelector('.ipr-record-status').textContent)")
    milliseconds: float = visit.page.evaluate(WAIT, count)
    visit.page.wait_for_timeout(1000)
    return milliseconds


if __name__ == "__main__":
    main(*sys.argv[1:])
