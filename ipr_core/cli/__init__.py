"""The command line `ipr`: parse, call, exit code.

`options` parses. Each command imports its heavy modules itself, so that every --help is there at once.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ipr_core.cli.again import again
from ipr_core.cli.annotating import annotate, segment
from ipr_core.cli.arguments import (
    check_encoders,
    check_new,
    check_places,
    config_of,
    configs_of,
    finished,
    runs_folder,
    typed,
    with_file_,
)
from ipr_core.cli.batches import batch, tune
from ipr_core.cli.corpora import corpora
from ipr_core.cli.figures import figures
from ipr_core.cli.listening import listen
from ipr_core.cli.notebooks import lab, notebooks
from ipr_core.cli.votes import votes
from ipr_core.config import SettingsError, for_notebook, in_file
from ipr_core.endings import FAILED, WRONG, ended
from ipr_core.options import Args, Command, parse

if TYPE_CHECKING:
    from ipr_core.config import Config
    from ipr_core.data.dataset import Dataset
    from ipr_core.runs.run import Run
    from ipr_core.training.advance import Watcher


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    returns: 0 done, 1 the work failed, 2 the request was wrong, 70 a fault of the workbench, 128 and the number of a
    signal that ended it
    """
    words = sys.argv[1:] if argv is None else argv

    def command() -> int:
        args = with_file_(parse(words, COMMANDS))
        return args.call(args)

    return ended(command, _codes, words)


def _codes() -> dict[type[Exception], int]:
    """Return the errors whose messages are sentences, with their exit codes.

    An error of a module that is not imported cannot have been raised, and to import them all takes seconds.
    """
    kinds: dict[type[Exception], int] = {SettingsError: WRONG}
    for code, names in _ENDINGS.items():
        for module, _, kind in (f"ipr_core.{name}".rpartition(".") for name in names):
            if module in sys.modules:
                kinds[getattr(sys.modules[module], kind)] = code
    return kinds


_ENDINGS = {
    WRONG: (
        "data.faults.CorpusError", "runs.run.RunError", "runs.files.FileError", "encoders.encoder.EncoderError",
        "votes.record.VoteError",
    ),
    FAILED: (
        "batch.notebooks.NotebookError", "training.processes.RankError", "training.loop.LossError",
        "batch.jobs.WorkersError", "atomic.WriteError",
    ),
}  # fmt: skip
"""Exit codes, and the errors that end with them."""


_PRELOAD = ("ipr_core.training.advance", "ipr_widgets.layout:make_ready")
"""What takes seconds in a kernel, to import and to compile, and is done while this process trains."""

# The commands, one function each; its docstring is the command's description.


def _config(args: Args) -> int:
    """Write all settings of a preset, each below a sentence, as a file for --config: ipr config > mine.toml

    Settings that are typed stand in it, and those of another file that is named.
    """
    print(in_file(config_of(args), args.preset), end="")
    return 0


def _partition(args: Args) -> int:
    """Check a whole corpus, and count D1, D2 and D3 per class and per speaker.

    The utterances that are held out of D1 and D2 count in them, and are named below.
    """
    from ipr_core.data import ambiguity, validation
    from ipr_core.data.dataset import load

    config = config_of(args)
    if args.out and args.out.suffix not in (".csv", ".parquet"):
        raise SettingsError([f"--out is {args.out}; it must be a file that ends in .csv or .parquet"])
    check_places(*([args.out.parent] if args.out else []))
    data = load(config)
    for column in ("label", "speaker"):
        counts = ambiguity.summary(validation.with_its_parts(data.table.replace({"label": {"": "(tied)"}})), column)
        table = counts.pivot_table(
            "count", column, "part", aggfunc="sum", fill_value=0, margins=True, margins_name="all"
        )
        print(f"{table.to_string()}\n")
    held_out = [f"{len(data.rows(part))} of {whole} ({part})" for whole, part in validation.HELD_OUT.items()]
    if config.partition.validation_share:
        print(f"Held out for validation: {', '.join(held_out)}. No system is trained on them.")
    if data.simulated:
        print("The votes are those of simulated annotators.")
    if args.out:
        _save(data, args.out)
    return 0


def _run(args: Args) -> int:
    """Execute the three notebooks and write a report.

    Their executed copies, the report and the labels are kept in the run folder. A run that exists continues from its
    last epoch. Other systems can be trained beside it, for the comparison.
    """
    config = config_of(args)
    rivals = [rival for rival in configs_of(config, args.beside or [], [config.training.seed]) if rival != config]
    tensorboard = _tensorboard(args)
    check_new(args, [config, *rivals])
    from ipr_core.batch.notebooks import main_job
    from ipr_core.results import in_words, reachable, report, soft_labels, summary
    from ipr_core.training.advance import prepare
    from ipr_core.training.trained import reopen_if_damaged_

    paths = main_job()
    check_encoders([config, *rivals], args.runs)
    if args.dry_run:
        return _planned([config, *rivals], args)
    check_places(runs_folder(args))
    run, _ = prepare(config, args.runs)
    reopen_if_damaged_(run)
    rival_runs = _execute(paths, run, rivals, args, tensorboard)
    runs = [run, *rival_runs]
    path = report.write(run, summary.tables(runs), soft_labels.notes(runs), rival_runs)
    print(summary.summary(runs))
    paragraphs = filter(None, [*in_words.paragraphs(run, rival_runs), reachable.expectation(run)])
    print("", *(textwrap.fill(paragraph, 120) for paragraph in paragraphs), sep="\n")
    print(f"\nlabels  {run.folder / 'labels.csv'} (and .parquet)\nreport  {path}: open it next, in a browser")
    return 0


def _execute(
    paths: Iterable[Path],
    run: Run,
    rivals: Sequence[Config],
    args: Args,
    tensorboard: Callable[[Run], Watcher] | None,
) -> list[Run]:
    """Train the rivals, execute notebooks and draw their figures.  returns: the rivals' runs"""
    from ipr_core.batch import notebooks as execution
    from ipr_core.batch.notebook_bar import training_of
    from ipr_core.results import drawn
    from ipr_core.training.advance import train_all

    folder = run.folder / "notebooks"
    parameters = for_notebook(run.config, typed(args), args.preset, None if args.runs is None else str(args.runs))
    # One kernel for all: it imports once, and while this process trains.
    with execution.kernel(folder / "kernel.log", preload=_PRELOAD if rivals else ()) as kernel:
        rival_runs = train_all(rivals, args.runs, watcher=tensorboard)
        for notebook in paths:
            compared = {"compare": [str(rival.folder) for rival in rival_runs]} if rival_runs else {}
            extra = compared if "compare" in execution.parameters(notebook) else {}
            execution.execute(notebook, folder / notebook.name, parameters | extra, kernel, look=training_of(run))
        drawn.draw(run, rival_runs, kernel)
    if tensorboard:
        tensorboard(run)  # trained in the kernel: its whole curves, once it is finished
    return rival_runs


def _train(args: Args) -> int:
    """Train systems over seeds, without a notebook."""
    config = config_of(args)
    configs = configs_of(config, args.systems or [config.training.system], args.seeds or [config.training.seed])
    tensorboard = _tensorboard(args)
    check_new(args, configs)
    from ipr_core.results import summary
    from ipr_core.training.advance import train_all

    check_encoders(configs, args.runs)
    if args.dry_run:
        return _planned(configs, args)
    check_places(runs_folder(args))
    print(summary.summary(train_all(configs, args.runs, watcher=tensorboard)))
    return 0


def _resume(args: Args) -> int:
    """Continue a run that was stopped, killed or damaged; it ends with the same labels as without that."""
    tensorboard = _tensorboard(args)
    from ipr_core.results import summary
    from ipr_core.runs.run import Run
    from ipr_core.training.advance import ProgressBar, advance, check_encoder, joint_watcher
    from ipr_core.training.trained import reopen_if_damaged_

    run = Run.open(args.run)
    check_encoder(run)
    data = run.dataset()
    reopen_if_damaged_(run)
    watchers = [tensorboard(run)] if tensorboard else []
    advance(run, data, watch=joint_watcher([*watchers, ProgressBar(run.config)]))
    print(summary.summary([run]))
    return 0


def _export(args: Args) -> int:
    """Write a run's model in Hugging Face form, its encoder included, with a model card.

    With --onnx, write model.onnx too: from waves to embedding and shares, for programs without torch.
    """
    from ipr_core.results import model_card
    from ipr_core.training import onnx_file
    from ipr_core.training.trained import export

    run = finished(args.run)
    check_places(args.folder)
    export(run, args.folder, args.onnx)
    model_card.write(run, args.folder)
    print(f'{args.folder}: reload it by ipr_core.Recogniser.from_pretrained("{args.folder}")')
    if args.onnx:
        print(f"{args.folder / onnx_file.FILE}: open it with onnxruntime")
    return 0


def _table(args: Args) -> int:
    """Show the results of runs: each one named, or all that lie in a folder.

    With --page, write the tables of a Markdown page that its comments name: <!-- table NAME systems -->
    """
    from ipr_core.results import pages, selection, summary

    runs = _runs(args.run)
    selection.check_reference(runs, args.against)
    if args.page:
        names = pages.fill(args.page, args.name or args.run[0].name, runs)
        print(f"{args.page}: {', '.join(names)} written")
        return 0
    print(summary.summary(runs, args.against))
    return 0


def _bench(args: Args) -> int:
    """Measure how fast training is here, against the encoder's own passes.

    Encoder, batch size and precision are those of the settings. The audio is noise with the lengths of IEMOCAP's
    utterances, or your corpus if --corpus names one.
    """
    from ipr_core import bench

    config = config_of(args)
    systems = [variant.training.system for variant in configs_of(config, args.systems or [config.training.system], [0])]
    try:
        for line in bench.bench(config, systems, args.steps, own_corpus="corpus" in typed(args)):
            print(line)
    except ValueError as error:  # an encoder that cannot be had
        raise SettingsError([str(error)]) from error
    return 0


def _doctor(args: Args) -> int:
    """Check what is installed, with a cure for every problem."""
    from ipr_core import doctor

    checks = list(doctor.checks(args.runs))
    print("\n".join(map(str, checks)))
    return 0 if all(check.ok for check in checks) else 1


# What commands share.


def _tensorboard(args: Args) -> Callable[[Run], Watcher] | None:
    """Return what makes the watcher of --tensorboard, None without it. raises SettingsError if it is not installed"""
    if not args.tensorboard:
        return None
    from ipr_core.training import tensorboard

    tensorboard.check()
    return tensorboard.TensorBoard


def _planned(configs: Sequence[Config], args: Args) -> int:
    """Print the runs that a command would make or continue. returns: 0"""
    from ipr_core.runs.names import name
    from ipr_core.runs.run import Run

    for config in configs:
        run = Run(runs_folder(args) / name(config))
        state = "done" if run.exists and run.finished else f"{run.epochs} of {config.training.epochs} epochs done"
        print(f"{run.folder}  {config.training.system}, seed {config.training.seed}: {state if run.exists else 'new'}")
    print("No audio was read, and nothing was trained (--dry-run).")
    return 0


def _completion(args: Args) -> int:
    """Write a script that completes commands, options and values: ipr completion bash > ipr.bash; source ipr.bash"""
    from ipr_core.cli.completion import script

    print(script(args.shell, COMMANDS))
    return 0


def _runs(folders: Iterable[Path]) -> list[Run]:
    """Return the named runs, and those in the named folders. raises RunError for a folder without any"""
    from ipr_core.runs.run import Run, RunError

    runs: list[Run] = []
    for folder in folders:
        paths = [folder] if Run(folder).exists else sorted(folder.glob("*"))
        in_folder = [Run.open(path) for path in paths if Run(path).exists]
        if not in_folder:
            raise RunError(f"{folder} is not a run folder and has none in it; `ipr run` and `ipr train` make one")
        runs += in_folder
    return runs


def _save(data: Dataset, path: Path) -> None:
    from ipr_core.atomic import write
    from ipr_core.spreadsheets import to_csv

    write(path, data.table.to_parquet if path.suffix == ".parquet" else lambda copy: to_csv(data.table, copy))


COMMANDS: dict[str, Command] = {
    "corpora": corpora, "config": _config, "partition": _partition, "run": _run, "train": _train, "batch": batch,
    "tune": tune, "resume": _resume, "annotate": annotate, "segment": segment,
    "export": _export, "table": _table, "bench": _bench,
    "doctor": _doctor, "notebooks": notebooks, "lab": lab, "listen": listen, "votes": votes,
    "completion": _completion, "again": again, "figures": figures,
}  # fmt: skip
"""Every command by name."""


if __name__ == "__main__":
    sys.exit(main())
