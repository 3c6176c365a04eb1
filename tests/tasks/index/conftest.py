"""What the tests of this folder have in common."""

from __future__ import annotations

from tests.films import film_project, made_films
from tests.index_places import place

__all__ = ["film_project", "made_films", "place"]
