"""Which tests of engines can run here."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from ssvh_model.video.engines.engine import PACKAGES


def need(engine: str) -> None:
    """Skip the test where a package of an engine is missing."""
    for package in PACKAGES[engine]:
        if find_spec(package) is None:
            how = "; `make test-onnxruntime` installs it" if engine == "onnxruntime" else ""
            pytest.skip(f"{package} is not installed{how}")
