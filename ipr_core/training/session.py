"""What training changes, and how: a session holds the model, the optimizer, the prototypes and D2's labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import chain

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ipr_core.config import Config
from ipr_core.data.dataset import Dataset
from ipr_core.method import equations as eq
from ipr_core.method.prototypes import Prototypes
from ipr_core.method.systems import SYSTEMS
from ipr_core.method.systems.step import Companion, Step, View
from ipr_core.training import minibatches
from ipr_core.training.minibatches import Batch
from ipr_core.training.model import Recogniser, build_model
from ipr_core.training.processes import current
from ipr_core.training.views import Padded, Views, placed


class Session:
    """Everything that training changes: model, optimizer, prototypes, the labels they gave D2, and what a system
    keeps beside them.

    views: made here, or those of another session with the same encoder, data, seed and stream
    state: a checkpoint's `state()` to go on from; else training begins
    The attributes below are over all N utterances of the data set, D1, D2 and D3, on every rank of several (`ranks`).
    """

    embeddings: Tensor
    """(N, D) of the last evaluation pass."""
    own: Tensor
    """(N, C) the classifier's soft labels of that pass."""
    soft: Tensor
    """(N, C) the prototypes' soft labels of that pass."""
    agreed: Tensor
    """(N,) the class on which the classifier's two views agreed at the utterance's last step, or -1."""

    def __init__(
        self, config: Config, data: Dataset, views: Views | None = None, state: dict[str, Tensor] | None = None
    ):
        training = config.training
        self.config, self.data, self.ranks = config, data, current()
        self.device = self.ranks.device(training.device)
        self.system = SYSTEMS[training.system]
        torch.manual_seed(training.seed)
        self.model: Recogniser = build_model(config).to(self.device)
        dim, n_classes = self.model.dim, len(data.classes)
        make = self.system.companion or (lambda *sizes: Companion())
        self.companion = make(dim, n_classes, len(data.table)).to(self.device)
        groups = self.model.parameter_groups(training, self.companion)
        self.optimizer = torch.optim.AdamW(groups, weight_decay=training.weight_decay, fused=True)
        self.views = views or Views(self.model.stem, data, config.audio, (training.seed, training.stream), self.device)
        self.prototypes = Prototypes(n_classes, dim, config.method, self.device)
        self.labels = torch.tensor(data.labels, device=self.device)
        self.d1, self.d2, self.d3 = (data.rows(part) for part in ("D1", "D2", "D3"))
        self.sample = map_sample(data, training.map_size)
        self.agreed = torch.full((len(data.table),), -1, device=self.device)
        self.epoch = 0
        if state is None:
            self._start_()
        else:
            self._restore_(state)

    def refining(self, epoch: int) -> bool:
        return epoch >= self.config.training.warm_up

    def beta(self, epoch: int) -> float:
        """The weight of D2's cross-entropy in this epoch (Eq. 7); 0 in the warm-up."""
        training, method = self.config.training, self.config.method
        if not self.refining(epoch):
            return 0.0
        skipped = training.warm_up if method.beta_from == "warm_up" else 0
        return eq.beta(epoch - skipped, training.epochs - skipped, method.beta_max, method.beta_growth)

    def begin_(self, epoch: int) -> list[Batch]:
        """Ready for an epoch: its batches, the gate's flags forgotten, what begins with the refinement begun."""
        if self.refining(epoch) and self._moves_each_step() and "anchor" in self.config.method.after_warm_up:
            self.prototypes.anchor_(self.embeddings[self.d1], self.labels[self.d1])
        if epoch == self.config.training.warm_up:
            self.companion.begin_(self.prototypes.vectors)
        self.agreed.fill_(-1)
        self.model.train()
        plan = self.plan(epoch)
        self.views.expect((rows for batch in plan for rows in self._asked(batch, epoch)), epoch)
        return plan

    def plan(self, epoch: int) -> list[Batch]:
        training = self.config.training
        key = (training.seed, training.stream, epoch)
        return minibatches.plan(self.d1, self.d2, self.views.lengths, training.batch_size, key, self.refining(epoch))

    def forward(self, batch: Batch, epoch: int, within: float = 0.0) -> Step:
        """All views that the system asks for through the model at once (Eq. 1).

        within: how much of the epoch is done, from 0 to 1
        """
        refining = self.refining(epoch)
        precise, ambiguous = (self.ranks.share(rows, least=1) for rows in (batch.precise, batch.ambiguous))
        inputs = {"precise": self.views.clean(precise)}
        if self.system.precise_views > 1:
            inputs["precise_augmented"] = self.views.augmented(precise, epoch)
        if refining and self.system.ambiguous_views > 0:
            inputs["ambiguous"] = self.views.clean(ambiguous)
        if refining and self.system.ambiguous_views > 1:
            inputs["ambiguous_augmented"] = self.views.augmented(ambiguous, epoch)
        views = self._through(inputs, batch)
        rows = placed(batch.ambiguous, self.device)
        compared = self._compared(rows, inputs, views) if "ambiguous" in views else self.embeddings[rows]
        soft = self.prototypes.soft(compared) if self._moves_each_step() and "ambiguous" in views else self.soft[rows]
        return Step(
            method=self.config.method, beta=self.beta(epoch), labels=self.labels[placed(batch.precise, self.device)],
            views=views, classifier_soft=self.own[rows], prototype_soft=soft, compared=compared,
            truth=self.labels[rows], rows=rows, progress=self._progress(epoch + within), companion=self.companion,
        )  # fmt: skip

    def note_(self, step: Step) -> None:
        """After a step: remember on which class the two views agreed, and move the prototypes if that is due now."""
        if step.has("ambiguous"):
            with torch.no_grad():
                self.companion.note_(step)
        if not step.has("ambiguous_augmented"):
            return
        logits, logits_aug = step.ambiguous.logits, step.ambiguous_augmented.logits
        agreed = torch.where(eq.agreement(logits, logits_aug), logits.argmax(dim=-1), -1)
        self.agreed[step.rows] = agreed
        if self._moves_each_step() and "move" in self.config.method.after_warm_up:
            self.prototypes.move_(step.compared, agreed)

    @torch.no_grad()
    def evaluate_(self) -> None:
        """Embeddings and soft labels of every utterance, in evaluation mode, always in the same passes."""
        self.model.eval()
        n, c = len(self.data.table), len(self.data.classes)
        self.embeddings = torch.zeros(n, self.model.dim, device=self.device)
        self.own = torch.zeros(n, c, device=self.device)
        for rows in self.ranks.share(self.views.passes()):
            embedding, logits = self.model(*self.views.clean(rows))
            at = placed(rows, self.device)
            self.embeddings[at] = embedding
            self.own[at] = logits.softmax(dim=-1)
        self.ranks.add_(self.embeddings)
        self.ranks.add_(self.own)

    def settle_(self, epoch: int) -> None:
        """The prototypes after an epoch's evaluation, and the soft labels they give."""
        q, y = self.embeddings[self.d1], self.labels[self.d1]
        method = self.config.method
        if not (self.refining(epoch) and self.system.moves_prototypes):
            moving = method.warm_up_prototypes == "moving" and self.system.moves_prototypes and epoch > 0
            (self.prototypes.follow_ if moving else self.prototypes.anchor_)(q, y)
        elif method.compare_when == "epoch":
            if "anchor" in method.after_warm_up:
                self.prototypes.anchor_(q, y)
            if "move" in method.after_warm_up:
                for batch in self.plan(epoch):
                    rows = batch.ambiguous
                    self.prototypes.move_(self.embeddings[rows], self.agreed[rows])
        if self.refining(epoch):
            self.companion.settle_()
            if self.companion.prototypes is not None:
                self.prototypes.vectors = self.companion.prototypes.clone()
        self.soft = self.prototypes.soft(self.embeddings)
        self.epoch = epoch + 1

    def state(self) -> dict[str, Tensor]:
        """All of it as named tensors, for a checkpoint."""
        names = self._optimized()
        moments = {
            f"optimizer.{names[i]}.{key}": value
            for i, of in self.optimizer.state_dict()["state"].items()
            for key, value in of.items()
        }
        model = {f"model.{name}": value for name, value in self.model.trained_state().items()}
        begun = self.epoch > self.config.training.warm_up  # before, it is as it was made, and a warm-up can be shared
        beside = {f"beside.{name}": value for name, value in self.companion.state_dict().items() if begun}
        return {
            **model, **beside, **moments, "prototypes": self.prototypes.vectors, "embeddings": self.embeddings,
            "own": self.own, "soft": self.soft, "agreed": self.agreed, "epoch": torch.tensor(self.epoch),
        }  # fmt: skip

    def _start_(self) -> None:
        if self.config.encoder.standardise:
            self.model.fit_standardiser_(self._pooled(self.d1))
        self.evaluate_()
        self.prototypes.anchor_(self.embeddings[self.d1], self.labels[self.d1])
        self.soft = self.prototypes.soft(self.embeddings)

    def _restore_(self, state: dict[str, Tensor]) -> None:
        self.model.load_trained_state(_of("model.", state))
        if beside := _of("beside.", state):
            self.companion.load_state_dict(beside)
        moments: dict[int, dict[str, Tensor]] = {}
        places = {name: i for i, name in enumerate(self._optimized())}
        for name, value in _of("optimizer.", state).items():
            parameter, _, key = name.rpartition(".")
            moments.setdefault(places[parameter], {})[key] = value
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})
        self.prototypes.vectors = state["prototypes"].to(self.device)
        self.embeddings, self.own, self.soft, self.agreed = (
            state[name].to(self.device) for name in ("embeddings", "own", "soft", "agreed")
        )
        self.epoch = int(state["epoch"])

    def _optimized(self) -> list[str]:
        """The names of what is optimized, in the optimizer's order, which systems do not share."""
        named = chain(self.model.named_parameters("model"), self.companion.named_parameters("beside"))
        names = {id(parameter): name for name, parameter in named}
        return [names[id(parameter)] for group in self.optimizer.param_groups for parameter in group["params"]]

    def _through(self, inputs: dict[str, Padded], batch: Batch) -> dict[str, View]:
        """This rank's inputs through the model, and what became of the whole batch's."""
        frames = [part for x, _ in inputs.values() for part in x]
        valid = torch.cat([n for _, n in inputs.values()])
        embedding, scores = self.model.scores(pad_sequence(frames, batch_first=True), valid)
        sizes = [len(n) for _, n in inputs.values()]
        parts = zip(embedding.split(sizes), scores.split(sizes), strict=True)
        views = {}
        for name, part in zip(inputs, parts, strict=True):
            n = len(batch.precise if name.startswith("precise") else batch.ambiguous)
            embedding, scores = (self.ranks.gather(tensor, n) for tensor in part)
            views[name] = View(embedding, self.model.logits(scores), scores)
        return views

    def _progress(self, epochs: float) -> float:
        """The share of the refinement that is done after so many epochs."""
        training = self.config.training
        return max(0.0, epochs - training.warm_up) / max(training.epochs - training.warm_up, 1)

    def _asked(self, batch: Batch, epoch: int) -> Iterator[tuple[minibatches.Rows, bool]]:
        """The utterances that `forward` asks the views for, and whether their second view, in its order."""
        for rows, views in ((batch.precise, self.system.precise_views), (batch.ambiguous, self.system.ambiguous_views)):
            if rows is batch.precise or self.refining(epoch):
                share = self.ranks.share(rows, least=1)
                yield from ((share, augmented) for augmented in (False, True)[:views])

    def _moves_each_step(self) -> bool:
        return self.system.moves_prototypes and self.config.method.compare_when == "step"

    def _compared(self, rows: Tensor, inputs: dict[str, Padded], views: dict[str, View]) -> Tensor:
        """k as it meets the prototypes: of the last evaluation pass, or of this step in the mode that is asked for."""
        if not self._moves_each_step():
            return self.embeddings[rows]
        if self.config.method.compare_mode == "training":
            return views["ambiguous"].embedding.detach()
        self.model.eval()
        with torch.no_grad():
            embedding, _ = self.model(*inputs["ambiguous"])
        self.model.train()
        return self.ranks.gather(embedding, len(rows))

    def _pooled(self, rows: np.ndarray) -> Tensor:
        """(len(rows), P) pooled frames in evaluation mode, in the passes of an evaluation."""
        self.model.eval()
        wanted = set(rows.tolist())
        passes = [np.array([row for row in rows_ if row in wanted], dtype=np.int64) for rows_ in self.views.passes()]
        passes = [rows_ for rows_ in passes if len(rows_)]
        pooled = torch.zeros(len(self.data.table), len(self.model.mean), device=self.device)
        with torch.no_grad():
            for rows_ in self.ranks.share(passes):
                pooled[rows_] = self.model.pooled(*self.views.clean(rows_))
        self.ranks.add_(pooled)
        return pooled[np.concatenate(passes)]


def _of(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def device(name: str) -> torch.device:
    """The device a setting names, for this process; "auto" is a GPU where there is one."""
    return current().device(name)


def map_sample(data: Dataset, size: int) -> np.ndarray:
    """Rows whose embeddings are kept each epoch for the UMAP: of every part alike, always the same ones."""
    order = np.argsort([hashlib.blake2b(id.encode()).digest() for id in data.table["id"]], kind="stable")
    return np.sort(order[:size])
