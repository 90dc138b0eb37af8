"""The report of a run: its executed notebooks as one HTML page that opens offline.

The page loads nothing from a host. nbconvert's own page loads scripts from three hosts and leaves plotly's figures out.
This one holds plotly.js once, draws formulas as MathML, keeps sound and pictures as data, and forbids the browser every
request and every script but the page's own two (`_policy`). Paths of this machine are left out (`places`).
"""

from __future__ import annotations

import base64
import hashlib
import html
import importlib.util
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat
from latex2mathml.converter import convert
from nbconvert.filters import ansi2html
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from ipr_core.atomic import write_text
from ipr_core.config import PRESETS, nearest_preset
from ipr_core.results.places import Places
from ipr_core.results.table import Table
from ipr_core.runs.run import Run
from ipr_core.texts import SENTENCE, in_html

PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"


def write(run: Run, results: Iterable[Table] = (), notes: Iterable[str] = ()) -> Path:
    """Make report.html from the executed notebooks in a run folder.

    results, notes: the tables and the sentences (Markdown, of which bold is read) at the head of the page
    """
    path = run.folder / "report.html"
    write_text(path, page(run, sorted((run.folder / "notebooks").glob("*.ipynb")), results, notes))
    return path


def page(run: Run, notebooks: Iterable[Path], results: Iterable[Table] = (), notes: Iterable[str] = ()) -> str:
    """Return the whole page; the arguments are those of `write`."""
    places = Places(run)
    contents = {path.stem: nbformat.read(path, as_version=4) for path in notebooks}
    chapters = [_Chapter(name, nbformat.from_dict(places.hide_all(notebook))) for name, notebook in contents.items()]
    bodies = "\n".join(f'<section id="{c.name}">{c.body}</section>' for c in chapters)
    index = "\n".join(
        f'<li class="h{level}"><a href="#{id}">{title}</a></li>' for level, id, title in _headings(chapters)
    )
    scripts = [plotly_js(), _DRAW] if 'class="figure"' in bodies else []
    script = "\n".join(f"<script>{text}</script>" for text in scripts)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">
<title>{html.escape(run.folder.name)}</title>
<style>{_STYLE}{_pygments()}</style></head>
<body><nav><ol>{index}</ol></nav>
<main>{_head(run, results, notes, places)}
{bodies}</main>
{script}
</body></html>
"""


def plotly_js() -> str:
    """Return the plotly.js of the installed plotly, which fits its figures; plotly itself is not imported."""
    package = importlib.util.find_spec("plotly")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).with_name("package_data").joinpath("plotly.min.js").read_text("utf-8")


def mathml(latex: str, display: str = "inline") -> str:
    """Return a formula as MathML, which browsers draw themselves; one that cannot be read stays LaTeX, as code."""
    for pattern, plain in _REWRITTEN:
        latex = re.sub(pattern, plain, latex)
    try:
        markup = convert(latex, display=display)
    except Exception:  # its parser raises many kinds, and none may stop a report
        markup = "<mi>\\"
    return f"<code>{html.escape(latex)}</code>" if re.search(r">\\", markup) else markup


class _Chapter:
    """A notebook as HTML, and its headings."""

    def __init__(self, name: str, notebook: NotebookNode):
        self.name = name
        self.headings: list[tuple[int, str, str]] = []  # level, id, title as HTML
        self.body = "\n".join(self._cell(cell) for cell in notebook.cells)

    def _cell(self, cell: NotebookNode) -> str:
        if cell.cell_type == "markdown":
            return self._markdown(cell.source, cell.get("attachments"))
        if cell.cell_type != "code" or not cell.source.strip():
            return ""
        code = highlight(cell.source, PythonLexer(), HtmlFormatter())
        outputs = "\n".join(self._output(output) for output in _joined(cell.outputs))
        return f"<details><summary>code</summary>{code}</details>\n{outputs}"

    def _markdown(self, text: str, attachments: Any = None) -> str:
        return MarkdownWithMath(_Markdown(self.name, self.headings, attachments)).render(text)

    def _output(self, output: NotebookNode) -> str:
        if output.output_type == "stream":
            return _text(output.text, "stderr" if output.name == "stderr" else "")
        if output.output_type == "error":
            return _text("\n".join(output.traceback), "error")
        return self._richest(output.data)

    def _richest(self, data: NotebookNode) -> str:
        """Return the richest form of an output that a page can hold."""
        if PLOTLY in data:
            return _figure(data[PLOTLY])
        if WIDGET in data:
            return ""  # alive only with a kernel; a static figure follows each
        if "text/html" in data:
            return f'<div class="output">{data["text/html"]}</div>'
        for kind in ("image/png", "image/jpeg"):
            if kind in data:
                return f'<img alt="" src="data:{kind};base64,{"".join(data[kind].split())}">'
        if "image/svg+xml" in data:
            return f'<div class="output">{data["image/svg+xml"]}</div>'
        if "text/markdown" in data:
            return self._markdown(data["text/markdown"])
        if "text/latex" in data:
            return mathml(data["text/latex"].strip(" $\n"), "block")
        return _text(data.get("text/plain", ""))


class _Markdown(IPythonRenderer):
    """nbconvert's Markdown, with formulas as MathML and headings noted for the table of contents."""

    def __init__(self, chapter: str, headings: list[tuple[int, str, str]], attachments: Any = None):
        super().__init__(escape=False, attachments=attachments)
        self._chapter, self._headings = chapter, headings

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        id = f"{self._chapter}-{len(self._headings) + 1}"
        self._headings.append((level, id, text))
        return f'<h{level} id="{id}">{text}</h{level}>\n'

    def inline_math(self, body: str) -> str:
        return mathml(body)

    def block_math(self, body: str) -> str:
        return mathml(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        return mathml(f"\\begin{{{name}}}{body}\\end{{{name}}}", "block")


def _headings(chapters: Iterable[_Chapter]) -> list[tuple[int, str, str]]:
    """Return the headings of the table of contents, without links, which would nest."""
    return [
        (level, id, re.sub(r"</?a\b[^>]*>", "", title))
        for chapter in chapters
        for level, id, title in chapter.headings
        if level <= 2
    ]


def _head(run: Run, results: Iterable[Table], notes: Iterable[str], places: Places) -> str:
    meta, preset = run.meta, nearest_preset(run.config)
    changes = run.config.differences(PRESETS[preset]())
    simulated = "<p>The annotators' votes of this run are <strong>simulated</strong>: its labels rest on them.</p>"
    tables = "\n".join(table._repr_html_() for table in results)
    sentences = [re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", in_html(note, SENTENCE)) for note in notes]
    paragraphs = "\n".join(f"<p>{sentence}</p>" for sentence in sentences)
    return f"""<header><h1>{html.escape(run.folder.name)}</h1>
<p>Preset <code>{preset}</code>{", and these settings:" if changes else " as it is."}</p>
{_pairs(places.hide_all(changes))}
{simulated if meta["simulated_annotators"] else ""}
{paragraphs}
<details><summary>all settings</summary>{_pairs(places.hide_all(meta["settings"]))}</details>
<details><summary>versions</summary>{_pairs(meta["versions"])}</details>
{f"<h2>Results</h2>{tables}" if tables else ""}</header>"""


def _pairs(values: dict[str, Any]) -> str:
    texts = {in_html(name): in_html(_plain(value), SENTENCE) for name, value in values.items()}
    rows = (f"<tr><th>{name}</th><td>{text}</td></tr>" for name, text in texts.items())
    return f'<table class="settings">{"".join(rows)}</table>' if values else ""


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _joined(outputs: Iterable[NotebookNode]) -> list[NotebookNode]:
    """Return the outputs, with consecutive pieces of one stream put together."""
    joined: list[NotebookNode] = []
    for output in outputs:
        last = joined[-1] if joined else {}
        if output.output_type == "stream" and last.get("name") == output.name:
            joined[-1] = NotebookNode(last | {"text": last["text"] + output.text})
        else:
            joined.append(output)
    return joined


def _text(text: str, kind: str = "") -> str:
    """Return plain text as a terminal shows it: with colours, and an overwritten line in its last state."""
    screen = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.rstrip().split("\n"))
    return f'<pre class="{kind}">{ansi2html(screen)}</pre>' if screen.strip() else ""


def _figure(figure: NotebookNode) -> str:
    """Return a figure's description for `_DRAW`, with its height reserved so that the page does not jump."""
    described = json.dumps(figure).replace("<", "\\u003c")  # neither ends the script nor opens a comment
    height = figure.get("layout", {}).get("height") or 450
    data = f'<script type="application/json">{described}</script>'
    return f'<div class="figure" style="min-height:{height:g}px">{data}</div>'


def _pygments() -> str:
    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    return f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n.highlight {{ background: none }}"


_REWRITTEN = (
    (r"\\operatorname\*?", r"\\mathrm"),
    (r"\\arg(?![a-zA-Z])", r"\\mathrm{arg}\\,"),
    (r"\{aligned\}", "{align*}"),
    (r"\\tag\{(.*?)\}", r"\\qquad(\1)"),
)
"""LaTeX that latex2mathml does not read, and its replacement."""


def _policy(scripts: Iterable[str]) -> str:
    """Return what the browser may load, which stands in the page, and run, which are these scripts.

    A script, a handler or a link that came with data is none of them. plotly.js compiles its WebGL shaders, hence eval.
    """
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    allowed = " ".join([*(f"'sha256-{digest}'" for digest in hashes), "'unsafe-eval'"]) if hashes else "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "media-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
    )


_STYLE = """
:root { --ink: #1c1e21; --faint: #667; --line: #dde; --page: #fff; --card: #f6f7f9; --link: #1a5fb4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e6ea; --faint: #99a; --line: #343840; --page: #16181c; --card: #1f2228; --link: #8ab8ff; }
}
html { scroll-behavior: smooth; }
body { margin: 0 auto; max-width: 78rem; display: flex; gap: 3rem; padding: 0 1.5rem; background: var(--page);
  color: var(--ink); font: 17px/1.6 system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
nav { flex: 0 0 15rem; position: sticky; top: 0; align-self: flex-start; max-height: 100vh; overflow: auto;
  padding: 2rem 0; font-size: 0.85rem; }
nav ol { list-style: none; margin: 0; padding: 0; }
nav li { padding: 0.15rem 0 0.15rem 0.9rem; line-height: 1.35; }
nav li.h1 { font-weight: 600; padding: 0.8rem 0 0.2rem; }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
main { flex: 1; min-width: 0; padding: 2rem 0 6rem; }
main > section { border-top: 1px solid var(--line); margin-top: 3rem; padding-top: 1rem; }
h1, h2, h3 { line-height: 1.25; margin: 2rem 0 0.6rem; } header h1 { margin-top: 0; overflow-wrap: anywhere; }
p, ul, ol, blockquote { max-width: 44rem; }
pre, details, .output, table { font-size: 0.85rem; }
pre { background: var(--card); border-radius: 6px; padding: 0.7rem 1rem; overflow-x: auto;
  line-height: 1.45; margin: 0.5rem 0; }
pre.stderr { color: var(--faint); } pre.error { border-left: 4px solid #d33; }
code { background: var(--card); border-radius: 4px; padding: 0.1em 0.3em; font-size: 0.9em; }
pre code { background: none; padding: 0; font-size: 1em; }
summary { color: var(--faint); cursor: pointer; }
table { border-collapse: collapse; border: 0; margin: 0.6rem 0; } .output { overflow-x: auto; }
th, td { padding: 0.25rem 0.8rem; text-align: right; border: 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; } th:first-child, td:first-child, .settings td { text-align: left; }
math[display="block"] { margin: 0.9rem 0; font-size: 1.1em; overflow-x: auto; }
img, svg { max-width: 100%; } audio { height: 2.2rem; }
.figure { margin: 0.8rem 0; }
@media (max-width: 60rem) { body { display: block; } nav { position: static; padding: 1rem 0 0; } }
@media print { nav { display: none; } }
"""

# The project's figures read on a light and on a dark page, so nothing is redrawn when that changes.
_DRAW = """
for (const place of document.querySelectorAll(".figure")) {
  const {data, layout, config} = JSON.parse(place.firstElementChild.textContent);
  place.replaceChildren();
  Plotly.newPlot(place, data, layout, {...config, responsive: true, displaylogo: false});
}
"""
