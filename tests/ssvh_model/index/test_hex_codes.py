from __future__ import annotations

import numpy as np
import pytest

from ssvh_model.errors import UserError
from ssvh_model.index.hex_codes import code_from_hex, code_to_hex


def test_there_and_back() -> None:
    code = np.array([0x0F, 0xA0, 0x03], dtype=np.uint8)
    assert code_to_hex(code) == "0fa003"
    np.testing.assert_array_equal(code_from_hex("0FA003", 18), code)


@pytest.mark.parametrize("text", ["", "0fa0", "0fa00301", "0fa00g", "0x0fa0", "0fa00٣", "0fa004"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="code"):
        code_from_hex(text, 18)
