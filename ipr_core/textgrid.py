"""TextGrids, in which Praat shows labels below a sound: the long text format of its manual ("TextGrid file formats").

A tier of intervals covers the whole sound without a hole: between its labels lie intervals without a text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

_DIGITS = 6  # of seconds


class Interval(NamedTuple):
    """A labelled stretch of sound, in seconds."""

    start: float
    end: float
    text: str


class Tier(NamedTuple):
    """A named row of intervals, in their order; none overlaps with the next."""

    name: str
    intervals: Sequence[Interval]


def text(tiers: Sequence[Tier], seconds: float) -> str:
    """Return the text of a TextGrid file, to be written as UTF-8.

    seconds: of the sound
    raises ValueError if intervals overlap, are empty, or lie outside of the sound
    """
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", *_domain(0.0, seconds, "")]
    lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, tier in enumerate(tiers, 1):
        intervals = list(_covering(tier, seconds))
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f"        name = {_quoted(tier.name)}"]
        lines += [*_domain(0.0, seconds, "        "), f"        intervals: size = {len(intervals)}"]
        for k, interval in enumerate(intervals, 1):
            lines += [f"        intervals [{k}]:", *_domain(interval.start, interval.end, "            ")]
            lines.append(f"            text = {_quoted(interval.text)}")
    return "\n".join(lines) + "\n"


def _covering(tier: Tier, seconds: float) -> Iterator[Interval]:
    """Yield a tier's intervals and the empty ones between them."""
    position = 0.0
    for interval in tier.intervals:
        start, end = round(interval.start, _DIGITS), round(interval.end, _DIGITS)
        if not position <= start < end <= round(seconds, _DIGITS):
            problem = f"the interval from {start} to {end} s of tier {tier.name!r} cannot follow {position} s"
            raise ValueError(f"{problem} in {seconds} s; give intervals in their order that do not overlap")
        if position < start:
            yield Interval(position, start, "")
        yield Interval(start, end, interval.text)
        position = end
    if position < round(seconds, _DIGITS):
        yield Interval(position, round(seconds, _DIGITS), "")


def _domain(start: float, end: float, indent: str) -> list[str]:
    return [f"{indent}xmin = {_number(start)} ", f"{indent}xmax = {_number(end)} "]


def _number(value: float) -> str:
    return f"{value:.{_DIGITS}f}".rstrip("0").rstrip(".")


def _quoted(words: str) -> str:
    return '"' + words.replace('"', '""') + '"'
