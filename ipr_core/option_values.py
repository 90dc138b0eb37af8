"""Values of options that are no settings, read from what was typed."""

from __future__ import annotations

import argparse
import re

_LARGEST_COUNT = 10_000
"""Of worker processes, cores, steps and shards: more is a slip of the finger."""


def count(text: str) -> int:
    """Return a count. raises ArgumentTypeError"""
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= _LARGEST_COUNT:
        raise argparse.ArgumentTypeError(f"is {text!r}; give a whole number, 1 to {_LARGEST_COUNT:,}")
    return int(text)


def seed(text: str) -> int:
    """Return a seed. raises ArgumentTypeError"""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"is {text!r}; give a whole number from 0 on")
    return int(text)


def port(text: str) -> int:
    """Return a port's number. raises ArgumentTypeError"""
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError(f"is {text!r}; give a number from 1 to 65535")
    return int(text)


def share(text: str) -> float:
    """Return a share. raises ArgumentTypeError"""
    if not re.fullmatch(r"0|1|[01]?\.[0-9]{1,9}", text) or float(text) > 1:
        raise argparse.ArgumentTypeError(f"is {text!r}; give a number from 0 to 1")
    return float(text)


def shard(text: str) -> tuple[int, int]:
    """Return the number of a worker, and how many there are. raises ArgumentTypeError"""
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    worker, total = map(int, match.groups()) if match else (0, 0)
    if not 1 <= worker <= total <= _LARGEST_COUNT:
        raise argparse.ArgumentTypeError(f"is {text!r}; give worker and total, for example 2/8")
    return worker, total


def word(text: str) -> str:
    """Return a name of one word. raises ArgumentTypeError"""
    if not re.fullmatch(r"[^\s\x00-\x1f]{1,200}", text):
        raise argparse.ArgumentTypeError(f"is {text!r}; give one name without spaces")
    return text


def walltime(text: str) -> str:
    """Return a job's time as it is. raises ArgumentTypeError"""
    if not re.fullmatch(r"([0-9]{1,3}-)?[0-9]{1,4}(:[0-5][0-9]){0,2}", text) or not re.search("[1-9]", text):
        raise argparse.ArgumentTypeError(f"is {text!r}; give hours, minutes and seconds, for example 24:00:00")
    return text


def memory(text: str) -> str:
    """Return a job's memory as it is. raises ArgumentTypeError"""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,3})?\s?[KkMmGgTt]i?[Bb]?", text) or not re.search("[1-9]", text):
        raise argparse.ArgumentTypeError(f"is {text!r}; give a size, for example 16GB")
    return text
