"""Tables of a page, written anew from runs: what stands in it is what the runs gave, and when it was made.

A page names its tables by comments, which no reader sees:

<!-- table emodb systems -->
... written here ...
<!-- end -->

Every table of that name is written; the text around it is the author's.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from ipr_core.atomic import write_text
from ipr_core.config import SettingsError
from ipr_core.results import ablations, comparisons, over_seeds, reachable
from ipr_core.results.selection import largest_group
from ipr_core.results.table import Table
from ipr_core.runs.run import Run

TABLES: dict[str, Callable[[Sequence[Run]], Table]] = {
    "systems": over_seeds.systems,
    "differences": comparisons.differences,
    "soft_labels": over_seeds.soft,
    "cost": over_seeds.cost,
    "moves": over_seeds.moves,
    "recalls": over_seeds.recalls,
    "reachable": reachable.reachable,
    "settings": ablations.by_system,
}
"""The tables that a page may have, by the second word of their comment."""
ALL_RUNS = ("reachable", "settings")
"""Tables of runs with different settings."""
_WIDTH = 120
_TABLE = re.compile(r"(<!-- table (\S+) (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def fill(page: Path, name: str, runs: Sequence[Run]) -> list[str]:
    """Write a page's tables of one name from runs, whole or not at all.

    name: the first word of the tables' comments
    runs: of which the largest comparable group counts, but for `ALL_RUNS`
    returns: the names of the tables that were written
    raises SettingsError if the page has none of that name, or one that does not exist; WriteError
    """
    text = _read(page)
    wanted = [table for group, table in ((match[2], match[3]) for match in _TABLE.finditer(text)) if group == name]
    faults = [f"{page} names a table {table!r}; it must be one of {', '.join(TABLES)}" for table in wanted
              if table not in TABLES]  # fmt: skip
    if not wanted:
        groups = sorted({match[2] for match in _TABLE.finditer(text)})
        comment = f"<!-- table {name} systems -->, and <!-- end --> below it"
        faults = [
            f"{page} has no table of {name!r}, only of {', '.join(groups) or 'none'}; put {comment} where it goes"
        ]
    if faults:
        raise SettingsError(faults)
    group = largest_group(runs)
    tables = {table: _in_page(TABLES[table](runs if table in ALL_RUNS else group)) for table in dict.fromkeys(wanted)}

    def written(match: re.Match[str]) -> str:
        return f"{match[1]}{tables[match[3]]}\n{match[5]}" if match[2] == name else match[0]

    write_text(page, _TABLE.sub(written, text))
    return list(tables)


def _in_page(table: Table) -> str:
    """Return the table in Markdown, its caption in lines of a page's length."""
    text = table.markdown().strip() if len(table.values) else table.lacking
    return "\n".join(line if line.startswith("|") else textwrap.fill(line, _WIDTH) for line in text.splitlines())


def _read(page: Path) -> str:
    try:
        return page.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise SettingsError([f"{page} cannot be read ({error}); name a Markdown page"]) from error
