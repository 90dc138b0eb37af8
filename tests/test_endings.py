"""The endings of commands: notes while they work, and a sentence for every way that they end."""

import logging

from ipr_core import cli


def test_notes_are_plain_sentences_each_shown_once_in_a_command(monkeypatch, capsys):
    def corpora(args):
        """Say the same twice, once in other words, and once too softly."""
        for count in (72, 72, 71):
            logging.getLogger("ipr_core.data.audio").info("%d audio files read", count)
        logging.getLogger("ipr_core.data.audio").warning("2 left out: 1 .m4a, 1 .webm")
        logging.getLogger("ipr_core.data.audio").debug("a detail")
        return 0

    monkeypatch.setitem(cli.COMMANDS, "corpora", corpora)
    for _ in range(2):  # the next command says it again
        assert cli.main(["corpora"]) == 0
        assert capsys.readouterr().err.splitlines() == [
            "72 audio files read",
            "71 audio files read",
            "2 left out: 1 .m4a, 1 .webm",
        ]
    assert not logging.getLogger("ipr_core").handlers
