"""The names of all corpora and systems: a new one is a file, and its name here."""

from typing import Literal, get_args

Described = Literal[
    "ravdess", "savee", "tess", "emovo", "cafe", "shemo", "esd", "meld", "aesdd", "subesco", "nemo", "jl_corpus",
    "urdu", "oreau",
]  # fmt: skip
"""Corpora of a few lines each: `data/corpora/readers/NAME.toml`."""
Corpus = Literal[
    "synthetic", "iemocap", "cremad", "emodb", "msp_podcast", "msp_improv", "manifest", "audformat", Described
]
CORPORA: tuple[str, ...] = get_args(Corpus)
"""Every corpus: `data/corpora/NAME.py` reads it, or a file of `Described`. A new reader is a file and its name."""

Table3 = Literal["baseline", "baseline_augmented", "baseline_plus", "baseline_plus_contrastive", "ipr", "supervised"]
Table2 = Literal[
    "deep_spectrum", "attention_pooling", "emotion_existence", "capsules", "majority", "mcil", "mmd", "daan", "dann",
    "bnm",
]  # fmt: skip
Committees = Literal["committee", "ipr_committee"]
Beyond = Literal["fixmatch", "freematch", "softmatch", "pico"]
TABLE3: tuple[str, ...] = get_args(Table3)
"""The paper's four systems, and two controls."""
TABLE2: tuple[str, ...] = get_args(Table2)
"""The methods that the paper compares IPR with."""
CONTROLS: tuple[str, ...] = ("baseline_augmented", "baseline_plus_contrastive", *get_args(Committees))
"""Controls for what a system has beside its idea: augmented speech, the contrastive term, a committee as network."""
BEYOND: tuple[str, ...] = get_args(Beyond)
"""Semi-supervised methods of the field that the paper does not have."""
Reachable = Literal["oracle"]
System = Literal[Table3, Table2, Committees, Beyond, Reachable]
SYSTEMS: tuple[str, ...] = get_args(System)
"""Every system: `method/systems/NAME.py` each."""
GROUPS: dict[str, tuple[str, ...]] = {
    "all": tuple(name for name in SYSTEMS if name not in get_args(Reachable)),
    "table3": TABLE3,
    "table2": TABLE2,
    "controls": CONTROLS,
    "beyond": BEYOND,
}
"""Words that stand for several systems; the oracle is none to compare with."""
Segment = Literal["auto", "vad", "none"]
SEGMENTS: tuple[str, ...] = get_args(Segment)
"""Which recordings are cut into utterances: those that are too long, every whole file, or none."""
