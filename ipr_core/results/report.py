"""The report of a run: one HTML page that opens offline, and prints.

Page one says in words what was asked, what came out and how sure it is (`page_one`). Figures and tables by subject
follow, which the widgets drew (`drawn`). The executed notebooks, their text and code, are an appendix (`chapters`).

The page loads nothing from a host. nbconvert's own page loads scripts from three hosts and leaves plotly's figures out.
This one holds plotly.js once, draws formulas as MathML, keeps sound and pictures as data, and forbids the browser every
request and every script but the page's own two (`_policy`). Paths of this machine are left out (`places`).
"""

from __future__ import annotations

import base64
import hashlib
import html
import importlib.util
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from ipr_core.atomic import write_text
from ipr_core.config import PRESETS, nearest_preset
from ipr_core.results import drawn, page_one, report_look
from ipr_core.results.chapters import PLOTLY, Chapter, figure, title
from ipr_core.results.drawn import Exhibit
from ipr_core.results.places import Places
from ipr_core.results.table import Table
from ipr_core.runs.run import Run
from ipr_core.texts import SENTENCE, in_html


def write(run: Run, results: Iterable[Table] = (), notes: Iterable[str] = (), rivals: Sequence[Run] = ()) -> Path:
    """Make report.html from a finished run and the executed notebooks in its folder.

    results, notes: tables and sentences (Markdown, of which bold and code are read) below page one
    rivals: other finished runs on the same utterances, with which page one compares it
    """
    path = run.folder / "report.html"
    write_text(path, page(run, sorted((run.folder / "notebooks").glob("*.ipynb")), results, notes, rivals))
    return path


def page(
    run: Run,
    notebooks: Iterable[Path],
    results: Iterable[Table] = (),
    notes: Iterable[str] = (),
    rivals: Sequence[Run] = (),
) -> str:
    """Return the whole page; the arguments are those of `write`."""
    places = Places(run)
    contents = {path.stem: nbformat.from_dict(places.hide_all(nbformat.read(path, 4))) for path in notebooks}
    exhibits = list(drawn.exhibits(contents.pop(drawn.NAME))) if drawn.NAME in contents else []
    chapters = _chapters(contents, exhibits)
    sections = [
        _first_page(run, rivals, exhibits, places),
        _results(results, notes),
        *_subjects(exhibits),
        _settings(run, places),
        _appendix(chapters),
    ]
    bodies = "\n".join(filter(None, sections))
    scripts = [plotly_js(), report_look.DRAW] if 'class="figure"' in bodies else []
    script = "\n".join(f"<script>{text}</script>" for text in scripts)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">
<title>{html.escape(run.folder.name)}</title>
<style>{report_look.STYLE}{_pygments()}</style></head>
<body><nav><ol>{_index(bodies, chapters)}</ol></nav>
<main>{bodies}</main>
{script}
</body></html>
"""


def plotly_js() -> str:
    """Return the plotly.js of the installed plotly, which fits its figures; plotly itself is not imported."""
    package = importlib.util.find_spec("plotly")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).with_name("package_data").joinpath("plotly.min.js").read_text("utf-8")


def _first_page(run: Run, rivals: Sequence[Run], exhibits: Sequence[Exhibit], places: Places) -> str:
    """Return page one."""
    texts = {name: in_html(text, SENTENCE) for name, text in places.hide_all(page_one.facts(run)).items()}
    facts = "".join(f"<tr><th>{name}</th><td>{text}</td></tr>" for name, text in texts.items())
    figures = "".join(_exhibit(exhibit) for exhibit in exhibits if exhibit.subject == drawn.FIRST_PAGE)
    corpus = in_html(run.config.data.corpus)
    return f"""<header><h1>{html.escape(run.system.title)} on the corpus {corpus}: what came out</h1>
<p class="asked">{_sentence(page_one.question(run))}</p>
<p class="verdict">{_sentence(page_one.verdict(run, rivals))}</p>
<table class="settings">{facts}</table>
<div class="figures first">{figures}</div>
<div class="columns"><div><h3>What else came out</h3>{_list(page_one.findings(run, rivals))}</div>
<div><h3>What to keep in mind</h3>{_list(page_one.caveats(run, rivals))}</div></div>
{_to_hear(run, exhibits)}
<p class="where"><strong>The labels</strong> of every utterance, single and soft, are in <code>labels.csv</code> and
<code>labels.parquet</code> beside this page, in the folder <code>{html.escape(run.folder.name)}</code>;
<code>ipr annotate</code> labels other recordings, <code>ipr export</code> gives the model away.</p></header>"""


def _to_hear(run: Run, exhibits: Sequence[Exhibit]) -> str:
    """Return the most ambiguous utterances, with their players."""
    sounds = {exhibit.name: exhibit.output.data["text/html"] for exhibit in exhibits if exhibit.subject == drawn.SOUNDS}
    clips = page_one.most_ambiguous(run)
    columns = {
        "utterance": [in_html(clip.name) for clip in clips],
        "part": [clip.part for clip in clips],
        "votes": [in_html(clip.votes, SENTENCE) for clip in clips],
        "soft label": [in_html(clip.soft, SENTENCE) for clip in clips],
        "hear it": [sounds.get(clip.name, "") for clip in clips],
    }
    full = {name: cells for name, cells in columns.items() if any(cells)}
    kind = {"hear it": ' class="sound"'}
    head = "".join(f"<th{kind.get(name, '')}>{name}</th>" for name in full)
    rows = "".join(
        f"<tr>{''.join(f'<td{kind.get(name, str())}>{cells[i]}</td>' for name, cells in full.items())}</tr>"
        for i in range(len(clips))
    )
    return f'<h3>The most ambiguous utterances</h3><table class="heard"><tr>{head}</tr>{rows}</table>' if clips else ""


def _results(results: Iterable[Table], notes: Iterable[str]) -> str:
    parts = [f'<div class="output">{table._repr_html_()}</div>' for table in results]
    parts += [f"<p>{_sentence(note)}</p>" for note in notes]
    return f'<section class="subject" id="results"><h2>Results</h2>{"".join(parts)}</section>' if parts else ""


def _subjects(exhibits: Sequence[Exhibit]) -> list[str]:
    """Return a section for each subject, in the order of the exhibits; those of page one are left out."""
    subjects: dict[str, list[Exhibit]] = {}
    for exhibit in exhibits:
        if exhibit.subject not in (drawn.FIRST_PAGE, drawn.SOUNDS):
            subjects.setdefault(exhibit.subject, []).append(exhibit)
    return [
        f'<section class="subject" id="subject-{number}"><h2>{in_html(subject)}</h2>'
        f'<div class="figures">{_in_rows(group)}</div></section>'
        for number, (subject, group) in enumerate(subjects.items(), start=1)
    ]


def _in_rows(group: Sequence[Exhibit]) -> str:
    """Return exhibits in rows of two; a wide one, and one that would stand alone, fills its row."""
    parts: list[str] = []
    has_half = False  # of the row
    for exhibit, following in zip(group, [*group[1:], None], strict=True):
        is_half = PLOTLY in exhibit.output.data and not exhibit.is_wide
        is_next_half = following is not None and PLOTLY in following.output.data and not following.is_wide
        is_alone = is_half and not has_half and not is_next_half
        parts.append(_exhibit(exhibit, "wide alone" if is_alone else ""))
        has_half = is_half and not has_half and not is_alone
    return "".join(parts)


def _exhibit(exhibit: Exhibit, kind: str = "") -> str:
    """Return a figure or table as HTML.  kind: classes of its own"""
    data = exhibit.output.data
    if PLOTLY in data:
        return figure(data[PLOTLY], kind or ("wide" if exhibit.is_wide else ""))
    return f'<div class="output wide">{data["text/html"]}</div>'


def _chapters(contents: dict[str, NotebookNode], exhibits: Sequence[Exhibit]) -> list[Chapter]:
    """Return the notebooks, without the texts that an earlier one has, and the figures that stand above."""
    titles = {title(exhibit.output.data[PLOTLY]) for exhibit in exhibits if PLOTLY in exhibit.output.data}
    chapters: list[Chapter] = []
    for name, notebook in contents.items():
        repeated = {text for chapter in chapters for text in chapter.texts}
        chapters.append(Chapter(name, notebook, repeated, titles))
    return chapters


def _index(bodies: str, chapters: Sequence[Chapter]) -> str:
    """Return the table of contents: the subjects, and the notebooks' headings, without links, which would nest."""
    subjects = re.findall(r'<section class="subject[^"]*" id="([^"]+)"><h2>(.*?)</h2>', bodies)
    entries = [(1, id, name) for id, name in subjects]
    entries += [entry for chapter in chapters for entry in chapter.headings if entry[0] <= 2]
    plain = [(level, id, re.sub(r"</?a\b[^>]*>", "", name)) for level, id, name in entries]
    return "\n".join(f'<li class="h{level}"><a href="#{id}">{name}</a></li>' for level, id, name in plain)


def _settings(run: Run, places: Places) -> str:
    """Return the settings that differ from the nearest preset, and, folded, all of them and the versions."""
    meta, preset = run.meta, nearest_preset(run.config)
    changes = run.config.differences(PRESETS[preset]())
    return f"""<section class="subject" id="settings"><h2>Settings</h2>
<p>Run <code>{html.escape(run.folder.name)}</code>.
Preset <code>{preset}</code>{", and these settings:" if changes else " as it is."}</p>
{_pairs(places.hide_all(changes))}
<details><summary>all settings</summary>{_pairs(places.hide_all(meta["settings"]))}</details>
<details><summary>versions</summary>{_pairs(meta["versions"])}</details></section>"""


def _appendix(chapters: Sequence[Chapter]) -> str:
    """Return the notebooks, folded: a reader opens them, and only opened ones are printed."""
    bodies = "\n".join(
        f'<details id="{chapter.name}"><summary>{chapter.title}</summary>{chapter.body}</details>'
        for chapter in chapters
    )
    return f'<section class="subject appendix" id="appendix"><h2>Appendix: the notebooks</h2>{bodies}</section>'


def _list(sentences: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{_sentence(text)}</li>' for text in sentences)}</ul>"


def _sentence(text: str) -> str:
    """Return a sentence as HTML; of Markdown, bold, emphasis and code are read."""
    marked = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", in_html(text, SENTENCE))
    return re.sub(r"`(.+?)`", r"<code>\1</code>", marked)


def _pairs(values: dict[str, Any]) -> str:
    texts = {in_html(name): in_html(_plain(value), SENTENCE) for name, value in values.items()}
    rows = (f"<tr><th>{name}</th><td>{text}</td></tr>" for name, text in texts.items())
    return f'<table class="settings">{"".join(rows)}</table>' if values else ""


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _pygments() -> str:
    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    return f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n.highlight {{ background: none }}"


def _policy(scripts: Iterable[str]) -> str:
    """Return what the browser may load, which stands in the page, and run, which are these scripts.

    A script, a handler or a link that came with data is none of them. plotly.js compiles its WebGL shaders, hence eval.
    """
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    allowed = " ".join([*(f"'sha256-{digest}'" for digest in hashes), "'unsafe-eval'"]) if hashes else "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "media-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
    )
