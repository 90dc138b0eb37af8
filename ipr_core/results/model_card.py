"""The model card of an exported model: what it was trained on, whose votes, results, limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from ipr_core.atomic import write_text
from ipr_core.results import in_words, soft_labels
from ipr_core.results.selection import cautions
from ipr_core.results.significance import accuracy_interval
from ipr_core.runs.run import Run

CARD = "README.md"
_TEXT = """
# {{ title }}

An emotion recogniser for utterances of speech, trained by {{ system }} with the IPR workbench
(iterative prototype refinement for ambiguous speech emotion; Sun et al., Interspeech 2024).
It returns **soft labels**: the shares of {{ classes }}.

```python
from ipr_core import Recogniser

model = Recogniser.from_pretrained("FOLDER")
model.predict(waves, rate=16_000{{ speakers }})  # (N, {{ n_classes }})
```

## Training data

{{ data }}

| part | utterances |
|---|---|
{% for part, count in parts.items() -%}
| {{ part }} | {{ count }} |
{% endfor %}
Encoder: {{ encoder }}. Of clips longer than {{ max_seconds }} s the middle is heard.

## Results

{{ outcome }} 95 % interval of the accuracy: {{ interval }}.

{% for note in notes -%}
{{ note }}

{% endfor -%}
## Limits

- Labels are what annotators of this corpus would say of its speakers. They are not what somebody feels.
- Nothing is known of other languages, recordings or emotions than those of the corpus.
- A share is calibrated for utterances like those of the corpus alone.
{% if centred -%}
- The model wants to know who speaks: each speaker's mean is taken from the vectors.
{% endif %}
"""


def write(run: Run, folder: Path) -> None:
    """Write the card of a finished run's exported model as README.md. One that lies there is left as it is.

    raises WriteError
    """
    if not (folder / CARD).exists():
        write_text(folder / CARD, str(card(run)))


def card(run: Run) -> ModelCard:
    """Return the card of a finished run's model."""
    base = run.config.encoder.encoder
    data = ModelCardData(
        library_name="ipr-workbench",
        pipeline_tag="audio-classification",
        tags=["speech-emotion-recognition", "soft-labels", run.config.training.system],
        base_model=base if "/" in base and not Path(base).exists() else None,
        model_name=run.folder.name,
    )
    return ModelCard.from_template(data, template_str="---\n{{ card_data }}\n---\n" + _TEXT, **_fields(run))


def _fields(run: Run) -> dict[str, Any]:
    config, counts = run.config, run.table["part"].value_counts()
    votes = "simulated annotators (classifiers)" if run.meta["simulated_annotators"] else "the corpus's annotators"
    interval = accuracy_interval(run)
    return {
        "title": run.folder.name,
        "system": run.system.title,
        "classes": ", ".join(run.meta["classes"]),
        "n_classes": len(run.meta["classes"]),
        "speakers": ", speakers=names" if config.encoder.centring == "speaker" else "",
        "data": f"Corpus: {config.data.corpus}. The votes are those of {votes}. D1 was agreed on, D2 is ambiguous and "
        "its labels were hidden, D3 is the test, V1 and V2 were held out of D1 and D2.",
        "parts": {part: int(counts[part]) for part in sorted(counts.index)},
        "encoder": "a small log-mel network, not pre-trained"
        if config.encoder.encoder == "compact"
        else f"`{Path(config.encoder.encoder).name}`; see its own licence and card",
        "max_seconds": f"{config.audio.max_seconds:g}",
        "outcome": in_words.outcome(run),
        "interval": str(interval),
        "notes": [*cautions([run]), *soft_labels.notes([run])],
        "centred": config.encoder.centring == "speaker",
    }
