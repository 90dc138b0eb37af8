"""What was typed after `ipr`, as configurations, folders and their faults."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipr_core.config import FIELDS, GROUPS, Config, SettingsError, build, read_file
from ipr_core.options import Args

if TYPE_CHECKING:
    from ipr_core.runs.run import Run


def config_of(args: Args) -> Config:
    """Return the typed preset with the typed settings. raises SettingsError"""
    return build(args.preset, typed(args))


def with_file_(args: Args) -> Args:
    """Read the settings file that was named, if any, into `args.of_file`; its preset stands where none was typed.

    raises SettingsError
    """
    preset, args.of_file = read_file(args.config) if getattr(args, "config", None) else (None, {})
    if hasattr(args, "preset"):
        args.preset = args.preset or preset or (None if args.command == "batch" else "recommended")
    return args


def typed(args: Args) -> dict[str, Any]:
    """Return the settings that were typed, as typed, after those of the file that was named."""
    return args.of_file | {name: value for name, value in vars(args).items() if name in FIELDS} | args.unknown


def configs_of(config: Config, systems: Sequence[str], seeds: Sequence[int | str]) -> list[Config]:
    """Return a configuration for every seed and system, each once. raises SettingsError for an unknown one"""
    names = dict.fromkeys(name for word in systems for name in GROUPS.get(word, (word,)))
    return [config.replace(system=name, seed=seed) for seed in dict.fromkeys(seeds) for name in names]


def check_encoders(configs: Sequence[Config], runs: Path | None) -> None:
    """Raise SettingsError, before a corpus is read, with every reason why an encoder or a device cannot be had."""
    from ipr_core.training.advance import encoder_faults

    if faults := [*device_faults(configs), *encoder_faults(configs, runs)]:
        raise SettingsError(faults)


def device_faults(configs: Sequence[Config]) -> list[str]:
    """Return why the devices of some configurations cannot be had here."""
    from ipr_core.training.processes import device_fault

    names = dict.fromkeys(config.training.device for config in configs)
    return [fault for name in names if (fault := device_fault(name))]


def runs_folder(args: Args) -> Path:
    """Return the folder of the runs: --runs, $IPR_RUNS or `runs`."""
    from ipr_core.runs.names import default_runs

    return args.runs or default_runs()


def check_new(args: Args, configs: Sequence[Config]) -> None:
    """Raise CorpusError, in a second or two, if the corpus of new runs is refused by its table alone.

    configs: of one corpus. Runs that exist may do without it.
    """
    from ipr_core.data.table_checks import check_table
    from ipr_core.runs.names import name

    new = [config for config in configs if not (runs_folder(args) / name(config) / "config.json").exists()]
    if new:
        check_table(new[0])


def check_places(*folders: Path) -> None:
    """Raise WriteError, before work starts, if something cannot be written in one of these folders, or be cached."""
    from ipr_core.atomic import prepare_folder
    from ipr_core.data.cache import default_cache

    for folder in (*folders, default_cache()):
        prepare_folder(folder)


def finished(folder: Path) -> Run:
    """Return the run of a folder. raises RunError if it is not trained to its end"""
    from ipr_core.runs.run import Run, RunError

    run = Run.open(folder)
    if not run.finished:
        raise RunError(f"{folder} is not trained to its end; `ipr resume {folder}` continues it")
    return run
