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
    """Return a function that opens a notebook in JupyterLab with settings in its parameters cell."""
    sync = pytest.importorskip("playwright.sync_api")
    browser_path, root = chromium(), tmp_path_factory.mktemp("lab")
    environment = {"IPR_RUNS": str(root / "runs"), "IPR_CACHE": str(root / "cache"), "OMP_NUM_THREADS": "1"}
    with jupyter_lab(root, **environment) as address, sync.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=browser_path, args=list(FLAGS))
        context = browser.new_context(viewport={"width": 1500, "height": 1300})

        def visit(name, **settings):
            notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
            for cell in notebook.cells:
                if "parameters" in cell.metadata.get("tags", []):
                    cell.source += "".join(f"\n{key} = {value!r}" for key, value in settings.items())
            nbformat.write(notebook, root / f"{name}.ipynb")
            page = Visit(context, address, f"{name}.ipynb")
            page.file = root / f"{name}.ipynb"
            return page

        yield visit
        browser.close()


def wait_for(ask, condition=bool, seconds=SECONDS):
    """Ask again and again until the answer meets the condition, and return it."""
    end = time.monotonic() + seconds
    while not condition(answer := ask()):
        assert time.monotonic() < end, f"still {answer!r}"
        time.sleep(0.1)
    return answer


def press(visit, name):
    visit.page.get_by_role("button", name=name, exact=True).first.click()


def matrix(visit):
    """Return the title of the live similarity matrix, which names its epoch."""
    return visit.page.evaluate(TITLE, "Cosines of prototypes, epoch")


def state(visit):
    """Return the runner's state, epochs and step."""
    line = "s = training.state; print(training.runner.state, len(s.events), s.step.step if s.step else 0)"
    name, epochs, step = visit.in_kernel(line).split()
    return name, int(epochs), int(step)


def point(visit, title, x, y, dx=0, dy=0):
    """Move the pointer to a figure's data coordinates, plus some pixels; return the position."""
    position = visit.page.evaluate(
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
    position = {"x": position["x"] + dx, "y": position["y"] + dy}
    visit.page.mouse.move(position["x"] - 5, position["y"] - 5)
    visit.page.mouse.move(position["x"], position["y"], steps=5)
    return position


def marked(visit):
    """Return the marked pair of prototypes."""
    return visit.in_kernel("print(training.state.pair)")


def click_a_point(visit):
    """Click the first point of the plane, and return the utterance in view, or -1."""
    position = visit.page.evaluate(POINT)
    visit.page.mouse.move(position["x"], position["y"])
    visit.page.mouse.click(position["x"], position["y"])
    visit.page.wait_for_timeout(500)
    return int(visit.in_kernel("print(training.state.focus)"))


def epochs_below(visit, cell="training.show(curves.beta)"):
    """Return the number of epochs that a cell's figure shows; 0 while there is no figure."""
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
    """See that the page said nothing wrong and asked no other host."""
    assert visit.faults == []
    assert visit.hosts <= {"127.0.0.1", None}


def figures_change_while_training_runs(visit):
    """Wait until similarity and plane have changed; later cells have run meanwhile."""
    first = wait_for(lambda: matrix(visit))
    wait_for(lambda: matrix(visit), lambda title: title != first)
    plane = wait_for(lambda: visit.page.evaluate(PLANE))
    wait_for(lambda: visit.page.evaluate(PLANE), lambda now: now != plane)
    words = "print('truth' in globals(), training.runner.state)"  # a later cell sets it
    assert wait_for(lambda: visit.in_kernel(words), lambda answer: answer != "False running") == "True running"


def pause_training(visit):
    """Pause, and see that no epoch and no step follows. Return the state."""
    press(visit, "Pause")
    wait_for(lambda: state(visit)[0], lambda name: name == "paused")
    paused = state(visit)
    time.sleep(3)
    assert state(visit) == paused
    return paused


def look_at_an_earlier_epoch(visit):
    """Redraw an earlier epoch by the slider, from the keyboard."""
    title = matrix(visit)
    visit.page.get_by_role("slider").first.focus()
    visit.page.keyboard.press("ArrowLeft")
    wait_for(lambda: matrix(visit), lambda latest: latest != title)


def point_at_matrix_and_trend(visit):
    """Point at a cell, which marks its trend, and the other way round; leaving ends it."""
    cell = ("Cosines of prototypes, epoch", "plot._fullData[0].x[0]", "plot._fullData[0].y[2]")
    wait_for(lambda: point(visit, *cell) and marked(visit), lambda pair: pair == "(0, 2)")
    visit.page.mouse.move(1, 1)
    wait_for(lambda: marked(visit), lambda pair: pair == "()")
    trend = ("Cosine between prototypes over", "plot._fullData[0].x[1]", "plot._fullData[0].y[1]")
    wait_for(lambda: point(visit, *trend) and marked(visit), lambda pair: pair != "()")


def select_by_a_box(visit):
    """Select all utterances by a box; the selection outlives a new drawing, and a double click ends it."""
    wait_for(lambda: visit.page.get_by_text("laying out").count(), lambda count: count == 0)
    point(visit, "Utterances and prototypes, epoch", "xaxis.range[0]", "yaxis.range[1]", 4, 4)
    visit.page.mouse.down()
    corner = point(visit, "Utterances and prototypes, epoch", "xaxis.range[1]", "yaxis.range[0]", -4, -4)
    visit.page.mouse.up()
    count = wait_for(lambda: int(visit.in_kernel("print(len(training.state.selection))")))
    time.sleep(2)
    assert int(visit.in_kernel("print(len(training.state.selection))")) == count > SMALL["map_size"] // 2
    visit.page.mouse.dblclick(corner["x"], corner["y"])
    wait_for(lambda: visit.in_kernel("print(len(training.state.selection))"), lambda text: text == "0")


def play_an_utterance(visit):
    """Click a point, which plays the utterance and shows its label. Return its id."""
    visit.in_kernel("training.state.change(focus=-1)")  # else the least certain one is looked at, and may be the point
    focus = wait_for(lambda: click_a_point(visit), lambda row: row >= 0)
    id = visit.in_kernel(f"print(data.table['id'][{focus}])")
    wait_for(lambda: visit.page.locator(".ipr-utterance").first.inner_text(), lambda text: id in text)
    wait_for(
        lambda: visit.page.evaluate(
            "() => document.querySelector('.ipr-player audio, audio.ipr-player')?.played.length > 0"
        )
    )
    return id


def correct_a_label(visit, id):
    """Keep a correction in the run folder, and withdraw it."""
    corrected = "print(sorted(__import__('ipr_core.runs.corrections', fromlist=['newest']).newest(run).index))"
    visit.page.get_by_title("The emotion that you hear").first.select_option("sad")
    press(visit, "Keep")
    wait_for(lambda: visit.page.locator(".ipr-corrected").first.inner_text(), lambda text: "Corrected to" in text)
    assert visit.in_kernel(corrected) == f"['{id}']"
    press(visit, "Withdraw")
    wait_for(lambda: visit.in_kernel(corrected), lambda ids: ids == "[]")
    wait_for(lambda: visit.page.locator(".ipr-corrected").first.inner_text(), lambda text: "Corrected to" not in text)


def correct_by_keys(visit):
    """Filter the list, correct by a letter and a digit, undo both; what is typed into a field is no key."""
    seen = "print(training.state.corrected, data.table['id'][training.state.focus])"
    before, page = int(visit.in_kernel(seen).split()[0]), visit.page
    press(visit, "Filters")
    page.get_by_title("Released label", exact=True).first.select_option("sad")
    wait_for(lambda: page.get_by_role("button", name="Filters: 1", exact=True).count())
    page.get_by_role("listbox").first.focus()
    for key, count in (("ArrowDown", 0), ("a", 1), ("2", 2), ("u", 3), ("Backspace", 4)):
        id = visit.in_kernel(seen).split()[1]
        page.keyboard.press(key)
        corrected, following = wait_for(lambda: visit.in_kernel(seen).split(), lambda now, id=id: now[1] != id)
        assert int(corrected) == before + count
        shown = page.locator(".ipr-utterance").first
        wait_for(shown.inner_text, lambda text, id=following: id in text)
    page.get_by_placeholder("note, if any").first.focus()
    page.keyboard.type("sad u")
    assert page.get_by_placeholder("note, if any").first.input_value() == "sad u"
    assert visit.in_kernel(seen).split() == [corrected, following]
    press(visit, "Clear filters")


def resume_stop_and_start(visit, paused):
    """Resume, stop with a run that can go on, and start again. Return the epochs at the stop."""
    press(visit, "Resume")
    wait_for(lambda: state(visit)[1], lambda epochs: epochs > paused[1])
    press(visit, "Stop")
    wait_for(lambda: state(visit)[0], lambda name: name == "stopped")
    epochs = state(visit)[1]
    assert visit.in_kernel("print(run.finished, run.epochs)") == f"False {epochs}"
    press(visit, "Start")
    wait_for(lambda: state(visit)[1], lambda now: now > epochs)
    return epochs


def reload_until_figures_show(visit):
    """Reload the page, on a busy machine once more: ipywidgets then loses a model (notebooks/README.md says so)."""
    for seconds in (SECONDS / 2, SECONDS):
        visit.page.reload()
        visit.until_idle()
        try:
            return wait_for(lambda: epochs_below(visit), seconds=seconds)
        except AssertionError as fault:
            last_fault = fault
    raise last_fault


def load_the_page_again(visit, epochs):
    """See that figures follow what was started again, also in a page that was loaded again."""
    wait_for(lambda: epochs_below(visit), lambda count: count > epochs)
    press(visit, "Pause")
    visit.command("docmanager:save")
    wait_for(lambda: '"output_type": "display_data"' in visit.file.read_text("utf-8"))
    count = reload_until_figures_show(visit)
    press(visit, "Resume")
    wait_for(lambda: epochs_below(visit), lambda now: now > count)
    press(visit, "Stop")
    wait_for(lambda: state(visit)[0], lambda name: name == "stopped")
    visit.page.wait_for_timeout(500)
    assert epochs_below(visit) == state(visit)[1]


def test_a_refinement_is_watched_paused_looked_at_resumed_and_stopped(lab):
    visit = lab("02_refinement", **SMALL)
    visit.run_all()
    figures_change_while_training_runs(visit)
    paused = pause_training(visit)
    look_at_an_earlier_epoch(visit)
    point_at_matrix_and_trend(visit)
    select_by_a_box(visit)
    id = play_an_utterance(visit)
    correct_a_label(visit, id)
    correct_by_keys(visit)
    epochs = resume_stop_and_start(visit, paused)
    load_the_page_again(visit, epochs)
    assert visit.in_kernel("print(training.state.faults)") == "{}"
    nothing_wrong(visit)
    visit.close()


@pytest.mark.parametrize(("name", "figures"), [("01_warm_up", 6), ("03_analysis", 5)])
def test_run_all_and_what_is_saved_shows_every_figure(lab, name, figures):
    visit = lab(name, **QUICK)
    visit.run_all()
    query = "print('done', *([training.runner.state] if 'training' in globals() else ['finished']))"
    wait_for(lambda: visit.in_kernel(query), lambda text: text == "done finished")
    wait_for(lambda: visit.page.evaluate(TITLES), lambda titles: len(titles) > figures)

    def saved():
        visit.command("docmanager:save")  # again and again: the last cells may still be running
        notebook = json.loads(visit.file.read_text("utf-8"))
        outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
        return sum(PLOTLY in output.get("data", {}) for output in outputs)

    assert wait_for(saved, lambda count: count >= figures) == figures
    nothing_wrong(visit)
    visit.close()


def text_below(visit, source):
    """Return the text that the page shows below a cell."""
    return visit.page.evaluate(
        """async (source) => {
            const notebook = window.jupyterapp.shell.currentWidget.content;
            const cell = notebook.widgets.find(cell => cell.model.sharedModel.source === source);
            await notebook.scrollToCell(cell);
            return cell.node.querySelector('.jp-OutputArea')?.innerText.trim() ?? '';
        }""",
        source,
    )


def test_a_wrong_parameter_shows_its_sentence_alone(lab):
    visit = lab("02_refinement", epochs=-3)
    visit.run_all()
    text = wait_for(lambda: text_below(visit, "setup = from_notebook(globals())"))
    assert text == "epochs is -3; it must be a whole number between 1 and 100,000. Epochs, the warm-up included."
    nothing_wrong(visit)
    visit.close()
