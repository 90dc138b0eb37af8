"""Events written by hand, for figures that are drawn from events alone."""

from ipr_core.runs.events import EpochEnd

CLASSES = ("angry", "happy", "sad")


def event(epoch, warm_up=2, **changes):
    refining = epoch >= warm_up
    values = dict(
        epoch=epoch, phase="refinement" if refining else "warm_up", beta=0.1 * epoch if refining else 0.0,
        losses=dict(precise=1.0, ambiguous=0.5 * refining, contrastive=2.0 * refining, total=1.5), steps=3,
        accuracy=0.5, uar=0.4, macro_f1=0.3, confusion=[[3, 1, 0], [0, 2, 2], [0, 0, 0]], accuracy_prototypes=0.6,
        cosines=[[1.0, 0.25, -0.5], [0.25, 1.0, 0.0], [-0.5, 0.0, 1.0]], agreement_model=0.7,
        agreement_prototypes=0.8, labels_model=[5, 3, 2], labels_prototypes=[4, 4, 2],
        gate=0.9 if refining else None, clock={}, labels_changed=epoch if refining else None,
        labels_beyond_d1=2 * epoch if refining else None, angles=[0.5, 0.25, 0.0] if refining else None,
    )  # fmt: skip
    return EpochEnd(**values | changes)


EVENTS = [event(epoch) for epoch in range(5)]
