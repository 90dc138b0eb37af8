"""Speak and see in a real browser: Chromium's fake microphone is fed with a clip of the corpus."""

import re

import nbformat
import pytest
import soundfile

from helpers.lab import FLAGS, Visit, chromium, jupyter_lab
from ipr_core.config import SAMPLE_RATE, demo
from ipr_core.training.advance import advance, prepare

CELL = """
from ipr_core.runs.run import Run
from ipr_widgets.board import replay

shown = replay(Run({folder!r}))
microphone = shown.panels["microphone"]
shown
"""
RECORD = "button.ipr-record"
READY = """() => document.querySelector('button.ipr-record')
    && [...document.querySelectorAll('.ipr-board .js-plotly-plot')].some(p => p.data?.some(t => t.type === 'scattergl'))
    && !document.querySelector('.ipr-board').textContent.includes('laying out')"""
SQUARES = """() => Math.max(...[...document.querySelectorAll('.ipr-board .js-plotly-plot')]
    .flatMap(plot => plot.data ?? []).filter(trace => trace.name === 'recording')
    .map(trace => trace.text?.length ?? 0))"""
FAKE = ("--use-fake-device-for-media-stream", "--use-file-for-fake-audio-capture={clip}", "--deny-permission-prompts")
"""A device that plays a clip; nobody who is asked for it allows it, unless the page has the permission already."""


@pytest.fixture(scope="module")
def folder(cache, tmp_path_factory):
    """The folder of a finished run, with a clip that is twice as long as a recording."""
    folder = tmp_path_factory.mktemp("runs")
    setup = demo(
        synthetic_size=64, test_size=16, epochs=3, warm_up=1, map_size=60, train_features=False, frozen_layers=-1,
        device="cpu",
    )  # fmt: skip
    run, data = prepare(setup, folder)
    soundfile.write(folder / "clip.wav", data.waves[int(data.rows("D1")[0])], SAMPLE_RATE)
    return advance(run, data).folder


@pytest.fixture(scope="module")
def visit(folder, cache, tmp_path_factory):
    """The board in JupyterLab, in a browser with a fake microphone."""
    sync = pytest.importorskip("playwright.sync_api")
    path, flags = chromium(), [flag.format(clip=folder.parent / "clip.wav") for flag in FAKE]
    tmp_path = tmp_path_factory.mktemp("lab")
    cell = nbformat.v4.new_code_cell(CELL.format(folder=str(folder)).strip())
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), tmp_path / "board.ipynb")
    with jupyter_lab(tmp_path, IPR_CACHE=str(cache), OMP_NUM_THREADS="1") as address, sync.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=[*FLAGS, *flags])
        visit = Visit(browser.new_context(viewport={"width": 1440, "height": 900}), address, "board.ipynb")
        visit.run_all()
        visit.page.wait_for_function(READY)
        visit.page.get_by_role("button", name="Speak").click()
        yield visit
        browser.close()


def test_a_recording_appears_on_the_plane_with_its_label(visit):
    page = visit.page
    page.context.grant_permissions(["microphone"])
    assert page.evaluate(SQUARES) == 0
    for count in (1, 2):
        page.click(RECORD)
        page.wait_for_function("() => document.querySelector('.ipr-record-status').textContent.startsWith('1.')")
        assert page.locator(RECORD).get_attribute("aria-pressed") == "true"
        page.click(RECORD)
        page.wait_for_function(f"() => ({SQUARES})() === {count}")
    page.wait_for_function("() => document.querySelector('.ipr-record-status').textContent === ''")
    assert not visit.in_kernel("print(shown.state.faults or '')")
    words = visit.in_kernel("print(microphone.words.value)")
    assert 0.8 < float(re.match(r"([\d.]+) s", words)[1]) < 5
    assert "single label" in words
    assert len(visit.in_kernel("print(*microphone.nearest.rows)").split()) == 5
    assert float(visit.in_kernel("print(abs(shown.state.recordings[0].wave).max() / 32768)")) > 0.01
    assert not visit.faults
    assert visit.hosts <= {"127.0.0.1", None}


def test_where_no_microphone_may_be_used_a_sentence_says_so(visit):
    visit.page.context.clear_permissions()
    visit.page.click(RECORD)
    visit.page.wait_for_function(
        "() => /not allowed|No microphone/.test(document.querySelector('.ipr-record-status').textContent)"
    )
    assert visit.page.locator(RECORD).is_enabled()
    assert not visit.faults
