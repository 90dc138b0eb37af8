"""The texts of figures in a real JupyterLab, in its light and its dark theme."""

import nbformat
import nbformat.v4 as nb
import pytest

from helpers.lab import FLAGS, Visit, chromium, jupyter_lab

LEAST = 4.5
CELL = """
from pandas import DataFrame
from IPython.display import display
from ipr_widgets import curves, look, matrices, votes
table = DataFrame({"part": ["D1", "D2", "D3"] * 4, "label": ["angry", "happy", "sad"] * 4, "speaker": list("abcd") * 3})
display(votes.partition(table, ["angry", "happy", "sad"]), curves.losses([]))
display(matrices.confusion([[9, 1], [5, 5]], ["angry", "happy"]), look.figure("title", xaxis_title="x"))
"""
TEXTS = """() => {
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
        .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const colour = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
    const page = (element) => {
        for (let one = element; one; one = one.parentElement) {
            const found = colour(getComputedStyle(one).backgroundColor);
            if (found.length === 3 || found[3] === 1) return found;
        }
    };
    const texts = [...document.querySelectorAll('.js-plotly-plot .main-svg text')].filter((text) => text.textContent
        && !text.closest('.heatmaplayer, .heatmap-label'));
    return texts.map((text) => {
        const [r, g, b, alpha = 1] = colour(getComputedStyle(text).fill), back = page(text.closest('.js-plotly-plot'));
        const seen = [r, g, b].map((v, i) => alpha * v + (1 - alpha) * back[i]);
        const [low, high] = [light(seen), light(back)].sort((one, other) => one - other);
        return [(high + 0.05) / (low + 0.05), text.textContent];
    });
}"""


@pytest.fixture(scope="module")
def visit(tmp_path_factory):
    """A page with four figures."""
    sync = pytest.importorskip("playwright.sync_api")
    path, root = chromium(), tmp_path_factory.mktemp("texts")
    spec = {"kernelspec": {"name": "python3", "display_name": "Python"}}  # else JupyterLab asks for one
    nbformat.write(nb.new_notebook(cells=[nb.new_code_cell(CELL.strip())], metadata=spec), root / "figures.ipynb")
    with jupyter_lab(root) as address, sync.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=list(FLAGS))
        opened = Visit(browser.new_context(viewport={"width": 1300, "height": 1500}), address, "figures.ipynb")
        opened.run_all()
        opened.page.wait_for_function("() => document.querySelectorAll('.js-plotly-plot .xtitle').length === 3")
        yield opened
        opened.close()
        browser.close()


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_every_text_of_a_figure_has_the_contrast_of_text(visit, theme):
    change = f"window.jupyterapp.commands.execute('apputils:change-theme', {{theme: 'JupyterLab {theme}'}})"
    visit.page.evaluate(f"() => {change}")
    visit.page.wait_for_function(f"() => document.body.dataset.jpThemeLight === '{str(theme == 'Light').lower()}'")
    visit.page.wait_for_timeout(500)  # colours fade from one to the other
    texts = visit.page.evaluate(TEXTS)
    assert len(texts) > 30
    assert min(texts)[0] >= LEAST, min(texts)
