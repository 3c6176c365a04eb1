"""The automatic choices, judged on corpora that had no part in choosing how they choose.

    python benchmarks/left_out.py

Trains nothing: it reads what `start_choice.py` and `selection.py` have written to benchmarks/results. Each
corpus is left out in turn. Of all rules (each start as a fixed one, or the one whose clusters agree most; the
start, the end, or the better one by some figure) the one is taken that is best on the other corpora, and
judged on the one that was left out: GMAP of the queries of what it takes, as a share of the best that it
could have taken, means over lengths or trainings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from machine import read_result, write_result  # isort: skip

import numpy as np
from rich.console import Console
from rich.table import Table
from selection import gmaps

STARTS = {
    "demo": "start_choice-demo",
    "kitchen scenes": "start_choice-gtea",
    "webcam clips": "start_choice-webcam",
}
TRAININGS = ("selection", "selection-unseen")
STATES = ("start", "end", "auto", "label_free", "labels")
Shares = Mapping[str, float]  # by the name of a rule


def starts_of(lengths: Sequence[Mapping[str, Any]]) -> Shares:
    """What each rule for the start has on one corpus, a mean over lengths of codes."""
    shares: dict[str, list[float]] = {}
    for one in lengths:
        best = max(start["gmap"] for start in one["starts"])
        taken = {f"{start['whitening']}, {start['within_video']}": start["gmap"] for start in one["starts"]}
        taken["agreement"] = one["starts"][one["chosen"]]["gmap"]
        for rule, gmap in taken.items():
            shares.setdefault(rule, []).append(gmap / best)
    return {rule: float(np.mean(values)) for rule, values in shares.items()}


def states_of(trainings: Sequence[Mapping[str, Any]]) -> Shares:
    """What each rule for start or end has on one corpus, a mean over trainings."""
    found = [gmaps(training["measured"]) for training in trainings]
    return {
        rule: float(np.mean([one[rule] / max(one["start"], one["end"]) for one in found])) for rule in STATES
    }


def left_out(corpora: Mapping[str, Shares], automatic: str) -> list[dict[str, Any]]:
    """Each corpus judged by the rule that is best on the others, and by the best one but the automatic."""
    made = []
    for name, own in corpora.items():
        others = [shares for other, shares in corpora.items() if other != name]
        means = {rule: float(np.mean([shares[rule] for shares in others])) for rule in own}
        simple = {rule: mean for rule, mean in means.items() if rule != automatic}
        judged = {"fitted": judge(means, own), "fitted without it": judge(simple, own)}
        made.append({"corpus": name, **judged, "shares": dict(own)})
    return made


def judge(fit: Mapping[str, float], own: Shares) -> dict[str, Any]:
    """The rules that fit best, equals all, and the share of the worst of these."""
    rules = [rule for rule, mean in fit.items() if mean == max(fit.values())]
    return {"rules": rules, "share": min(own[rule] for rule in rules)}


def table(title: str, automatic: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """A row a corpus: what was fitted on the others, what it is worth, and what each rule would be."""
    rules = list(rows[0]["shares"])
    without = f"without {automatic}"
    made = Table("left out", "fitted on the others", "share", without, "share", *rules, title=title)
    for one in rows:
        cells = [one["corpus"]]
        for judged in (one["fitted"], one["fitted without it"]):
            cells += [" or ".join(judged["rules"]), f"{judged['share']:.3f}"]
        made.add_row(*cells, *(f"{one['shares'][rule]:.3f}" for rule in rules))
    return made


def main() -> None:
    """Read, judge, print and write."""
    starts = {name: starts_of(read_result(file)["lengths"]) for name, file in STARTS.items()}
    trainings: dict[str, list[dict[str, Any]]] = {}
    for file in TRAININGS:
        for training in read_result(file)["trainings"]:
            trainings.setdefault(training["corpus"], []).append(training)
    states = {name: states_of(some) for name, some in trainings.items()}
    questions = {
        "which start (whitening, within_video)": ("agreement", starts),
        "start or end": ("auto", states),
    }
    judged = {title: left_out(corpora, automatic) for title, (automatic, corpora) in questions.items()}
    write_result("left_out", judged)
    console = Console()
    for title, (automatic, _) in questions.items():
        (console if console.is_terminal else Console(width=190)).print(table(title, automatic, judged[title]))


if __name__ == "__main__":
    main()
