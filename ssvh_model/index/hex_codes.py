"""Codes as text: two hexadecimal digits a byte, the bytes of `retrieval.codes.pack` in their order."""

from __future__ import annotations

import re

import numpy as np

from ssvh_model.errors import UserError


def code_to_hex(code: np.ndarray) -> str:
    """A packed code, [ceil(K / 8)] uint8, as text."""
    return np.ascontiguousarray(code, dtype=np.uint8).tobytes().hex()


def code_from_hex(text: str, bits: int) -> np.ndarray:
    """The packed code that `code_to_hex` wrote, [ceil(bits / 8)] uint8.

    Args:
        text: hexadecimal digits, large or small.
        bits: K.

    Raises:
        UserError: another number of digits, another character, or a bit beyond the last one is set.
    """
    size = -(-bits // 8)
    if not re.fullmatch(r"[0-9a-fA-F]*", text) or len(text) != 2 * size:
        raise UserError(
            f"code {text!r}: a code of {bits} bits has {2 * size} hexadecimal digits; found are {len(text)} characters"
        )
    code = np.frombuffer(bytes.fromhex(text), dtype=np.uint8)
    if bits % 8 and code[-1] >> (bits % 8):
        raise UserError(f"code {text!r}: bits beyond the {bits} of a code are set; allowed are zeros")
    return code
