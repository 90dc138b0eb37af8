"""The compiled descent: kept for later processes where it can be, and compiled anew where it cannot."""

import numba

from ipr_widgets import descent


def test_a_function_is_compiled_also_where_nothing_can_be_kept(monkeypatch):
    def no_folder(*signature, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*signature, **options)

    njit = numba.njit
    monkeypatch.setattr(descent.numba, "njit", no_folder)
    assert descent._compiled(lambda x: x + 1)(1) == 2
    assert descent._compiled(lambda x: x + 1, "i8(i8)")(1) == 2
