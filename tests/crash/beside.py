"""Calls in a process of its own: connections to a database outlive its file, and here a project's place is
taken by the next one.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")


def called_beside(function: Callable[..., Result], *arguments: Any) -> Result:
    """What a function returns, called in a fresh process; it raises what the function raises."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        return pool.submit(function, *arguments).result()
