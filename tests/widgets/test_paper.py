"""Figures for papers: their widths, their fonts, and a machine without a browser."""

import re
import shutil

import kaleido
import plotly.graph_objects as go
import pytest
from kaleido.errors import ChromeNotFoundError

from helpers.fake_events import CLASSES, EVENTS
from ipr_widgets import curves, matrices, paper

needs_browser = pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine")
MILLIMETRE = 72 / 25.4  # points


@pytest.mark.parametrize(("columns", "pixels"), [(1, 302), (2, 643)])
def test_a_figure_has_the_width_of_its_columns_and_no_title(columns, pixels):
    original = curves.losses(EVENTS)
    fig = paper.fitted(original, columns)
    assert fig.layout.width == pixels
    assert fig.layout.title.text is None
    assert original.layout.title.text  # the figure itself is left as it is
    assert fig.layout.font.size == pytest.approx(10)
    assert fig.layout.paper_bgcolor == paper.WHITE


def test_a_longer_legend_makes_a_figure_higher():
    short, long = (
        go.Figure([go.Scatter(y=[1, 2], name=f"a long name {i}") for i in range(count)]) for count in (2, 12)
    )
    assert paper.fitted(long).layout.height > paper.fitted(short).layout.height + 50
    assert paper.fitted(short.update_layout(showlegend=False)).layout.height == paper.fitted(go.Figure()).layout.height


def test_points_are_shapes():
    cloud = go.Figure(go.Scattergl(x=[0, 1], y=[0, 1]))
    assert paper.fitted(cloud).data[0].type == "scatter"
    assert cloud.data[0].type == "scattergl"


@needs_browser
def test_a_pdf_has_the_papers_width_one_page_and_its_fonts_and_an_svg_asks_nobody(tmp_path):
    figures = [
        (paper.fitted(curves.losses(EVENTS)), "losses"),
        (paper.fitted(matrices.cosines(EVENTS, CLASSES), 2), "c"),
    ]
    paths = paper.save(figures, tmp_path / "new")
    assert [path.name for path in paths] == ["losses.pdf", "losses.svg", "c.pdf", "c.svg"]
    for name, columns in {"losses": 1, "c": 2}.items():
        pdf = (tmp_path / "new" / f"{name}.pdf").read_bytes()
        _, _, width, height = map(float, re.search(rb"/MediaBox\s*\[([^\]]*)\]", pdf)[1].split())
        assert width == pytest.approx(paper.MILLIMETRES[columns] * MILLIMETRE, abs=1)
        assert height > 0.3 * width
        assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1
        fonts = len(re.findall(rb"/Type\s*/FontDescriptor\b", pdf))
        assert fonts == len(re.findall(rb"/FontFile[23]?\b", pdf)) > 0
    svg = (tmp_path / "new" / "losses.svg").read_text("utf-8")
    assert 'width="302"' in svg
    assert ">loss on D1<" in svg
    assert not re.findall(r'(?:href|src)="https?:', svg)


def test_a_machine_without_a_browser_gets_a_sentence_with_the_cure(tmp_path, monkeypatch):
    def fail(*args, **options):
        raise ChromeNotFoundError("no chrome")

    monkeypatch.setattr(kaleido, "write_fig_from_object_sync", fail)
    with pytest.raises(paper.BrowserError, match=r"install one of them, or name its program in .* BROWSER_PATH"):
        paper.save([(go.Figure(), "f")], tmp_path)


def test_nothing_is_asked_of_the_network(tmp_path, monkeypatch):
    options = []
    monkeypatch.setattr(kaleido, "write_fig_from_object_sync", lambda jobs, kopts: options.append(kopts))
    paper.save([(go.Figure(), "f")], tmp_path, ["svg"])
    assert "http" not in options[0]["page_generator"].generate_index().replace("http://www.w3.org", "")
    assert options[0]["proxy_server"] == "127.0.0.1:9"


def test_the_command_writes_every_figure_of_a_run(trained, tmp_path, monkeypatch, capsys):
    jobs = []
    monkeypatch.setattr(kaleido, "write_fig_from_object_sync", lambda all_jobs, kopts: jobs.extend(all_jobs))
    assert paper.main([str(trained.folder), str(tmp_path), "svg"]) == 0
    names = {job["path"].rpartition("/")[2] for job in jobs}
    assert {"losses.svg", "losses-2.svg", "planes-2.svg", "reliability.svg"} <= names
    assert "planes.svg" not in names  # two panels need two columns
    assert f"{len(names)} figures, svg" in capsys.readouterr().out
