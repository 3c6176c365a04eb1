"""Packed codes: what goes in comes out, in the order that faiss's binary indexes use."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssvh_model.retrieval.codes import pack, sign_codes, unpack


@settings(max_examples=40)
@given(bits=st.integers(1, 70), videos=st.integers(0, 5), seed=st.integers(0, 1000))
def test_unpack_inverts_pack(bits: int, videos: int, seed: int) -> None:
    codes = np.random.default_rng(seed).choice(np.array([-1, 1], dtype=np.int8), (videos, bits))
    packed = pack(codes)
    assert packed.shape == (videos, (bits + 7) // 8) and packed.dtype == np.uint8
    again = unpack(packed, bits)
    assert again.dtype == np.int8
    np.testing.assert_array_equal(again, codes)


def test_first_bit_is_the_lowest_and_the_padding_is_zero() -> None:
    codes = np.full((1, 10), -1, dtype=np.int8)
    codes[0, 0] = codes[0, 9] = 1
    np.testing.assert_array_equal(pack(codes), [[0b1, 0b10]])
    np.testing.assert_array_equal(pack(np.ones((1, 3), dtype=np.int8)), [[0b111]])


def test_the_order_is_that_of_faiss() -> None:
    faiss = pytest.importorskip("faiss")
    codes = np.random.default_rng(0).choice(np.array([-1, 1], dtype=np.int8), (5, 24))
    as_faiss = np.zeros((5, 3), dtype=np.uint8)
    floats = codes.astype(np.float32)
    faiss.fvecs2bitvecs(faiss.swig_ptr(floats), faiss.swig_ptr(as_faiss), 24, 5)
    np.testing.assert_array_equal(pack(codes), as_faiss)


def test_an_exact_zero_is_plus_one() -> None:
    np.testing.assert_array_equal(sign_codes(np.array([[-0.5, 0.0, -0.0, 0.5]])), [[-1, 1, 1, 1]])


def test_what_is_no_code_is_refused() -> None:
    with pytest.raises(ValueError, match="other than -1 and"):
        pack(np.array([[1, 0]]))
    with pytest.raises(ValueError, match="at least one bit"):
        pack(np.zeros((3, 0)))
    with pytest.raises(ValueError, match="9 bits need"):
        unpack(np.zeros((1, 1), dtype=np.uint8), 9)
    with pytest.raises(ValueError, match="not a number"):
        sign_codes(np.array([np.nan]))
