"""Where an index is in tests that hold for all of its places."""

from __future__ import annotations

import pytest

from tasks import paths
from tasks.index.place import ADDRESS

in_both = pytest.mark.parametrize("place", ["folder", "postgres"], indirect=True)


@pytest.fixture
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The folder, or, in a test that is marked with `in_both`, a database of its own, too; commands find it
    by themselves.
    """
    if getattr(request, "param", "folder") == "folder":
        return str(paths.INDEX)
    address: str = request.getfixturevalue("vector_database")
    monkeypatch.setenv(ADDRESS, address)
    return address
