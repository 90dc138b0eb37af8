"""The board in a real browser: at no width is text cut or on other text, and a cursor follows the sound."""

import re
import time
from pathlib import Path

import nbformat
import pytest

from helpers.lab import FLAGS, Visit, chromium, jupyter_lab
from ipr_core.config import demo
from ipr_core.training.advance import advance, prepare

FAULTS = (Path(__file__).parents[1] / "helpers" / "board_faults.js").read_text("utf-8")
WIDTHS = 1008, 1272, 1440, 1920  # pixels of the board; the first is that of a laptop with the file browser open
WINDOW = 779  # pixels of height that JupyterLab leaves on a laptop
HIGH = 1600  # pixels of the page, so that all of the board is in it
AROUND = 140  # pixels beside the board in the page, about
ELEVEN = (
    "angry", "happy", "sad", "neutral", "disgust", "fear", "surprise", "contempt", "boredom", "calm", "frustrated"
)  # fmt: skip
CELL = """
from ipr_core.runs.run import Run
from ipr_core.training.runner import Began, Runner
from ipr_widgets.board import board
from ipr_widgets.state import RunState

few, many = (Run(folder) for folder in {folders})
state, runner = RunState(), Runner()
state.on_event(Began(few, few.dataset(progress=False)))
shown = board(state, runner, few, state.data)
state.change(focus=3)
shown
"""
SECONDS = 60
SIZES = """() => {
    const board = document.querySelector('.ipr-board');
    const plots = [...board.querySelectorAll('.js-plotly-plot')].filter(plot => plot.offsetParent);
    return [board.clientWidth, plots.map(plot => [plot.clientWidth, plot._fullLayout.width])];
}"""
READY = """() => document.querySelectorAll('.ipr-board .js-plotly-plot').length >= 7
    && [...document.querySelectorAll('.ipr-board .js-plotly-plot')].some(p => p.data?.some(t => t.type === 'scattergl'))
    && !document.querySelector('.ipr-board').textContent.includes('laying out')"""


@pytest.fixture(scope="module")
def runs(cache, tmp_path_factory):
    """Folders of two finished runs, with four and with eleven emotions."""
    folder, folders = tmp_path_factory.mktemp("runs"), []
    for size, classes in ((64, demo().data.classes), (160, ELEVEN)):
        setup = demo(
            synthetic_size=size, classes=classes, test_size=22, epochs=3, warm_up=1, map_size=60, max_seconds=1,
            train_features=False, frozen_layers=-1, device="cpu",
        )  # fmt: skip
        run, data = prepare(setup, folder)
        folders.append(str(advance(run, data).folder))
    return folders


@pytest.fixture(scope="module")
def page(runs, cache, tmp_path_factory):
    """The board of the first run in JupyterLab."""
    sync = pytest.importorskip("playwright.sync_api")
    path, root = chromium(), tmp_path_factory.mktemp("lab")
    cell = nbformat.v4.new_code_cell(CELL.format(folders=runs).strip())
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}  # else JupyterLab asks for one
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), root / "board.ipynb")
    with jupyter_lab(root, IPR_CACHE=str(cache), OMP_NUM_THREADS="1") as address, sync.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=list(FLAGS))
        visit = Visit(browser.new_context(viewport={"width": 1500, "height": HIGH}), address, "board.ipynb")
        visit.run_all()
        visit.page.wait_for_function(READY)
        yield visit
        browser.close()


def widen(visit, width):
    """Make the board this wide, and wait until its figures are as wide as their places."""
    end = time.monotonic() + SECONDS
    while True:
        board, figures = visit.page.evaluate(SIZES)  # a scroll bar may come or go, and a drawing take its time
        if abs(board - width) < 2 and all(abs(place - figure) <= 1 for place, figure in figures):
            break
        assert time.monotonic() < end, (width, board, figures)
        if abs(board - width) >= 2:
            visit.page.set_viewport_size({"width": visit.page.viewport_size["width"] + width - board, "height": HIGH})
        visit.page.wait_for_timeout(300)
    visit.page.wait_for_timeout(300)


def faults(visit):
    return visit.page.evaluate(FAULTS)


def span(visit, *areas):
    """Return the pixels from the top of the highest to the end of the lowest of these panels."""
    return visit.page.evaluate(
        """(areas) => {
            const boxes = [...document.querySelector('.ipr-panels').children]
                .filter(e => areas.includes(e.style.gridArea.split(' / ')[0])).map(e => e.getBoundingClientRect());
            return Math.max(...boxes.map(b => b.bottom)) - Math.min(...boxes.map(b => b.top));
        }""",
        list(areas),
    )


@pytest.mark.parametrize("emotions", ["few", "many"])
def test_at_no_width_and_in_no_theme_is_text_cut_or_on_other_text(page, emotions):
    page.in_kernel(f"state.on_event(Began({emotions}, {emotions}.dataset(progress=False))); state.change(focus=3)")
    page.page.wait_for_timeout(1000)
    page.page.wait_for_function(READY)
    for theme in ("Light", "Dark"):
        command = f"window.jupyterapp.commands.execute('apputils:change-theme', {{theme: 'JupyterLab {theme}'}})"
        page.page.evaluate(command)
        for width in WIDTHS:
            widen(page, width)
            assert faults(page) == [], (theme, width)
            if emotions == "few":
                assert span(page, "plane", "explorer") <= WINDOW, (theme, width)


def test_a_recording_of_the_microphone_fits_at_every_width(page):
    page.in_kernel(
        "from ipr_widgets.players import mp3\n"
        "microphone = shown.panels['microphone']\n"
        "microphone.fold.value = True\n"
        "microphone._receive({}, memoryview(mp3(state.data.waves[3])))"
    )
    page.page.wait_for_function("() => document.querySelectorAll('.ipr-board .js-plotly-plot').length >= 9")
    for width in WIDTHS:
        widen(page, width)
        assert faults(page) == [], width
    assert page.in_kernel("print(len(state.recordings), state.faults)") == "1 {}"
    page.in_kernel("microphone.fold.value = False")


def test_ten_changes_of_the_windows_size_leave_every_figure_as_wide_as_its_place(page):
    for width in (1100, 1600, 1000, 1900, 1300, 1240, 1260, 800, 1700, 1440):
        page.page.set_viewport_size({"width": width + AROUND, "height": HIGH})
        page.in_kernel(f"state.change(epoch={width} % 3)")  # drawn anew while it is resized
    widen(page, 1440)
    assert faults(page) == []


def test_a_text_that_is_cut_and_one_on_another_are_faults(page):
    page.page.evaluate(
        """() => {
            const label = document.querySelector('.ipr-utterance .widget-html-content');
            label.dataset.html = label.innerHTML;
            label.style.cssText = 'height: 12px; overflow: hidden';
        }"""
    )
    assert "cut" in {kind for kind, *_ in faults(page)}
    page.page.evaluate(
        """() => {
            const label = document.querySelector('.ipr-utterance .widget-html-content');
            label.style.cssText = 'position: relative; top: 60px';
        }"""
    )
    assert "overlap" in {kind for kind, *_ in faults(page)}
    page.page.evaluate("() => document.querySelector('.ipr-utterance .widget-html-content').style.cssText = ''")
    assert faults(page) == []


def test_a_cursor_follows_the_sound_over_its_figure_and_leaves_with_it(page):
    page.in_kernel("state.change(focus=1)")
    page.page.wait_for_function("() => document.querySelector('.ipr-player audio, audio.ipr-player')?.readyState >= 2")
    sight = """() => {
        const audio = document.querySelector('.ipr-player audio, audio.ipr-player');
        const cursor = document.querySelector('.ipr-cursor');
        if (!cursor) return null;
        const {xaxis} = cursor.parentElement._fullLayout;
        return [audio.currentTime, xaxis.p2d(parseFloat(cursor.style.left) + 1 - xaxis._offset)];
    }"""
    loop = "() => { const a = document.querySelector('.ipr-player audio, audio.ipr-player'); a.%s; }"
    page.page.evaluate(loop % "loop = true")
    page.page.evaluate(loop % "play()")
    page.page.wait_for_function(sight)
    now, shown = page.page.evaluate(sight)
    assert abs(now - shown) < 0.2
    page.page.evaluate(loop % "pause()")
    page.page.wait_for_function("() => !document.querySelector('.ipr-cursor')")


def test_a_figure_prints_as_it_is_seen_on_a_page_of_its_size_with_its_fonts(page):
    widen(page, 1272)
    page.page.evaluate("""() => new MutationObserver(records => {
        for (const node of records.flatMap(record => [...record.addedNodes]))
            if (node.tagName === 'IFRAME') window.printed = { html: node.srcdoc, sandbox: node.sandbox.value };
    }).observe(document.body, { childList: true })""")
    plot = page.page.locator(".ipr-board .js-plotly-plot").filter(visible=True).first
    width, height, title = plot.evaluate(
        "div => [div._fullLayout.width, div._fullLayout.height, div.layout.title.text]"
    )
    plot.hover()
    button = plot.locator('.modebar-btn[data-title="Print, or save as PDF"]')
    button.click()
    printed = page.page.wait_for_function("window.printed").json_value()
    assert "allow-scripts" not in printed["sandbox"]
    paper = page.page.context.new_page()
    paper.set_content(printed["html"])
    assert title in paper.locator("svg .gtitle").text_content()
    pdf = paper.pdf(prefer_css_page_size=True)
    paper.close()
    _, _, *size = map(float, re.search(rb"/MediaBox\s*\[([^\]]*)\]", pdf)[1].split())
    assert size == pytest.approx([0.75 * width, 0.75 * height], abs=1)  # points
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1
    assert b"/FontFile" in pdf
    page.page.evaluate("delete window.printed")
    button.click()
    page.page.wait_for_function("window.printed")
    assert page.page.locator("iframe[sandbox]").count() == 1  # the first is gone
