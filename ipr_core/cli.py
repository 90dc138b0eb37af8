"""The command line `ipr`: parse, call, exit code. 0 done, 1 the work failed, 2 the request was wrong.

The options for settings are made from the configuration's fields. What is heavy is imported by the command that
needs it, so that every --help is there at once.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipr_core.config import FIELDS, GROUPS, PRESETS, Config, SettingsError, allowed, build

if TYPE_CHECKING:
    from distributed import Client

    from ipr_core.data.dataset import Dataset
    from ipr_core.runs.run import Run

Asked = argparse.Namespace
_WORDS = f"or {', '.join(GROUPS)} for several"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. returns: 0 done, 1 the work failed, 2 the request was wrong, 130 interrupted"""
    try:
        asked = _asked(sys.argv[1:] if argv is None else argv)
        return asked.call(asked)
    except SystemExit as stop:  # argparse: --help, or a request it could not read
        return int(stop.code or 0)
    except KeyboardInterrupt:
        return _say("interrupted; what was trained is kept, and `ipr resume RUN` or the same command goes on", 130)
    except SettingsError as error:
        return _say(error, 2)
    except _refusals() as error:
        return _say(error, 2)
    except _failures() as error:
        return _say(error, 1)


def _say(what: object, code: int) -> int:
    print(what, file=sys.stderr)
    return code


def _refusals() -> tuple[type[Exception], ...]:
    from ipr_core.data.corpora.table import CorpusError
    from ipr_core.runs.run import RunError

    return CorpusError, RunError


def _failures() -> tuple[type[Exception], ...]:
    from ipr_core.batch.notebooks import NotebookError
    from ipr_core.training.loop import LossError
    from ipr_core.training.processes import RankError

    return NotebookError, RankError, LossError


# The commands, one function each; its docstring is the command's description.


def _corpora(asked: Asked) -> int:
    """The corpora that can be read, and how each must lie on disk."""
    from ipr_core.data.corpora import describe

    for name, about, layout in describe():
        print(f"{name:<10} {about}\n{'':<10} needs {layout}\n")
    return 0


def _partition(asked: Asked) -> int:
    """Read and check a corpus whole, and count the utterances of D1, D2 and D3 per class and per speaker."""
    from ipr_core.data import ambiguity
    from ipr_core.data.dataset import load

    config = _config(asked)
    if asked.out and asked.out.suffix not in (".csv", ".parquet"):
        raise SettingsError([f"--out is {asked.out}; it is a file that ends in .csv or .parquet"])
    data = load(config)
    for by in ("label", "speaker"):
        counts = ambiguity.summary(data.table, by)
        shown = counts.pivot_table("count", by, "part", aggfunc="sum", fill_value=0, margins=True, margins_name="all")
        print(f"{shown.to_string()}\n")
    if data.simulated:
        print("The votes are those of simulated annotators.")
    if asked.out:
        _save(data, asked.out)
    return 0


def _run(asked: Asked) -> int:
    """Execute the three notebooks; keep their executed copies, a report and the labels in the run folder.

    A run that exists goes on from where it stands. Other systems can be trained beside it, for the comparison.
    """
    from ipr_core.batch import notebooks
    from ipr_core.results import report, summary
    from ipr_core.training.advance import prepare, train_all

    config = _config(asked)
    beside = [other for other in _each(config, asked.beside or [], [config.training.seed]) if other != config]
    main_job = notebooks.main_job()
    _check_encoders([config, *beside], asked.runs)
    run, _ = prepare(config, asked.runs)
    others = train_all(beside, asked.runs)
    for notebook in main_job:
        parameters = _parameters(asked, config)
        if others and "compare" in notebooks.parameters(notebook):
            parameters["compare"] = [str(other.folder) for other in others]
        notebooks.execute(notebook, run.folder / "notebooks" / notebook.name, parameters)
    table = summary.table([run, *others])
    written = report.write(run, table)
    print(f"{summary.show(table)}\n\nreport  {written}\nlabels  {run.folder / 'labels.csv'} (and .parquet)")
    return 0


def _train(asked: Asked) -> int:
    """Train without a notebook: one system, or several, over one seed or several."""
    from ipr_core.results import summary
    from ipr_core.training.advance import train_all

    config = _config(asked)
    configs = _each(config, asked.systems or [config.training.system], asked.seeds or [config.training.seed])
    _check_encoders(configs, asked.runs)
    print(summary.summary(train_all(configs, asked.runs)))
    return 0


def _batch(asked: Asked) -> int:
    """Run a grid: the notebooks once for every combination of systems, seeds and settings that it states.

    GRID is a TOML file or the name of a grid that comes with the workbench; options add to it or replace what it
    says. What is done already is not done again, so the same command goes on after a failure or a kill.
    """
    said = _grid(asked)
    from ipr_core.batch import grid, plan
    from ipr_core.batch import workers as cluster
    from ipr_core.batch.watching import Screen
    from ipr_core.results import summary

    if asked.watch:
        there = grid.read(asked.grid, said)
        return Screen(lambda: plan.status(there, asked.runs)).follow()
    what = plan.plan(asked.grid, said, asked.runs, asked.any_version)
    screen = Screen(lambda: plan.status(what.grid, what.runs))
    print(plan.show(what, asked.jobs, _workers(asked, what.runs)), flush=True)
    if asked.dry_run:
        return 0
    failures = []
    if what.left:
        gpus = cluster.share(asked.jobs).gpus if _is_here(asked) else ()
        with _client(asked, what.runs) as client:
            failures = plan.run(what, client, gpus, screen)
        screen(last=True)
    print(summary.summary([run for run in plan.runs_of(what.grid, what.runs) if run.finished]))
    return (
        _say("\n".join([f"{len(failures)} failed; the same command tries them again", *failures]), 1) if failures else 0
    )


def _resume(asked: Asked) -> int:
    """Go on with a run that was stopped, or killed; it ends as if it had not been."""
    from ipr_core.results import summary
    from ipr_core.runs.run import Run
    from ipr_core.training.advance import ProgressBar, advance

    run = Run.open(asked.run)
    advance(run, run.dataset(), watch=ProgressBar(run.config))
    print(summary.show(summary.table([run])))
    return 0


def _annotate(asked: Asked) -> int:
    """Soft and single labels by a trained run for any corpus, labelled or not, as Parquet and CSV.

    After a kill the same command goes on. Several workers share a large corpus by --shard 1/4, 2/4 and so on; the last
    one to end puts the labels together.
    """
    from ipr_core import annotation

    settings = {"corpus": "manifest", "corpus_path": str(asked.path)} | _given(asked)
    corpus = build(settings=settings).data
    places = annotation.annotate(_finished(asked.run), corpus, asked.out, shard=asked.shard)
    done = "this shard is done; the last one to end, or the same command without --shard, puts all labels together"
    print("\n".join(map(str, places)) or done)
    return 0


def _export(asked: Asked) -> int:
    """A run's model in Hugging Face form, complete without the encoder it was made from."""
    from ipr_core.training.model import Recogniser

    Recogniser.load(_finished(asked.run).folder / "model").save(asked.folder)
    print(f'{asked.folder}: reload it by ipr_core.model.Recogniser.from_pretrained("{asked.folder}")')
    return 0


def _table(asked: Asked) -> int:
    """The results of runs: each one named, or all that lie in a folder."""
    from ipr_core.results import summary

    print(summary.summary(_found(asked.run)))
    return 0


def _bench(asked: Asked) -> int:
    """Measure how fast training is here, with your encoder, batch size and precision, against the encoder's own passes.

    On noise with the lengths of IEMOCAP's utterances; on your corpus where --corpus names one.
    """
    from ipr_core import bench

    config = _config(asked)
    systems = [each.training.system for each in _each(config, asked.systems or [config.training.system], [0])]
    try:
        for line in bench.bench(config, systems, asked.steps, own="corpus" in _given(asked)):
            print(line)
    except ValueError as error:  # an encoder that cannot be had
        raise SettingsError([str(error)]) from error
    return 0


def _doctor(asked: Asked) -> int:
    """What is installed and at hand, and the cure for what is not as it should be."""
    from ipr_core import doctor

    checks = list(doctor.checks(asked.runs))
    print("\n".join(map(str, checks)))
    return 0 if all(check.ok for check in checks) else 1


# What commands share.


def _config(asked: Asked) -> Config:
    return build(asked.preset, _given(asked))


def _given(asked: Asked) -> dict[str, Any]:
    """The settings that were given, as given."""
    return {name: value for name, value in vars(asked).items() if name in FIELDS} | asked.unknown


def _parameters(asked: Asked, config: Config) -> dict[str, Any]:
    """What the notebooks are told: the settings that were given, as the configuration reads them.

    A notebook's None is "the preset's value", so that none itself goes as a text.
    """
    values = {name: "none" if value is None else value for name, value in config.settings().items()}
    return {name: values[name] for name in _given(asked)} | {"preset": asked.preset, "runs": _text(asked.runs)}


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _each(config: Config, systems: Sequence[str], seeds: Sequence[int | str]) -> list[Config]:
    """A configuration for every seed and system, once each; raises SettingsError for one that is not known."""
    names = dict.fromkeys(name for word in systems for name in GROUPS.get(word, (word,)))
    return [config.replace(system=name, seed=seed) for seed in dict.fromkeys(seeds) for name in names]


def _grid(asked: Asked) -> dict[str, Any]:
    """What the options say of a grid, in a grid's own words. raises SettingsError where nothing says any"""
    lists = {"systems": asked.systems, "beside": asked.beside, "seeds": asked.seeds, "notebooks": asked.notebooks}
    said = {key: value for key, value in lists.items() if value} | ({"preset": asked.preset} if asked.preset else {})
    tables = {"settings": _given(asked), "cross": _varied(asked.cross), "one_at_a_time": _varied(asked.vary)}
    said |= {key: value for key, value in tables.items() if value}
    if asked.grid is None and not said.keys() & {"systems", "seeds", "cross", "one_at_a_time"}:
        from ipr_core.batch.grid import shipped

        known = [f"  {name:<16} {about}" for name, about in shipped().items()]
        raise SettingsError(["name a grid, or give --systems, --seeds, --cross or --vary; these are there:", *known])
    return said


def _varied(given: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    return {name.replace("-", "_"): list(values) for name, *values in given}


def _is_here(asked: Asked) -> bool:
    return not (asked.dask or asked.slurm or asked.pbs)


def _workers(asked: Asked, runs: Path) -> str:
    """Who does a batch's work, in words."""
    from ipr_core.batch.workers import share

    many = "s" * (asked.jobs > 1)
    if asked.dask:
        return f"the workers at {asked.dask}"
    if _is_here(asked):
        return f"{asked.jobs} worker{many} on this machine, {share(asked.jobs)}"
    return f"{asked.jobs} job{many} of {'SLURM' if asked.slurm else 'PBS'}, whose logs go to {runs / 'jobs'}"


def _client(asked: Asked, runs: Path) -> AbstractContextManager[Client]:
    from ipr_core.batch import workers as cluster

    if asked.dask:
        return cluster.at(asked.dask)
    if _is_here(asked):
        return cluster.here(asked.jobs, cluster.share(asked.jobs))
    names = [field.name for field in dataclasses.fields(cluster.Job)]
    given = {name: getattr(asked, name) for name in names if getattr(asked, name) is not None}
    return cluster.queued("slurm" if asked.slurm else "pbs", asked.jobs, cluster.Job(**given), runs / "jobs")


def _check_encoders(configs: Sequence[Config], runs: Path | None) -> None:
    """raises SettingsError, before a corpus is read, with every reason why an encoder cannot be had"""
    from ipr_core.training.advance import encoder_faults

    if faults := encoder_faults(configs, runs):
        raise SettingsError(faults)


def _finished(folder: Path) -> Run:
    from ipr_core.runs.run import Run, RunError

    run = Run.open(folder)
    if not run.finished:
        raise RunError(f"{folder} is not trained to its end; `ipr resume {folder}` goes on")
    return run


def _found(folders: Iterable[Path]) -> list[Run]:
    """The runs that are named, and those in the folders that are named. raises RunError where there is none"""
    from ipr_core.runs.run import Run, RunError

    runs = []
    for folder in folders:
        inside = (
            [Run(folder)] if Run(folder).exists else [run for run in map(Run, sorted(folder.glob("*"))) if run.exists]
        )
        if not inside:
            raise RunError(f"{folder} is not a run folder and there is none in it; `ipr run` and `ipr train` make one")
        runs += inside
    return runs


def _save(data: Dataset, out: Path) -> None:
    from ipr_core.atomic import write

    table = data.table
    write(out, table.to_parquet if out.suffix == ".parquet" else lambda path: table.to_csv(path, index=False))


# The parser.


def _asked(argv: Sequence[str]) -> Asked:
    """The command and what it was given; options that no command has are left to the check of the settings."""
    parser = _parser()
    asked, rest = parser.parse_known_args(_with_values(argv))
    asked.unknown = {part[2:].partition("=")[0].replace("-", "_"): "" for part in rest if part.startswith("--")}
    if rest and not (asked.unknown and hasattr(asked, "preset")):
        parser.error(f"unrecognised: {' '.join(rest)}")
    return asked


def _with_values(argv: Sequence[str]) -> list[str]:
    """`--volume-db -6,6` as `--volume-db=-6,6`: argparse takes what starts with a dash for an option."""
    joined: list[str] = []
    for part in argv:
        if re.match(r"-[\d.]", part) and joined and re.fullmatch(r"--[a-z-]+", joined[-1]):
            joined[-1] += f"={part}"
        else:
            joined.append(part)
    return joined


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("ipr", description="Iterative prototype refinement for ambiguous speech emotion.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, call: Callable[[Asked], int], usage: str) -> argparse.ArgumentParser:
        about = (call.__doc__ or "").strip()
        made = commands.add_parser(
            name, usage=f"ipr {name} {usage}", help=about.splitlines()[0], description=about, allow_abbrev=False
        )
        made.set_defaults(call=call)
        return made

    settings = "[--preset NAME] [--SETTING VALUE ...]"
    command("corpora", _corpora, "")
    partition = command("partition", _partition, f"{settings} [--out FILE]")
    partition.add_argument("--out", type=Path, help="keep the table with its parts: a .csv or .parquet file")
    run = command("run", _run, f"{settings} [--beside SYSTEM ...] [--runs DIR]")
    run.add_argument("--beside", nargs="+", metavar="SYSTEM", help=f"systems to train beside it; {_WORDS}")
    train = command("train", _train, f"{settings} [--systems SYSTEM ...] [--seeds SEED ...] [--runs DIR]")
    train.add_argument("--systems", nargs="+", metavar="SYSTEM", help=f"the systems to train; {_WORDS}")
    train.add_argument("--seeds", nargs="+", metavar="SEED", help="the seeds to train them with")
    plan = command("batch", _batch, f"[GRID] {settings} [--jobs N | --dask ADDRESS | --slurm | --pbs] [--dry-run]")
    resume = command("resume", _resume, "RUN")
    annotate = command("annotate", _annotate, "RUN CORPUS [--SETTING VALUE ...] [--out DIR] [--shard K/N]")
    export = command("export", _export, "RUN FOLDER")
    table = command("table", _table, "RUN [RUN ...]")
    bench = command("bench", _bench, f"{settings} [--systems SYSTEM ...] [--steps N]")
    bench.add_argument("--systems", nargs="+", metavar="SYSTEM", help="the systems to measure, or all")
    bench.add_argument(
        "--steps", type=_count, default=4, metavar="N", help="steps of each that are measured; default 4"
    )
    doctor = command("doctor", _doctor, "[--runs DIR]")

    for one in (resume, annotate, export):
        one.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    table.add_argument("run", type=Path, nargs="+", metavar="RUN", help="a run folder, or a folder of them")
    annotate.add_argument("path", type=Path, metavar="CORPUS", help="a manifest, a folder of audio, or of --corpus")
    annotate.add_argument("--out", type=Path, metavar="DIR", help="where the labels go; else into the run folder")
    annotate.add_argument("--shard", type=_shard, metavar="K/N", default=(1, 1), help="label as the k-th of n workers")
    export.add_argument("folder", type=Path, metavar="FOLDER", help="where the model goes")
    _add_batch(plan)
    for one in (run, train, plan, doctor):
        one.add_argument("--runs", type=Path, metavar="DIR", help="where runs lie; else $IPR_RUNS, or runs")
    for one in (partition, run, train, bench):
        one.add_argument("--preset", default="recommended", help=f"one of {', '.join(PRESETS)}; default recommended")
        _add_settings(one, Config.model_fields)
    plan.add_argument("--preset", help=f"one of {', '.join(PRESETS)}; default what the grid says, or recommended")
    _add_settings(plan, Config.model_fields)
    _add_settings(annotate, ["data"])
    return parser


def _add_batch(batch: argparse.ArgumentParser) -> None:
    """What a batch may be asked beside settings."""
    batch.add_argument("grid", nargs="?", metavar="GRID", help="a TOML file, or a grid that comes with the workbench")
    batch.add_argument("--systems", nargs="+", metavar="SYSTEM", help=f"the systems to train; {_WORDS}")
    batch.add_argument("--beside", nargs="+", metavar="SYSTEM", help="systems to train with nothing varied")
    batch.add_argument("--seeds", nargs="+", metavar="SEED", help="the seeds to train them with")
    batch.add_argument("--notebooks", nargs="+", metavar="NAME", help="which to execute; default the main job's three")
    many = {"nargs": "+", "action": "append", "default": [], "metavar": ("NAME", "VALUE")}
    batch.add_argument("--cross", **many, help="a setting and its values, in every combination with what else varies")
    batch.add_argument("--vary", **many, help="a setting and its values, each alone against the rest as it is")
    batch.add_argument("--dry-run", action="store_true", help="show the plan: cells, what is done, how long it takes")
    batch.add_argument("--watch", action="store_true", help="only show how far a batch is that runs elsewhere")
    batch.add_argument("--any-version", action="store_true", help="leave what another version of the code finished")
    workers = batch.add_argument_group("workers", "Who does the work. The run folder must be seen by all of them.")
    workers.add_argument("--jobs", type=_count, default=1, metavar="N", help="worker processes, or jobs; default 1")
    where = workers.add_mutually_exclusive_group()
    where.add_argument("--dask", metavar="ADDRESS", help="the workers of a Dask scheduler, tcp://host:8786 for example")
    where.add_argument("--slurm", action="store_true", help="workers in jobs of SLURM")
    where.add_argument("--pbs", action="store_true", help="workers in jobs of PBS")
    workers.add_argument("--partition", "--queue", dest="queue", metavar="NAME", help="SLURM's partition, PBS's queue")
    workers.add_argument("--account", metavar="NAME", help="whom the jobs are charged to")
    workers.add_argument("--walltime", metavar="HH:MM:SS", help="a job's time; default 24:00:00")
    workers.add_argument("--memory", metavar="SIZE", help="a job's memory; default 8GB")
    workers.add_argument("--cores", type=_count, metavar="N", help="a job's cores; default 4")
    workers.add_argument("--gpus", type=_count, metavar="N", help="a job's GPUs; default none")
    workers.add_argument("--interface", metavar="NAME", help="the network interface between jobs and this machine")


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"is {text}; it is a whole number, at least 1")
    return int(text)


def _shard(text: str) -> tuple[int, int]:
    k, _, n = text.partition("/")
    if not (k.isdigit() and n.isdigit() and 1 <= int(k) <= int(n)):
        raise argparse.ArgumentTypeError(f"is {text}; it is which of how many workers, 2/8 for example")
    return int(k), int(n)


def _add_settings(parser: argparse.ArgumentParser, sections: Iterable[str]) -> None:
    """An option for every setting of some sections; only those given are in what is parsed."""
    groups = {s: parser.add_argument_group(s, Config.model_fields[s].annotation.__doc__) for s in sections}
    for name, (section, field) in FIELDS.items():
        if section in groups:
            kind = {"action": argparse.BooleanOptionalAction} if field.annotation is bool else {"metavar": "VALUE"}
            groups[section].add_argument(
                f"--{name.replace('_', '-')}", dest=name, default=argparse.SUPPRESS, help=_help(name), **kind
            )


def _help(name: str) -> str:
    field = FIELDS[name][1]
    default = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
    words = f"{field.description} {allowed(name).capitalize()}; default {'none' if default in (None, '') else default}."
    return words.replace("%", "%%")


if __name__ == "__main__":
    sys.exit(main())
