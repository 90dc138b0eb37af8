"""Tables, tests and reports over finished runs.

`selection` finds the runs, `scores` reads their figures, `significance` tests differences, and the other modules make
the tables of the terminal, of the result notebooks and of the report. May import everything but `cli` and the widgets.
"""
