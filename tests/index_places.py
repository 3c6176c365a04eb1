"""Where an index is in tests that hold for all of its places."""

from __future__ import annotations

import pytest

from tasks import paths
from tasks.index.place import ADDRESS

# Of an index in PostgreSQL, `make test` has the tests of the library and one that goes all the way.
in_both = pytest.mark.parametrize(
    "place", ["folder", pytest.param("postgres", marks=pytest.mark.slow)], indirect=True
)


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
