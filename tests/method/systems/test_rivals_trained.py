"""The methods that IPR is compared with, trained: they resume, reload, and show in the board."""

import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

import ipywidgets as w
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from helpers.whole_runs import assert_same
from helpers.widget_tree import descendants
from ipr_core.config import BEYOND, TABLE2
from ipr_core.encoders.alexnet import AlexNet
from ipr_core.encoders.spectrogram import SpectrogramCNN
from ipr_core.method.systems import SYSTEMS
from ipr_core.names import Committees
from ipr_core.results import scores, summary
from ipr_core.runs.events import EpochEnd
from ipr_core.runs.record import unsealed_line
from ipr_core.training.advance import advance, prepare
from ipr_core.training.model import Recogniser
from ipr_core.training.runner import Began, Runner
from ipr_core.training.session import Session
from ipr_widgets import board, comparison, plane, pseudo, tables
from ipr_widgets.live import LiveFigure

RIVALS = (*TABLE2, *get_args(Committees), *BEYOND)
ROOT = Path(__file__).parents[3]


def own_network(system):
    return SYSTEMS[system].network.encoder is not None


class Stop(Exception):
    """As if the process had been killed."""


def stop_after(epoch):
    def watch(event):
        if isinstance(event, EpochEnd) and event.epoch == epoch:
            raise Stop

    return watch


@pytest.fixture(scope="module")
def run_of(frozen, data, views, tmp_path_factory):
    """Return a finished run of a system, made once."""
    folder, runs = tmp_path_factory.mktemp("runs"), {}

    def make(system):
        if system not in runs:
            run, _ = prepare(frozen.replace(system=system), folder, data=data)
            runs[system] = advance(run, data, views=None if own_network(system) else views)
        return runs[system]

    return make


# Training.


@pytest.mark.parametrize("system", RIVALS)
def test_it_resumes_to_the_bit(system, run_of, data, views, tmp_path):
    whole = run_of(system)
    run, _ = prepare(whole.config, tmp_path, data=data)
    shared = None if own_network(system) else views
    for epoch in range(2):  # in the warm-up, and in the refinement
        with pytest.raises(Stop):
            advance(run, data, watch=stop_after(epoch), views=shared)
    assert_same(advance(run, data, views=shared), whole)


@pytest.mark.parametrize("system", RIVALS)
def test_the_reloaded_model_predicts_a_runs_labels(system, run_of, data):
    run = run_of(system)
    model = Recogniser.load(run.folder / "model")
    clips, lengths = data.waves.padded(range(6), run.config.audio.max_seconds)
    soft = model.predict([clip[:length].numpy() for clip, length in zip(clips, lengths, strict=True)])
    labels = run.labels[[f"soft_{name}" for name in data.classes]].iloc[:6]
    np.testing.assert_allclose(soft, labels, atol=2e-3 if own_network(system) else 1e-4)


def test_a_method_is_a_file_and_a_line(tmp_path):
    """Train the example of the page on adding a method, from its text."""
    page = (ROOT / "ipr_core" / "method" / "systems" / "README.md").read_text("utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(example.splitlines()) < 40
    shutil.copytree(ROOT / "ipr_core", tmp_path / "ipr_core", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "ipr_core" / "method" / "systems" / "of_the_page.py").write_text(example, "utf-8")
    names = tmp_path / "ipr_core" / "names.py"
    text = names.read_text("utf-8")
    assert text.count("\nBeyond = Literal[") == 1
    names.write_text(text.replace("\nBeyond = Literal[", '\nBeyond = Literal["of_the_page", '), "utf-8")
    command = (
        "-m ipr_core train --preset demo --system of_the_page --synthetic-size 64 --test-size 12 --epochs 2 "
        "--warm-up 1 --max-seconds 1 --map-size 0 --device cpu --runs runs"
    )
    args = [sys.executable, *command.split()]
    process = subprocess.run(args, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr[-2000:]
    (folder,) = (tmp_path / "runs").iterdir()
    last = json.loads((folder / "events.jsonl").read_text("utf-8").splitlines()[-1])
    assert last["losses"]["entropy"] > 0
    assert "entropy minimisation" in process.stdout


# Parts of the board that do not apply are absent.


@pytest.mark.parametrize("system", ["mmd", "mcil", "pico"])
def test_the_board_leaves_out_what_a_method_does_not_have(system, run_of, data):
    run, has = run_of(system), SYSTEMS[system]
    state = board.RunState()
    panel = board.board(state, Runner(), run, data)
    state.on_event(Began(run, data))
    end = time.monotonic() + 120
    while not any("epoch 2" in figure.figure for figure in _figures(panel.panels["UMAP"])) and time.monotonic() < end:
        time.sleep(0.1)  # the planes come from a thread of their own
    assert state.faults == {}
    parts = list(descendants(panel))
    tabs = _tabs(panel)
    assert "Gate" not in tabs.titles
    assert ("β" in tabs.titles) == has.shows_beta
    words = [part.value for part in parts if isinstance(part, w.HTML)]
    assert any("β" in text for text in words if "accuracy on D3" in text) == has.shows_beta
    similar = [part for part in [panel.panels["similarity"]] if part.layout.display == "none"]
    assert len(similar) == (0 if has.shows_prototypes else 1)
    colours = next(part for part in parts if getattr(part, "description", "") == "Colour by")
    assert ("prototypes' pseudo-label" in colours.options) == has.shows_prototypes
    titles = {title for part in parts if isinstance(part, w.Dropdown) for title, _ in _pairs(part.options)}
    assert ("prototypes against classifier" in titles) == has.shows_prototypes
    captions = " ".join(figure.figure for figure in _figures(panel) if figure not in _descendants(similar))
    assert ("prototype" in captions) == has.shows_prototypes


def test_a_board_shows_again_what_the_next_system_has(run_of, data):
    state = board.RunState()
    panel = board.board(state, Runner(), run_of("mmd"), data)
    for system, tabs in {"mmd": 5, "mcil": 6, "ipr": 9, "bnm": 5}.items():
        state.on_event(Began(run_of(system), data))
        assert len(_tabs(panel).titles) == tabs
    assert state.faults == {}


def _pairs(options):
    return [option if isinstance(option, tuple) else (option, option) for option in options]


def _figures(panel):
    return [part for part in descendants(panel) if isinstance(part, LiveFigure)]


def _tabs(panel):
    return next(part for part in descendants(panel) if isinstance(part, w.Tab) and "Losses" in part.titles)


def _descendants(parts):
    return [child for part in parts for child in descendants(part)]


@pytest.mark.parametrize("system", RIVALS)
def test_live_events_are_those_recorded(system, frozen, data, views, run_of):
    """The state drops D1's class means of a system without prototypes, live as replayed."""
    run, has = run_of(system), SYSTEMS[system]
    live, replay = board.RunState(), board.RunState()
    live.change(run=run, data=data)
    for epoch, line in enumerate((run.folder / "events.jsonl").read_text("utf-8").splitlines()):
        live.on_event(unsealed_line(line, epoch)[0])
    replay.on_event(Began(run, data))
    assert live.events == replay.events
    assert all((event.cosines is not None) == has.shows_prototypes for event in replay.events)
    assert pseudo.words(replay)


def test_tables_and_figures_of_runs_leave_out_what_a_method_does_not_have(run_of, data):
    mmd, ipr = run_of("mmd"), run_of("ipr")
    assert np.isnan(scores.run_scores(mmd)["agreement_prototypes"])
    assert "accuracy of the prototypes, %" not in tables.results(mmd.events())
    table = summary.score_rows([mmd, ipr]).set_index("system")["prototypes right on D2 %"]
    assert table.loc[["IPR", SYSTEMS["mmd"].title]].isna().tolist() == [False, True]
    runs = {"mmd": mmd, "ipr": ipr}
    assert [note.text for note in comparison.cosines(runs).layout.annotations] == ["ipr"]
    assert [trace.name for trace in comparison.agreement(runs).data] == ["ipr", "mmd", "ipr"]
    assert "no prototypes" in comparison.cosines({"mmd": mmd}).layout.annotations[0].text
    assert plane.COLOURINGS["agreement of the two"].of_prototypes


@pytest.mark.parametrize("system", SYSTEMS)
def test_beta_is_shown_where_it_weighs_a_loss(system, frozen, data, views):
    session = Session(frozen.replace(system=system), data, None if own_network(system) else views)
    step = session.forward(session.begin_(1)[0], 1)
    totals = [session.system.refinement_terms(replace(step, beta=beta)).total.item() for beta in (0.1, 0.9)]
    assert (totals[0] != totals[1]) == SYSTEMS[system].shows_beta


# Networks of a method's own.


@pytest.mark.parametrize("make", [AlexNet, SpectrogramCNN])
def test_padding_and_neighbours_change_nothing(make, frozen):
    torch.manual_seed(0)
    encoder = make(frozen.encoder).eval()
    lengths = torch.tensor([16_000, 9_000, 4_321])
    waves = 0.1 * torch.randn(3, 16_000) * (torch.arange(16_000) < lengths[:, None])

    padded, n = encoder(waves, lengths)
    for i, length in enumerate(lengths.tolist()):
        single, m = encoder(waves[i : i + 1, :length], lengths[i : i + 1])
        assert m.item() == n[i].item()
        torch.testing.assert_close(padded[i, : n[i]], single[0, : n[i]], atol=2e-4, rtol=2e-4)


def test_image_weights_are_read_and_faults_in_them_are_named(frozen, tmp_path):
    source = AlexNet(frozen.encoder)
    weights = {name: value.contiguous() for name, value in source.convolutions.state_dict().items()}
    save_file(weights, tmp_path / "model.safetensors")
    choice = frozen.encoder.model_copy(update={"image_weights": str(tmp_path)})
    torch.manual_seed(1)
    encoder = AlexNet(choice)
    encoder.load_weights_()
    assert all((value == weights[name]).all() for name, value in encoder.convolutions.state_dict().items())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    del weights["features.0.weight"]
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"lacks 1 weights .* features\.0\.weight first; image_weights names"):
        AlexNet(choice).load_weights_()
    with pytest.raises(ValueError, match="cannot be read"):
        AlexNet(choice.model_copy(update={"image_weights": str(tmp_path / "nowhere")})).load_weights_()


def test_every_table_warns_of_random_image_weights(run_of):
    assert "RANDOM" in summary.summary([run_of("deep_spectrum")])
