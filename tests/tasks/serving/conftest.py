"""What the tests of this folder have in common."""

from __future__ import annotations

from tests.index_places import place

__all__ = ["place"]
