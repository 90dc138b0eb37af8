"""The configuration: every choice of a run, with type, range, sentence and default.

The command line's options, the notebooks' parameters and the form of the widgets are made from these fields. Names are
unique across the sections, so that a setting is named alone: `gamma`, not `method.gamma`. The defaults are
`recommended()`; `paper()` is the text as printed wherever it speaks. `Mark` is what else a field says of its setting.
"""

from __future__ import annotations

import hashlib
import json
import textwrap
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo

from ipr_core import refusals, toml_file
from ipr_core.names import BEYOND, CORPORA, GROUPS, SYSTEMS, TABLE2, TABLE3, Corpus, System  # noqa: F401 (for others)
from ipr_core.readings import Method, as_named_first, completed
from ipr_core.refusals import SettingsError
from ipr_core.sections import Count, Device, Mark, NotNegative, Positive, Range, Section, Seed, Share, Text, TomlFile

Effect = Literal["noise", "volume", "reverberation", "pitch"]
_Reverberation = Annotated[float, Field(ge=0, le=10)]
_Semitones = Annotated[float, Field(ge=-24, le=24)]
_Layer = Annotated[int, Field(ge=-1000, le=1000)]

SAMPLE_RATE = 16_000
"""Samples a second of every waveform; encoders hear this rate alone."""
NOT_SETTINGS = frozenset({"preset", "config", "runs", "compare", "live"})
"""Parameters of notebooks that are no settings: they change where things lie and what is shown, never a run."""


class Data(Section):
    """Which corpus, and how its annotations become votes."""

    corpus: Corpus | TomlFile = "synthetic"
    """The reader: a corpus by name, your own by a manifest or a TOML file that describes it, or the synthetic one."""
    corpus_path: Text | None = None
    """Folder of the corpus as released, or the manifest's file; not needed for the synthetic corpus."""
    classes: Annotated[tuple[Text, ...], Field(min_length=2, max_length=1000)] = ("angry", "happy", "sad", "neutral")
    """The emotions to tell apart; utterances with another label are left out, votes for another emotion still count."""
    self_reports: bool = True
    """Whether a speaker's report on their own emotion is a vote (IEMOCAP's C-F and C-M lines)."""
    several_tags: Literal["whole", "split"] = "whole"
    """An annotator who gave several tags: each a whole vote, or one vote split among them (IEMOCAP, votes.csv)."""
    count_other: bool = False
    """Whether the tag "other" is a vote for none of the emotions, or no vote at all."""
    merge_excited: bool = True
    """Whether excited, by label and by vote, is happy (IEMOCAP)."""
    vote_weights: Literal["equal", "agreement"] = "equal"
    """A vote counts like any other, or by the square of its listener's agreement with the others; a reading."""
    annotators: Literal["auto", "released", "simulated"] = "auto"
    """Whose votes: the corpus's own, simulated annotators' (classifiers, out of fold), or its own if it has any."""
    annotator_count: Annotated[int, Field(ge=3, le=50)] = 10
    """How many simulated annotators vote on an utterance."""
    synthetic_size: Annotated[int, Field(ge=40, le=1_000_000)] = 600
    """Utterances in the synthetic corpus."""
    data_seed: Annotated[int, Field(ge=0, le=2**32 - 1), Mark.COMPARED] = 0
    """Seed of the synthetic corpus, the simulated annotators and the choice of test speakers; not of training."""
    after: Text | None = None
    """The run that this one follows, with new votes and corrections; `ipr again` sets it."""

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(classes)) < len(classes):
            raise ValueError("a class is named twice")
        return classes

    @model_validator(mode="after")
    def _path(self) -> Data:
        if self.corpus == "manifest" and self.corpus_path is None:
            raise ValueError("corpus is 'manifest'; it needs corpus_path, the CSV or Parquet file")
        return self


class Partition(Section):
    """How the annotators' agreement makes D1 (precise), D2 (ambiguous, its labels hidden) and D3 (test)."""

    precise_share: Share = 1.0
    """D1: the label's share of the votes is at least this."""
    ambiguous_share: Share = 2 / 3
    """D2: the label's share is at least this and below precise_share; D3: it is below this."""
    min_votes: NotNegative = 1
    """Utterances with fewer votes are left out."""
    tied: Literal["left out", "D2"] = "left out"
    """Utterances on whose votes two or more classes tie: left out, or in D2, without a label to be scored by."""
    test_size: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """Size of D3: its utterances are the least agreed ones outside D1, the others D2; none: ambiguous_share decides."""
    test_balanced: bool = False
    """With test_size: the same number of every class in D3, as far as there are."""
    speaker_disjoint: bool = False
    """Whether D3's speakers occur in neither D1 nor D2; utterances this leaves without a part are unused."""
    validation_share: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    """Share of D1 and of D2 that is never trained on: settings are chosen on it and soft labels calibrated."""
    test_speakers: tuple[Text, ...] = ()
    """With speaker_disjoint: the speakers of D3; none named: chosen by data_seed, about a quarter of all."""

    @model_validator(mode="after")
    def _order(self) -> Partition:
        if self.ambiguous_share > self.precise_share:
            raise ValueError(
                f"ambiguous_share is {self.ambiguous_share}; it is the lower bound of D2 and must not exceed "
                f"precise_share, which is {self.precise_share}"
            )
        if self.test_speakers and not self.speaker_disjoint:
            raise ValueError("test_speakers are named; they need speaker_disjoint")
        return self


class Audio(Section):
    """Waveforms and the second view x^aug of an utterance."""

    max_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 15.0
    """A longer clip is heard from its middle this long, in training and when it is labelled."""
    effects: tuple[Effect, ...] = get_args(Effect)
    """The effects a second view is mixed from."""
    effect_chance: Share = 0.5
    """Chance of each effect; a view always has at least one."""
    noise_snr_db: Range = (10.0, 30.0)
    """Signal-to-noise ratio of added noise, from and to, in dB."""
    volume_db: Range = (-10.0, 10.0)
    """Change of volume, from and to, in dB."""
    reverberation_seconds: tuple[_Reverberation, _Reverberation] = (0.1, 0.5)
    """Reverberation time RT60, from and to, in seconds."""
    pitch_semitones: tuple[_Semitones, _Semitones] = (-2.0, 2.0)
    """Change of pitch at constant length, from and to, in semitones (rounded to half ones)."""

    @model_validator(mode="after")
    def _ranges(self) -> Audio:
        for name in ("noise_snr_db", "volume_db", "reverberation_seconds", "pitch_semitones"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} is {low}, {high}; it must go from the smaller to the larger")
        if not self.effects:
            raise ValueError("effects is empty; a second view needs at least one effect")
        return self


class Encoder(Section):
    """The speech encoder (Eq. 1) and the way from its frames to an utterance's embedding."""

    encoder: Text = "facebook/wav2vec2-base"
    """A Hugging Face speech encoder by hub id or local folder; "compact": a small log-mel encoder, not pre-trained."""
    train_features: bool = False
    """Whether the convolutions before the encoder's layers are trained too."""
    frozen_layers: Annotated[int, Field(ge=-1, le=1000)] = 0
    """Layers kept as pre-trained, counted from the input; -1 keeps the whole encoder as it is."""
    adapter: Literal["none", "lora"] = "none"
    """Beyond the paper: "lora" trains adapters in the other layers, whose weights are kept; encoder_lr about 1e-3."""
    adapter_rank: Annotated[int, Field(ge=1, le=1024)] = 8
    """Rank of the adapters: each has so many numbers for every dimension of a frame, read and written."""
    layers: Annotated[tuple[_Layer, ...], Field(min_length=1, max_length=1000)] = (-1,)
    """Whose output frames are averaged: 0 is the input of the first layer, 1 its output, -1 the last layer's output."""
    pooling: Literal["mean", "mean+deviation"] = "mean"
    """Frames to one vector: their mean, or mean and standard deviation side by side; Eq. 1 has neither."""
    standardise: bool = True
    """Reading: whether pooled vectors are standardised per dimension with D1's statistics before anything else."""
    embedding: Annotated[int, Field(ge=0, le=65_536)] = 256
    """Reading: size of the trained projection whose output is the embedding; 0: the pooled vector is the embedding."""
    embedding_activation: Literal["linear", "relu"] = "linear"
    """Reading: the last layer of the projection."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout in the projection and the classifier."""
    image_weights: Text | None = None
    """Folder with AlexNet's ImageNet weights, for deep_spectrum alone; none: random ones, which every table says."""
    encoder_noise: bool = True
    """Whether the encoder's own dropout, layer drop and SpecAugment are on in training."""
    centring: Literal["none", "speaker"] = "none"
    """Beyond the paper: each speaker's mean is taken from their vectors, without labels; needs frozen_layers -1."""

    @model_validator(mode="after")
    def _centring(self) -> Encoder:
        if self.centring == "speaker" and self.frozen_layers != -1:
            raise ValueError(
                f"centring is 'speaker' and frozen_layers is {self.frozen_layers}; a trained encoder has no vectors to "
                "centre before training: set frozen_layers to -1, or centring to 'none'"
            )
        return self


class Training(Section):
    """The loop."""

    system: Annotated[System, Mark.COMPARED] = "ipr"
    """What is trained on what: the paper's four systems, two controls, and the methods that IPR is compared with."""
    seed: Annotated[Seed, Mark.SECOND_VIEWS, Mark.COMPARED] = 0
    """Seed of initial weights, batches, dropout and augmentation."""
    stream: Annotated[Seed, Mark.SECOND_VIEWS, Mark.COMPARED] = 0
    """Another random stream of the same seed: the same initial weights, other batches, dropout and augmentation."""
    epochs: Annotated[Count, Mark.AFTER_WARM_UP] = 50
    """Epochs, the warm-up included."""
    warm_up: Annotated[int, Field(ge=0, le=100_000)] = 10
    """First epochs, trained on D1 alone."""
    batch_size: Count = 8
    """Utterances of D1, and of D2, in a step."""
    lr: Positive = 1e-4
    """Learning rate of AdamW for projection and classifier; that of deep_spectrum is ten times it."""
    encoder_lr: Positive = 1e-5
    """Learning rate of AdamW for the encoder's trained layers."""
    weight_decay: NotNegative = 0.01
    """Weight decay of AdamW."""
    precision: Annotated[Literal["auto", "fp32", "bf16"], Mark.SECOND_VIEWS] = "auto"
    """Arithmetic of the encoder: bf16 on a GPU and fp32 on a CPU, or as named."""
    device: Annotated[Device, Mark.SECOND_VIEWS] = "auto"
    """Where to train: "cpu", "cuda", "cuda:1", "mps"; auto takes a GPU where there is one."""
    memory_gb: Annotated[Positive | None, Mark.SECOND_VIEWS] = None
    """GiB that training may take, of the GPU or of this process; none: what is free, less a tenth."""
    map_size: Annotated[int, Field(ge=0, le=1_000_000)] = 1000
    """Utterances whose embeddings are kept each epoch for the UMAP."""

    @model_validator(mode="after")
    def _warm_up(self) -> Training:
        if self.warm_up > self.epochs:
            raise ValueError(f"warm_up is {self.warm_up}; it must not exceed epochs, which is {self.epochs}")
        return self


class Config(Section):
    """All of a run's choices. Made by a preset and flat settings: `recommended(corpus="ravdess", gamma=0.9)`."""

    data: Annotated[Data, Mark.SECOND_VIEWS] = Data()
    partition: Annotated[Partition, Mark.SECOND_VIEWS] = Partition()
    audio: Annotated[Audio, Mark.SECOND_VIEWS] = Audio()
    encoder: Annotated[Encoder, Mark.SECOND_VIEWS] = Encoder()
    method: Method = Method()
    training: Training = Training()

    def replace(self, **settings: Any) -> Config:
        """Return this configuration with some settings changed; raises SettingsError with every fault at once."""
        return _checked(self.model_dump(), settings)

    def settings(self) -> dict[str, Any]:
        """Return every setting by its name alone, in order, as plain JSON values."""
        return {name: value for part in self.model_dump(mode="json").values() for name, value in part.items()}

    def differences(self, base: Config) -> dict[str, Any]:
        """Return the settings that are not those of `base`, in order, as plain JSON values."""
        values = base.settings()
        return {name: value for name, value in self.settings().items() if value != values[name]}

    def digest(self) -> str:
        """Return eight hex digits that name these settings; what version 0.1 could do has the digits it had then."""
        text = json.dumps(as_named_first(self.settings()), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


FIELDS: dict[str, tuple[str, FieldInfo]] = {
    name: (section, field)
    for section, part in Config.model_fields.items()
    for name, field in getattr(part.annotation, "model_fields", {}).items()
}
"""Every setting's name → its section and its field (annotation, default, description)."""


def marked(mark: Mark) -> frozenset[str]:
    """Return the names of the settings whose field, or whose section, has a mark."""
    marks = {name: field.metadata + Config.model_fields[section].metadata for name, (section, field) in FIELDS.items()}
    return frozenset(name for name in marks if mark in marks[name])


def recorded(settings: Mapping[str, Any]) -> Config:
    """Return the configuration of a run's record, which may lack settings that were added later."""
    return _recorded(json.dumps(settings))


@lru_cache(maxsize=256)
def _recorded(settings: str) -> Config:
    """Return the same, of JSON; cached, since a board asks dozens of times an epoch."""
    return Config().replace(**completed(json.loads(settings)))


def recommended(**settings: Any) -> Config:
    """What worked best when tried; the fields' own defaults."""
    return Config().replace(**settings)


def paper(**settings: Any) -> Config:
    """The text as printed wherever it speaks: Sun et al. 2024, sections 2 and 3.2."""
    printed = dict(
        lr=1e-5, encoder_lr=1e-5, standardise=False, embedding=0, gamma=0.99, unit_norm=False, compare_when="step",
        compare_mode="training", soft_label="raw", moves="classifier", update="sequential", after_warm_up="move",
        contrast="dot", anchors="clean", augmented_label="own", tau=1.0, own_target="soft", test_size=400,
        validation_share=0.0,
    )  # fmt: skip
    return Config().replace(**(printed | settings))


def demo(**settings: Any) -> Config:
    """Recommended readings on the embedded corpus with the compact encoder: minutes on two CPU cores."""
    small = dict(
        corpus="synthetic", encoder="compact", train_features=True, embedding=64, epochs=16, warm_up=5, batch_size=16,
        lr=5e-4, encoder_lr=5e-4, test_size=120, test_balanced=True, map_size=600,
    )  # fmt: skip
    return Config().replace(**(small | settings))


PRESETS = {"recommended": recommended, "paper": paper, "demo": demo}


def build(preset: str = "recommended", settings: Mapping[str, Any] | None = None) -> Config:
    """Return a preset with some settings changed; a setting given as None keeps the preset's value.

    raises SettingsError naming every unknown preset or setting and every value that is not allowed
    """
    if not isinstance(preset, str) or preset not in PRESETS:
        raise SettingsError([f"preset is {refusals.excerpt(preset)}; it must be one of {', '.join(PRESETS)}"])
    return PRESETS[preset](**{name: value for name, value in (settings or {}).items() if value is not None})


def read_file(file: str | Path) -> tuple[str | None, dict[str, Any]]:
    """Return the preset, if there is one, and the settings of a TOML file, checked. raises SettingsError naming it"""
    preset, settings = toml_file.settings(file)
    try:
        build(preset or "recommended", settings)
    except SettingsError as error:
        raise SettingsError([f"{file}: {fault}" for fault in error.faults]) from None
    return preset, settings


def in_file(config: Config, preset: str) -> str:
    """Return the text of a file that `read_file` makes the same configuration of: every setting below its sentence."""
    lines = [f"preset = {toml_file.in_toml(preset)}", "", "[settings]"]
    values, section = config.settings(), ""
    for name, (part, field) in FIELDS.items():
        if part != section:
            lines += ["", *_comment(f"{part.upper()}. {Config.model_fields[part].annotation.__doc__}"), ""]
            section = part
        lines += _comment(f"{field.description} {allowed(name).capitalize()}.")
        lines.append(f"{name} = {toml_file.in_toml(values[name])}")
    return "\n".join(lines) + "\n"


def nearest_preset(config: Config) -> str:
    """Return the preset from which the fewest settings differ."""
    return min(PRESETS, key=lambda preset: len(config.differences(PRESETS[preset]())))


def from_notebook(namespace: Mapping[str, Any]) -> Config:
    """Return the configuration that a notebook's parameters state.

    A settings file named by `config` comes first, its preset before the notebook's, then the parameters.
    namespace: the notebook's `globals()`. Its plain values (numbers, strings, None, lists of them) are the parameters,
    `preset` among them. Imports and IPython's own names are passed over.
    raises SettingsError: a parameter that papermill passed and no setting knows is refused, not ignored
    """
    names = (name for name in namespace if not name.startswith("_") and name not in ("In", "Out"))
    parameters = {name: namespace[name] for name in names if _is_plain(namespace[name])}
    settings = {name: value for name, value in parameters.items() if name not in NOT_SETTINGS and value is not None}
    preset, of_file = read_file(parameters["config"]) if parameters.get("config") else (None, {})
    return build(preset or parameters.get("preset", "recommended"), of_file | settings)


def for_notebook(config: Config, names: Iterable[str], preset: str, runs: str | None) -> dict[str, Any]:
    """Return a notebook's parameters, from which `from_notebook` makes the same configuration.

    names: the settings beyond the preset   A notebook's None is "the preset's value", so that none goes as a text.
    """
    values = config.settings()
    settings = {name: "none" if values[name] is None else values[name] for name in names}
    return settings | {"preset": preset, "runs": runs}


def _comment(text: str) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), 118, initial_indent="# ", subsequent_indent="# ")


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, str | int | float | bool | None)


def allowed(name: str) -> str:
    """Return a setting's values in words: "a number between 0 and 1", "one of 'hard', 'soft'"."""
    return refusals.value_range(FIELDS[name][1])


def choices(name: str) -> tuple[str, ...]:
    """Return the values that a setting's field names, none where it names none; there may be others too."""
    parts = [annotation := FIELDS[name][1].annotation, *get_args(annotation)]
    return next((get_args(part) for part in parts if get_origin(part) is Literal), ())


def _checked(values: dict[str, dict[str, Any]], settings: Mapping[str, Any]) -> Config:
    faults = refusals.all_unknown(settings, FIELDS)
    for name in settings.keys() & FIELDS.keys():
        values[FIELDS[name][0]][name] = refusals.from_text(FIELDS[name][1], settings[name])
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise SettingsError(faults + refusals.sentences(error, FIELDS)) from None
    if faults:
        raise SettingsError(faults)
    return config
