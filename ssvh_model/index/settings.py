"""How an index searches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Approximate = Literal["cells", "hnsw"]
WAYS: tuple[Approximate, ...] = get_args(Approximate)


@dataclass(frozen=True)
class IndexSettings:
    """How an index searches.

    Attributes:
        exact_up_to: rows; an index that is made of more is searched approximately. What is added or removed
            later does not change that.
        cells: number of cells then.
        probes: cells that a query looks into.
        approximate: cells, or hnsw, which PostgreSQL has.
        reach: of hnsw, how many rows a query keeps in view on its way (`hnsw.ef_search`).

    Raises:
        ValueError: a value is none of those that are allowed.
    """

    exact_up_to: int
    cells: int
    probes: int
    approximate: Approximate = "cells"
    reach: int = 512

    def __post_init__(self) -> None:
        for name in ("exact_up_to", "cells", "probes", "reach"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} is {value!r}; allowed are whole numbers from 1")
        if self.approximate not in WAYS:
            raise ValueError(f"approximate is {self.approximate!r}; allowed are {' and '.join(WAYS)}")
