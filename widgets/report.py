"""What a run's report shows, displayed by the notebook that `ipr run` executes for it (`ipr_core.results.drawn`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import plotly.io as pio
from IPython.display import display
from pandas import DataFrame

from ipr_core.data.ambiguity import soft_votes
from ipr_core.results import drawn, fairness, page_one, reliability
from ipr_core.results.table import Table
from ipr_core.runs.run import Run
from ipr_core.texts import in_html, plain
from ipr_widgets import comparison, look, of_run, tables
from ipr_widgets.players import data_uri

_ROWS = 8  # of a list of utterances


def show(folder: Path | str, *rivals: Path | str) -> None:
    """Display figures, tables and sounds of a finished run, each with its place in the report.

    rivals: folders of finished runs on the same utterances
    """
    run, rivals_of_run = Run.open(folder), [Run.open(rival) for rival in rivals]
    for drawing in of_run.drawings(run, rivals_of_run):
        bundle = pio.renderers["plotly_mimetype"].to_mimebundle(look.vector(drawing.figure).to_dict())
        _display(bundle, drawing.subject, drawing.name, drawing.is_wide)
    for subject, name, table in _tables(run, rivals_of_run):
        if len(table.values if isinstance(table, Table) else table):
            _display({"text/html": _html(table)}, subject, name)
    for name, sound in _sounds(run):
        _display({"text/html": sound}, drawn.SOUNDS, name)


def _display(bundle: dict, subject: str, name: str, is_wide: bool = False) -> None:
    position = {drawn.KEY: {"subject": subject, "name": name, "wide": is_wide}}
    display(bundle, raw=True, metadata=position)


def _tables(run: Run, rivals: list[Run]) -> Iterator[tuple[str, str, DataFrame | Table]]:
    """Yield subject, name and table."""
    labels, classes = run.labels, run.meta["classes"]
    yield of_run.RECOGNITION, "sexes", fairness.by_sex(run)
    yield of_run.SOFT, "calibration", reliability.errors(run)
    votes = soft_votes(run.table, classes)
    yield of_run.SOFT, "divergences", tables.divergences(labels, votes, classes).reset_index()
    runs = comparison.gather(run, [rival.folder for rival in rivals])
    if len(runs) > 1:
        yield of_run.BESIDE, "settings", comparison.settings(runs).reset_index()
        yield of_run.BESIDE, "pairs", comparison.paired(runs).round(3)
    d2 = labels[labels["part"] == "D2"].nlargest(_ROWS, "entropy")
    columns = d2.filter(regex="^(id|label|single_label|soft_.*|entropy)$").round(2)
    yield of_run.UNDECIDED, "undecided", columns.map(_text)
    disputed = tables.disagreements(labels, classes).head(_ROWS)
    yield of_run.DISPUTED, "disagreements", disputed.map(_text)


def _html(table: DataFrame | Table) -> str:
    return table._repr_html_() if isinstance(table, Table) else table.to_html(index=False, border=0, na_rep="")


def _text(cell: object) -> object:
    """Return a cell of text without what a page would not show."""
    return plain(cell) if isinstance(cell, str) else cell


def _sounds(run: Run) -> Iterator[tuple[str, str]]:
    """Yield id and player of the utterances that the first page lets hear; none if their sound is not there."""
    try:
        waves = run.dataset(progress=False).waves
    except (OSError, ValueError):  # the run's folder may have left the machine that has the corpus
        return
    for clip in page_one.most_ambiguous(run):
        name = in_html(clip.name)
        uri = data_uri(waves[clip.row])
        yield clip.name, f'<audio controls preload="none" aria-label="{name}" src="{uri}"></audio>'
