"""The commands `ipr annotate` and `ipr segment`: labels of any corpus, and long recordings cut into utterances."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ipr_core.cli.arguments import check_places, finished, typed
from ipr_core.cli.batches import is_here, workers_of
from ipr_core.config import Config, SettingsError, build
from ipr_core.options import Args

if TYPE_CHECKING:
    from ipr_core.labelling import Work


def annotate(args: Args) -> int:
    """Label any corpus by a trained run: soft and single labels, as Parquet and CSV.

    The corpus may have no labels. Recordings that are longer than the run's max_seconds are cut into utterances at
    pauses, and shares of time per emotion are written for each of them (--segment). After a kill the same command
    continues. Workers share a large corpus (--jobs 4, --dask, --slurm, --pbs), with the same labels. Where nobody can
    start them for you, start them yourself by --shard 1/4, 2/4 and so on; the last one to end puts the labels together.
    """
    from ipr_core import annotation
    from ipr_core.data.corpora import audformat

    corpus = _config(args).data
    run = finished(args.run)
    check_places(args.out or args.run)
    if "audformat" in args.format:
        audformat.require()
    textgrids = "textgrid" in args.format
    work = _work(args)
    paths = annotation.annotate(run, corpus, args.out, True, args.shard, args.segment, textgrids, work, args.onnx)
    message = "this shard is done; the last one to end, or the same command without --shard, puts all labels together"
    print("\n".join(map(str, paths)) or message)
    if "audformat" in args.format and paths:
        print(annotation.in_audformat(paths[0], run, corpus))
    for sentence in _endings(paths):
        print(sentence)
    return 0


def segment(args: Args) -> int:
    """Cut long recordings into utterances at pauses, and write a manifest, which every command reads as a corpus.

    A recording that is not longer than --max-seconds stays one utterance, unless --segment vad. Labels and votes of a
    recording are not those of its utterances: they have none.
    """
    from ipr_core.data.segmentation import segmented

    if args.out.suffix != ".csv":
        raise SettingsError([f"--out is {args.out}; it must be a file that ends in .csv"])
    config = _config(args)
    check_places(args.out.parent)
    result = segmented(config.data, config.audio.max_seconds, args.segment, args.out)
    lines = [sentence[0].upper() + sentence[1:] for sentence in result.sentences] or ["Nothing had to be cut"]
    print("\n".join([str(args.out), *(f"{line}." for line in lines)]))
    return 0


def _work(args: Args) -> Work:
    """Return who labels: this process, or the workers that the options name."""
    from ipr_core import labelling
    from ipr_core.batch import pieces

    if args.jobs == 1 and is_here(args):
        return labelling.in_this_process
    logs = args.out or args.run
    return pieces.by_workers(lambda count: workers_of(args, count, logs))


def _config(args: Args) -> Config:
    return build(settings={"corpus": "manifest"} | typed(args) | {"corpus_path": str(args.path)})


def _endings(paths: list[Path]) -> Iterator[str]:
    """Yield what has to be known of labels that were written."""
    import pandas as pd

    from ipr_core import annotation, recordings

    summaries = [path for path in paths if path.name.endswith("-recordings.parquet")]
    if summaries:
        yield recordings.sentence(pd.read_parquet(summaries[0]))
    count, limit = annotation.cut(paths[0]) if paths else (0, 0.0)
    if count:
        clips = "1 recording" if count == 1 else f"{count:,} recordings"
        yield (
            f"Only the middle of {clips} was heard: longer than {limit:g} s (column heard_seconds). "
            "--segment auto cuts them into utterances."
        )
