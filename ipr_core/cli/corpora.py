"""The command `ipr corpora`: which corpora can be read, and a description for one of your own."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from ipr_core.config import CORPORA, SettingsError
from ipr_core.options import Args

if TYPE_CHECKING:
    from ipr_core.data.corpora.description import Description

_MOST = 12  # speakers, and files that are not read, that are shown


def corpora(args: Args) -> int:
    """List the corpora that can be read, the files that each needs, its licence, and where to get it.

    `ipr corpora show NAME` writes the description of one, if it has one. `ipr corpora new FOLDER` looks at a folder,
    proposes a description, and shows what it would read; --out FILE writes it. Such a file is a corpus of your own:
    --corpus FILE --corpus-path FOLDER.
    """
    if args.action and not args.name:
        raise SettingsError([f"ipr corpora {args.action} needs {'a folder' if args.action == 'new' else 'a name'}"])
    if args.out and args.action != "new":
        raise SettingsError(["--out belongs to `ipr corpora new FOLDER`"])
    if args.action == "new":
        return _new(Path(args.name).expanduser(), args.out)
    return _show(args.name) if args.action else _list()


def _list() -> int:
    from ipr_core.data.corpora import describe

    for corpus in describe():
        print(f"{corpus.name:<11} {corpus.about}\n{'':<11} needs {corpus.layout}")
        if corpus.licence or corpus.home:
            print(f"{'':<11} {corpus.licence}: {corpus.home}")
        print()
    return 0


def _show(name: str) -> int:
    from ipr_core.data.corpora import definition

    text = definition(name)
    if text is None:
        reason = "a module reads it" if name in CORPORA else "it is no corpus; `ipr corpora` lists them"
        raise SettingsError([f"there is no description of {name}: {reason}"])
    print(text, end="")
    return 0


def _new(folder: Path, target: Path | None) -> int:
    from ipr_core.atomic import write_text
    from ipr_core.data.corpora.description import checked
    from ipr_core.data.proposal import propose

    if not folder.is_dir():
        raise SettingsError([f"{folder} is no folder; name the one that holds the corpus's audio"])
    if target and (target.exists() or target.suffix != ".toml"):
        reason = "which is there already" if target.exists() else "which does not end in .toml"
        raise SettingsError([f"--out is {target}, {reason}; name another file"])
    proposal, file = propose(folder), str(target or "mine.toml")
    for name in proposal.corpora:
        print(f"# {name} reads this folder as it is: --corpus {name} --corpus-path {folder}")
    print(proposal.text)
    print(_preview(checked(tomllib.loads(proposal.text), Path(file)), file, folder))
    if target:
        write_text(target, proposal.text)
        print(f"\n{target}: read it, fill in what is a comment, and use it: --corpus {target} --corpus-path {folder}")
    else:
        print("\nNothing was written: --out FILE.toml writes the description.")
    return 0


def _preview(description: Description, file: str, folder: Path) -> str:
    """Return what a description reads of a folder: counts per emotion and speaker, and the files that it does not."""
    from ipr_core.config import Data
    from ipr_core.data.corpora.described import DescribedCorpus
    from ipr_core.data.faults import number_of, sentences

    reading = DescribedCorpus(file, description).read(Data(corpus_path=str(folder)), progress=False)
    table = reading.table
    lines = [f"# It reads {number_of(len(table), 'utterance')} and refuses {number_of(len(reading.faults), 'file')}."]
    for column in ("label", "speaker"):
        if column in table:
            counts = table[column].value_counts()
            counts = counts[counts.index != ""]
            rest = f"\n# and {len(counts) - _MOST:,} more" if len(counts) > _MOST else ""
            head = "\n".join(f"#   {name:<14} {count:>7,}" for name, count in counts.head(_MOST).items())
            lines.append(f"# By {'emotion' if column == 'label' else column}, {len(counts):,} in all:\n{head}{rest}")
    lines += [f"# {note.text}" for note in reading.notes]
    lines += [f"# {sentence}" for sentence in sentences(reading.faults)[:_MOST]]
    return "\n".join(lines)
