"""Names that a stranger may have given to utterances, speakers, classes and files, and what a page may hold."""

import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser

import numpy as np

TEXTS = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "<!--<script>",
    '" onmouseover="alert(1)',
    "' autofocus onfocus='alert(1)",
    '<a href="javascript:alert(1)">x</a>',
    "[x](javascript:alert(1))",
    "{{7*7}}",
    "%{customdata}",
    r"$\href{javascript:alert(1)}{x}$",
    "&lt;b&gt;",
    "\u202egnp.exe",
    "one\ntwo\r\nthree",
    "\x1b[31mred",
    "😀" * 30,
    "x" * 10_000,
    "| a | b |",
    "=HYPERLINK(1)",
]

FIGURE_TAGS = re.compile(r"</?(b|br|i|sub|sup|extra)>|<span style=\"color: #[0-9A-F]{6}\">|</span>")
"""The tags that our own figures hold."""
HTML_TAGS = {
    "abbr", "audio", "b", "br", "code", "div", "p", "progress", "span", "table", "tbody", "td", "th", "thead", "tr",
}  # fmt: skip


def strings(value) -> Iterator[str]:
    """Yield every text in plotly's JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from strings(part) if key != "bdata" else ()  # numbers as base64
    elif isinstance(value, list | tuple | np.ndarray):
        for part in value:
            yield from strings(part)


def check_line(text: str) -> None:
    """Assert that a text is seen as it is: in its direction, on its line."""
    assert not set(text) & set("\x00\x1b\u202e\r"), text[:100]
    text.encode()


def check_figure(figure: Mapping) -> None:
    """Assert that no text of a figure holds a tag that is not ours, or a formula.  figure: as plotly's JSON"""
    for text in strings(figure):
        check_line(text)
        assert "<" not in FIGURE_TAGS.sub("", text), text[:200]
        assert text.count("$") < 2, text[:200]
        assert "\n" not in text, text[:200]
        assert len(text) < 1500, text[:200]


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def check_html(html: str) -> None:
    """Assert that HTML holds only tags of ours, nothing that is run or opened, and no letter that is not seen."""
    check_line(html)
    check_tags(html)


def check_tags(html: str) -> None:
    """Assert that HTML holds only tags of ours, and nothing that is run or opened."""
    parser = _Tags()
    parser.feed(html)
    for tag, attributes in parser.tags:
        assert tag in HTML_TAGS, (tag, html[:300])
        assert not [name for name in attributes if name.startswith("on") or name == "href"], html[:300]
        assert attributes.get("src", "data:audio/").startswith("data:audio/")
