"""The commands of several cells: `ipr batch`, `ipr tune`, and who does their work."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipr_core.cli.arguments import check_places, device_faults, runs_folder, typed
from ipr_core.config import SettingsError
from ipr_core.endings import FAILED
from ipr_core.options import Args

if TYPE_CHECKING:
    from ipr_core.batch.addresses import Certificate
    from ipr_core.batch.plan import Plan
    from ipr_core.batch.watching import Screen
    from ipr_core.batch.workers import Workers


def batch(args: Args) -> int:
    """Run a grid: the notebooks once for every combination of systems, seeds and settings.

    GRID is a TOML file or the name of a grid that comes with the workbench; options add to it or replace its entries.
    Finished cells are skipped, so that the same command continues after a failure or a kill.
    """
    options = _grid(args)
    from ipr_core.batch.grid import read
    from ipr_core.batch.plan import describe, make_plan, runs_of
    from ipr_core.batch.watching import Screen, status
    from ipr_core.results import summary

    if args.watch:
        grid = read(args.grid, options)
        return Screen(lambda: status(grid, args.runs)).follow()
    if not args.dry_run:
        check_places(runs_folder(args))
    plan = make_plan(args.grid, options, args.runs, args.any_version)
    if is_here(args) and (faults := device_faults([cell.config for cell in plan.grid.cells])):
        raise SettingsError(faults)
    screen = Screen(lambda: status(plan.grid, plan.runs))
    print(describe(plan, args.jobs, _workers_in_words(args, plan.runs)), flush=True)
    if args.dry_run:
        return 0
    failures = _work(args, plan, screen)
    print(summary.summary([run for run in runs_of(plan.grid, plan.runs) if run.finished]))
    return _failed(failures)


def tune(args: Args) -> int:
    """Choose every system's free settings on V1, the held-out part of D1, with the same budget for each.

    GRID is a TOML file with the table [tune]: how many trials, their seeds, the settings and their values. Finished
    trials are skipped, so that the same command continues after a failure or a kill. The grid is written again with
    every system's choice and all trials in it, for `ipr batch`. D3 is not looked at.
    """
    from ipr_core.batch import grid_file, tuning
    from ipr_core.batch.plan import describe, plan_grid
    from ipr_core.batch.watching import Screen, status
    from ipr_core.results.table import show

    out = args.out or args.grid.with_name(f"{args.grid.stem}-tuned.toml")
    if out.resolve() == args.grid.resolve():
        raise SettingsError([f"--out is {out}, which is the grid; name another file"])
    search, faults, configs = tuning.try_read(args.grid, {"settings": typed(args)})
    if faults:
        raise SettingsError(faults)
    trials = runs_folder(args) / tuning.FOLDER
    if not args.dry_run:
        check_places(trials, out.absolute().parent)
    plan = plan_grid(search.grid, faults, configs, trials, args.any_version)
    print(describe(plan, args.jobs, _workers_in_words(args, plan.runs)), flush=True)
    if args.dry_run:
        return 0
    failures = _work(args, plan, Screen(lambda: status(plan.grid, plan.runs)))
    if failures:  # a trial would be judged by fewer runs than the others
        return _failed(failures)
    table = tuning.curve(search, trials)
    tuning.check(search, table)
    grid_file.write(out, tuning.tuned(search, table))
    print(f"{show(table)}\n\nThe choices are in {out}, with all trials; `ipr batch {out}` trains with them.")
    return 0


def _grid(args: Args) -> dict[str, Any]:
    """Return the options in a grid's own words. raises SettingsError if they state no grid"""
    lists = {"systems": args.systems, "beside": args.beside, "seeds": args.seeds, "notebooks": args.notebooks}
    settings = typed(args)
    for name, key in {"system": "systems", "seed": "seeds"}.items():
        if name in args.of_file:  # one of a file stands where neither a grid nor an option has several
            value = settings.pop(name)
            lists[key] = lists[key] or ([value] if args.grid is None else None)
    tables = {"settings": settings, "cross": _varied(args.cross), "one_at_a_time": _varied(args.vary)}
    options = {name: value for name, value in (lists | {"preset": args.preset} | tables).items() if value}
    if args.grid is None and not options.keys() & {"systems", "seeds", "cross", "one_at_a_time"}:
        from ipr_core.batch.grid import shipped

        grids = [f"  {name:<16} {text}" for name, text in shipped().items()]
        raise SettingsError(["name a grid, or give --systems, --seeds, --cross or --vary; the grids are:", *grids])
    return options


def _varied(options: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    return {name.replace("-", "_"): list(values) for name, *values in options}


def is_here(args: Args) -> bool:
    """Return whether the work is done on this machine."""
    return not (args.dask or args.slurm or args.pbs)


def _workers_in_words(args: Args, runs: Path) -> str:
    """Say in words who does a batch's work."""
    from ipr_core.batch.workers import share

    plural = "s" * (args.jobs > 1)
    if args.dask:
        return f"the workers at {args.dask}"
    if is_here(args):
        return f"{args.jobs} worker{plural} on this machine, {share(args.jobs)}"
    return f"{args.jobs} job{plural} of {'SLURM' if args.slurm else 'PBS'}, whose logs go to {runs / 'jobs'}"


def workers_of(args: Args, count: int, runs: Path) -> AbstractContextManager[Workers]:
    """Return the workers that the options name.  count: of cells or pieces   runs: the folder of the logs of jobs"""
    from ipr_core.batch import workers

    count = min(args.jobs, count)
    if args.dask:
        return workers.workers_at(args.dask, _certificate(args))
    if is_here(args):
        return workers.local_workers(count, workers.share(args.jobs))
    names = [field.name for field in dataclasses.fields(workers.Job)]
    values = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return workers.job_workers("slurm" if args.slurm else "pbs", count, workers.Job(**values), runs / "jobs")


def _work(args: Args, plan: Plan, screen: Screen) -> list[str]:
    """Work at the unfinished cells of a plan, and return the failures, a sentence each."""
    from ipr_core.batch.plan import run_plan

    if not plan.unfinished:
        return []
    with workers_of(args, len(plan.unfinished), plan.runs) as workers:
        failures = run_plan(plan, workers, screen)
    screen(last=True)
    return failures


def _failed(failures: Sequence[str]) -> int:
    """Print the failures of a batch, and return its exit code."""
    if failures:
        print(f"{len(failures)} failed; the same command tries them again", *failures, sep="\n", file=sys.stderr)
    return FAILED if failures else 0


def _certificate(args: Args) -> Certificate | None:
    from ipr_core.batch.addresses import Certificate

    return Certificate(args.tls_ca, args.tls_cert, args.tls_key) if args.tls_ca else None
