"""Run folders: settings, record, states and labels of a run, people's corrections, and the version of the code.

`data`, `method` and `config` may be imported here; training, batches and results are built on it.
"""
