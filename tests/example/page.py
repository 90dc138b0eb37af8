"""The example's page, in Markdown: what `ipr run` says, and the figures and tables of the notebooks 02 and 03."""

import textwrap
from collections.abc import Iterator

from pandas import DataFrame

from example import record
from ipr_core.data.ambiguity import soft_votes
from ipr_core.results import in_words, reachable, significance
from ipr_core.results.table import show
from ipr_core.runs.run import Run
from ipr_widgets import tables

FILE = record.FOLDER.parent / "EXAMPLE.md"
HEAD = """\
# A finished example

One run of `make demo`, as the notebooks [02_refinement](02_refinement.ipynb) and [03_analysis](03_analysis.ipynb) show
it, without their code and their sounds. `make example` draws this page from the run's record
([example](example)), `make example TRAIN=1` trains anew; tests hold page and record to the present code. The corpus is
synthetic, the encoder small, the seed one: the page shows what you get to see. About real speech it says nothing; for
that there are [results](RESULTS.md)."""
FIGURES = {
    "losses": """\
The terms of Equation 6. In the warm-up (shaded) D1 alone is trained on; then D2 joins, with the labels that the
prototypes give it.""",
    "agreement": """\
How many labels of D2 are right, by the classifier and by the prototypes, which never see them. This is Figure 3 of the
paper. Where they stand still after the warm-up, refinement changes little.""",
    "moves": "How often the moves of Equation 4 changed a label of D2, and how far they turned each prototype.",
    "cosines": "How alike the prototypes are at the end, Figure 2 of the paper.",
    "cosine_trends": "The same over the epochs. Prototypes that drift apart tell the emotions apart better.",
    "scores": "Recognition on D3, the test. The figure to report is that of the final epoch.",
    "confusion": "A row is a true emotion. Pairs confused in one direction alone show a class that draws others to it.",
    "planes": """\
Embeddings on a plane, where neighbours stay neighbours; stars are prototypes. Where do D2 and D3 lie: in the middle of
a cloud, or between two?""",
    "soft_against_votes": """\
If a third of the annotators heard anger, a good soft label gives anger about a third. A curve flatter than the diagonal
belongs to labels that are too undecided.""",
    "entropies": "Soft labels of D1 should be the surest, those of D3 the least sure.",
}
"""The sentence above each figure, by its file's name."""


def page(run: Run) -> str:
    """Return the page of a run."""
    return "\n\n".join(_blocks(run)) + "\n"


def write_page(run: Run) -> None:
    """Write the page of a run."""
    FILE.write_text(page(run), "utf-8")


def _blocks(run: Run) -> Iterator[str]:
    yield HEAD
    yield from (wrapped(text) for text in filter(None, [*in_words.paragraphs(run), reachable.expectation(run)]))
    yield "## 02, the refinement"
    yield from map(_figure, ("losses", "agreement", "moves", "cosines", "cosine_trends"))
    yield "## 03, the analysis"
    scores = tables.results(run.history()).iloc[:1]
    scores.insert(2, "95 % interval", [str(significance.accuracy_interval(run))])
    yield _table(scores, 1)
    yield from map(_figure, ("scores", "confusion", "planes", "soft_against_votes", "entropies"))
    yield from _divergences(run)
    yield from _lists(run)


def _divergences(run: Run) -> Iterator[str]:
    classes, table = run.meta["classes"], run.table
    yield "The mean **Jensen-Shannon divergence** of soft labels in bits, to the votes and to the true mixtures:"
    truths = {"the votes": soft_votes(table, classes), "the mixtures": table[[f"mixture_{name}" for name in classes]]}
    for name, truth in truths.items():
        distances = tables.divergences(run.labels, truth.to_numpy() if isinstance(truth, DataFrame) else truth, classes)
        yield _table(distances.reset_index(names=f"to {name}"), 3)


def _lists(run: Run) -> Iterator[str]:
    labels = run.labels
    yield "The most undecided utterances of D2:"
    undecided = labels[labels["part"] == "D2"].nlargest(5, "entropy")
    yield _table(undecided.filter(regex="^(id|label|single_label|soft_.*|entropy)$"), 2)
    yield "Where classifier and prototypes disagree, and both are sure:"
    yield _table(tables.disagreements(labels, run.meta["classes"]).head(5), 1)


def _figure(name: str) -> str:
    return f"{FIGURES[name]}\n\n![{name.replace('_', ' ')}]({record.FOLDER.name}/{name}.svg)"


def _table(frame: DataFrame, digits: int) -> str:
    return show(frame.map(lambda cell: f"{cell:.{digits}f}" if isinstance(cell, float) else str(cell)))


def wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)
