"""The report: one page with everything in it, which loads nothing from a host."""

import json
import re
import shutil
import sys

import nbformat.v4 as nb
import pytest
from pandas import DataFrame

from helpers import hostile
from helpers.fake_runs import fake_run
from ipr_core.config import nearest_preset
from ipr_core.results import chapters, drawn, report
from ipr_core.results.table import Table
from ipr_core.runs.run import Run

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
    return display({chapters.PLOTLY: figure, "text/html": '<script src="https://cdn.plot.ly/x.js"></script>'})


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
    display({chapters.WIDGET: {"model_id": "x"}, "text/plain": "VBox(children=())"}),
    display({"text/plain": "a < b"}),
]


class Kept(Run):
    """A run whose settings and description a test may change."""

    config = meta = None


@pytest.fixture
def run(frozen, data, tmp_path):
    """A finished run with two executed notebooks."""
    config = frozen.replace(seed=3, test_speakers=("one", "two"), speaker_disjoint=True)
    finished = fake_run(tmp_path, config.replace(system="baseline"), data, (0.2, 0.5), simulated=True)
    for name, cells in {"01_warm_up": WARM_UP, "02_refinement": REFINEMENT}.items():
        path = finished.folder / "notebooks" / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(nb.new_notebook(cells=cells)), "utf-8")
    changeable = Kept(finished.folder)
    changeable.config = config.replace(system="baseline")
    changeable.meta = finished.meta | {"versions": {"torch": "2.0", "other": None}}
    return changeable


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
    entries = re.findall(r'<li class="(h\d)"><a href="#([^"]+)">(.*?)</a>', page)
    assert [name for _, _, name in entries[:2]] == ["Settings", "Appendix: the notebooks"]
    assert entries[2:] == [
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
    markup = chapters.mathml(latex, "block")
    assert markup.startswith("<math")
    assert holds in markup
    assert "<mo>*</mo>" not in markup


def test_the_head_names_what_differs_from_the_nearest_preset(run, page):
    assert nearest_preset(run.config) == "demo"
    assert "Preset <code>demo</code>, and these settings:" in page
    assert "<th>test_speakers</th><td>one, two</td>" in page
    assert "<th>speaker_disjoint</th><td>yes</td>" in page
    assert "simulated" in page


def test_tables_of_results_follow_the_first_page(run):
    scores = Table("results", "Scores of the final epoch", DataFrame({"system": ["IPR"], "Acc D3 %": ["50.0"]}))
    text = report.write(run, [scores]).read_text("utf-8")
    rest = text[text.index("</header>") :]
    assert rest.index("<h2>Results</h2>") < rest.index("Scores of the final epoch") < rest.index("<td>50.0</td>")


def test_without_results_there_is_no_heading_for_them(page):
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
        "a", "body", "code", "details", "div", "h1", "h2", "h3", "header", "li", "main", "nav", "ol", "p", "pre",
        "section", "span", "strong", "summary", "table", "td", "th", "tr", "ul",
    }  # fmt: skip
    assert not re.findall(r"<[^>]* on\w+=", body)


def test_no_path_of_the_machine_is_in_the_page(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/hedwig")
    run.config = run.config.replace(corpus="manifest", corpus_path="/data/secret project/m.csv")
    run.meta["settings"] = run.config.settings()
    texts = [
        f"written to {run.folder}/report.html", "/home/hedwig/.cache/ipr/waves", f"{sys.prefix}/lib/x.py:3: Warning",
        'compare = ["/mnt/disk/other/run-1"]', "corpus_path = '/data/secret project/m.csv'",
    ]  # fmt: skip
    cells = [nb.new_code_cell(text, outputs=printed(text).outputs) for text in texts]
    cells += [nb.new_markdown_cell(text) for text in texts]
    error = nb.new_output("error", ename="E", evalue="", traceback=["File /home/hedwig/work/x.py"])
    cells += [curve([1], title=texts[0]), nb.new_code_cell("1/0", outputs=[error])]
    (run.folder / "notebooks" / "02_refinement.ipynb").write_text(json.dumps(nb.new_notebook(cells=cells)), "utf-8")
    page = report.write(run).read_text("utf-8").replace(report.plotly_js(), "")
    for secret in ("hedwig", "secret", "/mnt", str(tmp_path.parent), sys.prefix):
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
        page.locator("details").evaluate_all("all => all.forEach((one) => { one.open = true; })")
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
        assert visits["drawn"] == {".js-plotly-plot": 2, "audio": 1, "math": 2, "nav a": 5}
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


SHOWN = ["The first page"] * 3 + ["Training"] * 4 + ["Labels"]


@pytest.fixture
def illustrated(run):
    """The same run with what widgets drew: figures of many curves, under three headings, and a wide one."""
    cells = []
    for number, subject in enumerate(SHOWN):
        count = 40 if number == 4 else 8
        curves = [{"type": "scatter", "y": [1, i], "name": f"a curve with a long name, {i}"} for i in range(count)]
        layout = {"title": {"text": f"figure {number}"}, "height": 380} | ({"xaxis2": {}} if number == 5 else {})
        position = {drawn.KEY: {"subject": subject, "name": f"f{number}", "wide": number == 5}}
        output = nb.new_output("display_data", {chapters.PLOTLY: {"data": curves, "layout": layout}}, metadata=position)
        cells.append(nb.new_code_cell("show()", outputs=[output]))
    position = {drawn.KEY: {"subject": drawn.SOUNDS, "name": run.table["id"].iloc[0]}}
    cells.append(
        nb.new_code_cell("show()", outputs=[nb.new_output("display_data", {"text/html": "x"}, metadata=position)])
    )
    (run.folder / "notebooks" / f"{drawn.NAME}.ipynb").write_text(json.dumps(nb.new_notebook(cells=cells)), "utf-8")
    return run


def test_figures_stand_on_the_first_page_and_by_subject(illustrated):
    text = report.write(illustrated).read_text("utf-8").replace(report.plotly_js(), "")
    first, _, rest = text.partition("</header>")
    assert [f"figure {number}</figcaption>" in first for number in range(8)] == [True] * 3 + [False] * 5
    assert rest.index("<h2>Training</h2>") < rest.index("figure 3") < rest.index("<h2>Labels</h2>")
    kinds = re.findall(r'<figure class="([^"]*)"><figcaption>figure (\d)', rest)
    assert kinds == [("", "3"), ("", "4"), ("wide", "5"), ("wide alone", "6"), ("wide alone", "7")]


def test_a_figure_that_stands_above_is_not_repeated_in_the_notebooks(illustrated):
    path = illustrated.folder / "notebooks" / "02_refinement.ipynb"
    path.write_text(json.dumps(nb.new_notebook(cells=[curve([1, 2], title="figure 3"), curve([1], title="other")])))
    text = report.write(illustrated).read_text("utf-8").replace(report.plotly_js(), "")
    assert text.count("<figcaption>figure 3<") == 1
    assert text.count("<figcaption>other<") == 1


def test_what_notebooks_say_of_their_parameters_is_left_out_and_what_all_say_stands_once(run):
    cells = [
        nb.new_markdown_cell("A setting that is None keeps the value of the preset"),
        nb.new_code_cell("seed = None", metadata={"tags": ["parameters"]}),
        nb.new_markdown_cell("everything is checked"),
    ]
    for path in (run.folder / "notebooks").iterdir():
        path.write_text(json.dumps(nb.new_notebook(cells=cells)), "utf-8")
    text = report.write(run).read_text("utf-8")
    assert "A setting that is None" not in text
    assert text.count("everything is checked") == 1


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_in_print_nothing_is_cut_or_split_and_the_folded_notebooks_are_left_out(illustrated):
    from playwright.sync_api import sync_playwright

    path = report.write(illustrated)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        page.goto(path.as_uri())
        page.locator(".js-plotly-plot .main-svg .trace").nth(60).wait_for(state="attached")
        pdf = page.pdf(prefer_css_page_size=True)
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        figures = page.locator(".figure:visible").evaluate_all(MEASURED)
        split = page.locator("figure:visible, tr:visible").evaluate_all(
            "all => all.filter((one) => getComputedStyle(one).breakInside !== 'avoid').length"
        )
        heading = page.locator("h2:visible").first.evaluate("one => getComputedStyle(one).breakAfter")
        folded = page.locator("pre:visible").count()
        browser.close()
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) < 8
    assert len(figures) == len(SHOWN)
    assert [figure for figure in figures if figure["cut"]] == []
    assert max(figure["height"] for figure in figures) < 1000  # as a page of A4 within its margins
    assert {figure["width"] for figure in figures} == {218, 334, 682}
    assert (split, heading, folded) == (0, "avoid", 0)


MEASURED = """all => all.map((place) => {
    const box = place.querySelector(".main-svg").getBoundingClientRect();
    const texts = [...place.querySelectorAll(".infolayer .legend, .infolayer text")];
    const parts = texts.map((one) => one.getBoundingClientRect());
    const cut = parts.some((part) => part.left < box.left - 1 || part.right > box.right + 1
        || part.top < box.top - 1 || part.bottom > box.bottom + 1);
    return {cut, width: Math.round(box.width), height: box.height};
})"""
