"""TextGrids, read back as Praat's manual describes the long text format, whatever stands between the values."""

import re

import pytest

from ipr_core.textgrid import Interval, Tier, text


def parse(content: str) -> tuple[float, float, dict[str, list[tuple[float, float, str]]]]:
    """Return xmin, xmax and the interval tiers of a TextGrid.

    Praat ignores everything but free-standing numbers, texts in double quotes (a quote in them is doubled) and flags in
    angle brackets; so this is a parser of the short format as well.
    """
    tokens = re.findall(r'"(?:[^"]|"")*"|<[a-z]+>|(?<!\S)-?\d+(?:\.\d+)?(?!\S)', content)
    values = iter([token[1:-1].replace('""', '"') if token[0] == '"' else token for token in tokens])
    assert [next(values), next(values)] == ["ooTextFile", "TextGrid"]
    xmin, xmax = float(next(values)), float(next(values))
    assert next(values) == "<exists>"
    tiers = {}
    for _ in range(int(next(values))):
        assert next(values) == "IntervalTier"
        name = next(values)
        assert [float(next(values)), float(next(values))] == [xmin, xmax]
        count = int(next(values))
        tiers[name] = [(float(next(values)), float(next(values)), next(values)) for _ in range(count)]
        edges = [edge for start, end, _ in tiers[name] for edge in (start, end)]
        assert (edges[0], edges[-1]) == (xmin, xmax), "a tier covers the whole sound"
        assert edges[1:-1:2] == edges[2::2], "without a hole"
    assert next(values, None) is None
    return xmin, xmax, tiers


def test_what_is_written_is_read():
    tiers = [
        Tier("emotion", [Interval(0.5, 1.25, "angry"), Interval(1.25, 2, 'so "sad"'), Interval(2.4, 3.0, "Ärger 3")]),
        Tier('a "b"', []),
    ]
    xmin, xmax, read_tiers = parse(text(tiers, 3.0))
    assert (xmin, xmax) == (0, 3)
    assert read_tiers == {
        "emotion": [
            (0, 0.5, ""), (0.5, 1.25, "angry"), (1.25, 2, 'so "sad"'), (2, 2.4, ""), (2.4, 3, "Ärger 3"),
        ],
        'a "b"': [(0, 3, "")],
    }  # fmt: skip


def test_line_by_line_as_in_the_manual():
    expected = """
File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2.3
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "Mary"
        xmin = 0
        xmax = 2.3
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 1.1
            text = "hi"
        intervals [2]:
            xmin = 1.1
            xmax = 2.3
            text = ""
"""
    lines = [line.rstrip() for line in text([Tier("Mary", [Interval(0, 1.1, "hi")])], 2.3).splitlines()]
    assert lines == expected.strip("\n").splitlines()


@pytest.mark.parametrize("spans", [[(1, 0.5)], [(0, 1), (0.5, 2)], [(2, 4)], [(1, 1)], [(-1, 1)]])
def test_intervals_that_no_tier_can_hold_are_refused(spans):
    with pytest.raises(ValueError, match="give intervals in their order that do not overlap"):
        text([Tier("t", [Interval(*span, "x") for span in spans])], 3.0)
