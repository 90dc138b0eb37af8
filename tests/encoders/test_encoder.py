"""Every encoder family: no utterance depends on its neighbours, and frozen parts stay frozen."""

import numpy as np
import pytest
import torch
import transformers
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from helpers.checkpoints import WHISPER_TINY
from helpers.padding import SMALL, assert_alone_as_padded, batch
from helpers.small_encoders import CONFIGS, random_model
from ipr_core.config import SAMPLE_RATE, Encoder
from ipr_core.encoders import EncoderError, build_encoder, load_encoder, valid
from ipr_core.encoders.wav2vec2 import masked_group_norm, span_mask

WAV2VEC2_LIKE = [name for name in CONFIGS if name != "whisper"]
FAMILIES = [*CONFIGS, "compact"]


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> dict[str, str]:
    folders = {name: str(tmp_path_factory.mktemp(name)) for name in CONFIGS}
    for name, folder in folders.items():
        random_model(name).save_pretrained(folder)
    return folders | {"compact": "compact"}


@pytest.fixture
def load(checkpoints):
    def load(name: str, **settings):
        torch.manual_seed(3)
        return load_encoder(Encoder(encoder=checkpoints[name], **settings))

    return load


@pytest.mark.parametrize("name", FAMILIES)
def test_an_utterance_is_heard_alike_alone_and_padded(load, name):
    assert_alone_as_padded(load(name, layers=(0, -1)), *batch())


def test_a_batch_norm_keeps_the_checkpoints_statistics_in_training(load):
    encoder = load("hubert-batch-norm").train()
    statistics = {name: value.clone() for name, value in encoder.named_buffers()}
    encoder(*batch())[0].sum().backward()
    assert all(torch.equal(statistics[name], value) for name, value in encoder.named_buffers())
    assert encoder.model.encoder.pos_conv_embed.batch_norm.weight.grad.any(), "its own weights are trained"


@pytest.mark.parametrize("name", FAMILIES)
def test_what_lies_beyond_an_utterance_is_not_heard(load, name):
    encoder, (waves, lengths) = load(name), batch()
    garbage = torch.where(valid(lengths, waves.shape[1]), waves, torch.full_like(waves, 3.0))
    with torch.no_grad():
        assert torch.equal(encoder(waves, lengths)[0], encoder(garbage, lengths)[0])


@pytest.mark.parametrize("name", WAV2VEC2_LIKE)
def test_an_unpadded_clip_is_as_transformers_has_it(load, name):
    waves, lengths = batch((20_000,))
    normed = transformers.Wav2Vec2FeatureExtractor()(waves[0].numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")
    options = {} if "wavlm" in name else {"attention_mask": torch.ones(1, 20_000, dtype=torch.long)}
    with torch.no_grad():
        expected = random_model(name)(normed.input_values, **options).last_hidden_state
        frames, n = load(name)(waves, lengths)
    assert n == expected.shape[1] == 62
    torch.testing.assert_close(frames, expected, atol=1e-5, rtol=1e-5)


def test_whisper_of_full_length_is_as_transformers_has_it(load, checkpoints):
    waves, lengths = batch((32_000,))  # 100 positions are 2 s
    waves[:, -400:] = 0  # transformers mirrors the very end of a full-length clip
    extractor = transformers.WhisperFeatureExtractor(chunk_length=2)
    mel = extractor(waves[0].numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
    encoder = load("whisper")
    with torch.no_grad():
        torch.testing.assert_close(encoder.front(waves, lengths)[0].mT, mel)
        expected = random_model("whisper").encoder(mel).last_hidden_state
        torch.testing.assert_close(encoder(waves, lengths)[0], expected, atol=1e-5, rtol=1e-5)


@pytest.fixture(scope="module")
def tiny() -> str:
    if not WHISPER_TINY.is_dir():
        pytest.skip("no ../shared/models/whisper-tiny-en-encoder here")
    return str(WHISPER_TINY)


def test_the_real_whisper_is_transformers_own(tiny):
    waves, lengths = batch((480_000,))
    waves[:, 100_000:] = 0
    extractor = transformers.AutoFeatureExtractor.from_pretrained(tiny)
    mel = extractor(waves[0].numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
    expected = WhisperEncoder.from_pretrained(tiny, dtype=torch.float32).eval()
    with torch.no_grad():
        frames = load_encoder(Encoder(encoder=tiny))(waves, lengths)[0]
        torch.testing.assert_close(frames, expected(mel).last_hidden_state, atol=1e-4, rtol=1e-4)


def test_the_real_whisper_pools_alike_alone_and_padded(tiny):
    encoder, (waves, lengths) = load_encoder(Encoder(encoder=tiny)), batch((40_000, 9_000, 1_600))
    with torch.no_grad():
        padded, n = encoder(waves, lengths)
        for i, length in enumerate(lengths):
            single, _ = encoder(waves[i : i + 1, :length], lengths[i : i + 1])
            assert n[i] == single.shape[1]
            # frames reach 13, so single ones differ by more than 1e-5 from rounding alone; their mean does not
            torch.testing.assert_close(padded[i].sum(0) / n[i], single[0].mean(0), atol=1e-5, rtol=1e-5)


def test_a_whole_whisper_gives_its_encoder(tmp_path):
    whole = transformers.WhisperForConditionalGeneration(CONFIGS["whisper"])
    whole.save_pretrained(tmp_path)
    encoder = load_encoder(Encoder(encoder=str(tmp_path)))
    assert torch.equal(encoder.model.conv1.weight, whole.model.encoder.conv1.weight)
    assert torch.equal(encoder.model.layers[1].fc2.weight, whole.model.encoder.layers[1].fc2.weight)


def test_a_checkpoint_with_a_head_gives_its_encoder(tmp_path):
    whole = transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(**SMALL, vocab_size=12))
    whole.save_pretrained(tmp_path)
    encoder = load_encoder(Encoder(encoder=str(tmp_path)))
    weights = encoder.model.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in whole.wav2vec2.state_dict().items())


@pytest.mark.parametrize("saved", [torch.float16, torch.bfloat16])
def test_half_precision_checkpoints_are_loaded_in_float32(tmp_path, saved):
    transformers.Wav2Vec2Model(CONFIGS["wav2vec2-base"]).to(saved).save_pretrained(tmp_path)
    assert {p.dtype for p in load_encoder(Encoder(encoder=str(tmp_path))).parameters()} == {torch.float32}


def test_waves_are_normalised_only_if_the_checkpoint_says_so(tmp_path):
    random_model("wavlm-base").save_pretrained(tmp_path)
    waves, lengths = batch()
    loud = [load_encoder(Encoder(encoder=str(tmp_path))).front(k * waves, lengths)[0] for k in (1, 2)]
    torch.testing.assert_close(*loud, atol=1e-4, rtol=1e-4)  # the default of the family
    assert loud[0][1, :9_000].std(correction=0) == pytest.approx(1, abs=1e-3)

    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path)
    assert torch.equal(load_encoder(Encoder(encoder=str(tmp_path))).front(waves, lengths)[0][..., 0], waves)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("cut", [{"frozen_layers": 0}, {"frozen_layers": 1}, {"frozen_layers": -1}, "features"])
def test_a_cut_changes_no_frame(load, name, cut):
    settings = {"train_features": True} if cut == "features" else cut
    waves, lengths = batch()
    uncut = load(name, layers=(1, 2))
    encoder = load(name, layers=(1, 2), **settings)
    with torch.no_grad():
        expected, n = uncut(waves, lengths)
        frames, m = encoder.trunk(*encoder.stem(waves, lengths))
    assert torch.equal(m, n)
    torch.testing.assert_close(frames, expected, atol=1e-6, rtol=1e-6)


def test_averaged_layers_are_the_mean_of_each(load):
    waves, lengths = batch()
    with torch.no_grad():
        layers = [load("hubert-base", layers=(i,))(waves, lengths)[0] for i in (0, 2)]
        mean = load("hubert-base", layers=(-1, 0))(waves, lengths)[0]
    torch.testing.assert_close(mean, (layers[0] + layers[1]) / 2)


def gradients(encoder) -> set[str]:
    encoder.zero_grad()
    encoder(*batch())[0].square().sum().backward()
    return {name for name, p in encoder.named_parameters() if p.grad is not None and p.grad.any()}


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_reach_what_is_trained_and_nothing_else(load, name):
    features = {"compact": "convolutions", "whisper": "model.conv"}.get(name, "model.feature_extractor")
    last = {"compact": "layers.1.", "whisper": "model.layers.1."}.get(name, "model.encoder.layers.1.")
    first = last.replace("1", "0")

    def reached(**settings):
        names = gradients(load(name, encoder_noise=False, **settings))
        return [any(n.startswith(part) for n in names) for part in (features, first, last)]

    assert reached(train_features=True) == [True, True, True]
    assert reached(frozen_layers=0) == [False, True, True]
    assert reached(frozen_layers=1) == [False, False, True]
    frozen = load(name, frozen_layers=-1)
    assert not frozen.trained
    assert not frozen(*batch())[0].requires_grad


def test_a_layer_that_nobody_hears_is_not_trained(load):
    encoder = load("wav2vec2-large", layers=(1,))
    assert not any(p.requires_grad for p in encoder.model.encoder.layers[1].parameters())
    assert not any(p.requires_grad for p in encoder.model.encoder.layer_norm.parameters())
    assert encoder.trained


@pytest.mark.parametrize("name", FAMILIES)
def test_training_noise_is_a_function_of_torchs_seed_alone(load, name):
    encoder, (waves, lengths) = load(name).train(), batch()

    def draw(seed, numpy_seed):
        torch.manual_seed(seed)
        np.random.seed(numpy_seed)  # noqa: NPY002 (transformers' own masks would follow it)
        return encoder(waves, lengths)[0].detach()

    assert torch.equal(draw(0, 0), draw(0, 1))
    assert not torch.equal(draw(0, 0), draw(1, 0))


@pytest.mark.parametrize("name", FAMILIES)
def test_without_noise_training_hears_as_evaluation_does(load, name):
    encoder = load(name, encoder_noise=False)
    with torch.no_grad():
        evaluated = encoder.eval()(*batch())[0]
        trained = encoder.train()(*batch())[0]
    torch.testing.assert_close(trained, evaluated, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_stem_is_always_in_evaluation_mode(load, name):
    encoder = load(name, frozen_layers=1).train()
    x, _ = encoder.stem(*batch())
    assert torch.equal(x, encoder.stem(*batch())[0])
    assert not x.requires_grad


@pytest.mark.parametrize("name", WAV2VEC2_LIKE)
def test_the_shortest_clips_can_be_trained_on(load, name):
    frames, n = load(name).train()(*batch((1_600, 1_600)))  # 4 frames, a span of SpecAugment is 10
    assert n.tolist() == [4, 4]
    assert frames.isfinite().all()


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("mode", [True, False])
def test_silence_is_finite(load, name, mode):
    encoder = load(name, train_features=True).train(mode)
    frames, _ = encoder(torch.zeros(2, 8_000), torch.tensor([8_000, 1_600]))
    frames.square().sum().backward()
    assert frames.isfinite().all()
    assert all(p.grad.isfinite().all() for p in encoder.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_architecture_is_enough_to_build_the_network(load, name):
    encoder = load(name)
    rebuilt = build_encoder(encoder.architecture(), Encoder(encoder=name))
    rebuilt.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        assert torch.equal(encoder(*batch())[0], rebuilt(*batch())[0])


def test_the_architecture_names_no_place(load, checkpoints):
    assert checkpoints["wavlm-large"] not in str(load("wavlm-large").architecture())


def test_the_compact_encoder_is_small_and_follows_the_seed(load):
    encoder = load("compact")
    assert sum(p.numel() for p in encoder.parameters()) < 500_000
    assert torch.equal(encoder.norm.weight, load("compact").norm.weight)
    torch.manual_seed(4)
    with_another_seed = load_encoder(Encoder(encoder="compact"))
    assert not torch.equal(
        with_another_seed.convolutions[0].convolution.weight, encoder.convolutions[0].convolution.weight
    )


def test_masked_group_norm_is_torchs_over_the_valid_frames():
    norm = torch.nn.GroupNorm(3, 3)
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(2, 3, 9)
    frames = masked_group_norm(x, torch.tensor([9, 4]), norm)
    torch.testing.assert_close(frames[0], norm(x)[0])
    torch.testing.assert_close(frames[1, :, :4], norm(x[1:, :, :4])[0])


def test_spans_have_their_length_number_and_place():
    torch.manual_seed(0)
    n = torch.tensor([100, 12, 9])
    spans = torch.stack([span_mask(n, 100, 0.2, 10, 1) for _ in range(500)])
    assert not spans[:, 2].any()  # shorter than a span
    assert not spans[:, 1, 12:].any()
    assert (spans[:, 1].sum(dim=1) == 10).all()  # 0.2 x 12 / 10 spans, but at least one
    # 2 spans of 100 or, by chance, 3 never; overlapping ones cover fewer frames than 20
    covered = spans[:, 0].sum(dim=1)
    assert covered.max() == 20
    assert covered.min() > 10
    assert spans[:, 0].any(dim=0).all()


def test_refusals(load, checkpoints, tmp_path):
    waves, lengths = batch((1_600, 300))
    with pytest.raises(ValueError, match="an utterance has 300 samples; an encoder needs at least 400"):
        load("compact")(waves, lengths)
    with pytest.raises(ValueError, match=r"frozen_layers is 3; .* has 2 layers"):
        load("hubert-base", frozen_layers=3)
    with pytest.raises(ValueError, match=r"layers names 3; .* has 0 to 2, or -1 to -3"):
        load("compact", layers=(3,))
    with pytest.raises(ValueError, match="layers names 1, below the 2 frozen layers"):
        load_encoder(Encoder(encoder=str(deeper(tmp_path)), frozen_layers=2, layers=(1, 3)))
    with pytest.raises(ValueError, match="turn train_features off, or set frozen_layers to 0"):
        load("compact", train_features=True, frozen_layers=-1)
    with pytest.raises(ValueError, match=r"a clip of 2\.50 s is longer than the 2 s .* set max_seconds to at most 2"):
        load("whisper")(*batch((40_000,)))


def deeper(folder):
    transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**(SMALL | {"num_hidden_layers": 3}))).save_pretrained(
        folder
    )
    return folder


def test_a_checkpoint_that_does_not_fill_the_encoder_is_refused(tmp_path):
    random_model("wav2vec2-base").save_pretrained(tmp_path)
    transformers.Wav2Vec2Config(**(SMALL | {"num_hidden_layers": 3})).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"does not fill 16 weights of its encoder, for example encoder\.layers\.2"):
        load_encoder(Encoder(encoder=str(tmp_path)))
    transformers.Wav2Vec2Config(**(SMALL | {"intermediate_size": 64})).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"for example encoder\.layers\.0\.feed_forward\.intermediate_dense\.bias"):
        load_encoder(Encoder(encoder=str(tmp_path)))


def test_other_models_and_pickled_weights_are_refused(tmp_path):
    transformers.BertConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="of type 'bert'; the supported families are wav2vec2, hubert, data2vec-audio"):
        load_encoder(Encoder(encoder=str(tmp_path)))
    CONFIGS["hubert-base"].save_pretrained(tmp_path)
    torch.save(random_model("hubert-base").state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"has pickled weights alone .*never opened; give another encoder"):
        load_encoder(Encoder(encoder=str(tmp_path)))


def test_an_absent_checkpoint_is_refused_with_the_cure(tmp_path):
    with pytest.raises(ValueError, match="give a local folder, or set HF_HUB_OFFLINE=0"):
        load_encoder(Encoder(encoder=str(tmp_path / "absent" / "model")))
    with pytest.raises(
        EncoderError, match=r"is not a complete checkpoint.*it needs config\.json and model\.safetensors"
    ):
        load_encoder(Encoder(encoder=str(tmp_path)))
