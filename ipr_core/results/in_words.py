"""A run's result in plain words, for someone who has not read the paper."""

from __future__ import annotations

from collections.abc import Sequence

from ipr_core.results import comparisons
from ipr_core.runs.run import Run


def outcome(run: Run, rivals: Sequence[Run] = ()) -> str:
    """Say what a finished run's accuracy is of, what guessing would reach, and how it compares with its rivals.

    rivals: other systems' finished runs on the same corpus
    """
    table = run.table
    labels = table.loc[table["part"] == "D3", "label"]
    guess = labels.value_counts(normalize=True).max()
    sentences = [
        f"D3 is the test: the {len(labels)} utterances that annotators agree on least. {run.system.title} names the "
        f"emotion of {_percent(run)} of them; always the same emotion would be right in {100 * guess:.0f} %."
    ]
    differences = comparisons.differences([run, *rivals], run.config.training.system).values
    for rival in rivals:
        sentence = f"The {rival.system.title} beside it: {_percent(rival)}"
        rows = differences[differences["comparison"].str.startswith(f"{rival.system.title} −")]
        for low, high in rows[["95 % from", "to"]].itertuples(index=False):
            verdict = "which one training each cannot tell from no difference" if low <= 0 <= high else "a difference"
            sentence += f", {verdict} (95 % interval {low:+.1f} to {high:+.1f} points)"
        sentences.append(f"{sentence}.")
    return " ".join(sentences)


def _percent(run: Run) -> str:
    return f"{100 * run.history()[-1].accuracy:.1f} %"
