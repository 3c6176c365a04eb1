"""Taking one's turn at the champion, so that a kill at any moment leaves one champion and a log that can be
finished.

The order of the steps is what makes that hold. (1) An entry of the log is taken, which is whose turn it is.
(2) Challenger and champion are measured. (3) The decision is written into the entry. (4) The alias is moved,
in one step of MLflow. (5) Both versions are tagged and the entry is closed. Whoever finds an entry that was
left open between (3) and (5) sees from the alias whether (4) happened.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ssvh_model.errors import UserError
from tasks.machine.progress import Say
from tasks.promotion.log import Entry, PromotionLog, headline, interval
from tasks.records.tags import DECIDED_AT_TAG, DECISION_TAG, MOST_CHARACTERS, ROLLED_BACK_TAG
from tasks.registry.versions import Registry

# Outcomes that move the champion, and what the log says until it has moved.
MOVING = {"promoted": "promoting", "rolled back": "rolling back"}
DECIDED = (*MOVING, "kept")


@dataclass(frozen=True)
class Decision:
    """What came of it.

    Attributes:
        record: as in the log. `outcome` is "promoted", "kept" (by the gate), "rolled back", "refused" (it was
            not judged) or "unchanged" (there was nothing to do).
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


def in_turn(
    registry: Registry, record: dict[str, Any], decide: Callable[[], dict[str, Any]], say: Say
) -> Decision:
    """Take an entry of the log, decide when it is its turn, and do what was decided.

    Args:
        registry: of the model.
        record: what is known before: `version`, `by`, ...
        decide: called when no other promotion is going on; returns the record with `outcome`, `before` and
            `reason`.
        say: takes a line.

    Raises:
        UserError: as `decide`; MLflow does not answer; or the champion was changed meanwhile by somebody
            else.
    """
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
    record = {**record, "outcome": "abandoned", "reason": "its process ended before the champion was moved"}
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
    # If this fails, nobody knows whether it happened: the entry stays open, and the next that comes settles
    # it.
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
    """What both versions of a decision are tagged with: always the same names, so that nothing of an earlier
    decision is left.
    """
    return {
        DECISION_TAG: headline(record),
        "ssvh.promotion.reason": record["reason"][:MOST_CHARACTERS],
        "ssvh.promotion.by": record["by"],
        DECIDED_AT_TAG: record["at"],
        "ssvh.promotion.entry": f"models:/{log.name}/{entry.number}",
        "ssvh.promotion.gmap": _shown(record.get("gmap")),
        "ssvh.promotion.champion_gmap": _shown(record.get("champion_gmap")),
        "ssvh.promotion.interval": interval(record),
    }


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"
