"""Shell completion: the script that a shell reads completes commands, options and values."""

import shutil
import subprocess

import pytest

from ipr_core.cli import COMMANDS
from ipr_core.cli.completion import script
from ipr_core.options import SHELLS

ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_shtab_ipr
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("words", "answers"),
    [
        (("ipr", "tra"), {"train"}),
        (("ipr", "train", "--tie"), {"--tied"}),
        (("ipr", "train", "--pooling", ""), {"mean", "mean+deviation"}),
        (("ipr", "run", "--preset", "d"), {"demo"}),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, tuple) else "",
)
def test_bash_completes(tmp_path, words, answers):
    if not (bash := shutil.which("bash")):
        pytest.skip("there is no bash here")
    (tmp_path / "ipr.bash").write_text(script("bash", COMMANDS), "utf-8")
    command = [bash, "-c", ASK, "bash", str(tmp_path / "ipr.bash"), *words]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert set(process.stdout.split()) == answers, process.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_names_every_command(shell):
    text = script(shell, COMMANDS)
    assert [name for name in COMMANDS if name not in text] == []
