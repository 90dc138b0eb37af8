"""A listening test in a page: one clip at a time, a vote by key or click, on disk before the next clip plays.

The page is blind. It is sent the names of the emotions, how many clips there are and the samples of a sound, nothing
else: clips are numbered in the order in which this listener hears them.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import anywidget
import pandas as pd
import traitlets as t
from IPython.display import HTML

from ipr_core.atomic import WriteError
from ipr_core.config import Data
from ipr_core.data.faults import CorpusError
from ipr_core.runs.run import Run
from ipr_core.texts import SENTENCE, in_html, plain
from ipr_core.votes import clips as listening_clips
from ipr_core.votes import record
from ipr_core.votes.clips import Clips
from ipr_core.votes.order import Hearing, most_useful_first, shuffled, unheard
from ipr_core.votes.record import Vote, VoteError
from ipr_core.votes.usefulness import worth_in_run
from ipr_widgets.keys import emotion_keys

_HERE = Path(__file__)

Answer = dict[str, Any]
"""A vote as the page has it: emotions by number, other, cannot_tell, word, sure."""


def listen(
    corpus: Run | Data | str | Path = "synthetic",
    listener: str = "me",
    votes: str | Path = "votes",
    seed: int = 0,
    repeats: float = 0.1,
    live: bool | None = None,
    next: Literal["random", "most useful"] = "random",
    **settings: Any,
) -> Listening | HTML:
    """Return a listening test, which a notebook shows; without a browser, a sentence on what would be heard.

    corpus: a corpus's name, the path of a manifest or of a folder of audio files, the settings of a corpus, or a
        finished run, whose corpus it then is
    listener: a name, or better a pseudonym   votes: the folder of all listeners' votes
    seed: of the order, which is a listener's own   repeats: share of the clips that come a second time
    next: "most useful" begins with the clips on which the run says that a vote is worth most, see `votes.usefulness`
    live: see `training.attended`   settings: of the corpus, `classes` (the emotions to choose from) for example
    raises VoteError for an impossible name, a damaged file of votes or an order that needs a run, SettingsError,
    CorpusError, RunError
    """
    record.check_name(listener)
    run = listening_clips.run_of(corpus)
    if next == "most useful" and run is None:
        raise VoteError(f"{corpus} is no run, and only a run can say which clips are the most useful; name its folder")
    data = run.config.data if run else corpus
    data = data if isinstance(data, Data) else listening_clips.corpus(str(data), settings)
    with _without_file_names():
        clips = listening_clips.read(data)
    if run and next == "most useful":
        worth = worth_in_run(run, clips.ids, clips.audio, record.read(votes))
        order = most_useful_first(clips.audio, worth, listener, seed, repeats)
    else:
        order = shuffled(clips.audio, listener, seed, repeats)
    test = Listening(clips, order, data.classes, listener, votes)
    if live is None:
        from ipr_widgets.training import attended  # and much else, which a page that is live does not wait for

        live = attended()
    return test if live else HTML(test.plan)


class Listening(anywidget.AnyWidget):
    """A listening test of one listener; clips that have a vote already are not heard again."""

    _esm = _HERE.with_suffix(".js")
    _css = _HERE.with_suffix(".css")
    emotions = t.List(t.Dict(), help="name, digit and letter of each").tag(sync=True)

    def __init__(
        self, clips: Clips, order: Sequence[Hearing], classes: Sequence[str], listener: str, folder: str | Path
    ):
        """order: rows of `clips`   classes: the emotions to choose from   folder: of all listeners' votes

        raises VoteError
        """
        super().__init__(emotions=emotion_keys(classes))
        self._clips, self._classes, self._listener, self._folder = clips, list(classes), listener, Path(folder)
        self._answers: dict[int, Answer] = {}
        self._broken: set[int] = set()
        self._hearings = self._with_votes_first(order)
        self._current = self._following(-1)
        self.on_msg(self._on_message)

    @property
    def plan(self) -> str:
        """How much there is to hear, in a sentence of HTML."""
        twice = sum(hearing.repeat for hearing in self._hearings)
        names = ", ".join(in_html(name) for name in self._classes)
        return (
            f"A listening test for {in_html(self._listener)}: {len(self._hearings) - twice} clips, {twice} of them"
            f" heard twice; {len(self._answers)} votes are kept in {in_html(self._folder, SENTENCE)}. To choose from:"
            f" {names}, other, cannot tell. It opens where a person has this notebook in a browser."
        )

    def _with_votes_first(self, order: Sequence[Hearing]) -> list[Hearing]:
        """Return an order with the hearings first that have a vote, and keep those votes for who goes back."""
        table = record.read(self._folder, self._listener)
        votes = {(row.audio, row.repeat): row for row in table.itertuples()}
        left = unheard(order, self._clips.audio, votes)
        rest = set(left)
        voted = [hearing for hearing in order if hearing not in rest]
        for number, hearing in enumerate(voted):
            self._answers[number] = self._answer(votes[self._clips.audio[hearing.row], hearing.repeat])
        return voted + left

    def _answer(self, vote: Any) -> Answer:
        """Return a vote as the page shows it; emotions that cannot be chosen any more are left out."""
        numbers = [self._classes.index(name) for name in vote.emotions if name in self._classes]
        sure = None if pd.isna(vote.sure) else int(vote.sure)
        flags = dict(other=bool(vote.other), cannot_tell=bool(vote.cannot_tell))
        return dict(emotions=numbers, **flags, word=vote.word, sure=sure)

    # What the page asks.

    def _on_message(self, _: object, content: dict[str, Any], buffers: object) -> None:
        acts: dict[str, Callable[[dict[str, Any]], None]] = {
            "begin": self._begin, "vote": self._vote, "back": self._back, "sound": self._sound,
        }  # fmt: skip
        try:
            acts[content["kind"]](content)
        except (VoteError, WriteError) as error:
            self.send(dict(kind="fault", request=content.get("request"), text=plain(error, SENTENCE)))
        except Exception:
            text = "Something unforeseen went wrong, and this vote may not be kept. Tell who has set up the test."
            self.send(dict(kind="fault", request=content.get("request"), text=text))
            raise

    def _begin(self, content: dict[str, Any]) -> None:
        self._turn_to(self._following(-1), content)

    def _vote(self, content: dict[str, Any]) -> None:
        """Put a vote on disk, then turn to the next clip."""
        number = self._number(content)
        hearing = self._hearings[number]
        vote = Vote(
            listener=self._listener,
            id=self._clips.ids[hearing.row],
            audio=self._clips.audio[hearing.row],
            emotions=tuple(self._classes[i] for i in content["emotions"]),
            other=content["other"],
            cannot_tell=content["cannot_tell"],
            word=content["word"],
            sure=content["sure"],
            seconds=round(content["seconds"], 3),
            repeat=hearing.repeat,
        )
        self._answers[number] = self._answer(record.add(self._folder, vote))
        self._turn_to(self._following(-1), content)

    def _back(self, content: dict[str, Any]) -> None:
        numbers = [number for number in range(self._number(content)) if number not in self._broken]
        self._turn_to(numbers[-1] if numbers else self._number(content), content)

    def _sound(self, content: dict[str, Any]) -> None:
        """Send the samples of a clip; one that cannot be read any more is passed over."""
        number = self._number(content)
        try:
            samples = self._clips.samples(self._hearings[number].row)
        except (CorpusError, OSError):  # whose message names the file
            self._broken.add(number)
            if number == self._current:
                self._turn_to(self._following(-1), dict(request="broken"))
            return
        self.send(dict(kind="sound", number=number), buffers=[samples.astype("<i2").tobytes()])

    # What the page is told.

    def _turn_to(self, number: int | None, content: dict[str, Any]) -> None:
        """Show a clip, or the end."""
        self._current = number
        counts = dict(request=content.get("request"), votes=len(self._answers), total=len(self._hearings))
        if number is None:
            self.send(counts | dict(kind="end", broken=len(self._broken)))
        else:
            answer, following = self._answers.get(number), self._following(number)
            self.send(counts | dict(kind="turn", number=number, following=following, answer=answer))

    def _following(self, number: int) -> int | None:
        """Return the first clip without a vote but this one, None if there is none."""
        rest = (
            i for i in range(len(self._hearings)) if i not in self._answers and i not in self._broken and i != number
        )
        return next(rest, None)

    def _number(self, content: dict[str, Any]) -> int:
        number = content["number"]
        if type(number) is not int or not 0 <= number < len(self._hearings):
            raise ValueError(f"there is no clip {number!r}")
        return number


@contextlib.contextmanager
def _without_file_names() -> Iterator[None]:
    """Keep warnings on files, whose names may tell the emotion, from the page."""
    logger = logging.getLogger("ipr_core")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
