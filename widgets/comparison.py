"""Two or more finished runs on the same utterances, side by side.

R runs, by name; C classes. `gather` names runs and refuses those that cannot be compared; every other function
takes what it gave.
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
from ipr_core.results import summary
from ipr_core.results.significance import mcnemar, right
from ipr_core.runs.events import EpochEnd
from ipr_core.runs.run import Run, RunError
from ipr_widgets import look, matrices

Runs = Mapping[str, Run]

COLOURS = ("#AA4499", "#44AA99", "#999933", "#6699CC")
"""Of the runs; none is an emotion's. From the fifth run on they return with other dashes."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
ALONE = (
    "<p>No run stands beside this one. Give the parameter <code>compare</code> the folders of other runs on the same "
    "utterances: <code>ipr run --beside baseline</code> trains one and does so.</p>"
)
_P = "p (McNemar)"
_BESIDE = 3  # matrices in a row


def gather(run: Run, compare: Sequence[Path | str] | Path | str | None = None) -> dict[str, Run]:
    """A run and those to be shown beside it, by what tells them apart.

    compare: folders of runs; one that is there twice counts once
    raises RunError naming every folder that holds no finished run on the same utterances
    """
    folders = [compare] if isinstance(compare, str | Path) else compare or []
    others = {folder: Run(Path(folder)) for folder in folders}
    faults = [fault for folder, other in others.items() if (fault := _why_not(run, other, folder))]
    if faults:
        raise RunError("\n".join(faults))
    alike = {one.folder.resolve(): one for one in (run, *others.values())}
    return dict(zip(_names(list(alike.values())), alike.values(), strict=True))


def tables(runs: Runs) -> list[DataFrame | HTML]:
    """What differs and what came out, for a notebook to display; a sentence where there is only one run."""
    return [HTML(ALONE)] if len(runs) < 2 else [settings(runs), final_scores(runs), paired(runs)]


def figures(runs: Runs) -> list[go.Figure]:
    """All figures, for a notebook to display; none where there is only one run."""
    if len(runs) < 2:
        return []
    return [scores(runs), agreement(runs), paired_bars(runs), cosines(runs), confusions(runs)]


def settings(runs: Runs) -> DataFrame:
    """The settings that differ: a row a setting, a column a run."""
    each = {name: run.config.settings() for name, run in runs.items()}
    rows = {key: [str(of[key]) for of in each.values()] for key in _differing(list(runs.values()))}
    return DataFrame.from_dict(rows, orient="index", columns=list(each)).rename_axis("setting that differs")


def final_scores(runs: Runs) -> DataFrame:
    """Scores of the final epoch: a row a run. Divergences of soft labels only where they can be judged."""
    rows = []
    for run in runs.values():
        found = summary.scores(run)
        shares = {title: round(found[score], 2) for score, title in summary.SCORES.items()}
        bits = {title: round(found[score], 4) for score, title in summary.DIVERGENCES.items()}
        rows.append({"epochs": run.epochs} | shares | bits)
    return DataFrame(rows, index=pd.Index(list(runs), name="final epoch of")).dropna(axis=1, how="all")


def paired(runs: Runs) -> DataFrame:
    """Utterances of D3 that the classifiers of two runs get right, both, one or none: a row every two runs.

    p: McNemar's exact test, two-sided, of whether one of both is right more often where only one is. It knows these
    utterances and these two trainings alone: another seed may tell another story.
    """
    hit = {name: right(run) for name, run in runs.items()}
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
    """Accuracy and UAR on D3 over the epochs, a curve a run."""
    fig = _over_epochs(runs, "Recognition on D3, run beside run", {"accuracy": "accuracy", "UAR": "uar"})
    return fig.update_yaxes(title="Score on D3, %", col=1)


def agreement(runs: Runs) -> go.Figure:
    """Share of D2 whose pseudo-label is the true one over the epochs, a curve a run."""
    fields = {"by the prototypes": "agreement_prototypes", "by the classifier": "agreement_model"}
    fig = _over_epochs(runs, "Pseudo-labels of D2 that agree with the truth, run beside run", fields)
    return fig.update_yaxes(title="Agreement on D2, %", col=1)


def paired_bars(runs: Runs) -> go.Figure:
    """`paired` as bars: of every two runs, how many utterances of D3 both get right, only one, or none."""
    table = paired(runs)
    fig = look.figure("Utterances of D3 that two runs get right", 180 + 60 * len(table), xaxis_title="Utterances of D3")
    pairs = [f"{row['first']}<br>and {row['second']}<br>p = {row[_P]:.2g}" for _, row in table.iterrows()]
    shades = {"both right": "#44AA99", "only first": "#AA4499", "only second": "#6699CC", "neither": "#999999"}
    for what, colour in shades.items():
        bar = go.Bar(x=table[what], y=pairs, orientation="h", name=what, marker_color=colour, text=table[what])
        fig.add_trace(bar.update(hovertemplate="%{x} utterances"))
    fig.update_yaxes(title="Two runs", autorange="reversed")
    return fig.update_layout(barmode="stack", legend_traceorder="normal")


def cosines(runs: Runs) -> go.Figure:
    """Cosines between prototypes after the final epoch, a matrix a run that has some."""
    title = "Cosine between prototypes, final epoch"
    have = {name: run for name, run in runs.items() if run.system.shows_prototypes}
    if not have:
        return look.note(look.figure(title), look.NO_PROTOTYPES)
    fig = _matrices(have, title, lambda end, c: matrices.cosine_cells(end.cosines, c))
    return fig.update_xaxes(title="Prototype").update_yaxes(title="Prototype", col=1)


def confusions(runs: Runs) -> go.Figure:
    """Confusion on D3 after the final epoch, a matrix a run."""
    fig = _matrices(runs, "Confusion on D3, final epoch", lambda end, c: matrices.confusion_cells(end.confusion, c))
    return fig.update_xaxes(title="Predicted").update_yaxes(title="True", col=1)


def _why_not(run: Run, other: Run, folder: Path | str) -> str | None:
    """Why a run cannot be shown beside another one, in a sentence."""
    if not other.exists:
        return f"{folder} is not a run folder: it has no config.json; `ipr run` and `ipr train` make one"
    if not other.finished:
        return f"{folder} is not trained to its end; `ipr resume {folder}` goes on"
    one, two = run.meta, other.meta
    if (one["corpus"], one["classes"]) != (two["corpus"], two["classes"]):
        return (
            f"{folder} cannot be compared with {run.folder}: its utterances, classes or parts are others "
            f"(corpus {two['corpus']}, here {one['corpus']}); train both with the same data and partition settings"
        )
    return None


def _names(runs: Sequence[Run]) -> list[str]:
    """System, seed if it varies, and up to two other settings; the digest too where two would be called the same."""
    varying = [name for name in _differing(runs) if name != "system"]
    named = sorted(varying, key=lambda name: name != "seed")[:3]
    configs = [run.config for run in runs]
    names = [
        ", ".join([SYSTEMS[config.training.system].title, *(f"{name} {config.settings()[name]}" for name in named)])
        for config in configs
    ]
    return [
        f"{name} ({run.config.digest()})" if names.count(name) > 1 else name
        for name, run in zip(names, runs, strict=True)
    ]


def _differing(runs: Sequence[Run]) -> list[str]:
    each = [run.config.settings() for run in runs]
    return [name for name in FIELDS if any(of[name] != each[0][name] for of in each)]


def _over_epochs(runs: Runs, title: str, fields: Mapping[str, str]) -> go.Figure:
    """A panel a field of the events, a curve a run; as many epochs as the longest run has."""
    fig = look.panels(title, list(fields), 400)
    histories, told = [run.history() for run in runs.values()], set()
    for column, field in enumerate(fields.values(), start=1):
        for i, (name, history) in enumerate(zip(runs, histories, strict=True)):
            values = look.percent([getattr(event, field) for event in history])
            if any(value is not None for value in values):
                fig.add_trace(_curve(i, name, values).update(showlegend=name not in told), row=1, col=column)
                told.add(name)
    fig.update_layout(legend=dict(orientation="h", y=-0.2, yanchor="top"))
    return look.over_epochs(fig, _longest(histories))


def _curve(i: int, name: str, values: Sequence[float | None]) -> go.Scatter:
    line = dict(color=COLOURS[i % len(COLOURS)], dash=DASHES[i % len(DASHES)], width=2)
    hover = "epoch %{x}: %{y:.3~g}"
    return go.Scatter(
        y=list(values), x=list(range(len(values))), name=name, legendgroup=name, line=line, mode="lines+markers",
        marker=dict(size=5, symbol=i), hovertemplate=hover,
    )  # fmt: skip


def _longest(histories: Sequence[Sequence[EpochEnd]]) -> Sequence[EpochEnd]:
    """The events that span the axis. Where the warm-ups differ in length none is shaded: it would be that of one."""
    longest = max(histories, key=len)
    if len({sum(event.phase == "warm_up" for event in history) for history in histories}) == 1:
        return longest
    return [dataclasses.replace(event, phase="refinement") for event in longest]


def _matrices(runs: Runs, title: str, cells: Callable[[EpochEnd, Sequence[str]], go.Heatmap]) -> go.Figure:
    """A matrix a run, in rows of three, one colour scale for all."""
    rows = -(-len(runs) // _BESIDE)
    grid = dict(rows=rows, cols=min(len(runs), _BESIDE), vertical_spacing=0.25 / rows, horizontal_spacing=0.08)
    fig = look.panels(title, list(runs), 130 + 300 * rows, **grid)
    for i, run in enumerate(runs.values()):
        trace = cells(run.history()[-1], run.meta["classes"]).update(showscale=i == 0)
        fig.add_trace(trace, row=i // _BESIDE + 1, col=i % _BESIDE + 1)
    fig.update_xaxes(showgrid=False)
    return fig.update_yaxes(autorange="reversed", showgrid=False)
