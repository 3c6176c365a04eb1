"""Processes that train together, one a GPU: each computes its rows of a batch, and all step alike.

The loss is that of the whole batch, because its contrastive term compares every video of the batch with every
other: each process gathers the soft codes of all, and differentiates the one loss with respect to its own
rows. The sum of these gradients over the processes is the gradient that one process would have, so that the
number of processes changes nothing but the order in which numbers are added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from ssvh_model.model.draws import Draws, PartOfDraws

Result = TypeVar("Result")


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together. With more than one, torch's process group is up.

    Attributes:
        own: number of this process, from 0.
        count: of processes.
    """

    own: int
    count: int

    @property
    def first(self) -> bool:
        """True for the one process that writes checkpoints and tells how far it is."""
        return self.own == 0

    def part(self, rows: int) -> slice:
        """This process's rows of a batch, all parts of about one size.

        Raises:
            ValueError: there are fewer rows than processes.
        """
        if rows < self.count:
            raise ValueError(f"a batch of {rows} videos for {self.count} processes; each needs at least one")
        return slice(rows * self.own // self.count, rows * (self.own + 1) // self.count)

    def draws_for_views(self, generator: torch.Generator, part: slice, whole: int) -> Draws:
        """The random numbers of the `part` of two views of a batch of `whole` videos, the views one after the
        other.
        """
        if self.count == 1:
            return generator
        rows = torch.arange(part.start, part.stop, device=generator.device)
        return PartOfDraws(generator, torch.cat([rows, rows + whole]), 2 * whole)

    def gather(self, rows: Tensor, part: slice, whole: int) -> Tensor:
        """The rows of all processes, [b, ...] -> [whole, ...]; the gradient leads to this process's own
        `rows` only.
        """
        if self.count == 1:
            return rows
        everything = rows.new_zeros(whole, *rows.shape[1:])
        everything[part] = rows.detach()
        self.add_up(everything)
        return torch.cat([everything[: part.start], rows, everything[part.stop :]])

    def add_up(self, values: Tensor) -> Tensor:
        """Replace `values` by their sum over the processes, and return them."""
        if self.count > 1:
            torch.distributed.all_reduce(values)
        return values

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its sum over the processes."""
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        self.add_up(flat)
        for gradient, summed in zip(
            gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True
        ):
            gradient.copy_(summed.view_as(gradient))

    def from_first(self, make: Callable[[], Result]) -> Result:
        """What the first process makes, in all of them; the others only wait for it."""
        if self.count == 1:
            return make()
        made: list[Result | None] = [make() if self.first else None]
        torch.distributed.broadcast_object_list(made)
        result: Result = made[0]  # type: ignore[assignment]
        return result

    def share_weights(self, model: nn.Module) -> None:
        """Give every process the first one's parameters and buffers."""
        if self.count > 1:
            for tensor in model.state_dict().values():
                torch.distributed.broadcast(tensor, 0)

    def wait_for_all(self) -> None:
        """Return when every process is here."""
        if self.count > 1:
            torch.distributed.barrier()


ALONE = Ranks(0, 1)
