"""The figures of the example: those of the notebooks 02 and 03, drawn from its record, and their files."""

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import plotly
import plotly.graph_objects as go

from example import record
from helpers.lab import FLAGS, chromium
from ipr_core.atomic import write_text
from ipr_core.data.ambiguity import soft_votes
from ipr_core.runs.run import Run
from ipr_widgets import curves, matrices, plane, votes

WIDTH = 760
_KEY = "data-figure"
_TIES = 1 + math.pi * 1e-9  # so that no value lies in the middle of two roundings, where processors may differ


def figures(run: Run) -> dict[str, go.Figure]:
    """Return the figures in the page's order, by the names of their files."""
    events, labels, classes = run.history(), run.labels, run.meta["classes"]
    soft = labels[[f"soft_{name}" for name in classes]].to_numpy()
    rows, planes = record.read_planes()
    first, last = record.shown_epochs(run)
    titles = [f"before, epoch {first}", f"after, epoch {last}"]
    return {
        "losses": curves.losses(events),
        "agreement": curves.agreement(events),
        "moves": curves.moves(events, classes),
        "cosines": matrices.cosines(events, classes),
        "cosine_trends": curves.cosine_trends(events, classes),
        "scores": curves.scores(events),
        "confusion": matrices.confusion(events[-1].confusion, classes),
        "planes": plane.panels(planes, run.table.iloc[rows], classes, titles),
        "soft_against_votes": votes.soft_against_votes(soft, soft_votes(run.table, classes), classes),
        "entropies": votes.entropies(soft, run.table["part"]),
    }


def digest(figure: go.Figure) -> str:
    """Return hex digits that change with what a figure shows; the last digits of its numbers do not count."""
    text = json.dumps(_plain(figure.to_plotly_json()), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def digest_of(file: Path) -> str | None:
    """Return the digest of the figure that a file was made from."""
    match = re.search(rf'{_KEY}="([0-9a-f]+)"', file.read_text("utf-8"))
    return match and match[1]


def write_figures(pictures: dict[str, go.Figure], folder: Path = record.FOLDER) -> None:
    """Write figures as SVG, by the plotly.js that notebooks use, in Chromium."""
    for name, text in _svg(pictures):
        write_text(folder / f"{name}.svg", _small(text).replace("<svg", f'<svg {_KEY}="{digest(pictures[name])}"', 1))


def _svg(pictures: dict[str, go.Figure]) -> Iterator[tuple[str, str]]:
    from playwright.sync_api import sync_playwright

    code = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        page = browser.new_page()
        page.add_script_tag(path=code)
        for name, figure in pictures.items():
            shapes = json.loads(figure.to_json().replace('"scattergl"', '"scatter"'))
            shapes["layout"] |= {"paper_bgcolor": "white", "width": WIDTH}
            address = page.evaluate("(figure) => Plotly.toImage(figure, {format: 'svg'})", shapes)
            yield name, unquote(address.partition(",")[2])
        browser.close()


def _small(text: str) -> str:
    """Return an image with tenths of a pixel, without empty groups, and with each style written once."""
    text = re.sub(r' (?:class|data-[a-z]+)="[^"]*"', "", text)
    while (shorter := re.sub(r"<g[^>]*/>|<g[^>]*></g>", "", text)) != text:
        text = shorter
    text = re.sub(r' (?:d|transform|x|y|width|height)="[^"]*"', _short, text)
    styles = dict.fromkeys(re.findall(r' style="([^"]+)"', text))
    classes = {style: f"s{i}" for i, style in enumerate(styles)}
    sheet = "".join(f".{name}{{{style.rstrip(';')}}}\n" for style, name in classes.items())
    text = re.sub(r' style="([^"]*)"', lambda match: f' class="{classes[match[1]]}"' if match[1] else "", text)
    head, end, body = text.partition(">")
    return f"{head}{end}<style>\n{sheet}</style>{body}".replace("<g", "\n<g") + "\n"


def _short(shape: re.Match[str]) -> str:
    return re.sub(r"\d+\.\d{2,}", lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), shape[0])


def _plain(value):
    """Return a figure's values as plain ones, numbers with six digits."""
    if isinstance(value, dict):
        if set(value) >= {"dtype", "bdata"}:  # plotly's own way of writing arrays
            value = np.frombuffer(base64.b64decode(value["bdata"]), value["dtype"])
        else:
            return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    return f"{value * _TIES:.6g}" if isinstance(value, int | float) and not isinstance(value, bool) else value
