"""Every pass of utterances through the model: a step's views with gradients, and evaluations of whole parts.

Where several processes train a run, each passes its share here, and callers get the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ipr_core.method.systems.step import View
from ipr_core.method.systems.system import System
from ipr_core.training.memory import StepMemory
from ipr_core.training.minibatches import Minibatch, Rows
from ipr_core.training.model import Recogniser
from ipr_core.training.processes import Process
from ipr_core.training.transfer import on_device
from ipr_core.training.views import Padded, Views


class Passes:
    """The passes of one session's model. N utterances of the data set, B of a minibatch's part.

    memory_gb: GiB that training may take in so many epochs
    """

    def __init__(
        self, model: Recogniser, views: Views, system: System, process: Process, memory_gb: float, epochs: int
    ):
        self._model, self._views, self._system, self._process = model, views, system, process
        self._memory_gb, self._epochs = memory_gb, epochs

    @cached_property
    def memory(self) -> StepMemory:
        """How a step's views fit into memory; measured when it is first asked for."""
        return StepMemory(self._model, *self._views.longest(), self._memory_gb, self._views.most_bytes(self._epochs))

    def padded(self, inputs: Iterable[Padded]) -> Padded:
        """Join inputs to one, as the encoder takes them in this step: at once, or in parts as they fit."""
        views = list(inputs)
        x = pad_sequence([row for rows, _ in views for row in rows], batch_first=True)
        self._model.encoder.part = self.memory.part(len(x), x.shape[1])
        return x, torch.cat([n for _, n in views])

    def seed(self, number: int) -> None:
        """Seed torch for a step's dropout, each process with its own random numbers."""
        torch.manual_seed(number + self._process.rank)

    def expect(self, plan: Sequence[Minibatch], epoch: int, refining: bool) -> None:
        """Tell the views what an epoch's steps will ask for."""
        self._views.expect((request for batch in plan for request in self._requests(batch, refining)), epoch)

    def inputs(self, minibatch: Minibatch, epoch: int, refining: bool) -> dict[str, Padded]:
        """Return this process's share of the views that the system asks for, by their names in `Step`."""
        precise, ambiguous = self._shares(minibatch)
        inputs = {"precise": self._views.clean(precise)}
        if self._system.precise_views > 1:
            inputs["precise_augmented"] = self._views.augmented(precise, epoch)
        if refining and self._system.ambiguous_views > 0:
            inputs["ambiguous"] = self._views.clean(ambiguous)
        if refining and self._system.ambiguous_views > 1:
            inputs["ambiguous_augmented"] = self._views.augmented(ambiguous, epoch)
        return inputs

    def forward(self, inputs: dict[str, Padded], minibatch: Minibatch) -> dict[str, View]:
        """Pass all inputs at once, in the model's present mode; return the whole minibatch's views (Eq. 1)."""
        embedding, scores = self._model.scores(*self.padded(inputs.values()))
        sizes = [len(n) for _, n in inputs.values()]
        parts = zip(embedding.split(sizes), scores.split(sizes), strict=True)
        views = {}
        for name, part in zip(inputs, parts, strict=True):
            n = len(minibatch.precise if name.startswith("precise") else minibatch.ambiguous)
            embedding, scores = (self._process.gather(tensor, n) for tensor in part)
            views[name] = View(embedding, self._model.logits(scores), scores)
        return views

    @torch.no_grad()
    def again_in_evaluation(self, inputs: Padded, n: int) -> Tensor:
        """Return the embeddings (n, D) of inputs in evaluation mode; the model is in training mode afterwards."""
        self._model.eval()
        embedding, _ = self._model(*inputs)
        self._model.train()
        return self._process.gather(embedding, n)

    @torch.no_grad()
    def evaluate(self, n: int) -> tuple[Tensor, Tensor]:
        """Return embeddings (N, D) and soft labels (N, C) of all utterances, always in the same passes (Eq. 1).

        n: N   The model is in evaluation mode afterwards.
        """
        self._model.eval()
        embeddings = torch.zeros(n, self._model.dim, device=self._model.mean.device)
        soft = torch.zeros(n, len(self._model.classes), device=self._model.mean.device)
        for rows in self._process.share(self._views.passes()):
            embedding, logits = self._model(*self._views.clean(rows))
            index = on_device(rows, soft.device)
            embeddings[index] = embedding
            soft[index] = logits.softmax(dim=-1)
        self._process.add_(embeddings)
        self._process.add_(soft)
        return embeddings, soft

    @torch.no_grad()
    def pooled(self, rows: Rows) -> Tensor:
        """Return the pooled frames (len(rows), P) in evaluation mode, in the passes of an evaluation."""
        self._model.eval()
        members = set(rows.tolist())
        passes = [np.array([row for row in part if row in members], dtype=np.int64) for part in self._views.passes()]
        passes = [part for part in passes if len(part)]
        pooled = torch.zeros(len(self._views.lengths), len(self._model.mean), device=self._model.mean.device)
        for part in self._process.share(passes):
            pooled[part] = self._model.pooled(*self._views.clean(part))
        self._process.add_(pooled)
        return pooled[np.concatenate(passes)]

    def _shares(self, minibatch: Minibatch) -> tuple[Rows, Rows]:
        return self._process.share(minibatch.precise, least=1), self._process.share(minibatch.ambiguous, least=1)

    def _requests(self, minibatch: Minibatch, refining: bool) -> Iterator[tuple[Rows, bool]]:
        """Yield the rows that `inputs` asks the views for, and whether their second view, in its order."""
        precise, ambiguous = self._shares(minibatch)
        yield from ((precise, augmented) for augmented in (False, True)[: self._system.precise_views])
        if refining:
            yield from ((ambiguous, augmented) for augmented in (False, True)[: self._system.ambiguous_views])
