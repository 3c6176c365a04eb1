"""float32 matrix products by oneDNN, where the processor has AVX-512."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch

from ssvh_model.model.precision import wide_float32_products

needs_avx512 = pytest.mark.skipif(
    not torch.cpu._is_avx512_supported() or torch.cpu._is_amx_tile_supported(),
    reason="this processor has no AVX-512, or AMX too, so that nothing changes",
)


def setting() -> str:
    return torch.backends.mkldnn.matmul.fp32_precision


@pytest.mark.parametrize(("rows", "size", "columns"), [(300, 256, 192), (7, 13, 5), (1, 1280, 64)])
def test_products_stay_as_exact_as_float32_allows(rows: int, size: int, columns: int) -> None:
    draws = torch.Generator().manual_seed(0)
    left = torch.randn(rows, size, generator=draws, requires_grad=True)
    right = torch.randn(columns, size, generator=draws, requires_grad=True)
    with wide_float32_products():
        found = torch.nn.functional.linear(left, right)
        gradients = torch.autograd.grad(found.square().sum(), [left, right])
    exact_left, exact_right = (values.detach().double().requires_grad_() for values in (left, right))
    exact = exact_left @ exact_right.T
    expected = torch.autograd.grad(exact.square().sum(), [exact_left, exact_right])
    for one, other in zip([found, *gradients], [exact, *expected], strict=True):
        # bfloat16 would be off by 2e-3.
        assert (one - other).abs().max() < 1e-5 * other.abs().max()


@needs_avx512
def test_torch_s_setting_is_as_before_once_the_last_thread_has_left() -> None:
    before = setting()
    both_inside, one_left = Barrier(2, timeout=60), Barrier(2, timeout=60)

    def first() -> None:
        with wide_float32_products():
            both_inside.wait()
        one_left.wait()

    def second() -> str:
        with wide_float32_products():
            both_inside.wait()
            one_left.wait()
            return setting()

    with ThreadPoolExecutor(2) as threads:
        begun = threads.submit(first)
        assert threads.submit(second).result() == "bf16"
        begun.result()
    assert setting() == before


@needs_avx512
def test_it_is_as_before_after_an_error_too() -> None:
    before = setting()
    with pytest.raises(KeyError), wide_float32_products():
        raise KeyError
    assert setting() == before


def test_with_amx_nothing_changes_because_products_would_be_made_in_bfloat16(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    before = setting()
    with wide_float32_products():
        assert setting() == before
