"""The names of all corpora and systems: a new one is a file, and its name here."""

from typing import Literal, get_args

Corpus = Literal["synthetic", "iemocap", "cremad", "emodb", "ravdess", "manifest"]
CORPORA: tuple[str, ...] = get_args(Corpus)
"""Every corpus: `data/corpora/NAME.py` reads it. A new reader is such a file, and its name in `Corpus`."""

Table3 = Literal["baseline", "baseline_augmented", "baseline_plus", "baseline_plus_contrastive", "ipr", "supervised"]
Table2 = Literal[
    "deep_spectrum", "attention_pooling", "emotion_existence", "capsules", "majority", "mcil", "mmd", "daan", "dann",
    "bnm",
]  # fmt: skip
Beyond = Literal["fixmatch", "freematch", "softmatch", "pico"]
TABLE3: tuple[str, ...] = get_args(Table3)
"""The paper's four systems, and two controls."""
TABLE2: tuple[str, ...] = get_args(Table2)
"""The methods that the paper compares IPR with."""
BEYOND: tuple[str, ...] = get_args(Beyond)
"""Semi-supervised methods of the field that the paper does not have."""
System = Literal[Table3, Table2, Beyond]
SYSTEMS: tuple[str, ...] = get_args(System)
"""Every system: `method/systems/NAME.py` each."""
GROUPS: dict[str, tuple[str, ...]] = {"all": SYSTEMS, "table3": TABLE3, "table2": TABLE2, "beyond": BEYOND}
"""Words that stand for several systems."""
