"""Promotion and rollback: which version becomes the champion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ssvh_model.errors import UserError
from ssvh_model.progress import Progress
from tasks.machine.progress import Say
from tasks.params.sections import Params
from tasks.promotion.gate import Measured, Verdict, judge
from tasks.promotion.log import PromotionLog, champions
from tasks.promotion.turn import Decision, in_turn
from tasks.records.store import git_commit
from tasks.records.tags import ROLLED_BACK_TAG
from tasks.registry.versions import Registry


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
        UserError: MLflow is away, there is no such version, its files or the champion's are not what was
            registered, or there are no features to measure with. The champion stays.
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
    return _with_index(params, in_turn(registry, record, decide, say), say, progress)


def rollback(
    params: Params,
    *,
    to: str,
    by: str,
    reason: str,
    dry_run: bool,
    say: Say,
    progress: Callable[[str], Progress],
) -> Decision:
    """Return to the champion before the present one, or to any version.

    Args:
        params: params.yaml.
        to: alias or version number; "" for the previous champion.
        by: who or what started this.
        reason: why.
        dry_run: check, but write nothing.
        say: takes a line.
        progress: makes a progress for something that is counted.

    Raises:
        UserError: MLflow is away, there is no previous champion, or its files are not what was registered.
            The champion stays.
    """
    from tasks.promotion.measure import verified

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
    return _with_index(params, in_turn(registry, record, decide, say), say, progress)


def _with_index(
    params: Params, decision: Decision, say: Say, progress: Callable[[str], Progress]
) -> Decision:
    """Bring this machine's index to the champion's codes, if there is one: after a promotion that was killed
    before it could, too.
    """
    from tasks.index.refresh import refresh_index

    if decision.record["outcome"] != "refused":
        try:
            refresh_index(params, say=say, progress=progress)
        except UserError as error:
            say(
                f"the index stays with its old codes, which go on working: {error}; `ssvh index --refresh` tries again"
            )
    return decision


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
    from tasks.promotion.measure import CannotCompare, Measurement, verified

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
        **_without_labels(challenger, champion),
        "videos_per_second": round(challenger.videos_per_second, 1),
        "megabytes": round(challenger.megabytes, 3),
        **verdict.record(),
    }


def _without_labels(challenger: Measured, champion: Measured | str | None) -> dict[str, float | None]:
    if (own := challenger.unlabelled) is None:
        return {}
    other = champion.unlabelled if isinstance(champion, Measured) else None
    return {
        "label_free_score": own.score,
        "champion_label_free_score": other.score if other is not None else None,
        "itq_label_free_score": own.itq,
    }
