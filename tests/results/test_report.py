"""The report: one page with everything in it, which loads nothing from a host."""

import json
import re
import shutil
import sys
from types import SimpleNamespace

import nbformat.v4 as nb
import pytest
from pandas import DataFrame

from helpers import hostile
from ipr_core.config import demo, nearest_preset
from ipr_core.results import report
from ipr_core.results.table import Table

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run", "--disable-dev-shm-usage"]  # fmt: skip
SILENCE = "data:audio/wav;base64,UklGRiQAAABXQVZFZm10IBAAAAABAAEAgD4AAAB9AAACABAAZGF0YQAAAAA="
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="


def display(data):
    return nb.new_code_cell("shown", outputs=[nb.new_output("display_data", data)])


def printed(*texts, name="stdout"):
    return nb.new_code_cell("printed", outputs=[nb.new_output("stream", text=text, name=name) for text in texts])


def curve(ys, title="</script><b>loss</b>"):
    figure = {"data": [{"type": "scatter", "y": ys}], "layout": {"title": {"text": title}, "height": 300}}
    return display({report.PLOTLY: figure, "text/html": '<script src="https://cdn.plot.ly/x.js"></script>'})


WARM_UP = [
    nb.new_markdown_cell(
        "# Warm-up\n\n$$\\beta = \\frac{r^e - 1}{r - 1} \\tag{7}$$\n\nwith $k \\cdot p_c$ and $\\foo$"
    ),
    nb.new_code_cell("gamma = 0.9"),
    curve([3, 2, 1]),
    printed("epoch 1\repoch 2\r", "epoch 3\nover\n"),
    printed("careful", name="stderr"),
]
REFINEMENT = [
    nb.new_markdown_cell("# Refinement\n\n## Figure 3\n\nSee [the paper](https://arxiv.org/abs/2408.00325)."),
    curve([1, 2, 3], title="agreement"),
    display({"text/html": f'<audio controls><source src="{SILENCE}" type="audio/wav"></audio>', "text/plain": "Audio"}),
    display({"image/png": PIXEL, "text/plain": "picture"}),
    display({report.WIDGET: {"model_id": "x"}, "text/plain": "VBox(children=())"}),
    display({"text/plain": "a < b"}),
]


@pytest.fixture
def run(tmp_path):
    """A run folder with two executed notebooks, as far as a report looks at it."""
    config = demo(seed=3, test_speakers=("one", "two"), speaker_disjoint=True)
    for name, cells in {"01_warm_up": WARM_UP, "02_refinement": REFINEMENT}.items():
        path = tmp_path / "notebooks" / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(nb.new_notebook(cells=cells)), "utf-8")
    meta = {"settings": config.settings(), "simulated_annotators": True, "versions": {"torch": "2.0", "other": None}}
    return SimpleNamespace(folder=tmp_path, config=config, meta=meta)


@pytest.fixture
def page(run):
    """The page without plotly.js, so that a search looks at what the report wrote."""
    text = report.write(run).read_text("utf-8")
    assert text.count(report.plotly_js()) == 1
    return text.replace(report.plotly_js(), "")


def test_nothing_in_the_page_is_loaded_from_a_host(page):
    assert re.findall(r'(?:src|data|srcset|poster)\s*=\s*["\']?(?:https?:)?//', page) == []
    assert re.findall(r"<link\b|@import|url\(", page) == []
    assert re.findall(r'href="(https?:[^"]*)"', page) == [
        "https://arxiv.org/abs/2408.00325"
    ]  # a link that a user wrote
    assert "default-src 'none'" in page


def test_every_figure_and_player_is_in_the_page(page):
    figures = re.findall(r'<script type="application/json">(.*?)</script>', page, re.S)
    assert [json.loads(figure)["data"][0]["y"] for figure in figures] == [[3, 2, 1], [1, 2, 3]]
    assert json.loads(figures[0])["layout"]["title"]["text"] == "</script><b>loss</b>"
    assert page.count("<audio") == 1
    assert SILENCE in page
    assert f"data:image/png;base64,{PIXEL}" in page


def test_a_page_without_figures_holds_no_plotly(run):
    for path in (run.folder / "notebooks").iterdir():
        path.write_text(json.dumps(nb.new_notebook(cells=[nb.new_markdown_cell("# Words alone")])), "utf-8")
    assert len(report.write(run).read_text("utf-8")) < 50_000


def test_outputs_are_shown_as_a_notebook_shows_them(page):
    assert '<pre class="">epoch 3\nover</pre>' in page  # pieces of a stream joined; an overwritten line's last state
    assert '<pre class="stderr">careful</pre>' in page
    assert "a &lt; b" in page
    assert "VBox" not in page


def test_contents_name_the_headings_of_every_notebook(page):
    assert re.findall(r'<li class="(h\d)"><a href="#([^"]+)">(.*?)</a>', page) == [
        ("h1", "01_warm_up-1", "Warm-up"),
        ("h1", "02_refinement-1", "Refinement"),
        ("h2", "02_refinement-2", "Figure 3"),
    ]
    assert 'id="02_refinement-2"' in page


def test_formulas_are_mathml(page):
    assert page.count("<math") == 2
    assert "<code>\\foo</code>" in page  # what cannot be read stays readable


@pytest.mark.parametrize(
    ("latex", "holds"),
    [
        (r"\operatorname*{Normalize}(x)", '<mi mathvariant="normal">N</mi>'),
        (r"\arg\max_c s_c", "max"),
        (r"x = 1 \tag{7}", '<mspace width="2em" />'),
        (r"\begin{aligned} a &= b \\ c &= d \end{aligned}", "<mtr>"),
        (r"\begin{cases} a & x > 0 \\ b \end{cases}", "<mtr>"),
        (
            r"L_\text{con} = -\log\frac{\exp(k_i\cdot k_i^\text{aug}/\tau)}{\sum_j \exp(k_i \cdot k_j / \tau)}",
            "<mfrac>",
        ),
    ],
)
def test_the_methods_formulas_can_be_read(latex, holds):
    markup = report.mathml(latex, "block")
    assert markup.startswith("<math")
    assert holds in markup
    assert "<mo>*</mo>" not in markup


def test_the_head_names_what_differs_from_the_nearest_preset(run, page):
    changes = {"speaker_disjoint": True, "test_speakers": ["one", "two"], "seed": 3}
    assert (nearest_preset(run.config), run.config.differences(demo())) == ("demo", changes)
    assert "Preset <code>demo</code>, and these settings:" in page
    assert "<th>test_speakers</th><td>one, two</td>" in page
    assert "<th>speaker_disjoint</th><td>yes</td>" in page
    assert "simulated" in page


def test_tables_of_results_stand_at_the_head(run):
    scores = Table("results", "Scores of the final epoch", DataFrame({"system": ["IPR"], "Acc D3 %": ["50.0"]}))
    text = report.write(run, [scores]).read_text("utf-8")
    head = text[text.index("<header>") : text.index("</header>")]
    assert head.index("<h2>Results</h2>") < head.index("Scores of the final epoch") < head.index("<td>50.0</td>")


def test_without_results_the_head_has_no_heading_for_them(page):
    assert "<h2>Results</h2>" not in page


def test_a_page_runs_its_own_scripts_alone(page):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert "'unsafe-inline'" not in re.search(r"script-src ([^;]*)", policy)[1]
    assert policy.count("'sha256-") == 2
    assert "form-action 'none'" in policy
    assert "\r" not in report.plotly_js()  # a browser would hash another text


@pytest.mark.parametrize("text", hostile.TEXTS)
def test_a_figure_keeps_any_text_and_ends_no_script(run, text):
    notebook = nb.new_notebook(cells=[curve([1, 2], title=text)])
    (run.folder / "notebooks" / "02_refinement.ipynb").write_text(json.dumps(notebook), "utf-8")
    page = report.write(run).read_text("utf-8")
    figures = re.findall(r'<script type="application/json">(.*?)</script>', page, re.S)
    assert not set("".join(figures)) & set("<")
    assert json.loads(figures[1])["layout"]["title"]["text"] == text


@pytest.mark.parametrize("text", hostile.TEXTS)
def test_settings_versions_and_outputs_are_text(run, text):
    run.meta["versions"] = {text: text}
    run.meta["settings"] |= {"corpus_path": text}
    notebook = nb.new_notebook(cells=[printed(text), display({"text/plain": text})])
    for path in (run.folder / "notebooks").iterdir():
        path.write_text(json.dumps(notebook), "utf-8")
    body = report.write(run).read_text("utf-8").partition("</style>")[2]
    assert set(re.findall(r"<(\w+)", body)) <= {
        "body", "code", "details", "div", "h1", "header", "main", "nav", "ol", "p", "pre", "section", "span", "strong",
        "summary", "table", "td", "th", "tr",
    }  # fmt: skip
    assert not re.findall(r"<[^>]* on\w+=", body)


def test_no_path_of_the_machine_is_in_the_page(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    run.config = run.config.replace(corpus="manifest", corpus_path="/data/secret project/m.csv")
    run.meta["settings"] = run.config.settings()
    texts = [
        f"written to {run.folder}/report.html", "/home/ada/.cache/ipr/waves", f"{sys.prefix}/lib/x.py:3: Warning",
        'compare = ["/mnt/disk/other/run-1"]', "corpus_path = '/data/secret project/m.csv'",
    ]  # fmt: skip
    cells = [nb.new_code_cell(text, outputs=printed(text).outputs) for text in texts]
    cells += [nb.new_markdown_cell(text) for text in texts]
    error = nb.new_output("error", ename="E", evalue="", traceback=["File /home/ada/work/x.py"])
    cells += [curve([1], title=texts[0]), nb.new_code_cell("1/0", outputs=[error])]
    (run.folder / "notebooks" / "02_refinement.ipynb").write_text(json.dumps(nb.new_notebook(cells=cells)), "utf-8")
    page = report.write(run).read_text("utf-8").replace(report.plotly_js(), "")
    for secret in ("ada", "secret", "/mnt", str(tmp_path.parent), sys.prefix):
        assert secret not in re.sub(r"<[^>]*>", "", page), secret
    assert "m.csv" in page
    assert "run-1" in page


def test_sound_pictures_and_addresses_stay_as_they_are(page):
    assert SILENCE in page
    assert f"data:image/png;base64,{PIXEL}" in page
    assert "https://arxiv.org/abs/2408.00325" in page


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_a_browser_runs_no_script_from_a_notebook(run):
    from playwright.sync_api import sync_playwright

    attacks = "".join(
        [
            "<script>document.title = 'run'</script>", "<img src=x onerror=\"document.title = 'run'\">",
            "<a id='link' href=\"javascript:document.title = 'run'\">x</a>",
            "<svg onload=\"document.title = 'run'\"></svg>",
        ]
    )  # fmt: skip
    cells = [display({"text/html": attacks}), nb.new_markdown_cell(attacks), curve([1, 2])]
    (run.folder / "notebooks" / "02_refinement.ipynb").write_text(json.dumps(nb.new_notebook(cells=cells)), "utf-8")
    path = report.write(run)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        page.goto(path.as_uri())
        page.locator(".js-plotly-plot .main-svg .trace").nth(1).wait_for(state="attached")
        page.locator("#link").first.click()
        assert page.title() == run.folder.name
        browser.close()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_a_browser_draws_it_and_asks_nobody(run):
    from playwright.sync_api import sync_playwright

    path = report.write(run)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        light, dark = (visit(browser, path, scheme) for scheme in ("light", "dark"))
        browser.close()
    for visits in (light, dark):
        assert [url for url in visits["requests"] if not url.startswith(("file:", "data:", "blob:"))] == []
        assert visits["messages"] == []
        assert visits["drawn"] == {".js-plotly-plot": 2, "audio": 1, "math": 2, "nav a": 3}
        assert visits["picture"] == 1
    assert light["paper"] != dark["paper"]


def visit(browser, path, scheme):
    """Return what a reader meets: requests (a refused one too), messages and errors, and drawings."""
    page, requests, messages = browser.new_page(color_scheme=scheme), [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(path.as_uri())
    page.locator(".js-plotly-plot .main-svg .trace").nth(1).wait_for(state="attached")
    return {
        "requests": requests,
        "messages": messages,
        "drawn": {name: page.locator(name).count() for name in (".js-plotly-plot", "audio", "math", "nav a")},
        "picture": page.evaluate("() => document.querySelector('img').naturalWidth"),
        "paper": page.evaluate("() => getComputedStyle(document.body).backgroundColor"),
    }
