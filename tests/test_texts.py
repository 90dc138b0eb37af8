"""Texts from data on pages: one line, read as text only, whatever a stranger wrote."""

import pytest

from helpers import hostile
from ipr_core import texts

TEXTS = [*hostile.TEXTS, "caf\udce9"]  # a file's name that is not UTF-8


@pytest.mark.parametrize("text", TEXTS)
def test_a_plain_text_is_one_short_line_in_which_everything_is_seen(text):
    line = texts.plain(text)
    assert len(line) <= texts.LETTERS
    assert not set(line) & set("\n\r\t\x00\x1b\u202e\u2066\u200b")
    line.encode()  # no lone surrogate


@pytest.mark.parametrize("text", TEXTS)
def test_no_form_holds_a_tag_or_a_formula(text):
    for form in (texts.in_html(text), texts.in_figure(text), texts.in_markdown(text)):
        assert not set(form) & set("<>")
    assert not set(texts.in_html(text)) & set("\"'")  # it may stand in an attribute
    assert "$" not in texts.in_figure(text) + texts.in_markdown(text)


def test_what_is_harmless_stays_as_it_is():
    for text in ("angry", "s01/clip 7.wav", "Ärger, Wut", "怒り", "😀", "👨\u200d👩\u200d👧", "שלום"):
        assert texts.plain(text) == texts.in_html(text) == texts.in_figure(text) == text


def test_a_long_text_keeps_both_ends():
    assert texts.plain("a" * 50 + "b" * 50, letters=10) == "aaaaaa…bbb"
    assert texts.plain("x" * 60) == "x" * 60


def test_markdown_is_text():
    assert texts.in_markdown("[a](javascript:x) `b` *c* <d> | $e$") == (
        r"\[a\](javascript:x) \`b\` \*c\* &lt;d&gt; \| &#36;e&#36;"
    )


def test_numbers_and_nothing_are_texts():
    assert (texts.in_html(0.5), texts.plain(None)) == ("0.5", "None")
