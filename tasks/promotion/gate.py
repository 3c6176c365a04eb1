"""The gate of a promotion: from what was measured of challenger and champion to promoted or kept, with the
reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ssvh_model.retrieval.bootstrap import PairedDifference, paired_difference
from tasks.records.tags import NONE_RAISED

if TYPE_CHECKING:
    from ssvh_model.training.label_free import Views
    from tasks.params.sections import Promotion
    from tasks.promotion.unlabelled import UnlabelledVideos

WITHOUT_LABELS = "score without labels"


@dataclass(frozen=True)
class Unlabelled:
    """A version as it is measured without labels.

    Attributes:
        score: of the codes.
        bits: K.
        codes: of the videos.
        videos: that it is measured on.
    """

    score: float
    bits: int
    codes: Views
    videos: UnlabelledVideos

    @cached_property
    def itq(self) -> float:
        """The score of ITQ with as many bits; asked of the challenger alone."""
        return self.videos.score_of_itq(self.bits)


@dataclass(frozen=True)
class Measured:
    """A version as it is measured now.

    Attributes:
        version: number as text.
        gmap, itq, float_: of the codes, of ITQ with as many bits, of the features; None where it can't be
            measured.
        reasons: why, by the names of `Comparison.reasons`.
        average_precision, itq_average_precision: AP@K of every query, [q, 6] float64; None as `gmap` and
            `itq`.
        bits: K.
        videos_per_second: of encoding stored features here.
        megabytes: of its files.
        checks_raised: failure checks that stood at the end of its training, "none" for none; None if the
            version does not tell.
        unlabelled: what was measured without labels; None where there are some, or too few videos.
    """

    version: str
    gmap: float | None
    itq: float | None
    float_: float | None
    reasons: Mapping[str, str]
    average_precision: np.ndarray | None
    itq_average_precision: np.ndarray | None
    bits: int
    videos_per_second: float
    megabytes: float
    checks_raised: str | None
    unlabelled: Unlabelled | None = None


@dataclass(frozen=True)
class Check:
    """One condition of the gate.

    Attributes:
        name: for a person.
        passed: None if it could not be measured.
        found, wanted: in words.
    """

    name: str
    passed: bool | None
    found: str
    wanted: str


@dataclass(frozen=True)
class Verdict:
    """What the gate says.

    Attributes:
        passed: the challenger may take the champion's place.
        checks: all conditions.
        difference: to the champion's GMAP; None without a champion or where the two can't be compared.
        reason: in a line.
    """

    passed: bool
    checks: tuple[Check, ...]
    difference: PairedDifference | None
    reason: str

    def record(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "checks": [asdict(check) for check in self.checks],
            "difference": self.difference.record() if self.difference is not None else None,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Case:
    """What a condition judges.

    Attributes:
        challenger: the one that would be promoted.
        champion: the one that it would replace; the reason why it can't be measured on these videos; None if
            there is no champion.
        difference: to the champion's GMAP; None without a champion or where the two can't be compared.
        to_itq: the challenger's difference to the GMAP of ITQ with as many bits; None where it has none.
        settings: section `promotion` of params.yaml.
    """

    challenger: Measured
    champion: Measured | str | None
    difference: PairedDifference | None
    to_itq: PairedDifference | None
    settings: Promotion


def judge(
    challenger: Measured,
    champion: Measured | str | None,
    settings: Promotion,
    *,
    seed: int,
    unmeasured: bool,
) -> Verdict:
    """Hold a challenger against the gate.

    Args:
        challenger: the one that would be promoted.
        champion: the one that it would replace; the reason why it can't be measured on these videos; None if
            there is no champion.
        settings: section `promotion` of params.yaml.
        seed: of the bootstrap.
        unmeasured: let pass what can't be measured.
    """
    other = champion.average_precision if isinstance(champion, Measured) else None
    own = challenger.average_precision
    difference = _difference(own, other, settings, seed)
    to_itq = _difference(own, challenger.itq_average_precision, settings, seed)
    case = Case(challenger, champion, difference, to_itq, settings)
    checks = tuple(condition(case) for condition in CONDITIONS)
    failed = [check for check in checks if check.passed is False]
    open_ = [check for check in checks if check.passed is None]
    passed = not failed and (unmeasured or not open_)
    reason = _passed(challenger, champion, open_) if passed else _failed(failed, [] if unmeasured else open_)
    return Verdict(passed, checks, difference, reason)


def _difference(
    own: np.ndarray | None, other: np.ndarray | None, settings: Promotion, seed: int
) -> PairedDifference | None:
    if own is None or other is None:
        return None
    return paired_difference(
        own,
        other,
        resamples=settings.resamples,
        confidence=settings.confidence,
        seed=seed,
    )


def better_than_the_champion(case: Case) -> Check:
    """The interval of the difference in GMAP, or without labels in the score, lies above
    `promotion.margin`.
    """
    name, settings = "better than the champion", case.settings
    wanted = (
        f"lower end of the {settings.confidence:.0%} interval above {settings.margin:g} (promotion.margin)"
    )
    if case.champion is None:
        return Check(name, True, "there is no champion yet", wanted)
    difference = case.difference
    own, other = case.challenger.unlabelled, None
    if isinstance(case.champion, Measured):
        other = case.champion.unlabelled
    if own is not None and other is not None:
        low = float(
            np.quantile(own.videos.differences(own.codes, other.codes), (1 - settings.confidence) / 2)
        )
        found = f"{WITHOUT_LABELS} {own.score - other.score:+.4f}, lower end {low:+.4f}"
        return Check(name, low > 0, found, f"lower end of the {settings.confidence:.0%} interval above 0")
    if difference is None:
        reason = case.champion if isinstance(case.champion, str) else case.champion.reasons.get("gmap", "")
        return Check(name, None, reason, wanted)
    return Check(name, difference.low > settings.margin, f"GMAP {_interval(difference)}", wanted)


def at_least_as_good_as_itq(case: Case) -> Check:
    """GMAP is not below that of ITQ with as many bits by more than the queries leave to chance; or without
    labels the score is not below.
    """
    challenger, confidence = case.challenger, f"{case.settings.confidence:.0%}"
    name = "at least as good as ITQ"
    if (without := challenger.unlabelled) is not None:
        found = f"{WITHOUT_LABELS} {without.score:.4f}, ITQ {without.itq:.4f}"
        return Check(name, without.score >= without.itq, found, f"that of ITQ, {challenger.bits} bits")
    wanted = f"GMAP of ITQ, {challenger.bits} bits, within the {confidence} interval"
    for value, key in ((challenger.gmap, "gmap"), (challenger.itq, "yardsticks.itq")):
        if value is None:
            return Check(name, None, challenger.reasons.get(key, "not measured"), wanted)
    assert case.to_itq is not None, "both have a GMAP"
    found = f"GMAP {challenger.gmap:.4f}, ITQ {challenger.itq:.4f}"
    if case.to_itq.difference < 0:
        found += f", difference {_interval(case.to_itq)}"
    return Check(name, case.to_itq.high >= 0, found, wanted)


def _interval(difference: PairedDifference) -> str:
    return f"{difference.difference:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"


def failure_checks(case: Case) -> Check:
    """No failure check was raised at the end of its training."""
    raised = case.challenger.checks_raised
    found = "the version does not tell" if raised is None else f"{raised} raised"
    return Check("failure checks", None if raised is None else raised == NONE_RAISED, found, "none raised")


def encoding_speed(case: Case) -> Check:
    """It encodes fast enough on this machine."""
    found, least = case.challenger.videos_per_second, case.settings.videos_per_second
    wanted = f"at least {least:g} (promotion.videos_per_second)"
    return Check("encoding speed", found >= least, f"{found:.0f} videos/s", wanted)


def size(case: Case) -> Check:
    """Its files are small enough."""
    found, most = case.challenger.megabytes, case.settings.megabytes
    return Check("size", found <= most, f"{found:.2f} MB", f"at most {most:g} (promotion.megabytes)")


# All of them must be met; tables show them in this order.
CONDITIONS: tuple[Callable[[Case], Check], ...] = (
    better_than_the_champion,
    at_least_as_good_as_itq,
    failure_checks,
    encoding_speed,
    size,
)


def _passed(challenger: Measured, champion: Measured | str | None, open_: Sequence[Check]) -> str:
    figure, own, itq = "GMAP", challenger.gmap, challenger.itq
    other = champion.gmap if isinstance(champion, Measured) else None
    if challenger.unlabelled is not None:
        figure, own, itq = WITHOUT_LABELS, challenger.unlabelled.score, challenger.unlabelled.itq
        of_champion = champion.unlabelled if isinstance(champion, Measured) else None
        other = of_champion.score if of_champion is not None else None
    against = {"of the champion": other, "of ITQ": itq}
    parts = [f"{value:.4f} {whose}" for whose, value in against.items() if value is not None]
    scores = (
        [] if own is None else [f"{figure} {own:.4f}" + (f" against {', '.join(parts)}" if parts else "")]
    )
    return "; ".join(
        [
            "passed the gate",
            *scores,
            *(f"not measured and let pass: {check.name} ({check.found})" for check in open_),
        ]
    )


def _failed(failed: Sequence[Check], open_: Sequence[Check]) -> str:
    return "; ".join(
        [f"{check.name}: {check.found}, wanted is {check.wanted}" for check in failed]
        + [f"{check.name} can't be measured: {check.found}" for check in open_]
    )
