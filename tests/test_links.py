"""The pages: links and anchors resolve, named paths and commands exist, README is short, lines are not too long."""

import ast
import re
import subprocess
from pathlib import Path

import nbformat
import pytest

from ipr_core.cli import COMMANDS
from ipr_core.options import make_parser

ROOT = Path(__file__).parents[1]
COLUMNS, README_LINES, FIRST_SCREEN = 120, 170, 15
FOLDERS = (".github", "ipr_core", "notebooks", "tests", "widgets")


def pages():
    """The pages that git knows; of a source distribution, which has no git, those of its folders."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md", "*.ipynb"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if process.returncode == 0:
        return [ROOT / name for name in process.stdout.splitlines() if (ROOT / name).exists()]
    folders = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    return [path for path in (*ROOT.glob("*"), *folders) if path.suffix in (".md", ".ipynb")]


PAGES = sorted(pages())
MARKDOWN = [page for page in PAGES if page.suffix == ".md"]
README = (ROOT / "README.md").read_text("utf-8")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^\s*```.*?^\s*```", re.MULTILINE | re.DOTALL)


def short(page):
    return str(page.relative_to(ROOT))


def prose(page):
    """Return a page's Markdown without code blocks."""
    if page.suffix == ".ipynb":
        cells = nbformat.read(page, as_version=4).cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    else:
        text = page.read_text("utf-8")
    return FENCE.sub("", text)


def anchors(page):
    """Return the anchors that a page's headings make, as GitHub names them; of a notebook also as JupyterLab does."""
    headings = re.findall(r"(?m)^#+ +(.*)$", prose(page))
    named = {re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings}
    named |= set(headings) if page.suffix == ".ipynb" else set()
    return {name.replace(" ", "-") for name in named}


def links(page):
    """Return the links of a page that stay in the project."""
    return [link for link in LINK.findall(prose(page)) if not re.match(r"[a-z]+:", link)]


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_every_link_leads_to_a_file_and_a_heading(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_links_are_looked_for_where_there_are_some():
    assert {"README.md", "CONTRIBUTING.md", "notebooks/README.md"} <= {short(page) for page in PAGES if links(page)}


@pytest.mark.parametrize("page", MARKDOWN, ids=short)
def test_no_line_is_longer_than_the_code(page):
    text = re.sub(r"<!-- table .*?<!-- end -->", "", page.read_text("utf-8"), flags=re.DOTALL)  # written by a command
    assert [line for line in text.splitlines() if len(line) > COLUMNS] == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.suffix == ".ipynb"], ids=short)
def test_no_line_of_a_notebook_is_longer_than_the_code(page):
    lines = [line for cell in nbformat.read(page, as_version=4).cells for line in cell.source.splitlines()]
    assert [line for line in lines if len(line) > COLUMNS] == []


def test_the_readme_is_short_and_its_first_screen_runs():
    lines = README.splitlines()
    assert len(lines) <= README_LINES
    assert {"make demo", "make test"} <= {line.split("  ")[0] for line in lines[:FIRST_SCREEN]}
    assert {"widgets/board.png", "notebooks/example/planes.svg", "notebooks/EXAMPLE.md"} <= set(LINK.findall(README))


def test_the_readme_links_every_other_page():
    targets = {(ROOT / link.partition("#")[0]).resolve() for link in links(ROOT / "README.md")}
    assert {page for page in MARKDOWN if page.name != "LICENSE"} - targets - {ROOT / "README.md"} == set()


@pytest.mark.parametrize("page", MARKDOWN, ids=short)
def test_the_commands_and_words_that_a_page_names_exist(page):
    text = page.read_text("utf-8")
    code = re.findall(r"`([^`\n]+)`", FENCE.sub("", text)) + [
        line for block in FENCE.findall(text) for line in block.splitlines()
    ]
    words = set(re.findall(r"(?m)^([a-z]+):.*##", (ROOT / "Makefile").read_text("utf-8")))
    for line in code:
        assert set(re.findall(r"^make ([a-z]+)\b", line)) <= words, line
        assert set(re.findall(r"^ipr ([a-z]+)\b", line)) <= COMMANDS.keys(), line


@pytest.mark.parametrize("page", MARKDOWN, ids=short)
def test_the_options_that_a_page_names_exist(page):
    text = page.read_text("utf-8")
    (commands,) = [action.choices for action in make_parser(COMMANDS)._actions if action.dest == "command"]
    options = {flag for command in commands.values() for flag in command._option_string_actions}
    lines = text.replace("\\\n", " ").splitlines()
    for line in lines:
        for command in re.findall(r"(?:^|`)(ipr [a-z]+ [^`#]*)", line):
            assert set(re.findall(r"(--[a-z][a-z-]*)", command)) <= options, line


def test_the_files_that_the_readme_names_exist():
    text = FENCE.sub("", README)
    paths = [
        path for path in re.findall(r"`([\w./-]+)`", text) if "/" in path or path.endswith((".md", ".lock", ".yml"))
    ]
    assert "requirements.lock" in paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_python_that_the_pages_show_imports():
    for page in MARKDOWN:
        for block in re.findall(r"(?ms)^```python\n(.*?)^```", page.read_text("utf-8")):
            nodes = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.ImportFrom)]
            for node in nodes:
                module = __import__(node.module, fromlist=[alias.name for alias in node.names])
                assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)
