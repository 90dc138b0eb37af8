"""Two or more finished runs on the same utterances, side by side.

R runs, by name; C classes. `gather` names runs and refuses those that cannot be compared; the other functions take
its result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
from IPython.display import HTML
from pandas import DataFrame

from ipr_core.config import FIELDS
from ipr_core.method.systems import SYSTEMS
from ipr_core.results.scores import DIVERGENCES, SCORES, correct, run_scores
from ipr_core.results.significance import mcnemar
from ipr_core.runs.events import EpochEnd
from ipr_core.runs.run import Run, RunError
from ipr_core.texts import in_figure, plain
from ipr_widgets import colours, look, matrices, spreads

Runs = Mapping[str, Run]

COLOURS = ("#AA4499", "#44AA99", "#999933", "#6699CC")
"""The colours of several runs of one system, none of an emotion. From the fifth on they return with other dashes."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
ALONE = (
    "<p>No run stands beside this one. Give the parameter <code>compare</code> the folders of other runs on the same "
    "utterances: <code>ipr run --beside baseline</code> trains one and does so.</p>"
)
_P = "p (McNemar)"
_COLUMNS = 3  # of matrices


def gather(
    run: Run, compare: Sequence[Path | str] | Path | str | None = None, unfinished: bool = False
) -> dict[str, Run]:
    """Return a run and those to compare it with, by a name that tells them apart.

    compare: folders of runs; a folder that is named twice counts once   unfinished: whether those count too
    raises RunError naming every folder that holds no finished run on the same utterances
    """
    folders = [compare] if isinstance(compare, str | Path) else compare or []
    rivals = {folder: Run(Path(folder)) for folder in folders}
    faults = [fault for folder, rival in rivals.items() if (fault := _fault(run, rival, folder, unfinished))]
    if faults:
        raise RunError("\n".join(faults))
    runs = list({candidate.folder.resolve(): candidate for candidate in (run, *rivals.values())}.values())
    return dict(zip(_names(runs), runs, strict=True))


def tables(runs: Runs) -> list[DataFrame | HTML]:
    """Return the tables for a notebook, or a sentence if there is only one run."""
    return [HTML(ALONE)] if len(runs) < 2 else [settings(runs), final_scores(runs), paired(runs)]


def figures(runs: Runs) -> list[go.Figure]:
    """Return all figures for a notebook to display; none if there is only one run."""
    if len(runs) < 2:
        return []
    return [scores(runs), agreement(runs), paired_bars(runs), cosines(runs), confusions(runs)]


def settings(runs: Runs) -> DataFrame:
    """Return the settings that differ: a row a setting, a column a run."""
    values = [run.config.settings() for run in runs.values()]
    rows = {key: [str(value[key]) for value in values] for key in _differing(list(runs.values()))}
    return DataFrame.from_dict(rows, orient="index", columns=list(runs)).rename_axis("setting that differs")


def final_scores(runs: Runs) -> DataFrame:
    """Return the scores of the final epoch, a row a run.

    Columns that no run has a value for, such as divergences without votes, are left out.
    """
    rows = []
    for run in runs.values():
        result = run_scores(run)
        shares = {title: round(result[score], 2) for score, title in SCORES.items()}
        bits = {title: round(result[score], 4) for score, title in DIVERGENCES.items()}
        rows.append({"epochs": run.epochs} | shares | bits)
    return DataFrame(rows, index=pd.Index(list(runs), name="final epoch of")).dropna(axis=1, how="all")


def paired(runs: Runs) -> DataFrame:
    """Count the utterances of D3 that both, one or none of two runs get right.

    returns: a row every two runs
    p: McNemar's exact test, two-sided, of whether one run is right more often where only one is. It covers these
    utterances and these two trainings alone: with another seed the result may differ.
    """
    hit = {name: correct(run) for name, run in runs.items()}
    rows = [
        {
            "first": a,
            "second": b,
            "both right": int((hit[a] & hit[b]).sum()),
            "only first": (first := int((hit[a] & ~hit[b]).sum())),
            "only second": (second := int((~hit[a] & hit[b]).sum())),
            "neither": int((~hit[a] & ~hit[b]).sum()),
            _P: mcnemar(first, second),
        }
        for a, b in combinations(runs, 2)
    ]
    return DataFrame(rows)


def scores(runs: Runs) -> go.Figure:
    """Draw accuracy and UAR on D3 over the epochs, a curve a run."""
    fig = _over_epochs(runs, "Recognition on D3, run beside run", {"accuracy": "accuracy", "UAR": "uar"})
    return fig.update_yaxes(title="Score on D3, %", col=1)


def agreement(runs: Runs) -> go.Figure:
    """Draw the share of D2 whose pseudo-label is true over the epochs, a curve a run."""
    fields = {"by the prototypes": "agreement_prototypes", "by the classifier": "agreement_model"}
    fig = _over_epochs(runs, "Pseudo-labels of D2 that agree with the truth, run beside run", fields)
    return fig.update_yaxes(title="Agreement on D2, %", col=1)


def paired_bars(runs: Runs) -> go.Figure:
    """Draw the counts of `paired` as bars."""
    table = paired(runs)
    fig = look.figure("Utterances of D3 that two runs get right", 180 + 60 * len(table), xaxis_title="Utterances of D3")
    names = [[in_figure(name) for name in table[column]] for column in ("first", "second")]
    pairs = [f"{a}<br>and {b}<br>p = {p:.2g}" for a, b, p in zip(*names, table[_P], strict=True)]
    for outcome, colour in colours.OUTCOMES.items():
        counts = table[outcome]
        marker = dict(color=colour, pattern_shape="/" if outcome == "only second" else "")  # told apart in grey
        bar = go.Bar(x=counts, y=pairs, orientation="h", name=outcome, marker=marker, text=counts)
        bar.update(insidetextfont_color=colours.ON_COLOUR, textangle=0)
        fig.add_trace(bar.update(hovertemplate="%{x} utterances"))
    fig.update_yaxes(title="Two runs", autorange="reversed")
    return fig.update_layout(barmode="stack", legend_traceorder="normal")


def cosines(runs: Runs) -> go.Figure:
    """Draw the cosines between prototypes after the final epoch, a matrix a run that has prototypes."""
    title = "Cosine between prototypes, final epoch"
    with_prototypes = {name: run for name, run in runs.items() if run.system.shows_prototypes}
    if not with_prototypes:
        return look.note(look.figure(title), look.NO_PROTOTYPES)
    fig = _matrices(with_prototypes, title, lambda end, c: matrices.cosine_cells(end.cosines or [], c))
    return fig.update_xaxes(title="Prototype").update_yaxes(title="Prototype", col=1)


def confusions(runs: Runs) -> go.Figure:
    """Draw the confusion on D3 after the final epoch, a matrix a run."""
    fig = _matrices(runs, "Confusion on D3, final epoch", lambda end, c: matrices.confusion_cells(end.confusion, c))
    return fig.update_xaxes(title="Predicted").update_yaxes(title="True", col=1)


def _fault(run: Run, rival: Run, folder: Path | str, unfinished: bool) -> str | None:
    """Return a sentence that says why two runs cannot be compared; None if they can."""
    if not rival.exists:
        return f"{folder} is not a run folder: it has no config.json; `ipr run` and `ipr train` make one"
    if not rival.finished and not unfinished:
        return f"{folder} is not trained to its end; `ipr resume {folder}` goes on"
    meta, rival_meta = run.meta, rival.meta
    if (meta["corpus"], meta["classes"]) != (rival_meta["corpus"], rival_meta["classes"]):
        return (
            f"{folder} cannot be compared with {run.folder}: its utterances, classes or parts differ "
            f"(corpus {rival_meta['corpus']}, here {meta['corpus']}); "
            "train both with the same data and partition settings"
        )
    return None


def _names(runs: Sequence[Run]) -> list[str]:
    """Name runs by system and up to three settings that vary, the seed first.

    Runs whose names are alike get their digest too.
    """
    varying = [name for name in _differing(runs) if name != "system"]
    settings = sorted(varying, key=lambda name: name != "seed")[:3]
    configs = [run.config for run in runs]
    names = [
        ", ".join(
            [SYSTEMS[config.training.system].title, *(f"{name} {plain(config.settings()[name])}" for name in settings)]
        )
        for config in configs
    ]
    return [
        f"{name} ({run.config.digest()})" if names.count(name) > 1 else name
        for name, run in zip(names, runs, strict=True)
    ]


def _differing(runs: Sequence[Run]) -> list[str]:
    names = {name for run in runs for name in run.config.differences(runs[0].config)}
    return [name for name in FIELDS if name in names]


def _over_epochs(runs: Runs, title: str, fields: Mapping[str, str]) -> go.Figure:
    """Draw a panel a field of the events and a curve a run."""
    fig, looks = look.panels(title, list(fields), 400), _looks(runs)
    histories = [run.history() for run in runs.values()]
    legend: set[str] = set()
    for column, field in enumerate(fields.values(), start=1):
        for i, (name, history) in enumerate(zip(runs, histories, strict=True)):
            values = look.percent([getattr(event, field) for event in history])
            if any(value is not None for value in values):
                fig.add_trace(_curve(looks[i], name, values).update(showlegend=name not in legend), row=1, col=column)
                legend.add(name)
    fig.update_layout(legend=dict(orientation="h", y=-0.2, yanchor="top"))
    return look.over_epochs(fig, _longest(histories))


def _looks(runs: Runs) -> list[tuple[str, str, str | int]]:
    """Return colour, dash and marker of each run: those of its system, or, where two runs are of one, of its place."""
    systems = [run.config.training.system for run in runs.values()]
    if len(set(systems)) == len(systems):
        return [(*spreads.looks(system), spreads.symbol(system)) for system in systems]
    return [(COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)], i) for i in range(len(systems))]


def _curve(appearance: tuple[str, str, str | int], name: str, values: Sequence[float | None]) -> go.Scatter:
    colour, dash, symbol = appearance
    line = dict(color=colour, dash=dash, width=2)
    name, hover = in_figure(name), "epoch %{x}: %{y:.3~g}"
    return go.Scatter(
        y=list(values), x=list(range(len(values))), name=name, legendgroup=name, line=line, mode="lines+markers",
        marker=dict(size=6, symbol=symbol), hovertemplate=hover,
    )  # fmt: skip


def _longest(histories: Sequence[Sequence[EpochEnd]]) -> Sequence[EpochEnd]:
    """Return the longest run's events, without a warm-up to shade if warm-ups differ."""
    longest = max(histories, key=len)
    if len({sum(event.phase == "warm_up" for event in history) for history in histories}) == 1:
        return longest
    return [dataclasses.replace(event, phase="refinement") for event in longest]


def _matrices(runs: Runs, title: str, cells: Callable[[EpochEnd, Sequence[str]], go.Heatmap]) -> go.Figure:
    """Draw a matrix a run, in rows of three, with one colour scale for all."""
    rows = -(-len(runs) // _COLUMNS)
    grid = dict(rows=rows, cols=min(len(runs), _COLUMNS), vertical_spacing=0.25 / rows, horizontal_spacing=0.08)
    fig = look.panels(title, [in_figure(name) for name in runs], 130 + 300 * rows, **grid)
    for i, run in enumerate(runs.values()):
        trace = cells(run.history()[-1], run.meta["classes"]).update(showscale=i == 0)
        fig.add_trace(trace, row=i // _COLUMNS + 1, col=i % _COLUMNS + 1)
    fig.update_xaxes(showgrid=False)
    return fig.update_yaxes(autorange="reversed", showgrid=False)
