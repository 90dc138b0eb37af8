"""The command that completes the others: a script for the shell, made from the parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from ipr_core.config import FIELDS, PRESETS, choices
from ipr_core.options import Command, make_parser


def script(shell: str, commands: dict[str, Command]) -> str:
    """Return the shell's script, which completes commands, options, files, and values that are one of few.

    shell: one of `options.SHELLS`
    """
    import shtab

    parser = make_parser(commands)
    for action in _actions(parser):
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif choices := _choices(action.dest):
            action.choices = choices
    return shtab.complete(parser, shell=shell)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the options of a parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                yield from _actions(subparser)


def _choices(name: str) -> tuple[str, ...]:
    """Return the values of an option that has few."""
    if name == "preset":
        return tuple(PRESETS)
    return choices(name) if name in FIELDS else ()
