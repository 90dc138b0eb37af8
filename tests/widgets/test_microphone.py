"""What becomes of a recording, without a browser: its labels, its neighbours, its place on the plane."""

import io
import json

import numpy as np
import pytest
import soundfile

from ipr_core.config import SAMPLE_RATE
from ipr_core.runs.files import FileError
from ipr_core.training.model import Recogniser
from ipr_core.training.runner import Began
from ipr_core.training.trained import trained_model
from ipr_widgets import board, layout, players, recording, umap
from ipr_widgets.listing import run_facts
from ipr_widgets.microphone import Microphone
from ipr_widgets.state import RunState


def wav(samples):
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, format="WAV")
    return file.getvalue()


@pytest.fixture
def microphone(state):
    return Microphone(state)


def page(microphone):
    return json.loads(microphone.recorder.sheet.value)


def test_a_recording_of_an_utterance_has_its_labels_and_its_embedding(state, run, data):
    model, labels, embeddings = trained_model(run), run.labels, state.arrays(state.epoch)["map"]
    for number, row in enumerate(state.sample[:3]):
        recorded = recording.hear(wav(data.waves[row]), model)
        np.testing.assert_array_equal(recorded.wave, data.waves[row])
        soft = labels.iloc[row][[f"soft_{name}" for name in data.classes]].to_numpy(float)
        np.testing.assert_allclose(recorded.soft, soft, atol=1e-5)
        np.testing.assert_allclose(recorded.embedding, embeddings[number], atol=2e-3)  # kept in half precision


def test_a_recording_appears_on_the_board_with_its_nearest_precise_utterances(microphone, state, data):
    facts = run_facts(state)
    row = int(facts.sample[facts.precise][0])
    assert microphone.nearest.layout.display == "none"
    state.change(epoch=0)
    microphone._receive({}, memoryview(wav(data.waves[row])))
    assert not state.faults
    assert state.epoch == len(state.events) - 1
    vectors = state.arrays(state.epoch)["map"].astype(np.float32)
    number = int(np.flatnonzero(facts.sample == row)[0])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    nearest = np.sort(vectors[facts.precise] @ vectors[number])[::-1][:5]  # it is its own nearest
    cosines = [float(button.description.split()[-1]) for button in microphone.nearest.buttons if button.description]
    np.testing.assert_allclose(cosines, nearest, atol=0.006)  # two digits are cosines
    assert len(cosines) > 1
    assert set(microphone.nearest.rows) <= set(facts.sample[facts.precise].tolist())
    assert bytes(microphone.audio.value) == players.mp3(data.waves[row])
    assert data.classes[int(state.recordings[0].soft.argmax())] in microphone.words.value
    assert len(json.loads(microphone.shares.sheet.value)["data"]) == 2  # prototypes and classifier, no votes
    microphone.nearest.buttons[0].click()
    assert state.focus == row


def test_the_newest_recording_is_shown_and_an_earlier_one_can_be(microphone, state, data):
    for row in (0, 5):
        microphone._receive({}, memoryview(wav(data.waves[row])))
    assert microphone.choice.value == 1
    assert page(microphone)["count"] == 2
    assert bytes(microphone.audio.value) == players.mp3(data.waves[5])
    microphone.choice.value = 0
    assert bytes(microphone.audio.value) == players.mp3(data.waves[0])


def test_recordings_are_on_the_last_plane_alone_and_leave_with_the_run(microphone, state, run, data):
    panel = umap.panel(state)
    panel.source.wait(60)

    def squares():
        return next(len(trace.get("text", ())) for trace in json.loads(panel.figure.sheet.value)["data"]
                    if trace["name"] == "recording")  # fmt: skip

    assert squares() == 0
    microphone._receive({}, memoryview(wav(data.waves[0])))
    assert squares() == 1
    state.change(epoch=0)
    assert squares() == 0
    state.change(epoch=len(state.events) - 1)
    assert squares() == 1
    assert not state.faults


def test_a_vector_is_placed_among_the_utterances_of_its_cluster():
    random = np.random.default_rng(0)
    centres, clusters = 3 * np.eye(4, 8), np.repeat(np.arange(4), 10)
    embeddings = centres[clusters] + random.normal(0, 0.1, (40, 8))
    points = np.column_stack([10.0 * clusters, -clusters]) + random.uniform(-1, 1, (40, 2))
    positions = layout.among(2 * centres, embeddings, points)
    assert np.abs(positions - np.column_stack([10 * np.arange(4), -np.arange(4)])).max() < 1


@pytest.mark.parametrize(
    ("sound", "sentence"),
    [
        (wav(np.zeros(SAMPLE_RATE, np.int16)), "silent"),
        (wav(np.full(300, 900, np.int16)), "lasts 0.02 s: speak for"),
        (b"no sound", "is the right microphone chosen"),
    ],
)
def test_a_recording_that_cannot_be_labelled_is_a_sentence(microphone, state, sound, sentence):
    microphone._receive({}, memoryview(sound))
    assert sentence in page(microphone)["note"]
    assert state.recordings == ()
    assert not state.faults


def test_before_training_has_ended_there_is_no_model_that_hears(run, data):
    run.reopen_()
    state = RunState()
    state.on_event(Began(run, data))
    assert "wait until training has ended" in page(Microphone(state))["refusal"]


def test_a_recording_may_be_as_long_as_the_run_hears(microphone, run):
    assert page(microphone)["seconds"] == run.config.audio.max_seconds
    assert page(microphone)["refusal"] == ""


def test_the_board_opens_it_by_a_button(run, data):
    panel = board.replay(run, data).panels["microphone"]
    assert panel.layout.display == "none"
    panel.fold.value = True
    assert panel.layout.display == "flex"


def test_a_damaged_model_is_a_sentence_with_its_cure(microphone, state, run, data, monkeypatch):
    literal = Recogniser.load
    weights = run.folder / "model" / "model.safetensors"
    monkeypatch.setattr(Recogniser, "load", lambda *_: (_ for _ in ()).throw(FileError(f"{weights} is damaged")))
    microphone._receive({}, memoryview(wav(data.waves[0])))
    assert page(microphone)["note"] == f"{weights} is damaged; {run.mended}"
    assert not state.faults
    monkeypatch.setattr(Recogniser, "load", literal)
    microphone._receive({}, memoryview(wav(data.waves[0])))
    assert len(state.recordings) == 1


def test_a_fault_of_the_model_is_said_and_hearing_can_be_tried_again(microphone, state, run, data, monkeypatch):
    monkeypatch.setattr(recording, "hear", lambda *_: 1 / 0)
    microphone._receive({}, memoryview(wav(data.waves[0])))
    assert "board.state.faults" in page(microphone)["note"]
    assert "division" in state.faults["microphone"]
    monkeypatch.undo()
    microphone._receive({}, memoryview(wav(data.waves[0])))
    assert len(state.recordings) == 1
    assert not state.faults
