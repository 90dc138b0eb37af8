"""A short fuzz, a few kills, and oracles that see what is wrong."""

import pytest

from fuzz import __main__ as fuzz
from fuzz import kills, pool, run_folders
from fuzz.trials import Answer, Damage, judge

DAMAGE = Damage("cut", "clip.wav")


@pytest.mark.parametrize(
    ("answer", "properties", "outcome"),
    [
        (Answer(0, "done"), {}, "silently wrong"),
        (Answer(0, "done", "clip.wav is cut"), {}, "warned"),
        (Answer(0, "done", "clip.wav is cut"), {"harmless": True}, "silently wrong"),
        (Answer(0, "done"), {"tokens": ("row 3",)}, "silently wrong"),
        (Answer(2, "", "clip.wav is cut; copy it again"), {}, "refused"),
        (Answer(2, "", "clip.wav is cut; copy it again"), {"harmless": True}, "refused without need"),
        (Answer(2, "", "a file is cut; copy it again"), {}, "refused without a name"),
        (Answer(2, "", "clip.wav"), {}, "refused without a name"),
        (Answer(None, "", "clip.wav"), {}, "traceback"),
        (Answer(70, "", "clip.wav is a fault of the workbench"), {}, "traceback"),
        (Answer(1, "", "clip.wav\nTraceback (most recent call last)"), {}, "traceback"),
        (Answer(0, "done", "", 5000), {}, "memory"),
        (Answer(-9, ""), {}, "exit code -9"),
    ],
)
def test_a_wrong_result_is_told_by_its_verdict(answer, properties, outcome):
    damage = Damage("cut", "clip.wav", **properties)
    assert judge(answer, damage, right=lambda: False).outcome == outcome


def test_a_right_result_needs_no_word_unless_the_input_cannot_be_meant():
    answer = Answer(0, "done")
    assert judge(answer, DAMAGE, right=lambda: True).outcome == "right"
    assert judge(answer, Damage("silence", "clip.wav", grave=True), right=lambda: True).outcome == "silently wrong"


def test_what_pandas_or_soundfile_read_is_right_only_where_nobody_can_see_the_damage():
    answer, readings = Answer(0, "done"), {"right": lambda: False, "plain": lambda: True}
    assert judge(answer, DAMAGE, **readings).outcome == "silently wrong"
    assert judge(answer, Damage("flipped", "clip.wav", invisible=True), **readings).outcome == "right"


def test_columns_that_every_reading_lists_are_no_warning():
    damage = Damage("a column twice", "m.csv", ("votes_sad",))
    listing = Answer(0, "", "m.csv: columns read: path, votes_sad; passed over: note")
    warning = Answer(0, "", "m.csv: columns read: path; passed over: votes_sad")
    assert judge(listing, damage, lambda: False).outcome == "silently wrong"
    assert judge(warning, damage, lambda: False).outcome == "warned"


def test_how_long_training_took_is_no_difference():
    first, second = (
        ["a sentence", "| IPR | training, s | UAR |", f"| 1   | {s}         | 50  |"] for s in ("1.2", "1.3")
    )
    assert run_folders.without_clock(first) == run_folders.without_clock(second)
    assert run_folders.without_clock(first)[0] == "a sentence"
    assert run_folders.without_clock(first) != run_folders.without_clock([*first[:2], first[2].replace("50", "51")])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Return a folder with a workbench, which takes seconds to make."""
    folder = tmp_path_factory.mktemp("fuzz")
    pool.make_workbench(folder)
    return folder


def test_a_short_fuzz_finds_nothing(root, capfd):
    counts = {"audio": 8, "tables": 28, "grids": 11, "run-folders": 7}
    options = [word for kind, count in counts.items() for word in (f"--{kind}", str(count))]
    assert fuzz.main(["--root", str(root), "--jobs", "1", *options]) == 0, capfd.readouterr().out


@pytest.mark.parametrize("kind", ["annotate", "corrections"])
def test_killed_commands_leave_what_undisturbed_ones_leave(root, kind, capfd):
    assert kills.main(["--root", str(root), "--kills", "2", "--kinds", kind]) == 0, capfd.readouterr().out
