"""The notebooks in a real JupyterLab and a real browser, used as a person would."""

import json
import time
from pathlib import Path

import nbformat
import pytest

from helpers.lab import FLAGS, Visit, chromium, jupyter_lab

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SMALL = dict(synthetic_size=120, test_size=24, epochs=60, warm_up=2, map_size=60, max_seconds=1.5)
QUICK = SMALL | dict(epochs=3)
PLOTLY = "application/vnd.plotly.v1+json"
SECONDS = 120

TITLES = "() => [...document.querySelectorAll('.js-plotly-plot')].map(plot => plot.layout?.title?.text ?? '')"
TITLE = f"(start) => ({TITLES})().find(title => title.startsWith(start))"
PLANE = """() => {
    const plot = [...document.querySelectorAll('.js-plotly-plot')].find(p => p.data?.some(t => t.type === 'scattergl'));
    return plot ? JSON.stringify(plot._fullData.map(trace => Array.from(trace.x ?? []).slice(0, 5))) : null;
}"""


POINT = """() => {
    const plot = [...document.querySelectorAll('.js-plotly-plot')]
        .find(p => p.data?.some(t => t.type === 'scattergl' && t.customdata));
    plot.scrollIntoView({block: 'center'});
    const trace = plot._fullData.find(t => t.customdata && t.x.length > 3), {xaxis, yaxis} = plot._fullLayout;
    const box = plot.getBoundingClientRect();
    return {x: box.x + xaxis._offset + xaxis.d2p(trace.x[0]), y: box.y + yaxis._offset + yaxis.d2p(trace.y[0])};
}"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Notebook, settings → the notebook open in JupyterLab with these settings in its parameters cell."""
    sync = pytest.importorskip("playwright.sync_api")
    browser_place, root = chromium(), tmp_path_factory.mktemp("lab")
    own = {"IPR_RUNS": str(root / "runs"), "IPR_CACHE": str(root / "cache"), "OMP_NUM_THREADS": "1"}
    with jupyter_lab(root, **own) as address, sync.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=browser_place, args=list(FLAGS))
        context = browser.new_context(viewport={"width": 1500, "height": 1300})

        def visit(name, **settings):
            notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
            for cell in notebook.cells:
                if "parameters" in cell.metadata.get("tags", []):
                    cell.source += "".join(f"\n{key} = {value!r}" for key, value in settings.items())
            nbformat.write(notebook, root / f"{name}.ipynb")
            made = Visit(context, address, f"{name}.ipynb")
            made.file = root / f"{name}.ipynb"
            return made

        yield visit
        browser.close()


def until(ask, wanted=bool, seconds=SECONDS):
    """Ask again and again until the answer is as wanted, and give it."""
    end = time.monotonic() + seconds
    while not wanted(answer := ask()):
        assert time.monotonic() < end, f"still {answer!r}"
        time.sleep(0.1)
    return answer


def press(visit, name):
    visit.page.get_by_role("button", name=name, exact=True).first.click()


def matrix(visit):
    """The title of the live similarity matrix, which says its epoch."""
    return visit.page.evaluate(TITLE, "Cosines of prototypes, epoch")


def state(visit):
    """Of the runner: its state, epochs, and the step it is at."""
    line = "s = training.state; print(training.runner.state, len(s.events), s.step.step if s.step else 0)"
    name, epochs, step = visit.in_kernel(line).split()
    return name, int(epochs), int(step)


def point(visit, title, x, y, right=0, down=0):
    """Move the pointer to a figure's data coordinates, and some pixels further; gives where.  title: how it starts"""
    place = visit.page.evaluate(
        """([title, x, y]) => {
            const plot = [...document.querySelectorAll('.js-plotly-plot')]
                .find(p => (p.layout?.title?.text ?? '').startsWith(title));
            plot.scrollIntoView({block: 'center'});
            const {xaxis, yaxis} = plot._fullLayout, box = plot.getBoundingClientRect();
            const at = (value) => new Function('plot', 'xaxis', 'yaxis', `return ${value}`)(plot, xaxis, yaxis);
            return {x: box.x + xaxis._offset + xaxis.d2p(at(x)), y: box.y + yaxis._offset + yaxis.d2p(at(y))};
        }""",
        [title, x, y],
    )
    place = {"x": place["x"] + right, "y": place["y"] + down}
    visit.page.mouse.move(place["x"] - 5, place["y"] - 5)
    visit.page.mouse.move(place["x"], place["y"], steps=5)
    return place


def marked(visit):
    """The pair of prototypes that is marked."""
    return visit.in_kernel("print(training.state.pair)")


def click_a_point(visit):
    """Click the first point of the plane, wherever it is by now; which utterance is looked at then, or -1."""
    place = visit.page.evaluate(POINT)
    visit.page.mouse.move(place["x"], place["y"])
    visit.page.mouse.click(place["x"], place["y"])
    visit.page.wait_for_timeout(500)
    return int(visit.in_kernel("print(training.state.focus)"))


def epochs_below(visit, cell="training.show(curves.beta)"):
    """How many epochs the figure of a cell shows; 0 while it shows none."""
    return visit.page.evaluate(
        """async (source) => {
            const notebook = window.jupyterapp.shell.currentWidget.content;
            const cell = notebook.widgets.find(cell => cell.model.sharedModel.source === source);
            await notebook.scrollToCell(cell);
            return cell.node.querySelector('.js-plotly-plot')?._fullData?.[0]?.x?.length ?? 0;
        }""",
        cell,
    )


def nothing_wrong(visit):
    # anywidget says this of a model that took two seconds to make: the figures do not depend on it.
    slow = "[anywidget] Failed to initialize model."
    assert [fault for fault in visit.faults if slow not in fault] == []
    assert visit.hosts <= {"127.0.0.1", None}


def test_a_refinement_is_watched_paused_looked_at_resumed_and_stopped(lab):
    visit = lab("02_refinement", **SMALL)
    visit.run_all()

    # The similarity and the plane change while training runs, and later cells have run meanwhile.
    first = until(lambda: matrix(visit))
    until(lambda: matrix(visit), lambda title: title != first)
    plane = until(lambda: visit.page.evaluate(PLANE))
    until(lambda: visit.page.evaluate(PLANE), lambda now: now != plane)
    assert visit.in_kernel("print(truth.sum() > 0, training.runner.state)") == "True running"

    # Pause: no epoch and no step any more.
    press(visit, "Pause")
    until(lambda: state(visit)[0], lambda name: name == "paused")
    paused = state(visit)
    time.sleep(3)
    assert state(visit) == paused

    # The slider redraws an earlier epoch, also by keyboard.
    shown = matrix(visit)
    visit.page.get_by_role("slider").first.focus()
    visit.page.keyboard.press("ArrowLeft")
    until(lambda: matrix(visit), lambda title: title != shown)

    # A cell of the matrix that is pointed at marks its trend, and the other way round; leaving ends it.
    cell = ("Cosines of prototypes, epoch", "plot._fullData[0].x[0]", "plot._fullData[0].y[2]")
    until(lambda: point(visit, *cell) and marked(visit), lambda pair: pair == "(0, 2)")
    visit.page.mouse.move(1, 1)
    until(lambda: marked(visit), lambda pair: pair == "()")
    trend = ("Cosine between prototypes over", "plot._fullData[0].x[1]", "plot._fullData[0].y[1]")
    until(lambda: point(visit, *trend) and marked(visit), lambda pair: pair != "()")

    # A box selects, once every plane is laid out: what is selected stays so when the plane is drawn anew, and a double
    # click ends it.
    until(lambda: visit.page.get_by_text("laying out").count(), lambda count: count == 0)
    point(visit, "Utterances and prototypes, epoch", "xaxis.range[0]", "yaxis.range[1]", 4, 4)
    visit.page.mouse.down()
    corner = point(visit, "Utterances and prototypes, epoch", "xaxis.range[1]", "yaxis.range[0]", -4, -4)
    visit.page.mouse.up()
    count = until(lambda: int(visit.in_kernel("print(len(training.state.selection))")))
    time.sleep(2)
    assert int(visit.in_kernel("print(len(training.state.selection))")) == count > SMALL["map_size"] // 2
    visit.page.mouse.dblclick(corner["x"], corner["y"])
    until(lambda: visit.in_kernel("print(len(training.state.selection))"), lambda text: text == "0")

    # Clicking a point plays the utterance and shows its label.
    focus = until(lambda: click_a_point(visit), lambda row: row >= 0)
    chosen = visit.in_kernel(f"print(data.table['id'][{focus}])")
    until(lambda: visit.page.locator(".ipr-utterance").first.inner_text(), lambda text: chosen in text)
    until(
        lambda: visit.page.evaluate(
            "() => document.querySelector('.ipr-player audio, audio.ipr-player')?.played.length > 0"
        )
    )

    # A correction is kept in the run folder, and withdrawn.
    heard = "print(sorted(__import__('ipr_core.runs.corrections').corrections.newest(run).index))"
    visit.page.get_by_title("The emotion that you hear").first.select_option("sad")
    press(visit, "Keep")
    until(lambda: visit.page.locator(".ipr-corrected").first.inner_text(), lambda text: "Corrected to" in text)
    assert visit.in_kernel(heard) == f"['{chosen}']"
    press(visit, "Withdraw")
    until(lambda: visit.in_kernel(heard), lambda ids: ids == "[]")
    until(lambda: visit.page.locator(".ipr-corrected").first.inner_text(), lambda text: "Corrected to" not in text)

    # Resume goes on, Stop ends with a run that can go on.
    press(visit, "Resume")
    until(lambda: state(visit)[1], lambda epochs: epochs > paused[1])
    press(visit, "Stop")
    until(lambda: state(visit)[0], lambda name: name == "stopped")
    epochs = state(visit)[1]
    assert visit.in_kernel("print(run.finished, run.epochs)") == f"False {epochs}"
    press(visit, "Start")
    until(lambda: state(visit)[1], lambda now: now > epochs)

    # The figures below follow what was started again; a page that is loaded again has them, to the end and after it.
    until(lambda: epochs_below(visit), lambda shown: shown > epochs)
    press(visit, "Pause")
    visit.command("docmanager:save")
    until(lambda: '"output_type": "display_data"' in visit.file.read_text("utf-8"))
    visit.page.reload()
    visit.until_idle()
    shown = until(lambda: epochs_below(visit))
    press(visit, "Resume")
    until(lambda: epochs_below(visit), lambda now: now > shown)
    press(visit, "Stop")
    until(lambda: state(visit)[0], lambda name: name == "stopped")
    visit.page.wait_for_timeout(500)
    assert epochs_below(visit) == state(visit)[1]
    assert visit.in_kernel("print(training.state.faults)") == "{}"
    nothing_wrong(visit)
    visit.close()


@pytest.mark.parametrize(("name", "figures"), [("01_warm_up", 6), ("03_analysis", 5)])
def test_run_all_and_what_is_saved_shows_every_figure(lab, name, figures):
    visit = lab(name, **QUICK)
    visit.run_all()
    done = "print('done', *([training.runner.state] if 'training' in globals() else ['finished']))"
    until(lambda: visit.in_kernel(done), lambda text: text == "done finished")
    until(lambda: visit.page.evaluate(TITLES), lambda titles: len(titles) > figures)
    visit.command("docmanager:save")

    def saved():
        notebook = json.loads(visit.file.read_text("utf-8"))
        outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
        return sum(PLOTLY in output.get("data", {}) for output in outputs)

    assert until(saved, lambda count: count >= figures) == figures
    nothing_wrong(visit)
    visit.close()
