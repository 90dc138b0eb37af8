"""Small figures of one utterance: sound, soft label with the annotators' votes, and the label's history.

C classes, E epochs, T samples. They fit a panel and a page alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import torch
from numpy.typing import NDArray
from pandas import Series
from torchaudio.functional import melscale_fbanks

from ipr_core import metrics
from ipr_core.data.waves import SAMPLE_RATE
from ipr_core.runs.events import EpochEnd
from ipr_core.texts import in_figure, in_html
from ipr_widgets import colours, look
from ipr_widgets.votes import PARTS, TIED

Shares = NDArray[np.floating]

NOTHING = "No utterance is chosen"
BANDS = 64
LOWEST, HIGHEST = 50.0, 8000.0  # Hz, the range of the bands
RANGE = 80  # dB below the loudest that have colours of their own
_WIDEST = 400  # columns of a spectrogram, and half the points of a waveform: more than a panel has pixels
_WINDOW = 400  # samples (25 ms), longer where the columns are further apart
_SMALL = dict(
    title_font_size=13, title_y=0.99, title_yanchor="top", title_pad_t=3, font_size=11,
    title_x=0, title_xref="container", title_pad_l=6,
    margin=dict(l=50, r=16, t=44, b=34), modebar_remove=look.NOT_IN_PANELS,
)  # fmt: skip
_ROOMY = 200  # pixels of height; lower figures have no room for the word warm-up
_A_LINE = 4  # names of emotions in a line of the legend
_SIGNS = {"prototypes": "■", "classifier": "▨", "votes": "□"}


def sound(wave: NDArray[np.int16] | None, name: str = "", height: int = 230) -> go.Figure:
    """Draw the waveform above the log-mel spectrogram, over the same seconds.

    wave: (T,) samples at 16 kHz, None for no utterance   name: of the utterance
    """
    rows = dict(rows=2, cols=1, shared_xaxes=True, shared_yaxes=False, row_heights=[0.32, 0.68], vertical_spacing=0.05)
    fig = look.panels(f"Sound of {in_figure(name)}" if name else "Sound", ["", ""], height, **rows)
    fig.update_layout(showlegend=False, **_SMALL).update_layout(margin_t=24)
    fig.update_yaxes(title="Ampl.", nticks=3, row=1).update_yaxes(title="kHz (mel)", row=2)
    fig.update_xaxes(title="Time, s", row=2).update_xaxes(uirevision=in_figure(name))  # the next one is not zoomed in
    if wave is None:
        return look.note(fig, NOTHING)
    fig.add_trace(_waveform(wave), 1, 1).add_trace(_spectrogram(wave), 2, 1)
    marks = [hertz for hertz in (500, 1000, 2000, 4000) if hertz < HIGHEST]
    fig.update_yaxes(
        tickvals=[_mel(hertz) for hertz in marks], ticktext=[f"{hertz / 1000:g}" for hertz in marks], row=2
    )
    return fig.update_xaxes(range=[0, len(wave) / SAMPLE_RATE], showgrid=False)


def log_mel(wave: NDArray[np.int16]) -> tuple[float, NDArray[np.int8]]:
    """Return the seconds between columns, and the decibels relative to the loudest.

    returns: the decibels are (BANDS, F), F at most 401, and -RANGE or more
    """
    hop = max(SAMPLE_RATE // 100, -(-len(wave) // _WIDEST))
    window = max(_WINDOW, hop)
    fft = max(1024, 1 << (window - 1).bit_length())
    samples = torch.from_numpy(np.asarray(wave, np.float32) / 32768)
    spectrum = torch.stft(
        samples, fft, hop, window, torch.hann_window(window), center=True, pad_mode="constant", return_complex=True
    )
    bands = melscale_fbanks(fft // 2 + 1, LOWEST, HIGHEST, BANDS, SAMPLE_RATE)
    power = (bands.T @ spectrum.abs().square()).numpy()
    decibels = 10 * np.log10(np.maximum(power, 1e-10))
    return hop / SAMPLE_RATE, np.rint(np.maximum(decibels - decibels.max(), -RANGE)).astype(np.int8)


def shares(
    prototypes: Shares | None, model: Shares | None, votes: Shares | None, classes: Sequence[str], height: int = 170
) -> go.Figure:
    """Draw both uncalibrated soft labels and the annotators' votes, a bar each for every class.

    prototypes, model, votes: (C,) shares, None (or NaN) where they are not known
    """
    fig = look.figure("Soft labels and votes", height, barmode="group", bargap=0.15, **_SMALL)
    fig.update_xaxes(title="Share, %, uncalibrated", range=[0, 100], tickvals=[0, 50, 100])
    fig.update_yaxes(
        title="Emotion", autorange="reversed", tickvals=[in_figure(name) for name in classes],
        ticktext=[f"{in_figure(name)} {_dot(name)}" for name in classes],
    )  # fmt: skip
    sources = {"prototypes": prototypes, "classifier": model, "votes": votes}
    bars = {source: values for source, values in sources.items() if values is not None and np.isfinite(values).all()}
    if not bars:
        return look.note(fig, NOTHING)
    for source, values in bars.items():
        fig.add_trace(_bars(source, 100 * np.asarray(values, float), classes))
    if "votes" not in bars:
        fig.update_layout(title="Soft labels (votes are not known)")
    return _key(fig, " ".join(f"{_SIGNS[source]} {source}" for source in bars))


def history(soft: Shares, events: Sequence[EpochEnd], classes: Sequence[str], height: int = 170) -> go.Figure:
    """Draw an utterance's soft label over the epochs, the warm-up shaded.

    soft: (E, C) a row an event
    """
    fig = look.figure("Its soft label over the epochs", height, yaxis_title="Share, %", yaxis_range=[-3, 103], **_SMALL)
    if not len(soft):
        return look.note(fig, look.NO_EPOCH if classes else NOTHING).update_xaxes(title="Epoch")
    for c, name in enumerate(classes):
        fig.add_trace(
            go.Scatter(
                x=[event.epoch for event in events], y=100 * np.asarray(soft[:, c], float), name=in_figure(name),
                mode="lines+markers", marker=dict(size=4, symbol=colours.symbol(name)),
                line=dict(color=colours.colour(name), width=2), hovertemplate="epoch %{x}: %{y:.0f} %",
            )
        )  # fmt: skip
    look.over_epochs(fig, events)
    if height < _ROOMY:  # no room for a word or a legend: the bars of the shares have the same colours and the names
        fig.layout.annotations = [note for note in fig.layout.annotations if note.text != "warm-up"]
        return fig.update_layout(showlegend=False, margin_t=26).update_yaxes(tickvals=[0, 50, 100])
    names = [f"{_dot(name)} {in_figure(name)}" for name in classes]
    lines = [" ".join(names[i : i + _A_LINE]) for i in range(0, len(classes), _A_LINE)]
    fig.layout.margin.t += 14 * (len(lines) - 1)
    return _key(fig, "<br>".join(lines))


def caption(utterance: Series, soft: Shares | None, classes: Sequence[str], calibrated: bool = False) -> str:
    """Return the speaker, the part and the labels of an utterance as HTML.

    utterance: a row of the utterance table   soft: (C,) of the epoch in view, None before there is one
    calibrated: whether the soft label is
    """
    agreed = look.term(f"{utterance['share']:.0%} of the votes", _SHARE)
    lines = [
        f"<b>{in_html(utterance['id'])}</b> · speaker {in_html(utterance['speaker']) or 'unknown'}"
        f" · {PARTS.get(utterance['part'], '')}",
        f"released label {emotion(utterance['label']) if utterance['label'] else TIED}, {agreed}",
    ]
    if soft is not None:
        lines.append(labels(soft, classes, calibrated))
    return "<br>".join(lines)


def labels(soft: Shares, classes: Sequence[str], calibrated: bool = False) -> str:
    """Return the single label of a soft one, its share and the entropy as HTML.  soft: (C,)"""
    best, bits = int(np.argmax(soft)), float(metrics.entropy(np.asarray(soft)[None])[0])
    single = look.term("single label", "the class with the largest share in the soft label of this epoch")
    kind = look.term("calibrated" if calibrated else "uncalibrated", _CALIBRATION)
    share = f"{kind} share {soft[best]:.0%}, {look.term(f'{bits:.2f} bits', _ENTROPY)}"
    return f"{single} {emotion(classes[best])}, {share}"


def emotion(name: str) -> str:
    """Return an emotion's name with a dot of its colour, as HTML."""
    return f"{_dot(name)} {in_html(name)}"


def _dot(name: str) -> str:
    return f'<span style="color: {colours.colour(name)}">●</span>'


_SHARE = "the share of this label among the annotators' votes, which decides the part"
_CALIBRATION = (
    "after training, soft labels are made as unsure as the votes on held-out utterances; the bars, and all earlier "
    "epochs, show them before that"
)
_ENTROPY = "entropy of the soft label: 0 bits is certain, log2 of the number of classes undecided"


def _waveform(wave: NDArray[np.int16]) -> go.Scatter:
    """Return the waveform: all samples, or the lowest and highest of each column if there are many."""
    size = -(-len(wave) // (2 * _WIDEST))
    columns = np.pad(wave, (0, -len(wave) % size), "edge").reshape(-1, size)
    y = np.stack([columns.min(axis=1), columns.max(axis=1)], axis=1).ravel() if size > 2 else np.asarray(wave)
    x = np.arange(len(y)) * (len(wave) / len(y) / SAMPLE_RATE)
    return go.Scatter(
        x=x.astype(np.float32), y=(y / 32768).astype(np.float32), mode="lines",
        line=dict(color=colours.PROTOTYPES, width=1), hovertemplate="%{x:.2f} s: %{y:.2f}<extra></extra>",
    )  # fmt: skip


def _spectrogram(wave: NDArray[np.int16]) -> go.Heatmap:
    seconds, decibels = log_mel(wave)
    step = (_mel(HIGHEST) - _mel(LOWEST)) / (BANDS + 1)
    return go.Heatmap(
        z=decibels, x0=0, dx=seconds, y0=_mel(LOWEST) + step, dy=step, zmin=-RANGE, zmax=0, colorscale="Viridis",
        colorbar=dict(title="dB", thickness=8, len=0.7, y=0.3, tickvals=[-RANGE, -RANGE // 2, 0], xpad=4),
        hovertemplate="%{x:.2f} s: %{z} dB to the loudest<extra></extra>",
    )  # fmt: skip


def _mel(hertz: float) -> float:
    """Return the pitch on the mel scale of `melscale_fbanks` (HTK's)."""
    return float(2595 * np.log10(1 + hertz / 700))


def _bars(source: str, percent: Shares, classes: Sequence[str]) -> go.Bar:
    return go.Bar(
        x=percent, y=[in_figure(name) for name in classes], orientation="h", name=source,
        marker=_filled(source, [colours.colour(name) for name in classes]),
        hovertemplate=f"%{{y}}, {source}: %{{x:.0f}} %<extra></extra>",
    )  # fmt: skip


def _key(fig: go.Figure, text: str) -> go.Figure:
    """Add a legend in one line, since plotly's own takes half of a small figure."""
    position = dict(x=0, xref="paper", xanchor="left", y=1, yref="paper", yanchor="bottom")
    return fig.add_annotation(
        text=text, showarrow=False, font_size=11, align="left", xshift=-40, yshift=4, **position
    ).update_layout(showlegend=False)


def _filled(source: str, colour: str | list[str]) -> dict[str, object]:
    """Return the marker of a source: full, striped, or outline alone, in the emotion's colour."""
    clear, line = "rgba(0, 0, 0, 0)", dict(color=colour, width=1)
    if source == "votes":
        return dict(color=clear, line=line)
    if source == "classifier":
        return dict(color=colour, line=line, pattern=dict(shape="/", fgcolor=colour, bgcolor=clear, size=5))
    return dict(color=colour, line=line)
