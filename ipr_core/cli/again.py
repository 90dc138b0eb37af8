"""The command `ipr again`: train once more, with what people have said since a run."""

from __future__ import annotations

from ipr_core.config import SettingsError
from ipr_core.options import Args


def again(args: Args) -> int:
    """Train again with new votes and with the corrections of a run; D3 stays what it was.

    The votes are those of `ipr listen`. The new run lies beside the earlier one, whose name it keeps.
    """
    from ipr_core.cli.arguments import check_places
    from ipr_core.data.cache import default_cache
    from ipr_core.results import succession, summary
    from ipr_core.runs.run import Run, RunError
    from ipr_core.training.advance import check_encoder, train_all
    from ipr_core.votes import again, record

    run = Run.open(args.run)
    if not run.finished:
        raise RunError(f"{run.folder} is not trained to the end; `ipr resume {run.folder}` does that")
    if args.votes and not args.votes.is_dir():
        raise SettingsError([f"--votes is {args.votes}; it must be a folder with votes of `ipr listen`"])
    check_places(run.folder)
    check_encoder(run)
    tests = record.read(args.votes) if args.votes else None
    corpus = again.next_corpus(run, tests, default_cache())
    print("\n".join(f"{sentence}." for sentence in corpus.merged.sentences))
    corpus.refuse_nothing_new()
    config = again.next_config(run, corpus.save(run))
    print(f"corpus  {config.data.corpus_path}")
    if args.dry_run:
        print("Nothing was trained (--dry-run).")
        return 0
    new = train_all([config], run.folder.parent)[0]
    print(summary.summary([new]), succession.changes(run, new).markdown(), succession.outcome(run, new), sep="\n\n")
    return 0
