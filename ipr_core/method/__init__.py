"""The method of the paper and those it is compared with: equations, prototypes, and systems.

Read `equations.py`, then `prototypes.py`, then `systems/ipr.py`. Only `config`, `encoders` and these files are imported
here: nothing of `data`, `runs`, `training` or `batch`.
"""
