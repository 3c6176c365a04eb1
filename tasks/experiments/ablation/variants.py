"""The variants of the ablation: what each changes, as params.yaml lists them, and what the paper says of
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ssvh_model.errors import UserError
from tasks import paths
from tasks.experiments.ablation.schedules import at_once, in_sequence
from tasks.params.changes import with_changes
from tasks.params.sections import Params

FULL = "full"
SCHEDULES = {"at-once": at_once, "in-sequence": in_sequence}

# How much GMAP falls without it, in per cent (Lian et al., CVPR 2025, as its summary gives the figures). The
# one for the reversal is called "without GRL (random frame sampling baseline)" there, which may mean either
# of the two samplers; it stands beside both.
PAPER = {
    "random-sampler": 5.9,
    "cooperative-sampler": 5.9,
    "without-L_VC": 5.1,
    "without-L_P2Set": 4.8,
    "without-L_FR": 3.9,
}
PAPER_CONVERGENCE = 70.0
"""How much sooner the full method converges than without clusters, in per cent."""


@dataclass(frozen=True)
class Variant:
    """One row of the ablation.

    Attributes:
        name: as in params.yaml.
        params: of the variant.
        is_full: whether it changes nothing, because params.yaml is already that way.
    """

    name: str
    params: Params
    is_full: bool

    @property
    def paper(self) -> float | None:
        """By how many per cent GMAP falls in the paper."""
        return PAPER.get(self.name)


def variants(params: Params, names: Sequence[str] = ()) -> list[Variant]:
    """The full method and what differs from it, in the order of params.yaml.

    Args:
        params: the full method.
        names: of the variants that are wanted beside the full method; none means all.

    Raises:
        UserError: an unknown name, or a change that is not possible.
    """
    listed = params.ablation.variants
    for name in names:
        if name != FULL and name not in listed:
            raise UserError(f"--variants {name}: allowed are {', '.join((FULL, *listed))}")
    found = [Variant(FULL, params, is_full=True)]
    for name, changes in listed.items():
        if name == FULL:
            raise UserError(
                f"{paths.PARAMS}: ablation.variants.{FULL} is the method without changes; choose another name"
            )
        where = f"{paths.PARAMS}: ablation.variants.{name}"
        changed = with_changes(params, _resolved(changes, params, where), where=where)
        if not names or name in names:
            found.append(Variant(name, changed, is_full=changed == params))
    return found


def _resolved(changes: Mapping[str, Any], params: Params, where: str) -> dict[str, Any]:
    """With the name of a schedule replaced by its rounds."""
    schedule = changes.get("rounds")
    if not isinstance(schedule, str):
        return dict(changes)
    if schedule not in SCHEDULES:
        raise UserError(
            f"{where}: rounds is {schedule!r}; allowed is {' | '.join(SCHEDULES)}, or rounds as in rounds"
        )
    return {**changes, "rounds": SCHEDULES[schedule](params.rounds) if params.rounds else {}}
