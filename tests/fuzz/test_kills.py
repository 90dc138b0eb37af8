"""A few kills of the commands that need no notebook."""

import pytest

from fuzz import kills


@pytest.mark.parametrize("kind", ["annotate", "corrections"])
def test_killed_commands_leave_what_undisturbed_ones_leave(kind, tmp_path, capfd):
    assert kills.main(["--root", str(tmp_path), "--kills", "4", "--kinds", kind]) == 0, capfd.readouterr().out
