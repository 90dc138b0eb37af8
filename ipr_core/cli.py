"""The command line `ipr`: parse, call, exit code.

`options` parses. Each command imports its heavy modules itself, so that every --help is there at once.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipr_core.config import FIELDS, GROUPS, Config, SettingsError, build, for_notebook
from ipr_core.endings import FAILED, WRONG, ended
from ipr_core.options import Args, parse

if TYPE_CHECKING:
    from ipr_core.batch.addresses import Certificate
    from ipr_core.batch.plan import Plan
    from ipr_core.batch.workers import Workers
    from ipr_core.data.dataset import Dataset
    from ipr_core.runs.run import Run


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    returns: 0 done, 1 the work failed, 2 the request was wrong, 70 a fault of the workbench, 128 and the number of a
    signal that ended it
    """
    words = sys.argv[1:] if argv is None else argv

    def command() -> int:
        args = parse(words, COMMANDS)
        return args.call(args)

    return ended(command, _codes, words)


def _codes() -> dict[type[Exception], int]:
    """Return the errors whose messages are sentences, with their exit codes."""
    from ipr_core.atomic import WriteError
    from ipr_core.batch.jobs import WorkersError
    from ipr_core.batch.notebooks import NotebookError
    from ipr_core.data.corpora.table import CorpusError
    from ipr_core.encoders import EncoderError
    from ipr_core.runs.files import FileError
    from ipr_core.runs.run import RunError
    from ipr_core.training.loop import LossError
    from ipr_core.training.processes import RankError

    refusals = SettingsError, CorpusError, RunError, FileError, EncoderError
    failures = NotebookError, RankError, LossError, WorkersError, WriteError
    return dict.fromkeys(refusals, WRONG) | dict.fromkeys(failures, FAILED)


# The commands, one function each; its docstring is the command's description.


def _corpora(args: Args) -> int:
    """List the corpora that can be read, and the files that each needs."""
    from ipr_core.data.corpora import describe

    for name, about, layout in describe():
        print(f"{name:<10} {about}\n{'':<10} needs {layout}\n")
    return 0


def _partition(args: Args) -> int:
    """Check a whole corpus, and count D1, D2 and D3 per class and per speaker."""
    from ipr_core.data import ambiguity
    from ipr_core.data.dataset import load

    config = _config(args)
    if args.out and args.out.suffix not in (".csv", ".parquet"):
        raise SettingsError([f"--out is {args.out}; it must be a file that ends in .csv or .parquet"])
    _check_places(*([args.out.parent] if args.out else []))
    data = load(config)
    for column in ("label", "speaker"):
        counts = ambiguity.summary(data.table, column)
        table = counts.pivot_table(
            "count", column, "part", aggfunc="sum", fill_value=0, margins=True, margins_name="all"
        )
        print(f"{table.to_string()}\n")
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
    from ipr_core.batch import notebooks
    from ipr_core.results import report, summary
    from ipr_core.training.advance import prepare, train_all
    from ipr_core.training.trained import reopen_if_damaged_

    config = _config(args)
    rivals = [rival for rival in _configs(config, args.beside or [], [config.training.seed]) if rival != config]
    main_job = notebooks.main_job()
    _check_places(_runs_folder(args))
    _check_encoders([config, *rivals], args.runs)
    run, _ = prepare(config, args.runs)
    reopen_if_damaged_(run)
    rival_runs = train_all(rivals, args.runs)
    for notebook in main_job:
        parameters = for_notebook(config, _typed(args), args.preset, None if args.runs is None else str(args.runs))
        if rival_runs and "compare" in notebooks.parameters(notebook):
            parameters["compare"] = [str(rival.folder) for rival in rival_runs]
        notebooks.execute(notebook, run.folder / "notebooks" / notebook.name, parameters)
    path = report.write(run, summary.tables([run, *rival_runs]))
    print(
        f"{summary.summary([run, *rival_runs])}\n\nreport  {path}\nlabels  {run.folder / 'labels.csv'} (and .parquet)"
    )
    return 0


def _train(args: Args) -> int:
    """Train systems over seeds, without a notebook."""
    from ipr_core.results import summary
    from ipr_core.training.advance import train_all

    config = _config(args)
    configs = _configs(config, args.systems or [config.training.system], args.seeds or [config.training.seed])
    _check_places(_runs_folder(args))
    _check_encoders(configs, args.runs)
    print(summary.summary(train_all(configs, args.runs)))
    return 0


def _batch(args: Args) -> int:
    """Run a grid: the notebooks once for every combination of systems, seeds and settings.

    GRID is a TOML file or the name of a grid that comes with the workbench; options add to it or replace its entries.
    Finished cells are skipped, so that the same command continues after a failure or a kill.
    """
    options = _grid(args)
    from ipr_core.batch.grid import read
    from ipr_core.batch.plan import describe, make_plan, run_plan, runs_of
    from ipr_core.batch.watching import Screen, status
    from ipr_core.results import summary

    if args.watch:
        grid = read(args.grid, options)
        return Screen(lambda: status(grid, args.runs)).follow()
    if not args.dry_run:
        _check_places(_runs_folder(args))
    plan = make_plan(args.grid, options, args.runs, args.any_version)
    if _is_here(args) and (faults := _device_faults([cell.config for cell in plan.grid.cells])):
        raise SettingsError(faults)
    screen = Screen(lambda: status(plan.grid, plan.runs))
    print(describe(plan, args.jobs, _workers_in_words(args, plan.runs)), flush=True)
    if args.dry_run:
        return 0
    failures = []
    if plan.unfinished:
        with _workers(args, plan) as workers:
            failures = run_plan(plan, workers, screen)
        screen(last=True)
    print(summary.summary([run for run in runs_of(plan.grid, plan.runs) if run.finished]))
    if failures:
        print(f"{len(failures)} failed; the same command tries them again", *failures, sep="\n", file=sys.stderr)
        return FAILED
    return 0


def _resume(args: Args) -> int:
    """Continue a run that was stopped, killed or damaged; it ends with the same labels as without that."""
    from ipr_core.results import summary
    from ipr_core.runs.run import Run
    from ipr_core.training.advance import ProgressBar, advance, check_encoder
    from ipr_core.training.trained import reopen_if_damaged_

    run = Run.open(args.run)
    check_encoder(run)
    data = run.dataset()
    reopen_if_damaged_(run)
    advance(run, data, watch=ProgressBar(run.config))
    print(summary.summary([run]))
    return 0


def _annotate(args: Args) -> int:
    """Label any corpus by a trained run: soft and single labels, as Parquet and CSV.

    The corpus may have no labels. After a kill the same command continues. Several workers share a large corpus by
    --shard 1/4, 2/4 and so on; the last one to end puts the labels together.
    """
    from ipr_core import annotation

    settings = {"corpus": "manifest", "corpus_path": str(args.path)} | _typed(args)
    corpus = build(settings=settings).data
    run = _finished(args.run)
    _check_places(args.out or args.run)
    paths = annotation.annotate(run, corpus, args.out, shard=args.shard)
    message = "this shard is done; the last one to end, or the same command without --shard, puts all labels together"
    print("\n".join(map(str, paths)) or message)
    return 0


def _export(args: Args) -> int:
    """Write a run's model in Hugging Face form, its encoder included."""
    from ipr_core.training.trained import export

    run = _finished(args.run)
    _check_places(args.folder)
    export(run, args.folder)
    print(f'{args.folder}: reload it by ipr_core.Recogniser.from_pretrained("{args.folder}")')
    return 0


def _table(args: Args) -> int:
    """Show the results of runs: each one named, or all that lie in a folder."""
    from ipr_core.results import selection, summary

    runs = _runs(args.run)
    selection.check_reference(runs, args.against)
    print(summary.summary(runs, args.against))
    return 0


def _bench(args: Args) -> int:
    """Measure how fast training is here, against the encoder's own passes.

    Encoder, batch size and precision are those of the settings. The audio is noise with the lengths of IEMOCAP's
    utterances, or your corpus if --corpus names one.
    """
    from ipr_core import bench

    config = _config(args)
    systems = [variant.training.system for variant in _configs(config, args.systems or [config.training.system], [0])]
    try:
        for line in bench.bench(config, systems, args.steps, own_corpus="corpus" in _typed(args)):
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


def _config(args: Args) -> Config:
    return build(args.preset, _typed(args))


def _typed(args: Args) -> dict[str, Any]:
    """Return the settings that were typed, as typed."""
    return {name: value for name, value in vars(args).items() if name in FIELDS} | args.unknown


def _configs(config: Config, systems: Sequence[str], seeds: Sequence[int | str]) -> list[Config]:
    """Return a configuration for every seed and system, each once; raises SettingsError for an unknown one."""
    names = dict.fromkeys(name for word in systems for name in GROUPS.get(word, (word,)))
    return [config.replace(system=name, seed=seed) for seed in dict.fromkeys(seeds) for name in names]


def _grid(args: Args) -> dict[str, Any]:
    """Return the options in a grid's own words. raises SettingsError if they state no grid"""
    lists = {"systems": args.systems, "beside": args.beside, "seeds": args.seeds, "notebooks": args.notebooks}
    tables = {"settings": _typed(args), "cross": _varied(args.cross), "one_at_a_time": _varied(args.vary)}
    options = {name: value for name, value in (lists | {"preset": args.preset} | tables).items() if value}
    if args.grid is None and not options.keys() & {"systems", "seeds", "cross", "one_at_a_time"}:
        from ipr_core.batch.grid import shipped

        grids = [f"  {name:<16} {text}" for name, text in shipped().items()]
        raise SettingsError(["name a grid, or give --systems, --seeds, --cross or --vary; the grids are:", *grids])
    return options


def _varied(options: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    return {name.replace("-", "_"): list(values) for name, *values in options}


def _is_here(args: Args) -> bool:
    return not (args.dask or args.slurm or args.pbs)


def _workers_in_words(args: Args, runs: Path) -> str:
    """Say in words who does a batch's work."""
    from ipr_core.batch.workers import share

    plural = "s" * (args.jobs > 1)
    if args.dask:
        return f"the workers at {args.dask}"
    if _is_here(args):
        return f"{args.jobs} worker{plural} on this machine, {share(args.jobs)}"
    return f"{args.jobs} job{plural} of {'SLURM' if args.slurm else 'PBS'}, whose logs go to {runs / 'jobs'}"


def _workers(args: Args, plan: Plan) -> AbstractContextManager[Workers]:
    from ipr_core.batch import workers

    count = min(args.jobs, len(plan.unfinished))
    if args.dask:
        return workers.workers_at(args.dask, _certificate(args))
    if _is_here(args):
        return workers.local_workers(count, workers.share(args.jobs))
    names = [field.name for field in dataclasses.fields(workers.Job)]
    values = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return workers.job_workers("slurm" if args.slurm else "pbs", count, workers.Job(**values), plan.runs / "jobs")


def _certificate(args: Args) -> Certificate | None:
    from ipr_core.batch.addresses import Certificate

    return Certificate(args.tls_ca, args.tls_cert, args.tls_key) if args.tls_ca else None


def _check_encoders(configs: Sequence[Config], runs: Path | None) -> None:
    """Raise SettingsError, before a corpus is read, with every reason why an encoder or a device cannot be had."""
    from ipr_core.training.advance import encoder_faults

    if faults := [*_device_faults(configs), *encoder_faults(configs, runs)]:
        raise SettingsError(faults)


def _device_faults(configs: Sequence[Config]) -> list[str]:
    from ipr_core.training.processes import device_fault

    names = dict.fromkeys(config.training.device for config in configs)
    return [fault for name in names if (fault := device_fault(name))]


def _runs_folder(args: Args) -> Path:
    from ipr_core.runs.run import default_runs

    return args.runs or default_runs()


def _check_places(*folders: Path) -> None:
    """Raise WriteError, before work starts, if something cannot be written in one of these folders, or be cached."""
    from ipr_core.atomic import prepare_folder
    from ipr_core.data.cache import default_cache

    for folder in (*folders, default_cache()):
        prepare_folder(folder)


def _finished(folder: Path) -> Run:
    from ipr_core.runs.run import Run, RunError

    run = Run.open(folder)
    if not run.finished:
        raise RunError(f"{folder} is not trained to its end; `ipr resume {folder}` continues it")
    return run


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


COMMANDS = {
    "corpora": _corpora, "partition": _partition, "run": _run, "train": _train, "batch": _batch, "resume": _resume,
    "annotate": _annotate, "export": _export, "table": _table, "bench": _bench, "doctor": _doctor,
}  # fmt: skip
"""Every command by name."""


if __name__ == "__main__":
    sys.exit(main())
