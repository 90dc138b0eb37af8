"""The options of `ipr`: one for every setting, and those of each command."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ipr_core import option_values
from ipr_core.config import FIELDS, GROUPS, PRESETS, Config, allowed
from ipr_core.names import SEGMENTS

Args = argparse.Namespace
"""What was typed after `ipr`: an attribute per option, and settings under their own names."""
Command = Callable[[Args], int]
_WORDS = f"or {', '.join(GROUPS)} for several"
_SETTINGS = "[--config FILE] [--preset NAME] [--SETTING VALUE ...]"
_USAGE = {
    "corpora": "[show NAME | new FOLDER [--out FILE]]",
    "config": _SETTINGS,
    "partition": f"{_SETTINGS} [--out FILE]",
    "run": f"{_SETTINGS} [--beside SYSTEM ...] [--runs DIR] [--tensorboard] [--dry-run]",
    "train": f"{_SETTINGS} [--systems SYSTEM ...] [--seeds SEED ...] [--runs DIR] [--tensorboard] [--dry-run]",
    "batch": f"[GRID] {_SETTINGS} [--jobs N | --dask ADDRESS | --slurm | --pbs] [--dry-run]",
    "tune": "GRID [--SETTING VALUE ...] [--out FILE] [--jobs N | --dask ADDRESS | --slurm | --pbs] [--dry-run]",
    "resume": "RUN [--tensorboard]",
    "annotate": "RUN CORPUS [--segment HOW] [--config FILE] [--SETTING VALUE ...] [--out DIR]"
    " [--format audformat|textgrid ...] [--onnx] [--jobs N | --dask ADDRESS | --slurm | --pbs | --shard K/N]",
    "segment": "CORPUS --out FILE [--segment HOW] [--max-seconds S] [--config FILE] [--SETTING VALUE ...]",
    "export": "RUN FOLDER [--onnx]",
    "figures": "RUN FOLDER [--beside RUN ...] [--format pdf|svg ...]",
    "table": "RUN [RUN ...] [--against SYSTEM] [--page FILE [--name NAME]]",
    "bench": f"{_SETTINGS} [--systems SYSTEM ...] [--steps N]",
    "doctor": "[--runs DIR]",
    "notebooks": "FOLDER",
    "lab": "[FOLDER]",
    "listen": "CORPUS --listener NAME [--config FILE] [--SETTING VALUE ...] [--votes DIR] [--seed N] [--repeats SHARE]",
    "votes": "CORPUS [--config FILE] [--SETTING VALUE ...] [--votes DIR] [--out FOLDER]",
    "completion": "SHELL",
    "again": "RUN [--votes FOLDER] [--dry-run]",
}
SHELLS = ("bash", "zsh", "tcsh")
"""The shells that `ipr completion` knows."""


def parse(argv: Sequence[str], commands: Mapping[str, Command]) -> Args:
    """Return the command, as `args.call`, with its options.

    Options of no command are kept in `args.unknown`, for the check of the settings to name.
    raises SystemExit for --help and for a line that cannot be read
    """
    parser = make_parser(commands)
    args, rest = parser.parse_known_args(_with_values(argv))
    args.unknown = {part[2:].partition("=")[0].replace("-", "_"): "" for part in rest if part.startswith("--")}
    if rest and not (args.unknown and (hasattr(args, "preset") or args.command == "tune")):
        parser.error(f"unrecognised: {' '.join(rest)}")
    if args.command in ("batch", "tune") and (faults := _worker_faults(args)):
        parser.error("\n".join(faults))
    return args


def _worker_faults(args: Args) -> list[str]:
    """List the options that mean nothing for the workers that are asked for."""
    faults = []
    jobs = ("queue", "account", "walltime", "memory", "cores", "gpus", "interface")
    options = [f"--{'partition' if name == 'queue' else name}" for name in jobs if getattr(args, name) is not None]
    if options and not (args.slurm or args.pbs):
        faults.append(f"{', '.join(options)}: only jobs have these; give --slurm or --pbs, or leave them out")
    files = [args.tls_ca, args.tls_cert, args.tls_key]
    if any(files) and not (args.dask and all(files)):
        faults.append("--tls-ca, --tls-cert and --tls-key belong together, and to --dask tls://HOST:PORT")
    return faults


def _with_values(argv: Sequence[str]) -> list[str]:
    """Make `--volume-db -6,6` to `--volume-db=-6,6`: argparse takes words that start with a dash for options."""
    words: list[str] = []
    for word in argv:
        if re.match(r"-[\d.]", word) and words and re.fullmatch(r"--[a-z-]+", words[-1]):
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words


def make_parser(commands: Mapping[str, Command]) -> argparse.ArgumentParser:
    """Return the parser of all commands; a command's docstring is its description."""
    parser = argparse.ArgumentParser("ipr", description="Iterative prototype refinement for ambiguous speech emotion.")
    parser.add_argument("--version", action="version", version=f"ipr {_version()}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, dest="command")
    for name, call in commands.items():
        text = (call.__doc__ or "").strip()
        subparser = subparsers.add_parser(
            name, usage=f"ipr {name} {_USAGE[name]}", help=text.splitlines()[0], description=text, allow_abbrev=False
        )
        subparser.set_defaults(call=call)
        if name in _OPTIONS:
            _OPTIONS[name](subparser)
    return parser


def _version() -> str:
    try:
        return version("ipr-workbench")
    except PackageNotFoundError:  # a copy of the code that nobody installed runs too
        return "(not installed)"


def _add_corpora(parser: argparse.ArgumentParser) -> None:
    text = "show: a corpus's description; new: propose one for a folder"
    parser.add_argument("action", nargs="?", choices=("show", "new"), metavar="show|new", help=text)
    parser.add_argument("name", nargs="?", metavar="NAME", help="the corpus, or the folder")
    parser.add_argument("--out", type=Path, metavar="FILE", help="of new: write the description there")


def _add_partition(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, help="keep the table with its parts: a .csv or .parquet file")
    _add_preset(parser)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--beside", nargs="+", metavar="SYSTEM", help=f"systems to train beside it; {_WORDS}")
    parser.add_argument("--dry-run", action="store_true", help="show which runs it would make or continue")
    _add_tensorboard(parser)
    _add_runs(parser)
    _add_preset(parser)


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--systems", nargs="+", metavar="SYSTEM", help=f"the systems to train; {_WORDS}")
    parser.add_argument("--seeds", nargs="+", metavar="SEED", help="the seeds to train them with")
    parser.add_argument("--dry-run", action="store_true", help="show which runs it would make or continue")
    _add_tensorboard(parser)
    _add_runs(parser)
    _add_preset(parser)


def _add_batch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("grid", nargs="?", metavar="GRID", help="a TOML file, or a grid that comes with the workbench")
    parser.add_argument("--systems", nargs="+", metavar="SYSTEM", help=f"the systems to train; {_WORDS}")
    parser.add_argument("--beside", nargs="+", metavar="SYSTEM", help="systems to train with nothing varied")
    parser.add_argument("--seeds", nargs="+", metavar="SEED", help="the seeds to train them with")
    parser.add_argument("--notebooks", nargs="+", metavar="NAME", help="those to execute; default the main job's three")
    for option, text in {
        "--cross": "a setting and its values, in every combination with what else varies",
        "--vary": "a setting and its values, each alone against the rest as it is",
    }.items():
        parser.add_argument(option, nargs="+", action="append", default=[], metavar=("NAME", "VALUE"), help=text)
    parser.add_argument("--dry-run", action="store_true", help="show the plan: cells, finished ones, and the time left")
    parser.add_argument("--watch", action="store_true", help="only show how far a batch is that runs elsewhere")
    parser.add_argument("--any-version", action="store_true", help="keep cells that another version of the code made")
    _add_workers(parser)
    _add_runs(parser)
    _add_config(parser)
    parser.add_argument("--preset", help=f"one of {', '.join(PRESETS)}; default the grid's, or recommended")
    _add_settings(parser, Config.model_fields)


def _add_tune(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("grid", type=Path, metavar="GRID", help="a TOML file with the table [tune]; options add to it")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the tuned grid; default GRID-tuned.toml beside it")
    parser.add_argument("--dry-run", action="store_true", help="show the plan: trials, finished ones, the time left")
    parser.add_argument("--any-version", action="store_true", help="keep trials that another version of the code made")
    _add_workers(parser)
    _add_runs(parser)
    _add_settings(parser, Config.model_fields)


def _add_workers(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("workers", "Who does the work. The run folder must be seen by all of them.")
    group.add_argument(
        "--jobs", type=option_values.count, default=1, metavar="N", help="worker processes, or jobs; default 1"
    )
    kinds = group.add_mutually_exclusive_group()
    kinds.add_argument("--dask", metavar="ADDRESS", help="the workers of a Dask scheduler, tcp://host:8786 for example")
    kinds.add_argument("--slurm", action="store_true", help="workers in jobs of SLURM")
    kinds.add_argument("--pbs", action="store_true", help="workers in jobs of PBS")
    for option, text in {
        "--tls-ca": "authority's certificate",
        "--tls-cert": "certificate",
        "--tls-key": "key",
    }.items():
        group.add_argument(option, type=Path, metavar="FILE", help=f"with --dask tls://…: the {text}, in PEM format")
    group.add_argument(
        "--partition",
        "--queue",
        dest="queue",
        type=option_values.word,
        metavar="NAME",
        help="SLURM's partition, PBS's queue",
    )
    group.add_argument("--account", type=option_values.word, metavar="NAME", help="whom the jobs are charged to")
    group.add_argument(
        "--walltime", type=option_values.walltime, metavar="HH:MM:SS", help="a job's time; default 24:00:00"
    )
    group.add_argument("--memory", type=option_values.memory, metavar="SIZE", help="a job's memory; default 8GB")
    group.add_argument("--cores", type=option_values.count, metavar="N", help="a job's cores; default 4")
    group.add_argument("--gpus", type=option_values.count, metavar="N", help="a job's GPUs; default none")
    group.add_argument(
        "--interface", type=option_values.word, metavar="NAME", help="the network interface between jobs and batch"
    )


def _add_run_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder")


def _add_annotate(parser: argparse.ArgumentParser) -> None:
    _add_run_folder(parser)
    parser.add_argument("path", type=Path, metavar="CORPUS", help="a manifest, a folder of audio, or of --corpus")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the labels go; else into the run folder")
    text = "write the labels in these forms too: audformat, or textgrid (for Praat, of recordings in parts)"
    formats = ("audformat", "textgrid")
    parser.add_argument("--format", nargs="+", choices=formats, default=(), metavar="FORMAT", help=text)
    text = "hear the clips by onnxruntime, on the CPU: faster with wav2vec 2.0, slower with small encoders"
    parser.add_argument("--onnx", action="store_true", help=text)
    parser.add_argument(
        "--shard", type=option_values.shard, metavar="K/N", default=(1, 1), help="label as the k-th of n workers"
    )
    _add_segment(parser, SEGMENTS)
    _add_workers(parser)
    _add_config(parser)
    _add_settings(parser, ["data"])


def _add_segmenting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, metavar="CORPUS", help="a manifest, a folder of audio, or of --corpus")
    parser.add_argument("--out", type=Path, metavar="FILE", required=True, help="the manifest, a .csv file")
    _add_segment(parser, SEGMENTS[:-1])
    text = "of the longest utterance: the run's, if it is not the default of 15"
    parser.add_argument("--max-seconds", dest="max_seconds", default=argparse.SUPPRESS, metavar="S", help=text)
    _add_config(parser)
    _add_settings(parser, ["data"])


def _add_segment(parser: argparse.ArgumentParser, choices: Sequence[str]) -> None:
    words = {
        "auto": "auto: recordings longer than max_seconds are cut into utterances at pauses",
        "vad": "vad: every file of which no part is named",
        "none": "none: of a long one the middle is heard",
    }
    text = f"{'; '.join(words[name] for name in choices)}; default auto"
    parser.add_argument("--segment", choices=choices, default="auto", metavar="HOW", help=text)


def _add_resume(parser: argparse.ArgumentParser) -> None:
    _add_run_folder(parser)
    _add_tensorboard(parser)


def _add_export(parser: argparse.ArgumentParser) -> None:
    _add_run_folder(parser)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the model goes")
    parser.add_argument("--onnx", action="store_true", help="write the model as ONNX too, for programs without torch")


def _add_figures(parser: argparse.ArgumentParser) -> None:
    _add_run_folder(parser)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the figures go")
    parser.add_argument("--beside", type=Path, nargs="+", metavar="RUN", help="other runs on the same utterances")
    formats = ("pdf", "svg")
    parser.add_argument(
        "--format", nargs="+", choices=formats, default=formats, metavar="FORMAT", help="pdf or svg; default both"
    )


def _add_table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, nargs="+", metavar="RUN", help="a run folder, or a folder of them")
    parser.add_argument("--against", metavar="SYSTEM", help="compare the others with it; default ipr, or the first one")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the tables that this page's comments name")
    parser.add_argument(
        "--name", type=option_values.word, metavar="NAME", help="of the page's tables; default the folder's"
    )


def _add_bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--systems", nargs="+", metavar="SYSTEM", help="the systems to measure, or all")
    parser.add_argument(
        "--steps", type=option_values.count, default=4, metavar="N", help="measured steps of each; default 4"
    )
    _add_preset(parser)


def _add_notebooks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the copies go")


def _add_lab(parser: argparse.ArgumentParser) -> None:
    text = "of the copies; default ipr-notebooks, in the checkout or else in this folder"
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help=text)


def _add_listen(parser: argparse.ArgumentParser) -> None:
    text = "a corpus's name, a manifest, a folder of audio, or of --corpus; or a run, whose corpus it then is"
    parser.add_argument("path", metavar="CORPUS", help=text)
    text = "of a run: first the clips on which a vote is worth most; default random"
    parser.add_argument("--next", choices=("random", "most-useful"), default="random", help=text)
    text = "who listens: a name, or better a pseudonym; an order and a file of votes is each listener's own"
    parser.add_argument("--listener", metavar="NAME", required=True, help=text)
    parser.add_argument("--votes", type=Path, metavar="DIR", default=Path("votes"), help="their folder; default votes")
    parser.add_argument("--seed", type=option_values.seed, metavar="N", default=0, help="of the order; default 0")
    text = "of the clips that come twice, to see how consistent a listener is; default 0.1"
    parser.add_argument("--repeats", type=option_values.share, metavar="SHARE", default=0.1, help=text)
    parser.add_argument("--port", type=option_values.port, metavar="N", help="of the page; default any that is free")
    text = "open the page in a browser, the default"
    parser.add_argument("--browser", action=argparse.BooleanOptionalAction, default=True, help=text)
    _add_config(parser)
    _add_settings(parser, ["data"])


def _add_votes(parser: argparse.ArgumentParser) -> None:
    text = "a corpus's name, a manifest, a folder of audio, or of --corpus; or a run"
    parser.add_argument("path", metavar="CORPUS", help=text)
    parser.add_argument("--votes", type=Path, metavar="DIR", help="votes of listening tests, to be merged")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write manifest.csv and votes.csv there")
    _add_config(parser)
    _add_settings(parser, ["data"])


def _add_again(parser: argparse.ArgumentParser) -> None:
    _add_run_folder(parser)
    parser.add_argument("--votes", type=Path, metavar="FOLDER", help="listening tests, as `ipr listen` writes them")
    parser.add_argument("--dry-run", action="store_true", help="write the corpus, and train nothing")


def _add_completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=f"one of {', '.join(SHELLS)}")


def _add_tensorboard(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tensorboard", action="store_true", help="write what is recorded for TensorBoard too")


def _add_runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=Path, metavar="DIR", help="where runs lie; else $IPR_RUNS, or runs")


def _add_config(parser: argparse.ArgumentParser) -> None:
    text = "a TOML file with settings, as `ipr config` writes it, or a grid's; options are on top"
    parser.add_argument("--config", type=Path, metavar="FILE", help=text)


def _add_preset(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)
    parser.add_argument("--preset", help=f"one of {', '.join(PRESETS)}; default the file's, or recommended")
    _add_settings(parser, Config.model_fields)


def _add_settings(parser: argparse.ArgumentParser, sections: Iterable[str]) -> None:
    """Add an option for every setting of some sections; only those that are typed get an attribute."""
    groups = {name: parser.add_argument_group(name, _about(name)) for name in sections}
    for name, (section, field) in FIELDS.items():
        if section not in groups:
            continue
        option, text = f"--{name.replace('_', '-')}", _help(name)
        if field.annotation is bool:
            groups[section].add_argument(
                option, dest=name, default=argparse.SUPPRESS, help=text, action=argparse.BooleanOptionalAction
            )
        else:
            groups[section].add_argument(option, dest=name, default=argparse.SUPPRESS, help=text, metavar="VALUE")


def _about(section: str) -> str | None:
    return Config.model_fields[section].annotation.__doc__


def _help(name: str) -> str:
    field = FIELDS[name][1]
    default = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
    words = f"{field.description} {allowed(name).capitalize()}; default {'none' if default in (None, '') else default}."
    return words.replace("%", "%%")


_OPTIONS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "corpora": _add_corpora, "config": _add_preset, "partition": _add_partition, "run": _add_run, "train": _add_train,
    "batch": _add_batch, "tune": _add_tune, "resume": _add_resume, "annotate": _add_annotate,
    "segment": _add_segmenting, "export": _add_export, "figures": _add_figures, "table": _add_table,
    "bench": _add_bench, "doctor": _add_runs, "notebooks": _add_notebooks, "lab": _add_lab, "listen": _add_listen,
    "votes": _add_votes, "completion": _add_completion, "again": _add_again,
}  # fmt: skip
