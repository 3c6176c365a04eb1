"""Promotion and rollback: who becomes the champion, decided, done and written down so that a kill at any moment leaves one champion.

The order of the steps is what makes that hold. (1) An entry of the log is taken, which is whose turn it is. (2) Challenger and champion are
measured. (3) The decision is written into the entry. (4) The alias is moved, in one step of MLflow. (5) Both versions are tagged and the
entry is closed. Whoever finds an entry that was left open between (3) and (5) sees from the alias whether (4) happened.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ssvh_model.errors import UserError
from ssvh_model.progress import Progress
from tasks.params import Params
from tasks.promotion_gate import Measured, Verdict, judge
from tasks.promotion_log import MOST_CHARACTERS, Entry, PromotionLog, champions, headline, interval
from tasks.registry import Registry
from tasks.tracking import git_commit

ROLLED_BACK_TAG = "ssvh.rolled_back"
MOVING = {
    "promoted": "promoting",
    "rolled back": "rolling back",
}  # outcome -> what stands there until the alias has moved
DECIDED = (*MOVING, "kept")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Decision:
    """What came of it.

    Attributes:
        record: as in the log. `outcome` is "promoted", "kept" (by the gate), "rolled back", "refused" (it was not judged) or "unchanged"
            (there was nothing to do).
        number: of the entry in the log; None after a dry run.
    """

    record: dict[str, Any]
    number: int | None

    @property
    def moved(self) -> bool:
        """Whether there is another champion now (after a dry run: would be)."""
        return self.record["outcome"] in MOVING

    @property
    def headline(self) -> str:
        """In a few words."""
        return headline(self.record)


def promote(
    params: Params,
    *,
    which: str,
    by: str,
    dry_run: bool,
    unmeasured: bool,
    again: bool,
    say: Say,
    progress: Callable[[str], Progress],
) -> Decision:
    """Hold a challenger against the champion, and put it in its place if it passes the gate.

    Args:
        params: params.yaml; the gate is its section `promotion`.
        which: alias or version number of the challenger.
        by: who or what started this.
        dry_run: measure and judge, but write nothing.
        unmeasured: let pass what can't be measured.
        again: allow a version that was rolled back.
        say: takes a line.
        progress: makes a progress for something that is counted.

    Raises:
        UserError: MLflow is away, there is no such version, its files or the champion's are not what was registered, or there are no
            features to measure with. The champion stays.
    """
    registry = Registry(params.register_.model)
    version = registry.resolve(which)
    record = {"action": "promote", "version": version, "by": by, "commit": git_commit()}

    def decide() -> dict[str, Any]:
        before = registry.champion()
        decided = {**record, "before": before}
        if before == version:
            return {**decided, "outcome": "unchanged", "reason": f"version {version} is the champion already"}
        rolled_back = registry.version(version).tags.get(ROLLED_BACK_TAG)
        if rolled_back and not again:
            reason = f"version {version} was rolled back ({rolled_back}); --again tries it all the same"
            return {**decided, "outcome": "refused", "reason": reason}
        return {**decided, **_measured(params, registry, version, before, unmeasured, progress)}

    if dry_run:
        return Decision(decide(), None)
    return _in_turn(registry, record, decide, say)


def rollback(params: Params, *, to: str, by: str, reason: str, dry_run: bool, say: Say) -> Decision:
    """Return to the champion before the present one, or to any version.

    Args:
        params: params.yaml.
        to: alias or version number; "" for the previous champion.
        by: who or what started this.
        reason: why.
        dry_run: check, but write nothing.
        say: takes a line.

    Raises:
        UserError: MLflow is away, there is no previous champion, or its files are not what was registered. The champion stays.
    """
    from tasks.promotion_measure import verified

    registry = Registry(params.register_.model)
    log = PromotionLog(registry.client, registry.model)
    target = registry.resolve(to) if to else _previous(registry, log)
    record = {"action": "rollback", "version": target, "by": by, "commit": git_commit()}

    def decide() -> dict[str, Any]:
        before = registry.champion()
        if before is None:
            raise UserError(f"{registry.model} has no champion; there is nothing to roll back")
        if before == target:
            return {
                **record,
                "before": before,
                "outcome": "unchanged",
                "reason": f"version {target} is the champion already",
            }
        if not to and target != _previous(registry, log):
            raise UserError(
                f"the champion was changed meanwhile, to version {before}; look at `ssvh models`, then roll back again"
            )
        verified(registry.version(target), registry.model).load()
        return {**record, "before": before, "outcome": "rolled back", "reason": reason or "no reason given"}

    if dry_run:
        return Decision(decide(), None)
    return _in_turn(registry, record, decide, say)


def _previous(registry: Registry, log: PromotionLog) -> str:
    champion = registry.champion()
    if champion is None:
        raise UserError(f"{registry.model} has no champion; there is nothing to roll back")
    with registry.asked():
        path = champions(log.entries())
    if champion not in path:
        path.append(champion)  # made champion by hand, past the log
    earlier = path[: path.index(champion)]
    if not earlier:
        raise UserError(
            f"version {champion} is the first champion of {registry.model}; `ssvh rollback --to VERSION` takes any other version"
        )
    return earlier[-1]


def _measured(
    params: Params,
    registry: Registry,
    version: str,
    before: str | None,
    unmeasured: bool,
    progress: Callable[[str], Progress],
) -> dict[str, Any]:
    """The part of a record that the gate makes."""
    from tasks.promotion_measure import CannotCompare, Measurement, verified

    challenger_version = registry.version(version)
    source = verified(challenger_version, registry.model)
    champion: Measured | str | None = None
    if before is not None:
        champion_version = registry.version(before)
        try:
            champion_source = verified(champion_version, registry.model)
        except UserError as error:
            if not unmeasured:
                raise
            champion = str(error)
    measurement = Measurement(params, progress)
    challenger = measurement.measure(source, challenger_version.tags)
    if before is not None and champion is None:
        try:
            champion = measurement.measure(champion_source, champion_version.tags)
        except CannotCompare as error:
            champion = str(error)
    verdict = judge(challenger, champion, params.promotion, seed=params.seed, unmeasured=unmeasured)
    return {
        "outcome": "promoted" if verdict.passed else "kept",
        **_figures(challenger, champion, verdict),
        "corpus": measurement.corpus,
        "query": measurement.query,
        "database": measurement.database,
    }


def _figures(challenger: Measured, champion: Measured | str | None, verdict: Verdict) -> dict[str, Any]:
    return {
        "gmap": challenger.gmap,
        "champion_gmap": champion.gmap if isinstance(champion, Measured) else None,
        "itq_gmap": challenger.itq,
        "float_gmap": challenger.float_,
        "videos_per_second": round(challenger.videos_per_second, 1),
        "megabytes": round(challenger.megabytes, 3),
        **verdict.record(),
    }


def _in_turn(
    registry: Registry, record: dict[str, Any], decide: Callable[[], dict[str, Any]], say: Say
) -> Decision:
    """Take an entry of the log, decide when it is its turn, and do what was decided."""
    log = PromotionLog(registry.client, registry.model)
    with registry.asked():
        entry = log.begin(
            record["version"], {**record, "at": datetime.now(UTC).isoformat(timespec="seconds")}
        )
    record = entry.record
    try:
        if (other := _before_us(registry, log, entry, say)) is not None:
            reason = (
                f"another one was first: entry {other.number} of {log.name}, for version {other.record['version']}, "
                f"by {other.record['by']}, is going on since {other.record['at']}"
            )
            decided = {**record, "outcome": "refused", "reason": reason, "before": registry.champion()}
        else:
            with log.kept_alive(entry):
                decided = {**record, **decide()}
    except BaseException as error:
        _give_up(registry, log, entry, error)
        raise
    if decided["outcome"] not in MOVING:
        _write_down(registry, log, entry, decided)
        return Decision(decided, entry.number)
    _move(registry, log, entry, decided)
    try:
        _write_down(registry, log, entry, decided)
    except UserError as error:
        say(
            f"version {decided['version']} is the champion; its entry in the log waits for the next `ssvh promote`: {error}"
        )
    return Decision(decided, entry.number)


def _before_us(registry: Registry, log: PromotionLog, entry: Entry, say: Say) -> Entry | None:
    """An earlier entry that is being worked on; those whose process has ended are settled."""
    with registry.asked():
        earlier = [one for one in log.entries() if one.open and one.number < entry.number]
    for one in earlier:
        if not one.gone(entry.created):
            return one
        settled = _settle(registry, log, one)
        say(
            f"entry {one.number} of {log.name} was left open by a process that has ended: {headline(settled)}"
        )
    return None


def _settle(registry: Registry, log: PromotionLog, entry: Entry) -> dict[str, Any]:
    """Close an entry whose process was killed: the alias tells how far it came."""
    record = entry.record
    for outcome, moving in MOVING.items():
        if record.get("outcome") == moving and registry.champion() == record["version"]:
            record = {**record, "outcome": outcome}
            _write_down(registry, log, entry, record)
            return record
    record = {**record, "outcome": "abandoned", "reason": "its process ended before it was decided"}
    with registry.asked():
        log.close(entry, record)
    return record


def _move(registry: Registry, log: PromotionLog, entry: Entry, decided: dict[str, Any]) -> None:
    """Move the alias, if it still is our turn and the champion still is the one that was compared with."""
    try:
        with registry.asked():
            log.note(entry, {**decided, "outcome": MOVING[decided["outcome"]]})
            log.show_life(entry)
            still_open = any(one.open for one in log.entries() if one.number == entry.number)
        if not still_open:
            raise UserError(
                f"entry {entry.number} of {log.name} was closed by another process, which took this one for dead"
            )
        if (now := registry.champion()) != decided["before"]:
            raise UserError(
                f"the champion was changed meanwhile, from version {decided['before']} to {now}; nothing was changed here"
            )
    except UserError as error:
        _give_up(registry, log, entry, error)
        raise
    # If this fails, nobody knows whether it happened: the entry stays open, and the next that comes settles it.
    registry.crown(decided["version"])


def _give_up(registry: Registry, log: PromotionLog, entry: Entry, error: BaseException) -> None:
    """Close an entry after an error, if MLflow takes it; else the next that comes settles it."""
    if not registry.answers():
        return
    reason = " ".join(str(error).split()) or type(error).__name__
    with contextlib.suppress(Exception):
        log.close(entry, {**entry.record, "outcome": "failed", "reason": reason})


def _write_down(registry: Registry, log: PromotionLog, entry: Entry, record: dict[str, Any]) -> None:
    """Tag both versions and close the entry."""
    if record["outcome"] in DECIDED:
        tags = _tags(log, entry, record)
        for version in filter(None, dict.fromkeys((record["version"], record.get("before")))):
            registry.tag(version, tags)
    if record["outcome"] == "rolled back":
        registry.tag(record["before"], {ROLLED_BACK_TAG: f"{record['at']}: {record['reason']}"})
    if record["outcome"] in MOVING:
        registry.untag(record["version"], ROLLED_BACK_TAG)
    with registry.asked():
        log.close(entry, record)


def _tags(log: PromotionLog, entry: Entry, record: dict[str, Any]) -> dict[str, str]:
    """What both versions of a decision are tagged with: always the same names, so that nothing of an earlier decision is left."""
    return {
        "ssvh.promotion.decision": headline(record),
        "ssvh.promotion.reason": record["reason"][:MOST_CHARACTERS],
        "ssvh.promotion.by": record["by"],
        "ssvh.promotion.at": record["at"],
        "ssvh.promotion.entry": f"models:/{log.name}/{entry.number}",
        "ssvh.promotion.gmap": _shown(record.get("gmap")),
        "ssvh.promotion.champion_gmap": _shown(record.get("champion_gmap")),
        "ssvh.promotion.interval": interval(record),
    }


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"
