"""Corpora, votes, partitions and waveforms."""
