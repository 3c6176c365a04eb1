"""What is searched: the ranges of params.yaml's section `tuning`, and the way from a trial's values to
parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ssvh_model.errors import UserError
from tasks import paths
from tasks.params.changes import with_changes
from tasks.params.keys import look_up
from tasks.params.sections import Params
from tasks.tuning.schedule import EPOCHS, GROWTH, LEAST, NUMBER, describe_rounds, make_rounds

if TYPE_CHECKING:
    from optuna import Trial

ROUNDS = "rounds"
SECTIONS = ("model", "sampler", "losses", "training", "warmup", "clustering")
SCALES = ("linear", "log")


@dataclass(frozen=True)
class Range:
    """Numbers between two bounds, which belong to it.

    Attributes:
        low, high: the bounds.
        log: whether magnitudes count alike instead of differences.
        whole: only whole numbers.
    """

    low: float
    high: float
    log: bool
    whole: bool

    def suggest(self, trial: Trial, name: str) -> float:
        """A trial's value. Of three digits, so that what is written into params.yaml is just what was
        trained.
        """
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        value = trial.suggest_float(name, self.low, self.high, log=self.log)
        return self.nearest(float(f"{value:.3g}"))

    def nearest(self, value: Any) -> float:
        """The value of the range that is nearest to a number."""
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class Choices:
    """A list of values."""

    values: tuple[Any, ...]

    def suggest(self, trial: Trial, name: str) -> Any:
        """A trial's value."""
        return trial.suggest_categorical(name, self.values)

    def nearest(self, value: Any) -> Any:
        """`value`, or where it is not in the list, the first."""
        return value if value in self.values else self.values[0]


@dataclass(frozen=True)
class Space:
    """The search space.

    Attributes:
        dimensions: name -> range or list. Names are dotted keys of params.yaml; those of the schedule are
            "rounds.number", ...
        search: the keys of params.yaml that trials change.
    """

    dimensions: Mapping[str, Range | Choices]
    search: tuple[str, ...]

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """A trial's values by name."""
        return {name: dimension.suggest(trial, name) for name, dimension in self.dimensions.items()}

    def changes(self, values: Mapping[str, Any], most_clusters: int) -> dict[str, Any]:
        """The values as changes of params.yaml: dotted key -> value, a whole section for the schedule."""
        changes = {name: value for name, value in values.items() if name in self.search}
        if ROUNDS in self.search:
            schedule = {name: values[f"{ROUNDS}.{name}"] for name in LEAST}
            changes[ROUNDS] = make_rounds(schedule, most_clusters)
        return changes

    def nearest(self, params: Params) -> dict[str, Any]:
        """The point of the space that is nearest to what params.yaml says."""
        content = params.model_dump(by_alias=True)
        own = {key: look_up(content, key) for key in self.search if key != ROUNDS}
        if ROUNDS in self.search and params.rounds:
            own |= {f"{ROUNDS}.{name}": value for name, value in describe_rounds(params.rounds).items()}
        return {
            name: dimension.nearest(own[name]) for name, dimension in self.dimensions.items() if name in own
        }

    def most_epochs(self, params: Params) -> int:
        """The most epochs that the rounds of a trial have together."""
        own = sum(one.epochs for one in params.rounds.values())
        longest = self.dimensions.get(f"{ROUNDS}.{EPOCHS}")
        return max(own, int(longest.high) if isinstance(longest, Range) else 0)


def read_space(params: Params) -> Space:
    """The search space that params.yaml asks for; ranges that are not searched are checked as well.

    Raises:
        UserError: about the first thing in the section `tuning` that is not possible.
    """
    where = f"{paths.PARAMS}: tuning"
    found: dict[str, dict[str, Range | Choices]] = {}
    for key, given in params.tuning.space.items():
        place = f"{where}.space.{key}"
        found[key] = (
            _schedule(given, place) if key == ROUNDS else {key: _dimension(params, key, given, place)}
        )
    search = params.tuning.search
    for key in search:
        if key not in found:
            raise UserError(f"{where}.search has {key}; allowed are keys of tuning.space: {', '.join(found)}")
    if len(set(search)) != len(search):
        raise UserError(f"{where}.search is {list(search)}; allowed is every key once")
    return Space({name: one for key in search for name, one in found[key].items()}, search)


def _dimension(params: Params, key: str, given: Any, place: str) -> Range | Choices:
    content = params.model_dump(by_alias=True)
    if key.partition(".")[0] not in SECTIONS:
        raise UserError(f"{place}: allowed are {ROUNDS} and keys of the sections {', '.join(SECTIONS)}")
    try:
        own = look_up(content, key)
    except UserError:
        raise UserError(f"{place}: {key} is not a key of params.yaml") from None
    found: Range | Choices
    if isinstance(given, list):
        if len(given) < 2 or any(isinstance(value, list | dict) for value in given):
            raise UserError(f"{place} is {given}; allowed is a list of at least two values")
        found, bounds = Choices(tuple(given)), given
    else:
        if isinstance(own, bool) or not isinstance(own, int | float):
            raise UserError(f"{place} is {given!r}; allowed is a list of values, because {key} is no number")
        found = _range(given, place, whole=isinstance(own, int))
        bounds = [given["from"], given["to"]]
    for value in bounds:
        with_changes(params, {key: value}, where=place)
    return found


def _schedule(given: Any, place: str) -> dict[str, Range | Choices]:
    if not isinstance(given, dict) or set(given) != set(LEAST):
        raise UserError(f"{place}: needed are the ranges {', '.join(LEAST)}, and nothing else")
    ranges = {}
    for name, least in LEAST.items():
        one = _range(given[name], f"{place}.{name}", whole=name != GROWTH)
        if one.low < least:
            raise UserError(f"{place}.{name}.from is {one.low:g}; allowed is from {least:g}")
        ranges[name] = one
    if ranges[EPOCHS].low < ranges[NUMBER].high:
        raise UserError(
            f"{place}.{EPOCHS}.from is {ranges[EPOCHS].low:g}; allowed is from {ranges[NUMBER].high:g}, "
            f"an epoch for each of the rounds ({NUMBER}.to)"
        )
    return {f"{ROUNDS}.{name}": one for name, one in ranges.items()}


def _range(given: Any, place: str, *, whole: bool) -> Range:
    if not isinstance(given, dict) or set(given) != {"from", "to", "scale"}:
        raise UserError(
            f"{place} is {given!r}; allowed is {{from: a number, to: a number, scale: {' | '.join(SCALES)}}}"
        )
    kind: Any = int if whole else int | float
    for side in ("from", "to"):
        if isinstance(given[side], bool) or not isinstance(given[side], kind):
            raise UserError(
                f"{place}.{side} is {given[side]!r}; allowed is a {'whole ' if whole else ''}number"
            )
    low, high, scale = given["from"], given["to"], given["scale"]
    if scale not in SCALES:
        raise UserError(f"{place}.scale is {scale!r}; allowed is {' | '.join(SCALES)}")
    if low > high:
        raise UserError(f"{place}.to is {high:g}; allowed is from {low:g}, which is its lower bound")
    if scale == "log" and low <= 0:
        raise UserError(f"{place}.from is {low:g}; allowed is above 0 on a scale of log")
    return Range(low, high, scale == "log", whole)
