"""The look that all figures share."""

import numpy as np
import plotly.io as pio

from helpers.fake_events import CLASSES, EVENTS
from helpers.fake_utterances import utterances
from helpers.figures import figures_over_epochs, notes
from ipr_widgets import curves, look, matrices, plane, votes
from ipr_widgets.layout import Plane


def test_every_axis_has_a_title_and_no_figure_a_background():
    rows = utterances()
    shares = np.full((5, 3), 1 / 3)
    figures = [
        *figures_over_epochs(EVENTS), matrices.cosines(EVENTS, CLASSES),
        matrices.confusion(EVENTS[0].confusion, CLASSES), votes.partition(rows, CLASSES),
        votes.partition_by_speaker(rows, CLASSES), votes.soft_against_votes(shares, shares, CLASSES),
        votes.entropy_against_entropy(shares, shares, rows["part"]), votes.entropies(shares, rows["part"]),
        plane.panels([Plane(np.zeros((5, 2)), np.zeros((3, 2)))], rows, CLASSES, ["now"]),
    ]  # fmt: skip
    for fig in figures:
        axes = [*fig.select_xaxes(), next(fig.select_yaxes())]  # panels beside each other share the first y axis
        assert all(axis.title.text for axis in axes), fig.layout.title.text
        assert fig.layout.template.layout.paper_bgcolor == "rgba(0, 0, 0, 0)"
        assert fig.layout.template.layout.plot_bgcolor == "rgba(0, 0, 0, 0)"


def test_figures_are_data_that_jupyterlab_draws_offline():
    bundle = curves.beta(EVENTS)._repr_mimebundle_()
    assert "application/vnd.plotly.v1+json" in bundle
    assert pio.renderers.default == "plotly_mimetype"


def test_the_camera_saves_shapes():
    figure = curves.beta(EVENTS)._repr_mimebundle_()["application/vnd.plotly.v1+json"]
    assert figure["config"]["toImageButtonOptions"] == {"format": "svg"}


def test_figures_over_no_epoch_have_a_note():
    for fig in [*figures_over_epochs([]), matrices.cosines([], CLASSES)]:
        assert look.NO_EPOCH in notes(fig)
