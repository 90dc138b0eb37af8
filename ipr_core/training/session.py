"""A session: everything that training a run changes, and the forward pass of a step."""

from __future__ import annotations

import hashlib
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from ipr_core.config import Config
from ipr_core.data.dataset import Dataset
from ipr_core.method import equations as eq
from ipr_core.method.prototypes import Prototypes, PrototypeSchedule
from ipr_core.method.systems import SYSTEMS
from ipr_core.method.systems.step import Companion, Step, View
from ipr_core.training import checkpoint, minibatches
from ipr_core.training.conditions import PROCESS_THREADS, conditions
from ipr_core.training.kept_views import kept_views
from ipr_core.training.memory import budget_gb
from ipr_core.training.minibatches import Minibatch, Rows
from ipr_core.training.model import Recogniser, build_model
from ipr_core.training.passes import Passes
from ipr_core.training.processes import this_process
from ipr_core.training.transfer import on_device
from ipr_core.training.views import Padded, Views

_TURN = 1_000_000
"""Between the keys of an epoch's turns, more than there are epochs."""


class Session:
    """The model, the optimizer, the prototypes with their schedule, D2's labels, and the system's companion.

    views: made here, or those of another session with the same encoder, data, seed and stream
    state: a checkpoint to go on from; else training begins   threads: of torch, which belong to the run
    memory_gb: GiB that training may take, which belong to the run too; by default those of the views, or as set
    The tensors below are over all N utterances of the data set: D1, D2 and D3.
    """

    embeddings: Tensor
    """(N, D) of the last evaluation pass."""
    classifier_soft: Tensor
    """(N, C) the classifier's soft labels of that pass; `schedule.soft` are the prototypes'."""

    kept_labels: tuple[Tensor, Tensor, Tensor] | None = None
    """With `labels_when` warm_up: both soft labels (N, C) and the pseudo-labels (N,) of the end of the warm-up."""

    def __init__(
        self,
        config: Config,
        data: Dataset,
        views: Views | None = None,
        state: dict[str, Tensor] | None = None,
        threads: int = PROCESS_THREADS,
        memory_gb: float | None = None,
    ):
        self.config, self.data, self.threads, self.epoch = config, data, threads, 0
        self.device = this_process().device(config.training.device)
        memory_gb = memory_gb or (views.memory_gb if views else None)
        self.memory_gb = memory_gb or budget_gb(config.training, self.device)
        self.d1, self.d2, self.d3 = (data.rows(part) for part in ("D1", "D2", "D3"))
        self.sample = map_sample(data, config.training.map_size)
        with conditions(threads):
            self._build_(views)
            if state is None:
                self._start_()
            elif not checkpoint.restore_(self, state):
                self.evaluate_()
                self.schedule.label_(self.embeddings)

    def _build_(self, views: Views | None) -> None:
        """Make all that training changes; new weights come from the seed."""
        config, training, data, process = self.config, self.config.training, self.data, this_process()
        self.system = SYSTEMS[training.system]
        torch.manual_seed(training.seed)
        self.model: Recogniser = build_model(config).to(self.device)
        dim, n_classes = self.model.dim, len(data.classes)
        companion = self.system.companion(dim, n_classes, len(data.table)) if self.system.companion else Companion()
        self.companion = companion.to(self.device)
        groups = self.model.parameter_groups(training, self.companion)
        self.optimizer = process.adamw(groups, self.model.parameters(), training.weight_decay)
        self.views = views or Views(
            self.model.stem, data, config.audio, (training.seed, training.stream), self.device,
            kept=kept_views(config, self.model, data), centring=self.model.centred, memory_gb=self.memory_gb,
        )  # fmt: skip
        if self.views.means is not None:
            self.model.centre.copy_(self.views.means.centre)
        self.passes = Passes(self.model, self.views, self.system, process, self.memory_gb, training.epochs)
        self.labels = torch.tensor(data.labels, device=self.device)
        self.prototypes = Prototypes(n_classes, dim, config.method, self.device, len(self.d2))
        self.schedule = PrototypeSchedule(
            self.prototypes, self.d1, self.d2, self.labels, training.warm_up, self.system.moves_prototypes
        )

    def _start_(self) -> None:
        """Prepare the first epoch: D1's statistics, the first evaluation, the first prototypes."""
        if self.config.encoder.standardise:
            self.model.fit_standardiser_(self.passes.pooled(self.d1))
        self.evaluate_()
        self.schedule.start_(self.embeddings)

    def refining(self, epoch: int) -> bool:
        """Tell whether the warm-up is over."""
        return epoch >= self.config.training.warm_up

    def beta(self, epoch: int) -> float:
        """Return the weight of D2's cross-entropy in this epoch (Eq. 7); 0 in the warm-up."""
        training, method = self.config.training, self.config.method
        if not self.refining(epoch):
            return 0.0
        skipped = training.warm_up if method.beta_from == "warm_up" else 0
        return eq.beta(epoch - skipped, training.epochs - skipped, method.beta_max, method.beta_growth)

    def plan(self, epoch: int) -> list[Minibatch]:
        """Return the epoch's minibatches, the same ones whenever it is asked."""
        training, lengths, refining = self.config.training, self.views.lengths, self.refining(epoch)
        keys = [(training.seed, training.stream, epoch + turn * _TURN) for turn in range(self.system.network.turns)]
        plans = [minibatches.plan(self.d1, self.d2, lengths, training.batch_size, key, refining) for key in keys]
        return list(chain.from_iterable(plans))

    def begin_(self, epoch: int) -> list[Minibatch]:
        """Prepare for an epoch's steps: the model in training mode, the views told. returns: its minibatches"""
        if epoch == self.config.training.warm_up:
            self.companion.before_refinement_(self.prototypes.vectors, self.embeddings)
            if self.config.method.labels_when == "warm_up":
                self.kept_labels = self.classifier_soft, self.schedule.soft, self.schedule.labels
        self.model.train()
        plan = self.plan(epoch)
        self.passes.expect(plan, epoch, self.refining(epoch))
        return plan

    def forward(self, minibatch: Minibatch, epoch: int, within: float = 0.0) -> Step:
        """Pass a minibatch's views through the model (Eq. 1) and label D2 by the prototypes (section 2.2).

        within: the share of the epoch that is done, from 0 to 1
        """
        rows = on_device(minibatch.ambiguous, self.device)
        inputs = self.passes.inputs(minibatch, epoch, self.refining(epoch))
        views = self.passes.forward(inputs, minibatch)  # Eq. 1
        k = self._compared(rows, inputs, views)
        aug = self._compared_augmented(k, inputs, views)
        own, soft, labels = self._labels(rows, k)
        return Step(
            method=self.config.method,
            beta=self.beta(epoch),  # Eq. 7
            views=views,
            labels=self.labels[on_device(minibatch.precise, self.device)],
            classifier_soft=own,
            prototype_soft=soft,
            prototype_labels=labels,
            prototype_labels_augmented=labels if aug is k else self.prototypes.labels(aug),
            compared=k,
            compared_augmented=aug,
            truth=self.labels[rows],
            rows=rows,
            progress=self._progress(epoch + within),
            companion=self.companion,
        )

    def _labels(self, rows: Tensor, k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return D2's labels that a step trains on (section 2.2).

        rows: (B,) utterances of D2   k: (B, D) their embeddings
        returns: soft labels by the classifier and by the prototypes (B, C), and the prototypes' pseudo-labels (B,)
        """
        if self.kept_labels is not None:
            own, soft, labels = (tensor[rows] for tensor in self.kept_labels)
            return own, soft, labels
        return self.classifier_soft[rows], *self.schedule.compare(rows, k)  # s_c = k · p_c, Eq. 3

    def _compared(self, rows: Tensor, inputs: dict[str, Padded], views: dict[str, View]) -> Tensor:
        """Return k as it meets the prototypes: of the last evaluation, or of this step in `compare_mode`."""
        if not self.schedule.each_step or "ambiguous" not in views:
            return self.embeddings[rows]
        if self.config.method.compare_mode == "training":
            return views["ambiguous"].embedding.detach()
        return self.passes.again_in_evaluation(inputs["ambiguous"], len(rows))

    def _compared_augmented(self, k: Tensor, inputs: dict[str, Padded], views: dict[str, View]) -> Tensor:
        """Return k^aug as it meets the prototypes, in training mode also once an epoch; k where no reading needs it."""
        method = self.config.method
        compares = method.augmented_label == "own" or method.gate == "prototypes"
        if not compares or "ambiguous_augmented" not in views:
            return k
        if not self.schedule.each_step or method.compare_mode == "training":
            return views["ambiguous_augmented"].embedding.detach()
        return self.passes.again_in_evaluation(inputs["ambiguous_augmented"], len(k))

    def _progress(self, epochs: float) -> float:
        """Return the share of the warm-up, or of the refinement, that is done after so many epochs."""
        warm_up, whole = self.config.training.warm_up, self.config.training.epochs
        return epochs / warm_up if epochs < warm_up else (epochs - warm_up) / max(whole - warm_up, 1)

    @property
    def longest_step(self) -> tuple[int, int]:
        """How many views a process passes in a step at most, and the length of the longest as the model takes it."""
        system, size, sharers = self.system, self.config.training.batch_size, this_process().size
        precise, ambiguous = (-(-min(size, len(rows)) // sharers) for rows in (self.d1, self.d2))
        views = precise * system.precise_views + ambiguous * system.ambiguous_views
        return views, self.views.longest()[0].shape[1]

    def evaluate_(self) -> None:
        """Embed and classify every utterance, in evaluation mode; first the epoch's second views are kept."""
        self.views.keep_()
        self.embeddings, self.classifier_soft = self.passes.evaluate(len(self.data.table))

    def state(self) -> dict[str, Tensor]:
        """Return all of it as named tensors, for a checkpoint."""
        return checkpoint.state(self)


def map_sample(data: Dataset, size: int) -> Rows:
    """Return the rows whose embeddings are kept each epoch for the UMAP: of every part alike, always the same ones."""
    order = np.argsort([hashlib.blake2b(id.encode()).digest() for id in data.table["id"]], kind="stable")
    return np.sort(order[:size])
