"""Corpora, annotators' votes, the partition into D1, D2 and D3, and waveforms.

What comes out is a `dataset.Dataset`, which is all that training sees of a corpus. Only `config` and `atomic` are
imported here: data knows nothing of models, runs or training.
"""
