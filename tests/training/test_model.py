"""The recogniser: pooling, standardiser, what is trained, and the way to disk and back."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from ipr_core.calibration import Calibration
from ipr_core.config import Training, recommended
from ipr_core.data.clips import clips
from ipr_core.runs.files import FileError
from ipr_core.training import model as module
from ipr_core.training.model import Recogniser, build_model

SMALL = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    folder = str(tmp_path_factory.mktemp("wav2vec2"))
    torch.manual_seed(0)
    transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**SMALL)).save_pretrained(folder)
    return folder


def model_of(encoder="compact", **settings) -> Recogniser:
    torch.manual_seed(0)
    return build_model(recommended(encoder=encoder, embedding=settings.pop("embedding", 8), **settings)).eval()


def waves_of(*lengths: int) -> list[np.ndarray]:
    noise = np.random.default_rng(0)
    return [0.1 * noise.standard_normal(length, dtype=np.float32) for length in lengths]


def batch(*lengths: int) -> tuple[torch.Tensor, torch.Tensor]:
    waves = [torch.as_tensor(wave) for wave in waves_of(*lengths)]
    return torch.nn.utils.rnn.pad_sequence(waves, batch_first=True), torch.tensor(lengths)


@pytest.mark.parametrize("pooling", ["mean", "mean+deviation"])
@pytest.mark.parametrize("frozen", [0, 1, -1])
def test_an_embedding_does_not_depend_on_neighbours(checkpoint, pooling, frozen):
    model = model_of(checkpoint, pooling=pooling, frozen_layers=frozen)
    waves, lengths = batch(24_000, 9_000, 1_600)
    with torch.no_grad():
        embeddings, logits = model(*model.stem(waves, lengths))
        for i, length in enumerate(lengths):
            single, its_logits = model(*model.stem(waves[i : i + 1, :length], lengths[i : i + 1]))
            torch.testing.assert_close(embeddings[i : i + 1], single, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(logits[i : i + 1], its_logits, atol=1e-5, rtol=1e-5)


def test_pooling_is_mean_and_deviation_of_the_valid_frames():
    model = model_of(pooling="mean+deviation")
    waves, lengths = batch(16_000, 5_000)
    with torch.no_grad():
        frames, n = model.encoder(waves, lengths)
        pooled = model.pooled(*model.stem(waves, lengths))
    for i in range(2):
        valid_frames = frames[i, : n[i]]
        expected = torch.cat([valid_frames.mean(0), (valid_frames.var(0, correction=0) + 1e-6).sqrt()])
        torch.testing.assert_close(pooled[i], expected, atol=1e-5, rtol=1e-5)


def test_a_frozen_encoders_stem_is_the_pooled_vector(checkpoint):
    model = model_of(checkpoint, frozen_layers=-1).train()
    x, n = model.stem(*batch(16_000, 5_000))
    assert x.shape == (2, 1, 32)
    assert n.tolist() == [1, 1]
    assert torch.equal(model.pooled(x, n), x[:, 0])


def test_the_standardiser_takes_mean_and_deviation_of_what_it_was_fitted_on():
    model = model_of(embedding=0, pooling="mean")
    pooled = torch.randn(50, 96) * torch.linspace(0.5, 2, 96) + 3
    pooled[:, 5] = 7.0  # never varies
    model.fit_standardiser_(pooled)
    standardised = (pooled - model.mean) / model.deviation
    torch.testing.assert_close(standardised.mean(0), torch.zeros(96), atol=1e-4, rtol=0)
    expected = torch.ones(96)
    expected[5] = 0
    torch.testing.assert_close(standardised.std(0, correction=0), expected, atol=1e-4, rtol=0)
    assert model.deviation[5] > 0.005  # a tenth away in another part stays within tens of deviations


def test_without_standardise_nothing_is_fitted():
    model = model_of(standardise=False)
    model.fit_standardiser_(torch.randn(50, 96))
    assert torch.equal(model.mean, torch.zeros(96))
    assert torch.equal(model.deviation, torch.ones(96))


def test_without_a_projection_the_standardised_vector_is_the_embedding():
    model = model_of(embedding=0)
    assert model.dim == 96
    x, n = model.stem(*batch(16_000))
    with torch.no_grad():
        assert torch.equal(model(x, n)[0], model.pooled(x, n))


def test_the_last_layer_of_the_projection_is_linear_or_relu():
    lowest = {}
    for activation in ("linear", "relu"):
        model = model_of(embedding_activation=activation, embedding=64)
        with torch.no_grad():
            lowest[activation] = model(*model.stem(*batch(16_000)))[0].min()
    assert lowest["linear"] < 0
    assert lowest["relu"] == 0


def test_groups_hold_every_trained_parameter_once(checkpoint):
    model = model_of(checkpoint, frozen_layers=1)
    groups = model.parameter_groups(Training(lr=1e-3, encoder_lr=1e-5, weight_decay=0.1))
    rates = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert sum(len(group["params"]) for group in groups) == len(trained) == len(rates)
    for name, parameter in trained.items():
        decay = 0.0 if name.endswith("bias") or "norm" in name else 0.1
        assert rates[id(parameter)] == (1e-5 if name.startswith("encoder.") else 1e-3, decay), name


def test_a_checkpoint_is_what_training_changes(checkpoint):
    model = model_of(checkpoint, frozen_layers=1)
    state = {name: value.clone() for name, value in model.trained_state().items()}
    assert {"mean", "deviation", "prototypes", "classifier.0.weight"} <= state.keys()
    assert "encoder.model.encoder.layers.1.final_layer_norm.weight" in state
    assert not any("feature_extractor" in name or "layers.0." in name for name in state)
    with torch.no_grad():
        logits = model(*model.stem(*batch(16_000)))[1]
        for value in model.trained_state().values():
            value += 1
        model.load_trained_state(state)
        assert torch.equal(model(*model.stem(*batch(16_000)))[1], logits)
    with pytest.raises(ValueError, match="of another model"):
        model_of(checkpoint, frozen_layers=0).load_trained_state(state)


@pytest.mark.parametrize("frozen", [0, 1, -1])
def test_saved_and_loaded_it_is_the_same_without_the_original(tmp_path, frozen):
    original = tmp_path / "original"
    transformers.HubertModel(transformers.HubertConfig(**SMALL)).save_pretrained(original)
    model = model_of(str(original), frozen_layers=frozen, classes=("angry", "sad"))
    model.fit_standardiser_(torch.randn(20, 32))
    model.prototypes.normal_()
    model.save(tmp_path / "export")
    for file in original.iterdir():
        file.unlink()
    again = Recogniser.from_pretrained(tmp_path / "export")
    assert {file.name for file in (tmp_path / "export").iterdir()} == {"model.safetensors", "config.json"}
    assert again.classes == ("angry", "sad")
    assert torch.equal(again.prototypes, model.prototypes)
    assert torch.equal(again.predict(waves_of(16_000, 4_000)), model.predict(waves_of(16_000, 4_000)))
    assert again.trained_state().keys() == model.trained_state().keys()


def test_the_compact_recogniser_comes_back_too(tmp_path):
    model = model_of(train_features=True, pooling="mean+deviation")
    model.save(tmp_path)
    again = Recogniser.load(tmp_path)
    assert torch.equal(again.predict(waves_of(8_000)), model.predict(waves_of(8_000)))


def test_the_calibration_is_kept_and_applied_to_the_systems_own_choice(tmp_path):
    model = model_of()
    model.prototypes.normal_()
    model.calibration = Calibration(2.5, (0.5, -0.5, 0.25, 0.0), 30, "annotators", 1.5, 1.25)
    model.save(tmp_path)
    again = Recogniser.load(tmp_path)
    assert again.calibration == model.calibration
    with torch.no_grad():
        outputs = model(*model.stem(*batch(16_000, 4_000)))
    for model.by_prototypes in (False, True):
        labels = model.label(*outputs)
        own = labels.prototypes if model.by_prototypes else labels.classifier
        assert torch.equal(labels.soft, model.calibration(own))
        assert torch.equal(labels.classifier, outputs[1].softmax(dim=1))


def test_a_model_without_a_calibration_is_not_calibrated(tmp_path):
    model_of().save(tmp_path)
    description = json.loads((tmp_path / "config.json").read_text())
    old = {key: value for key, value in description.items() if key not in ("calibration", "seal")}
    (tmp_path / "config.json").write_text(json.dumps(old))
    assert Recogniser.load(tmp_path).calibration == Calibration()
    (tmp_path / "config.json").write_text(json.dumps(old | {"calibration": {"temperature": -1}}))
    with pytest.raises(ValueError, match=r"config\.json cannot be read: a calibration has a temperature of -1"):
        Recogniser.load(tmp_path)


def test_predictions_are_shares_and_leave_the_mode():
    model = model_of().train()
    soft = model.predict(waves_of(16_000, 1_600))
    torch.testing.assert_close(soft.sum(dim=1), torch.ones(2))
    assert model.training
    assert torch.equal(soft, model.predict(waves_of(16_000, 1_600)))  # no dropout


def test_what_is_no_export_is_refused(tmp_path, checkpoint):
    with pytest.raises(
        ValueError, match=r"config\.json cannot be read: it is of a 'wav2vec2', not of an exported recogniser"
    ):
        Recogniser.load(checkpoint)
    with pytest.raises(ValueError, match="is not a local folder"):
        Recogniser.load(tmp_path / "absent" / "model")


@pytest.mark.parametrize("frozen", [0, 1, -1])
def test_in_bf16_the_encoders_passes_are_and_what_follows_is_not(checkpoint, frozen):
    model = model_of(checkpoint, frozen_layers=frozen, precision="bf16")
    usual = model_of(checkpoint, frozen_layers=frozen, precision="fp32")
    dtypes = []
    model.encoder.model.encoder.layers[0].feed_forward.intermediate_dense.register_forward_hook(
        lambda layer, inputs, output: dtypes.append(output.dtype)
    )
    model.projection[0].register_forward_hook(lambda layer, inputs, output: dtypes.append(output.dtype))
    embedding, logits = model(*model.stem(*batch(16_000, 5_000)))
    assert dtypes == [torch.bfloat16, torch.float32]
    assert embedding.dtype == logits.dtype == torch.float32
    torch.testing.assert_close(embedding, usual(*usual.stem(*batch(16_000, 5_000)))[0], atol=0.02, rtol=0.1)


# Waves to labels


def test_a_saved_recogniser_holds_all_that_its_answer_depends_on(tmp_path):
    model = model_of(max_seconds=0.5, precision="bf16")
    model.save(tmp_path)
    again = Recogniser.load(tmp_path)
    assert (again.max_seconds, again.precision) == (0.5, "bf16")
    long = waves_of(40_000)[0]
    assert torch.equal(again.predict([long]), again.predict([long[16_000:24_000]]))


def older(folder, **changes) -> Path:
    """Change the description of a saved recogniser, as an older version would have written it."""
    description = json.loads((folder / "config.json").read_text())
    values = {key: value for key, value in (description | changes).items() if value is not None and key != "seal"}
    (folder / "config.json").write_text(json.dumps(values))
    return folder


def test_an_older_one_hears_the_default_and_says_so(tmp_path, caplog):
    model_of(max_seconds=0.5).save(tmp_path)
    again = Recogniser.load(older(tmp_path, max_seconds=None, precision=None))
    assert (again.max_seconds, again.precision) == (15, "auto")
    assert f"{tmp_path / 'config.json'} does not say how much of a long clip is heard" in caplog.text
    assert "the middle 15 s are" in caplog.text


def test_an_older_one_of_a_run_hears_what_its_run_does(tmp_path, caplog):
    model_of(max_seconds=0.5).save(tmp_path)
    config = recommended(max_seconds=2, precision="fp32")
    again = Recogniser.load(older(tmp_path, max_seconds=None, precision=None), config)
    assert (again.max_seconds, again.precision) == (2, "fp32")
    assert not caplog.text


@pytest.mark.parametrize("changes", [{"max_seconds": -1}, {"max_seconds": "all"}, {"precision": "int8"}])
def test_a_description_with_impossible_values_is_refused(tmp_path, changes):
    model_of().save(tmp_path)
    with pytest.raises(FileError, match=r"config\.json cannot be read"):
        Recogniser.load(older(tmp_path, **changes))


def test_no_wave_has_no_label_and_a_bad_one_is_named():
    model = model_of(classes=("angry", "sad"))
    assert model.predict([]).shape == (0, 2)
    with pytest.raises(ValueError, match=r"waves\[1\] has no samples"):
        model.predict([*waves_of(8_000), []])
    with pytest.raises(ValueError, match="rate is 16"):
        model.predict(waves_of(8_000), 16)


def test_many_or_long_waves_go_through_in_passes_of_bounded_size(monkeypatch):
    model, shapes = model_of(max_seconds=1), []
    monkeypatch.setattr(module, "PASS", 40_000)
    stem = model.stem
    monkeypatch.setattr(model, "stem", lambda waves, n: shapes.append(tuple(waves.shape)) or stem(waves, n))
    waves = waves_of(*[3_000, 50_000, 8_000] * 10)
    soft = model.predict(waves)
    assert sum(size for size, _ in shapes) == 30
    assert max(size * samples for size, samples in shapes) <= 40_000
    assert len(shapes) < 12
    for wave, row in zip(waves[:3], soft, strict=False):
        torch.testing.assert_close(model.predict([wave])[0], row, atol=1e-5, rtol=0)


def test_a_generator_of_waves_is_read_in_parts(monkeypatch):
    model, parts = model_of(), []
    monkeypatch.setattr(module, "_PART", 4)
    literal = model.soft_labels
    monkeypatch.setattr(model, "soft_labels", lambda clips: parts.append(len(clips)) or literal(clips))
    waves = waves_of(*range(2_000, 4_000, 200))
    soft = model.predict(iter(waves))
    assert parts == [4, 4, 2]
    torch.testing.assert_close(soft, literal(list(clips(waves, 16_000))).soft, atol=1e-5, rtol=0)
