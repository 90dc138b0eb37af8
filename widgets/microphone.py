"""Speak and see: a recording of the browser's microphone, labelled by a finished run's model.

The sound goes from the page to the notebook's kernel, which forgets it with the run. It is written nowhere.
"""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import ipywidgets as w
import numpy as np

from ipr_core.data.unusable import Unusable
from ipr_core.data.waves import SAMPLE_RATE
from ipr_core.runs.run import Run, RunError
from ipr_core.texts import SENTENCE, plain
from ipr_core.training.model import Recogniser
from ipr_core.training.trained import calibration, trained_model
from ipr_widgets import players, recording, utterance
from ipr_widgets.explorer import Nearest, nearest
from ipr_widgets.listing import run_facts
from ipr_widgets.live import LiveFigure
from ipr_widgets.page import Place
from ipr_widgets.parts import THIN, follow
from ipr_widgets.recording import Recording
from ipr_widgets.state import RunState

_NAME = "microphone"
_HEIGHT = 190
_LOADER = ThreadPoolExecutor(1, "microphone")
_TOO_EARLY = "A finished model hears you: wait until training has ended."


class Microphone(w.VBox):
    """A button that records, and what the model makes of the recording; `fold` opens and closes it."""

    def __init__(self, state: RunState):
        self.state = state
        self._loading: tuple[Run, Future[Recogniser]] | None = None
        self.fold = w.ToggleButton(description="Speak", layout=w.Layout(width="auto", flex="0 0 auto"))
        self.fold.tooltip = "Record yourself: the plane shows where your utterance lies, and its soft label"
        self.recorder = Place(_NAME, self._receive, flex="0 0 auto", min_width="0")
        self.choice = w.Dropdown(layout=w.Layout(width="130px", min_width="0"), tooltip="Which recording is clip")
        self.audio = w.Audio(value=players.SILENCE, format="mp3", autoplay=False, loop=False, controls=True)
        self.audio.layout = w.Layout(height="32px", min_width="0", flex="0 1 260px")
        self.words = w.HTML(layout=w.Layout(**THIN))
        self.nearest, self.sound, self.shares = Nearest(state), LiveFigure(), LiveFigure()
        line = dict(**THIN, flex_flow="row wrap", align_items="center", grid_gap="0 10px")
        result = w.HBox([self.choice, self.audio, self.words], layout=w.Layout(**line, flex="1 1 auto"))
        figures = w.HBox([self.sound, self.shares], layout=w.Layout(**THIN, overflow="hidden"))
        self._of_recording = [result, self.nearest, figures]
        super().__init__(
            [w.HBox([self.recorder, result], layout=w.Layout(**line)), self.nearest, figures], layout=w.Layout(**THIN)
        )
        self.add_class("ipr-explorer")
        self.fold.observe(self._unfold, "value")
        self.choice.observe(self._show, "value")
        follow(state, _NAME, ["run", "status", "events", "epoch"], self._offer)
        follow(state, _NAME, ["recordings"], self._list)
        self._unfold()

    def _unfold(self, _: object = None) -> None:
        self.layout.display = "flex" if self.fold.value else "none"
        if self.fold.value and self.state.run is not None and self.state.run.finished:
            self._model()

    def _model(self) -> Future[Recogniser]:
        """Return the run's model, which is loaded while a reader thinks of something to say."""
        run = self.state.opened.run
        if self._loading is None or self._loading[0] is not run:
            self._loading = run, _LOADER.submit(_load, run)
        return self._loading[1]

    def _offer(self, note: str = "") -> None:
        """Tell the page how long a recording may be, whether there is a model that hears it, and what came of it."""
        run = self.state.run
        seconds = run.config.audio.max_seconds if run else 0
        refusal = "" if run and run.finished else _TOO_EARLY
        count = len(self.state.recordings)
        self.recorder.sheet.value = json.dumps(dict(seconds=seconds, refusal=refusal, note=note, count=count))

    def _receive(self, content: dict[str, Any], sound: memoryview) -> None:
        """Take in a recording: it stands on the plane of the last epoch, whose model has heard it."""
        state = self.state
        with state.lock, state.guard(_NAME):
            try:
                newest = recording.hear(bytes(sound), self._model().result())
            except Unusable as fault:
                self._offer(f"The recording {plain(fault.problem, SENTENCE)}: {plain(fault.cure, SENTENCE)}")
                return
            except RunError as error:  # the model is damaged or gone; it says how to mend that
                self._loading = None
                self._offer(plain(str(error), SENTENCE))
                return
            except Exception:
                self._loading = None
                self._offer("Something unforeseen went wrong; `board.state.faults` says what.")
                raise
            state.change(recordings=(*state.recordings, newest), epoch=len(state.events) - 1)
            self._offer()

    def _list(self) -> None:
        """Offer all recordings, and show the newest."""
        count = len(self.state.recordings)
        self.choice.unobserve(self._show, "value")  # which would draw another one first
        self.choice.options = [(f"recording {number}", number - 1) for number in range(count, 0, -1)]
        self.choice.value = count - 1 if count else None
        self.choice.observe(self._show, "value")
        for part in self._of_recording:
            part.layout.display = "flex" if count else "none"
        if count:
            self._show()

    def _show(self, _: object = None) -> None:
        state, number = self.state, self.choice.value
        with state.lock, state.guard(_NAME):
            clip: Recording = state.recordings[number]
            calibrated = calibration(state.opened.run).utterances > 0
            seconds = f"{len(clip.wave) / SAMPLE_RATE:.1f} s"
            self.words.value = f"{seconds}, {utterance.labels(clip.soft, state.classes, calibrated)}"
            self.audio.value = players.mp3(clip.wave)
            self.sound.draw(utterance.sound(clip.wave, f"recording {number + 1}", _HEIGHT))
            prototypes = clip.prototypes if state.shows_prototypes else None
            self.shares.draw(utterance.shares(prototypes, clip.classifier, None, state.classes, _HEIGHT))
            self.nearest.show(*_nearest(state, clip.embedding))


def _nearest(state: RunState, embedding: utterance.Shares) -> tuple[list[int], utterance.Shares]:
    """Return the rows of the precise utterances that are nearest to a recording, and their cosines."""
    facts, embeddings = run_facts(state), state.arrays(len(state.events) - 1)["map"]
    numbers, cosines = nearest(np.concatenate([embeddings, embedding[None]]), len(embeddings), facts.precise)
    return facts.sample[numbers].tolist(), cosines


def _load(run: Run) -> Recogniser:
    """Load a run's model, and let it hear silence: what is slow the first time is done then."""
    model = trained_model(run)
    recording.label(np.zeros(SAMPLE_RATE, np.int16), model)
    return model
