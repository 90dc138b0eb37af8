"""A small utterance table written by hand."""

import pandas as pd


def utterances():
    """Return five utterances of three classes and two speakers, in all parts."""
    return pd.DataFrame(
        {
            "id": ["a", "b", "c", "d", "e"],
            "part": ["D1", "D1", "D2", "D3", "D2"],
            "label": ["angry", "sad", "angry", "happy", "angry"],
            "speaker": ["02", "10", "02", "02", "10"],
        }
    )
