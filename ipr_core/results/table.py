"""Result tables: numbers, their texts, and LaTeX, CSV and Markdown files."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from pandas import DataFrame

from ipr_core.atomic import write_text
from ipr_core.spreadsheets import csv_text
from ipr_core.texts import plain

DEVIATION = " ±"
"""The ending of a column that holds another one's standard deviation; both are shown as one."""
BETWEEN = " ± partitions"
"""The ending of a column that holds another one's standard deviation between partitions; it stands behind a slash."""

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$", "±": r"$\pm$", "−": "$-$",
        "→": r"$\rightarrow$", "β": r"$\beta$", "γ": r"$\gamma$", "τ": r"$\tau$", "μ": r"$\mu$",
    }
)  # fmt: skip

_MARKUP = re.compile(r"[|`\[$]|<(?=[a-zA-Z/!?])")
"""What Markdown would not read as text in a cell; "<0.001" is left as it is."""
_WIDEST = 200  # letters of a cell


@dataclass(frozen=True)
class Table:
    """A result table, which a notebook shows with its caption."""

    name: str
    """The name of its files, and of its label in LaTeX."""
    caption: str
    values: DataFrame
    """Numbers and words, a row a result; columns "x ±" and "x ± partitions" hold deviations of column "x"."""
    digits: int = 1
    """Decimals of a number; p has three."""
    decimals: Mapping[str, int] = field(default_factory=dict)
    """Decimals of single columns."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """The word for a missing value of single columns; none elsewhere."""
    conclusion: str = ""
    """The sentence below the table."""
    lacking: str = "No finished run."
    """The sentence that stands for a table without rows: what it needs."""

    @property
    def texts(self) -> DataFrame:
        """The table as it is read: mean and deviation together, "" for a missing value."""
        deviations = {f"{name}{ending}" for name in self.values for ending in (DEVIATION, BETWEEN)}
        columns = [name for name in self.values if name not in deviations]
        return DataFrame({name: [self._cell(i, name) for i in range(len(self.values))] for name in columns})

    def markdown(self) -> str:
        """Return the caption, the table and the conclusion."""
        return "\n\n".join(filter(None, [self.caption, show(self.texts), self.conclusion])) + "\n"

    def latex(self, group: str = "") -> str:
        """Return a table environment with booktabs' rules; its label is tab:GROUP-NAME, or tab:NAME."""
        frame = self.texts.rename(columns=_escaped).map(_escaped)
        columns = "l" + "".join("l" if _is_text(self.values[name]) else "r" for name in self.texts.columns[1:])
        caption = _escaped(" ".join(filter(None, [self.caption, self.conclusion])))
        return frame.to_latex(
            index=False,
            escape=False,
            column_format=columns,
            caption=caption,
            label=f"tab:{group and group + '-'}{self.name}",
        )

    def csv(self) -> str:
        """Return the numbers with all their digits; means and deviations have columns of their own."""
        return csv_text(self.values)

    def _repr_html_(self) -> str:
        if self.values.empty:
            return f"<p>{html.escape(self.lacking)}</p>"
        texts = self.texts.rename(columns=_cell_text).map(_cell_text)
        conclusion = f"<p>{html.escape(self.conclusion)}</p>" if self.conclusion else ""
        return f"<p>{html.escape(self.caption)}</p>{texts.to_html(index=False, border=0)}{conclusion}"

    def _cell(self, row: int, name: str) -> str:
        value, digits = self.values[name].iloc[row], 3 if _is_p(name) else self.decimals.get(name, self.digits)
        text = _number(value, digits, smallest=_is_p(name), signed=name == "difference" or name.startswith("over "))
        for ending, sign in {DEVIATION: " ± ", BETWEEN: " / "}.items():
            deviation = self.values[name + ending].iloc[row] if name + ending in self.values else np.nan
            text += f"{sign}{_number(deviation, digits)}" if text and not pd.isna(deviation) else ""
        return text or self.missing.get(name, "")


def write(tables: Iterable[Table], folder: Path | str, group: str = "") -> list[Path]:
    """Write every table that has rows as NAME.tex, NAME.csv and NAME.md.

    Each file is written whole or not at all.

    group: of tables that lie in a folder of their own in `folder`, with labels of their own: a notebook's
    returns: the files
    """
    forms: dict[str, Callable[[Table], str]] = {
        ".tex": lambda table: table.latex(group),
        ".csv": Table.csv,
        ".md": Table.markdown,
    }
    paths = []
    for table in tables:
        for suffix, form in forms.items() if len(table.values) else ():
            paths.append(Path(folder, group, table.name + suffix))
            write_text(paths[-1], form(table))
    return paths


def keep(tables: Iterable[Table], folder: Path | str, group: str) -> list[str]:
    """Write tables, and return a line a file, which says if another content was there before.

    folder, group: as `write` takes them
    """
    contents = {path: path.read_bytes() for path in Path(folder, group).glob("*.*") if path.is_file()}
    return [
        f"{path.relative_to(folder).as_posix()}{_replaced(contents.get(path, path.read_bytes()), path)}"
        for path in write(tables, folder, group)
    ]


def _replaced(earlier: bytes, path: Path) -> str:
    return "" if path.read_bytes() == earlier else " (in place of another table)"


def show(frame: DataFrame) -> str:
    """Return a table of texts as Markdown."""
    if frame.empty:
        return "no finished run"
    rows = [frame.columns.tolist(), *frame.fillna("").astype(str).to_numpy().tolist()]
    cells = [[_MARKUP.sub(r"\\\g<0>", _cell_text(cell)) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(frame.columns))]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def _cell_text(cell: object) -> str:
    return plain(cell, _WIDEST)


def _number(value: object, digits: int, smallest: bool = False, signed: bool = False) -> str:
    """Return a number with so many decimals; integers and texts as they are; "" for a missing value."""
    if pd.isna(value):
        return ""
    if not isinstance(value, float):
        return str(value)
    if smallest and value < 10.0**-digits:
        return f"<{10.0**-digits:.{digits}f}"
    return f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "−")


def _is_p(name: str) -> bool:
    return name == "p" or name.startswith("p, ")


def _is_text(column: pd.Series) -> bool:
    return not pd.api.types.is_numeric_dtype(column)


def _escaped(text: object) -> str:
    return str(text).translate(_LATEX)
