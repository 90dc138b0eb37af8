"""The command `ipr votes`: listening tests merged into a corpus's votes, and how far the votes agree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ipr_core.cli.arguments import check_places, typed
from ipr_core.config import SettingsError
from ipr_core.options import Args

if TYPE_CHECKING:
    from pandas import DataFrame

    from ipr_core.config import Data
    from ipr_core.runs.run import Run
    from ipr_core.votes.agreement import Pairs

_MOST = 20  # listeners, and pairs of emotions, that are shown


def votes(args: Args) -> int:
    """Show how far the votes of a corpus agree, and merge those of listening tests into it.

    With --votes, the votes of a folder that `ipr listen` wrote are merged into the corpus's own, by the sound. With
    --out, a manifest and its votes.csv are written, which every other command reads as a corpus. Of a run it is the
    corpus that `ipr again` trains on, and it says how many more votes settle which utterance's part.
    """
    from ipr_core.data.cache import default_cache
    from ipr_core.votes import again, clips, merge, record

    settings, run = typed(args), clips.run_of(args.path)
    if run and settings:
        raise SettingsError([f"{args.path} is a run, which has its own settings: leave out {', '.join(settings)}"])
    data = run.config.data if run else clips.corpus(args.path, settings)
    if "corpus" in settings:
        data = data.model_copy(update={"corpus": settings["corpus"], "corpus_path": args.path})
    _check_place(data, args)
    tests = record.read(args.votes) if args.votes else None
    cache = default_cache()
    merged = again.next_corpus(run, tests, cache).merged if run else merge.merge(data, tests, cache)
    lines = [f"{sentence}." for sentence in merged.sentences]
    if args.out:
        lines += [str(path) for path in merge.save(merged, args.out)]
    elif args.votes:
        lines.append("Nothing was written: --out FOLDER writes a manifest and its votes.csv.")
    print("\n".join([*lines, *([""] if lines else []), *_agreement(merged.votes, data, tests)]))
    if run and run.meta["simulated_annotators"]:
        print("\nThe votes are those of simulated annotators, but where a person has voted.")
    if run:
        print(f"\n{_settlement(run, merged.manifest, args.out)}")
    return 0


def _check_place(data: Data, args: Args) -> None:
    """Refuse a folder of votes that is not there, and one to write to that holds the corpus itself."""
    if args.votes and not args.votes.is_dir():
        raise SettingsError([f"--votes is {args.votes}; it must be a folder with votes of `ipr listen`"])
    if args.out:
        source = Path(data.corpus_path or "").expanduser().resolve()
        if args.out.expanduser().resolve() in (source, source.parent):
            raise SettingsError([f"--out is {args.out}, where the corpus itself lies; name another folder"])
        check_places(args.out)


def _settlement(run: Run, manifest: DataFrame, folder: Path | None) -> str:
    """Return how many utterances are settled, and the votes that the others need; they are listed in `folder`."""
    from ipr_core.atomic import write
    from ipr_core.spreadsheets import to_csv
    from ipr_core.votes.usefulness import PANEL, settlement

    table = settlement(run, manifest)
    is_settled = table["votes_needed"] == 0
    parts = table.groupby("part").agg(utterances=("id", "size"), votes_needed=("votes_needed", "sum"))
    parts.insert(1, "settled", is_settled.groupby(table["part"]).sum())
    lines = [
        f"Outside of D3, {is_settled.sum():,} of {len(table):,} utterances are settled: votes up to {PANEL} each "
        "would leave them in their part in nine of ten futures. By the likeliest part:",
        f"\n{parts.rename_axis(None).to_string()}",
    ]
    if folder:
        write(folder / "votes_needed.csv", lambda path: to_csv(table, path))
        lines.append(f"\n{folder / 'votes_needed.csv'}")
    return "\n".join(lines)


def _agreement(votes: DataFrame, data: Data, tests: DataFrame | None) -> Iterator[str]:
    """Yield the lines of the tables.  votes: `raters.COLUMNS`   tests: the listening tests, for their repeats"""
    from ipr_core.data import raters
    from ipr_core.votes import agreement

    votes = raters.tidy(votes, data)
    table = agreement.comparable(votes)
    if len(table) < len(votes):
        yield "How far listeners agree is not known: of some votes it is only known that they are not for the label."
        return
    pairs = agreement.pairs_of_votes(raters.coded(table))
    if not len(pairs.utterances):
        yield "No utterance has two votes, so there is no agreement to measure."
        return
    yield from _coefficients(pairs)
    names = agreement.listeners(table)
    if len(names):
        yield from _listeners(names, tests)


def _coefficients(pairs: Pairs) -> Iterator[str]:
    from ipr_core.votes import agreement

    table = agreement.coefficients(pairs)
    columns = {"votes": table["votes"].map("{:,.0f}".format)}
    for name, title in (("alpha", "Krippendorff's α"), ("kappa", "Fleiss' κ")):
        columns[title] = table[name].map("{:.3f}".format)
        columns[f"{title}, 95 %"] = [
            f"{low:.3f} to {high:.3f}" for low, high in zip(table[f"{name}_low"], table[f"{name}_high"], strict=True)
        ]
    yield _in_columns(columns, table.index)
    confused = agreement.confusions(pairs).head(_MOST)
    confused = confused[confused["share"] > 0]
    if len(confused):
        names = [f"{first}, {second}" for first, second in zip(confused["one"], confused["other"], strict=True)]
        interval = zip(100 * confused["low"], 100 * confused["high"], strict=True)
        columns = {
            "of all disagreement": (100 * confused["share"]).map("{:.1f} %".format),
            "95 %": [f"{low:.1f} to {high:.1f}" for low, high in interval],
            "times chance": confused["times_chance"].map("{:.2f}".format),
        }
        yield "\nPairs of emotions that two listeners hear in the same utterance:\n"
        yield _in_columns(columns, names)


def _listeners(table: DataFrame, tests: DataFrame | None) -> Iterator[str]:
    from ipr_core.votes import agreement

    labels = [name for name in table.columns if name not in ("votes", "compared", "agreement")]
    columns = {"votes": table["votes"].map("{:,.0f}".format), "agreement": table["agreement"].map("{:.3f}".format)}
    if tests is not None:
        repeats = agreement.consistency(tests).reindex(table.index)
        columns["consistency"] = repeats["consistency"].map("{:.3f}".format)
        columns["repeats"] = repeats["repeats"].fillna(0).map("{:.0f}".format)
    columns |= {name: (100 * table[name]).map("{:.0f} %".format) for name in labels}
    suffix = f", the first {_MOST} of {len(table):,}" if len(table) > _MOST else ""
    yield f"\nListeners, their agreement with the others, and what they hear{suffix}:\n"
    yield _in_columns({name: list(cells)[:_MOST] for name, cells in columns.items()}, list(table.index)[:_MOST])


def _in_columns(columns: dict, index) -> str:
    from pandas import DataFrame

    table = DataFrame({name: list(cells) for name, cells in columns.items()}, index=list(index)).replace(
        ["nan", "nan to nan"], "–"
    )
    return table.to_string()
