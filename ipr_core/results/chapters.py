"""Notebooks as HTML for the report: text with formulas as MathML, code, and the outputs that a page can hold."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from latex2mathml.converter import convert
from nbconvert.filters import ansi2html
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"


def mathml(latex: str, display: str = "inline") -> str:
    """Return a formula as MathML, which browsers draw themselves; one that cannot be read stays LaTeX, as code."""
    for pattern, plain in _REWRITTEN:
        latex = re.sub(pattern, plain, latex)
    try:
        markup = convert(latex, display=display)
    except Exception:  # its parser raises many kinds, and none may stop a report
        markup = "<mi>\\"
    return f"<code>{html.escape(latex)}</code>" if re.search(r">\\", markup) else markup


class Chapter:
    """A notebook as HTML, and its headings."""

    def __init__(self, name: str, notebook: NotebookNode, repeated: Collection[str] = (), titles: Collection[str] = ()):
        """repeated: texts of earlier chapters   titles: of figures that stand elsewhere on the page"""
        self.name, self._titles = name, titles
        self.headings: list[tuple[int, str, str]] = []  # level, id, title as HTML
        self.texts = {cell.source for cell in notebook.cells if cell.cell_type == "markdown"}
        skipped = set(repeated) | _about_parameters(notebook)
        self.body = "\n".join(self._cell(cell) for cell in notebook.cells if cell.source not in skipped)

    @property
    def title(self) -> str:
        """Its first heading, as HTML; its name if it has none."""
        return self.headings[0][2] if self.headings else html.escape(self.name)

    def _cell(self, cell: NotebookNode) -> str:
        if cell.cell_type == "markdown":
            return self._markdown(cell.source, cell.get("attachments"))
        if cell.cell_type != "code" or not cell.source.strip():
            return ""
        code = highlight(cell.source, PythonLexer(), HtmlFormatter())
        outputs = "\n".join(self.output(output) for output in _joined(cell.outputs))
        return f"<details><summary>code</summary>{code}</details>\n{outputs}"

    def _markdown(self, text: str, attachments: Any = None) -> str:
        return MarkdownWithMath(_Markdown(self.name, self.headings, attachments)).render(text)

    def output(self, output: NotebookNode) -> str:
        """Return an output as HTML."""
        if output.output_type == "stream":
            return _text(output.text, "stderr" if output.name == "stderr" else "")
        if output.output_type == "error":
            return _text("\n".join(output.traceback), "error")
        return self._richest(output.data)

    def _richest(self, data: NotebookNode) -> str:
        """Return the richest form of an output that a page can hold."""
        if PLOTLY in data:
            return "" if title(data[PLOTLY]) in self._titles else figure(data[PLOTLY])
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


def figure(description: Mapping[str, Any], kind: str = "") -> str:
    """Return a figure, its title as its caption, for the page's script to draw.

    description: as plotly's JSON   kind: "wide" for one with panels beside each other
    Its height is reserved, so that the page does not jump.
    """
    described = json.dumps(description).replace("<", "\\u003c")  # neither ends the script nor opens a comment
    height = float(description.get("layout", {}).get("height") or 450)
    data = f'<script type="application/json">{described}</script>'
    caption = html.escape(title(description))
    return (
        f'<figure class="{kind}"><figcaption>{caption}</figcaption>'
        f'<div class="figure" style="min-height:{height:g}px">{data}</div></figure>'
    )


def title(description: Mapping[str, Any]) -> str:
    """Return the title of a figure as plain text.  description: as plotly's JSON"""
    words = (description.get("layout", {}).get("title") or {}).get("text") or ""
    return html.unescape(re.sub(r"<br\s*/?>", " ", words))


def _about_parameters(notebook: NotebookNode) -> set[str]:
    """Return the text above the parameters: how to change them means nothing on a page."""
    pairs = zip(notebook.cells, notebook.cells[1:], strict=False)
    return {
        text.source
        for text, cell in pairs
        if text.cell_type == "markdown" and "parameters" in cell.get("metadata", {}).get("tags", ())
    }


_REWRITTEN = (
    (r"\\operatorname\*?", r"\\mathrm"),
    (r"\\arg(?![a-zA-Z])", r"\\mathrm{arg}\\,"),
    (r"\{aligned\}", "{align*}"),
    (r"\\tag\{(.*?)\}", r"\\qquad(\1)"),
)
"""LaTeX that latex2mathml does not read, and its replacement."""
