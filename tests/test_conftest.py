"""What `conftest.py` sets for all tests."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st


@settings(max_examples=2)
@given(st.just(0.3))
def test_a_property_may_take_long_on_a_busy_machine(seconds: float) -> None:
    time.sleep(seconds)
