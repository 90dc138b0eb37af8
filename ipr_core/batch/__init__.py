"""Batches: a grid of runs whose notebooks are executed on this machine, a Dask cluster, or SLURM and PBS jobs.

A grid states systems, seeds and settings; each combination is a cell with one run folder. This package imports
`config`, `data`, `method`, `runs` and `training`; nothing of `results` or the widgets.
"""
