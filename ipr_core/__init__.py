"""The core of the IPR workbench: iterative prototype refinement for ambiguous speech emotion recognition.

A library user imports from here, for example `from ipr_core import recommended, prepare, advance`. The name's module is
imported at that moment, so that `import ipr_core` takes no time.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipr_core.annotation import annotate
    from ipr_core.config import Config, Data, SettingsError, demo, paper, recommended
    from ipr_core.data.corpora.table import CorpusError
    from ipr_core.data.dataset import Dataset, load
    from ipr_core.data.segmentation import segmented
    from ipr_core.runs.run import Run, RunError
    from ipr_core.training.advance import advance, prepare, train_all
    from ipr_core.training.model import Recogniser

# Nothing is downloaded unless the user says so, by HF_HUB_OFFLINE=0; set before anything imports huggingface_hub.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# plotly and nbformat import jsonschema, which builds grammars of web addresses for one to four seconds if it finds this
# package. Nothing here has such addresses. Whoever has imported it before keeps it.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

__all__ = [
    "Config", "CorpusError", "Data", "Dataset", "Recogniser", "Run", "RunError", "SettingsError", "advance", "annotate",
    "demo", "load", "paper", "prepare", "recommended", "segmented", "train_all",
]  # fmt: skip
_MODULES = {
    "annotation": ("annotate",),
    "config": ("Config", "Data", "SettingsError", "demo", "paper", "recommended"),
    "data.corpora.table": ("CorpusError",),
    "data.dataset": ("Dataset", "load"),
    "data.segmentation": ("segmented",),
    "runs.run": ("Run", "RunError"),
    "training.advance": ("advance", "prepare", "train_all"),
    "training.model": ("Recogniser",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"ipr_core.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
