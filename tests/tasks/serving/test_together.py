"""Those who ask at once are answered by one search, each as if it had asked alone."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ssvh_model.index.scan import nearest
from ssvh_model.retrieval.hamming import as_words
from tasks.serving.together import Together

SECONDS = 120


class Search:
    """The exact search of some codes, which waits until it may go on."""

    def __init__(self) -> None:
        self.codes = np.random.default_rng(0).integers(0, 4, (300, 8), dtype=np.uint8)  # many equally near
        self.calls: list[int] = []
        self.began, self.go_on = threading.Event(), threading.Event()

    def alone(self, codes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        return nearest(as_words(codes), as_words(self.codes), count=count)

    def __call__(self, codes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        self.calls.append(len(codes))
        self.began.set()
        assert self.go_on.wait(SECONDS)
        if not codes.any():
            raise ValueError("nothing is searched for")
        return self.alone(codes, count)


def test_who_asks_while_another_is_searched_for_is_answered_together_with_the_others() -> None:
    search = Search()
    together = Together(search)
    rng = np.random.default_rng(1)
    questions = [
        (rng.integers(0, 4, (1 + number % 3, 8), dtype=np.uint8), (1, 7, 300, 400)[number % 4])
        for number in range(12)
    ]
    with ThreadPoolExecutor(len(questions)) as threads:
        answers = [threads.submit(together, *questions[0])]
        assert search.began.wait(SECONDS)
        answers += [threads.submit(together, *question) for question in questions[1:]]
        until = time.monotonic() + SECONDS
        while len(together._waiting) < len(questions) - 1:
            assert time.monotonic() < until
            time.sleep(0.01)
        search.go_on.set()
        for (codes, count), answer in zip(questions, answers, strict=True):
            for mine, alone in zip(answer.result(SECONDS), search.alone(codes, count), strict=True):
                np.testing.assert_array_equal(mine, alone)
    assert search.calls == [len(questions[0][0]), sum(len(codes) for codes, _ in questions[1:])]


def test_an_error_reaches_who_has_asked_and_not_who_asks_later() -> None:
    search = Search()
    search.go_on.set()
    together = Together(search)
    with pytest.raises(ValueError, match="nothing is searched for"):
        together(np.zeros((1, 8), dtype=np.uint8), 3)
    codes = np.ones((1, 8), dtype=np.uint8)
    np.testing.assert_array_equal(together(codes, 3)[0], search.alone(codes, 3)[0])
