"""Damages of what a manifest says: of its columns, its rows and its cells."""

from __future__ import annotations

import pandas as pd
from numpy.random import Generator
from pandas import DataFrame

from fuzz.manifests import Manifest, encode, pick, read_csv, rows_of, text_of

# Damages of columns.


def column_twice(table: DataFrame, draw: Generator) -> Manifest:
    header, *rows = rows_of(table)
    source, target = draw.choice(len(header), 2, replace=False)
    name = header[source]
    if draw.random() < 0.5:
        header[target] = name
        return Manifest("a column twice by its name", encode([header, *rows]), tokens=(name,))
    rows = [[*row, row[target]] for row in rows]
    return Manifest("a column twice, once with other cells", encode([[*header, name], *rows]), tokens=(name,))


def misspelt_column(table: DataFrame, draw: Generator) -> Manifest:
    """Write a needed column's name in another way."""
    name = str(draw.choice([*[column for column in table if column.startswith("votes_")], "label", "path"]))
    stem = name.removeprefix("votes_")
    spellings = [f"vote_{stem}", f"votes-{stem}", f"Votes_{stem}", f"votes {stem}", name.upper(), f"votes{stem}",
        f"n_{stem}", f"{stem}_votes",
                 stem.capitalize(), f"votes_{stem}x", f"votes__{stem}", f"votes_{stem[:-1]}", f"count_{stem}",
                 f"{name}.1", f"votes.{stem}",
                 f"votes_{stem}\u200b", f"votes_{stem[::-1]}"]  # fmt: skip
    if name == stem:
        spellings = [
            name.upper(),
            name.capitalize(),
            f"{name}s",
            f"{name}_1",
            f"{name}\u200b",
            f"the {name}",
            name[::-1],
        ]
    spelling = str(draw.choice(spellings))
    return Manifest(
        f"{name} as {spelling!a}",
        text_of(table.rename(columns={name: spelling})).encode(),
        tokens=(spelling, ascii(spelling), name),
    )


def spaced_column(table: DataFrame, draw: Generator) -> Manifest:
    names = {name: f"{name} " if draw.random() < 0.5 else f" {name}" for name in draw.choice(table.columns, 3)}
    return Manifest("spaces around names", text_of(table.rename(columns=names)).encode(), harmless=True)


# Damages of rows.


def ragged(table: DataFrame, draw: Generator) -> Manifest:
    header, *rows = rows_of(table)
    index = int(draw.integers(len(rows)))
    name = str(
        draw.choice(
            ["a cell too many", "two cells too few", "a comma in a path", "a header in the middle", "a conflict"]
        )
    )
    tokens = (f"row {index + 2}",)
    if name == "two cells too few":
        rows[index] = rows[index][:-2]
    elif name == "a header in the middle":
        rows.insert(index, header)
    elif name == "a conflict":
        rows.insert(index, ["<<<<<<< HEAD"])
    else:
        rows[index].insert(1, "again")
    return Manifest(name, encode([header, *rows]), tokens=tokens)


def open_quote(table: DataFrame, draw: Generator) -> Manifest:
    """Begin a quote that nothing ends, or that a later one ends."""
    lines = text_of(table).splitlines()
    index = int(draw.integers(1, len(lines)))
    cells = lines[index].split(",")
    cells[draw.integers(len(cells))] = '"' + str(draw.choice(cells))
    lines[index] = ",".join(cells)
    if draw.random() < 0.5 and index + 3 < len(lines):
        lines[index + 3] += '"'
    return Manifest("an open quote", ("\n".join(lines) + "\n").encode(), tokens=(f"row {index + 1}",))


def cut_off(table: DataFrame, draw: Generator) -> Manifest:
    """End the file in the middle of a row. At the end of one, nobody can see it."""
    data = text_of(table).encode()
    begin = data.index(b"\n") + 2
    end = int(draw.integers(begin, len(data)))
    last = data[:end].rsplit(b"\n", 1)[1]
    complete = last == b"" or last.count(b",") == data[:begin].count(b",")
    return Manifest("cut off", data[:end], tokens=(f"row {data[:end].count(10) + 1}",), invisible=complete)


def flipped(table: DataFrame, draw: Generator) -> Manifest:
    """Flip bits behind the header."""
    data = bytearray(text_of(table).encode())
    for i in draw.integers(data.index(b"\n") + 1, len(data), draw.integers(1, 6)):
        data[i] ^= 1 << int(draw.integers(8))
    return Manifest("flipped bits", bytes(data), invisible=True)


def doubled_rows(table: DataFrame, draw: Generator) -> Manifest:
    row = table.sample(1, random_state=int(draw.integers(2**31)))
    if draw.random() < 0.5:
        row = row.assign(label="sad")
    id = row["id"].iloc[0]
    return Manifest("an id twice", text_of(pd.concat([table, row])).encode(), tokens=(id,))


def twins(table: DataFrame, draw: Generator) -> Manifest:
    """Give a sound of D3 a second id in D1."""
    source = int(draw.integers(len(table)))
    table = pd.concat([table, table.iloc[[source]].assign(id="twin")], ignore_index=True)
    label = table.at[source, "label"]
    for name in ("angry", "happy", "sad", "neutral"):
        table.loc[len(table) - 1, f"votes_{name}"] = 6 if name == label else 0
        table.loc[source, f"votes_{name}"] = 2 if name == label else 1
    ids = ("twin", table.at[source, "id"])
    return Manifest("a sound under two ids", text_of(table).encode(), tokens=ids, twins=ids)


# Damages of cells.

NOT_COUNTS = (
    "three", "3 votes", "n/a", "NA", "nan", "NULL", "None", "-", "?", "1.000,5", "½", "0x3", "--2", "-1", "inf",
    "1e400", "3-Jan", "70%", "True",
    "=1+2", "#REF!", "#DIV/0!", "2/3", "3;1", "[3]", "'3", "3\x00", "٣", "３", "1_000", "3.0.0", "1e", "0b11", "3 1",
    "3,000", "٫5", "−1", "9" * 400,
)  # fmt: skip


def bad_votes(table: DataFrame, draw: Generator) -> Manifest:
    header, *rows = rows_of(table)
    row = int(draw.integers(len(rows)))
    column = int(
        draw.choice(
            [i for i, name in enumerate(header) if name.startswith("votes_") and rows[row][i] not in ("0", "0.0")]
        )
    )
    rows[row][column] = cell = pick(draw, NOT_COUNTS)
    return Manifest(f"votes {cell[:10]!a}", encode([header, *rows]), tokens=(f"row {row + 2}", header[column]))


def decimal_comma(table: DataFrame, draw: Generator) -> Manifest:
    """Write every vote with a decimal comma, which cannot be one of thousands."""
    votes = [name for name in table if name.startswith("votes_")]
    cells = table.astype(dict.fromkeys(votes, float)).astype(dict.fromkeys(votes, str))
    cells[votes] = cells[votes].apply(lambda column: column.str.replace(".", ",", regex=False))
    return Manifest("decimal commas", text_of(cells).encode(), harmless=True)


def bad_label(table: DataFrame, draw: Generator) -> Manifest:
    row = int(draw.integers(len(table)))
    true = table.at[row, "label"]
    label = pick(draw, [true.upper(), true.capitalize(), f"{true}!", true[:3], "anger", "hapiness", "0", "1",
        "nan", "NA", "traurig", true + "\x00",
                             "angry;sad", "😠", "x" * 100_000])  # fmt: skip
    changed = table.astype({"label": object})
    changed.loc[row, "label"] = label
    return Manifest(
        f"label {label[:12]!a}", text_of(changed).encode(), tokens=(f"row {row + 2}", table.at[row, "id"], label[:20])
    )


def bad_path(table: DataFrame, draw: Generator) -> Manifest:
    row = int(draw.integers(len(table)))
    path = table.at[row, "path"]
    wrong = str(draw.choice(["clips/none.wav", "", "clips", path.upper(), path[:-1], "clips/" + "x" * 300 + ".wav",
        "x/" * 3000, "https://host/a.wav",
                             "C:\\audio\\a.wav", "/dev/zero", "/etc/passwd", "clips/\x01.wav",
                             "../" * 50 + "etc/passwd", "~/a.wav", "file://a.wav", "."]))  # fmt: skip
    changed = table.copy()
    changed.loc[row, "path"] = wrong
    return Manifest(f"path {wrong[:20]!a}", text_of(changed).encode(), tokens=(f"row {row + 2}", table.at[row, "id"]))


def times(table: DataFrame, draw: Generator) -> Manifest:
    """Give parts of files; a good part is harmless, a wrong one is in one row."""
    table = table.assign(start="0", end="0.3")
    if draw.random() < 0.2:
        return Manifest("times", text_of(table).encode(), harmless=True)
    row = int(draw.integers(len(table)))
    start, end = [("0.3", "0.1"), ("-1", "0.3"), ("0", "999"), ("0", "00:01"), ("0", "1e9"), ("nan", "0.3"), ("0",
        "inf"), ("0,1", "0,3"), ("0.2", "0.2"),
                  ("100", "300"), ("0", "0.0001"), ("0s", "0.3s"), ("300 ms", ""), ("0 days 00:00:00.100", ""),
                  ("zero", "one")][draw.integers(15)]  # fmt: skip
    table.loc[row, ["start", "end"]] = start, end
    return Manifest(
        f"times {start!r} to {end!r}", text_of(table).encode(), tokens=(f"row {row + 2}", table.at[row, "id"])
    )


def odd_ids(table: DataFrame, draw: Generator) -> Manifest:
    """Give ids that are texts and look like something else."""
    ids = [
        "NA",
        "nan",
        "007",
        "1e5",
        "True",
        "None",
        "=1",
        "-1",
        "0x1F",
        "2026-01-01",
        "id,1",
        'a"b',
        "naïve",
        "x" * 10_000,
        " ",
        "None.wav",
        "1.0",
    ]
    table = table.copy()
    for row, id in enumerate(draw.permutation(ids)[: draw.integers(1, 6)]):
        table.loc[row, "id"] = id
    reader = lambda path: read_csv(path).pipe(lambda frame: frame.assign(id=frame["id"].str.strip()))  # noqa: E731
    return Manifest("odd ids", text_of(table).encode(), invisible=True, reader=reader)


def hidden_bytes(table: DataFrame, draw: Generator) -> Manifest:
    """Put bytes that nobody sees into a cell."""
    header, *rows = rows_of(table)
    row, column = int(draw.integers(len(rows))), int(draw.integers(len(header)))
    mark = pick(draw, ["\x00", "\u200b", "\ufeff", "\xa0", "\x1a", "\x07", "\u202e", "\udcff"])
    rows[row][column] += mark
    data = "\n".join(",".join(cells) for cells in [header, *rows]) + "\n"
    tokens = (f"row {row + 2}", header[column])
    exact = header[column] in ("id", "speaker")
    return Manifest(
        f"{mark!a} in {header[column]}", data.encode("utf-8", "surrogateescape"), tokens=tokens, invisible=exact
    )


def all_of_a_kind(table: DataFrame, draw: Generator) -> Manifest:
    """Say the same of every utterance, so that no partition can come of it."""
    votes = [name for name in table if name.startswith("votes_")]
    kinds = {
        "no votes": table.assign(**dict.fromkeys(votes, 0)), "unlabelled": table.assign(label="unlabelled"),
        "other": table.assign(label="other"),
        "one label": table.assign(label="sad"), "empty votes": table.assign(**dict.fromkeys(votes, "")),
        "one sound": table.assign(path=table["path"].iloc[0]),
        "no vote columns": table.drop(columns=votes),
        "unlabelled without votes": table.assign(label="unlabelled").drop(columns=votes),
        "empty labels": table.assign(label=""), "one row": table.head(1), "ids alone": table[["id", "path"]],
    }  # fmt: skip
    name = str(draw.choice([*kinds]))
    tokens = ("simulated annotators", "partition of", "no utterance", "same sound")
    return Manifest(
        name, text_of(kinds[name]).encode(), tokens=tokens, invisible=name in ("empty labels", "one label", "other")
    )


DAMAGES = (
    column_twice, misspelt_column, misspelt_column, spaced_column, ragged, open_quote, cut_off, flipped, flipped,
    doubled_rows, twins, decimal_comma, bad_votes, bad_votes, bad_label, bad_path, times, odd_ids, hidden_bytes,
    all_of_a_kind,
)  # fmt: skip
"""Tried by turns, with the dresses."""
