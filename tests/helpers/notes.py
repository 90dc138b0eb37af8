"""The text written on a figure."""


def notes(fig):
    return [annotation.text for annotation in fig.layout.annotations]
