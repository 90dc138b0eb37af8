"""Batches: the notebooks executed over systems, seeds and settings, on this machine or a cluster."""
