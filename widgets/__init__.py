"""Figures, tables and live widgets for notebooks, imported as `ipr_widgets`.

Pure functions draw figures from events and tables; `RunState` holds one run, and panels follow it. It may import
`ipr_core`, plotly and ipywidgets; nothing in `ipr_core` imports it, and only notebooks and their tests use it.
"""

import ipr_core  # noqa: F401, before plotly: it makes that import quick
