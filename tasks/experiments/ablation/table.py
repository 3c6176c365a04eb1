"""The ablation's table, for a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.table import Table

from ssvh_model.training.convergence import Reached
from tasks.experiments.ablation.comparison import AblationResult, Row
from tasks.experiments.tables import percent, spread

COLUMNS = ("variant", "GMAP", "to full, %", "interval", "paper, %", "reproduces?")


def cells(row: Row) -> tuple[str, ...]:
    """One row as text, in the order of `COLUMNS`."""
    found, paper = row.difference, row.variant.paper
    return (
        row.variant.name,
        spread(row.gmaps),
        "" if found is None else percent(found.relative),
        "" if found is None else f"{percent(found.relative_low)} to {percent(found.relative_high)}",
        "" if paper is None else f"-{paper:.1f}",
        row.verdict,
    )


def table(ablation: AblationResult, confidence: float) -> Table:
    """For a terminal."""
    shown = Table(box=SIMPLE)
    for column in (*COLUMNS[:3], f"{100 * confidence:g} % interval", *COLUMNS[4:]):
        shown.add_column(column, no_wrap=True)
    for row in ablation.rows:
        shown.add_row(*cells(row))
    return shown


def markdown(ablation: AblationResult, confidence: float, heading: str) -> str:
    """The same, with the notes, as Markdown."""
    columns = [*COLUMNS[:3], f"{100 * confidence:g} % interval", *COLUMNS[4:]]
    lines = [heading, "", _line(columns), _line(["---"] * len(columns))]
    lines += [_line(cells(row)) for row in ablation.rows]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes(ablation)), ""])


def notes(ablation: AblationResult) -> list[str]:
    """What stands below the table, a sentence each."""
    float_, itq = (ablation.yardsticks[name] for name in ("float", "itq"))
    found = [
        f"Yardsticks on the same queries: float {_figure(float_)}, ITQ {_figure(itq)}.",
        'The difference is paired over queries and seeds. "yes": the interval is below 0, as in the paper, whose own figures stand for other data.',
    ]
    if len(ablation.seeds) < 3:
        found.append(
            f"{len(ablation.seeds)} seeds: the interval holds little of the spread between trainings."
        )
    if any(row.variant.paper == 5.9 for row in ablation.rows):
        found.append(
            'The paper\'s 5.9 % is for "without gradient reversal (random frame sampling)", so it stands beside both samplers.'
        )
    found.append(f"Convergence with clusters against without: {ablation.convergence_verdict}.")
    found += [
        f"Seed {one.seed}: validation GMAP {one.level:.4f} is reached by the full method {_when(one.full)}, without clusters {_when(one.without, one.epochs)}."
        for one in ablation.convergence
    ]
    return found


def _figure(value: float | None) -> str:
    return "not measurable" if value is None else f"{value:.4f}"


def _when(reached: Reached, epochs: int = 0) -> str:
    if reached.epochs is None or reached.seconds is None:
        return f"never in {epochs} epochs"
    return f"after {reached.epochs} epochs ({reached.seconds:.0f} s)"


def _line(values: Sequence[str]) -> str:
    return f"| {' | '.join(values)} |"
