"""One index and one server for each file of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.serving import Searchable, Server, make_searchable, serving


@pytest.fixture(scope="module")
def searchable(tmp_path_factory: pytest.TempPathFactory) -> Searchable:
    return make_searchable(tmp_path_factory.mktemp("searchable"))


@pytest.fixture(scope="module")
def server(searchable: Searchable) -> Iterator[Server]:
    with serving(searchable.folder, "--megabytes", "1", "--seconds", "5", "--uploads", "1") as started:
        yield started
