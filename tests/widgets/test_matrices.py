"""Class-by-class matrices."""

import numpy as np

from helpers.fake_events import CLASSES, event
from ipr_widgets import matrices


def test_confusion_gives_counts_and_shares_of_the_row():
    cells = matrices.confusion([[3, 1, 0], [0, 2, 2], [0, 0, 0]], CLASSES).data[0]
    np.testing.assert_allclose(cells.z, [[75, 25, 0], [0, 50, 50], [0, 0, 0]])
    assert cells.text[0][0] == "3<br>75 %"
    assert cells.text[2][2] == "0<br>0 %"


def test_cosines_are_those_of_the_last_epoch():
    fig = matrices.cosines([event(0), event(1, cosines=np.eye(3).tolist())], CLASSES)
    np.testing.assert_array_equal(fig.data[0].z, np.eye(3))
    assert "epoch 1" in fig.layout.title.text
