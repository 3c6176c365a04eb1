"""One epoch of training, and everything that it takes to go on with the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssvh_model.clustering.anchors import Granularity
from ssvh_model.losses.objective import LossBreakdown, Objective
from ssvh_model.model.autossvh import AutoSSVH
from ssvh_model.model.precision import Precision, arithmetic, wide_float32_products
from ssvh_model.progress import Progress, no_progress
from ssvh_model.training.adam import Adam
from ssvh_model.training.agreement import some_rows
from ssvh_model.training.frame_source import FrameSource
from ssvh_model.training.ranks import ALONE, Ranks


@dataclass(frozen=True)
class Optimization:
    """How the weights are stepped.

    Attributes:
        batch_size: videos a step; the last batches of an epoch are evened out, no video is left out.
        learning_rate: of Adam, in the first epoch.
        learning_rate_floor: it never falls below this.
        step_epochs, step_factor: every `step_epochs` epochs the rate is multiplied by `step_factor`.
        feature_dropout: share of the input features that are zeroed while training, for each view anew.
        code_noise: standard deviation of the noise on what the codes are the signs of, for each view anew.
        reversal: strength lambda of the gradient reversal.
        reversal_ramp: epochs over which it rises from 0 to its strength; 0 for none.
        precision: of the matrix products.
    """

    batch_size: int
    learning_rate: float
    learning_rate_floor: float
    step_epochs: int
    step_factor: float
    feature_dropout: float
    code_noise: float
    reversal: float
    reversal_ramp: int
    precision: Precision

    def learning_rate_at(self, epoch: int) -> float:
        """Learning rate of epoch 0, 1, ..."""
        return max(
            self.learning_rate_floor, self.learning_rate * self.step_factor ** (epoch // self.step_epochs)
        )

    def reversal_at(self, epoch: int) -> float:
        """Strength of the gradient reversal in epoch 0, 1, ..."""
        return (
            self.reversal if self.reversal_ramp == 0 else self.reversal * min(1.0, epoch / self.reversal_ramp)
        )


class NonFiniteLossError(ArithmeticError):
    """A loss term became infinite or not a number; the weights are those before the step."""


class Trainer:
    """Trains an `AutoSSVH`; its state is all that a killed run needs to go on bit for bit.

    Attributes:
        model: on `device`.
        objective: the loss; after `take_start_as_evened` another one.
        epoch: epochs finished so far, over all phases.
        step: optimizer steps so far.
        granularities: clusterings of the training set; empty during warm-up.
        first_codes: soft codes of the training set with the initial weights, [N, K'] float16 on `device`;
            None without the similarity loss.
        reference: soft codes of some training videos with the initial weights, whole and by halves, [3, n,
            K'] float16 on the CPU; None for random weights and few videos.
        first_weights: of the model at the start of the training, by name, on the CPU; what a training can
            fall back on.
        ranks: the processes that train together; each has its own `Trainer` with the same arguments.
    """

    def __init__(
        self,
        model: AutoSSVH,
        videos: FrameSource,
        *,
        objective: Objective,
        optimization: Optimization,
        seed: int,
        device: torch.device,
        evened_objective: Objective | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        if len(videos) < 2:
            raise ValueError(f"training needs at least 2 videos, not {len(videos)}")
        self.model = model.to(device)
        self.videos = videos
        self.objective = objective
        self._evened_objective = evened_objective or objective
        self._evened = False
        self.optimization = optimization
        self.device = device
        self.ranks = ranks
        self.optimizer = Adam(model.parameters(), learning_rate=optimization.learning_rate)
        self.epoch = 0
        self.step = 0
        self.granularities: list[Granularity] = []
        self.first_codes: Tensor | None = None
        self.reference: Tensor | None = None
        self.first_weights = self.weights()
        # Two sources of chance, so that a change of the sampler leaves the order of the videos as it is.
        self._order = np.random.default_rng([seed, 0])
        self._noise = torch.Generator(device=device).manual_seed(seed)

    @wide_float32_products()  # the way back, too, which is outside of `arithmetic`
    def train_epoch(self, progress: Progress = no_progress, *, warmup: bool = False) -> dict[str, float]:
        """Train on every video once, or once in each pass of a cycle; the mean of each loss term over the
        videos and passes, by name.

        Args:
            progress: told the videos that are done in this epoch.
            warmup: whether it is an epoch of the warm-up (`Objective.passes`).

        Raises:
            NonFiniteLossError: names the step, the term and the ids of the batch.
        """
        self.model.train()
        self.optimizer.learning_rate = self.optimization.learning_rate_at(self.epoch)
        sums: dict[str, float] = {}
        done = 0
        passes = self.objective.passes(warmup=warmup, clustered=bool(self.granularities))
        for left_out, batch in ((left_out, batch) for left_out in passes for batch in self._batches()):
            part = self.ranks.part(len(batch))
            own = batch[part]
            features = self.model.hasher.center(self.videos.fetch(own).to(self.device, non_blocking=True))
            with arithmetic(self.optimization.precision, self.device):
                views = self.model(
                    features,
                    reversal=self.optimization.reversal_at(self.epoch),
                    generator=self.ranks.draws_for_views(self._noise, part, len(batch)),
                    dropout=self.optimization.feature_dropout,
                    code_noise=self.optimization.code_noise,
                )
            losses = self.objective(
                views,
                torch.from_numpy(own).to(self.device),
                self.granularities,
                self.first_codes,
                gather=partial(self.ranks.gather, part=part, whole=len(batch)),
                left_out=left_out,
            )
            for name, value in self._checked(losses, batch).items():
                sums[name] = sums.get(name, 0.0) + value * len(batch)
            self.optimizer.clear()
            losses.total.backward()
            self.ranks.sum_gradients(self.model.parameters())
            self.optimizer.step()
            self.step += 1
            done += len(batch)
            progress(done // len(passes), len(self.videos))
        self.epoch += 1
        return {name: value / (len(self.videos) * len(passes)) for name, value in sums.items()}

    def _batches(self) -> list[np.ndarray]:
        # Evenly sized, because a last batch of one video has nothing to contrast with.
        order = self._order.permutation(len(self.videos))
        count = max(1, min(-(-len(order) // self.optimization.batch_size), len(order) // 2))
        return np.array_split(order, count)

    def _checked(self, losses: LossBreakdown, batch: np.ndarray) -> dict[str, float]:
        named = losses.named()
        # The only place in a step where the program waits for the device.
        values = dict(
            zip(named, torch.stack([term.detach() for term in named.values()]).tolist(), strict=True)
        )
        # The terms before their sum, so that the message names the cause.
        for name in sorted(values, key=lambda term: term == "loss"):
            if not np.isfinite(values[name]):
                ids = ", ".join(self.videos.ids[row] for row in batch)
                raise NonFiniteLossError(
                    f"step {self.step}: the loss term {name!r} is {values[name]}; the batch was {ids}"
                )
        return values

    def take_start_as_evened(self) -> None:
        """Train for `evened_objective` from now on: the start evens out what changes within videos."""
        self._evened = True
        self.objective = self._evened_objective

    def weights(self) -> dict[str, Tensor]:
        """A copy of the model's weights, by name, on the CPU."""
        return {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in self.model.state_dict().items()
        }

    def state(self) -> dict[str, Any]:
        """All that changes while training, apart from the weights; plain values and tensors."""
        return {
            "optimizer": self.optimizer.state(),
            "epoch": self.epoch,
            "step": self.step,
            "order": _plain(self._order.bit_generator.state),
            "noise": self._noise.get_state(),
            "first_codes": self.first_codes,
            "reference": self.reference,
            "evened": self._evened,
        }

    def restore(
        self,
        weights: Mapping[str, Tensor],
        first_weights: Mapping[str, Tensor],
        state: Mapping[str, Any],
        granularities: Sequence[Granularity],
    ) -> None:
        """Go on from what `model.state_dict()`, `first_weights`, `state()` and `granularities` were.

        Raises:
            ValueError: they are not of this model and these videos. Other kinds, of torch and numpy, mean the
                same.
        """
        self.model.load_state_dict(first_weights)  # which says what does not fit
        self.first_weights = self.weights()
        self.model.load_state_dict(weights)
        self.optimizer.restore(state["optimizer"])
        self.epoch, self.step = (_count(name, state[name]) for name in ("epoch", "step"))
        bits = self.model.hasher.config.trained_bits
        for clusters in granularities:
            if clusters.anchors.shape[1] != bits or len(clusters.assignments) != len(self.videos):
                raise ValueError(
                    f"clusters of {len(clusters.assignments)} videos and anchors of {clusters.anchors.shape[1]} bits; "
                    f"there are {len(self.videos)} videos and {bits} bits"
                )
        if _flag("evened", state["evened"]):
            self.take_start_as_evened()
        self.first_codes = self._checked_first_codes(state["first_codes"])
        self.reference = self._checked_reference(state["reference"])
        self._order.bit_generator.state = state["order"]
        self._noise.set_state(state["noise"].cpu())
        self.granularities = [clusters.to(self.device) for clusters in granularities]

    def _checked_first_codes(self, codes: Tensor | None) -> Tensor | None:
        if self.objective.gamma == 0:
            return None
        wanted = (len(self.videos), self.model.hasher.config.trained_bits)
        if codes is None or codes.shape != wanted or codes.dtype != torch.float16:
            found = None if codes is None else f"{codes.dtype} {list(codes.shape)}"
            raise ValueError(f"the codes of the start are {found}; needed are float16 {list(wanted)}")
        return codes.to(self.device)

    def _checked_reference(self, reference: Tensor | None) -> Tensor | None:
        if reference is None:
            return None
        wanted = [3, len(some_rows(len(self.videos))), self.model.hasher.config.trained_bits]
        if list(reference.shape) != wanted or reference.dtype != torch.float16:
            raise ValueError(
                f"what the start sees is {reference.dtype} {list(reference.shape)}; needed is float16 {wanted}"
            )
        return reference.cpu()


def _count(name: str, value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{name} is {value!r}; allowed are whole numbers from 0")
    return value


def _flag(name: str, value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError(f"{name} is {value!r}; allowed are True and False")
    return value


def _plain(value: Any) -> Any:
    """numpy's state with Python numbers only, which torch loads without unpickling objects."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return int(value) if isinstance(value, np.integer) else value
