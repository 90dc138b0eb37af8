"""A short run of the kills while voting."""

from fuzz import votes


def test_killed_listeners_lose_and_double_no_vote(tmp_path, capfd):
    assert votes.main(["--root", str(tmp_path), "--kills", "6"]) == 0, capfd.readouterr().out
