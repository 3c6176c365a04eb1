"""Searching for several at once: the codes of all who ask while others are searched for are one batch.

A batch reads the codes of the index once. And threads that search at the same time keep each other from the
processor's cache and from Python's lock: of fifty, each answer took twice the processor time that it takes of
one alone (benchmarks/serving.py).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from ssvh_model.moments.matching import Search


@dataclass
class _Question:
    codes: np.ndarray
    count: int
    answer: tuple[np.ndarray, np.ndarray] | Exception | None = None


class Together:
    """A search whose runs are shared by all threads that call it.

    Args:
        search: that runs in one thread at a time. The nearest that it finds are the same however many it is
            asked for.
    """

    def __init__(self, search: Search) -> None:
        self._search = search
        self._waiting: list[_Question] = []
        self._change, self._run = threading.Lock(), threading.Lock()

    def __call__(self, codes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """As `search` alone, and with what it raises."""
        question = _Question(codes, count)
        with self._change:
            self._waiting.append(question)
        with self._run:
            if question.answer is None:
                with self._change:
                    batch, self._waiting = self._waiting, []
                self._answer(batch)
        if isinstance(question.answer, Exception):
            raise question.answer
        assert question.answer is not None
        return question.answer

    def _answer(self, batch: list[_Question]) -> None:
        try:
            codes = np.concatenate([question.codes for question in batch])
            rows, distances = self._search(codes, max(question.count for question in batch))
        except Exception as error:
            for question in batch:
                question.answer = error
            return
        start = 0
        for question in batch:
            own = slice(start, start + len(question.codes))
            question.answer = rows[own, : question.count], distances[own, : question.count]
            start += len(question.codes)
