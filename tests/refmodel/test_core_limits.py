"""What the quantiser keeps for a core is what the core's registers hold."""

from __future__ import annotations

import pytest

from refmodel.config import CoreConfig
from refmodel.limits import core_limits


@pytest.mark.parametrize("steps", [1, 4, 16])
@pytest.mark.parametrize(("acc", "membrane"), [(16, 22), (18, 24), (20, 20)])
def test_sums_fit_accumulators_and_streams_membranes(steps: int, acc: int, membrane: int) -> None:
    limits = core_limits(CoreConfig(acc_width=acc, membrane_width=membrane), steps)
    assert limits["max_sum"] == 2 ** (acc - 1) - 1
    # a membrane gathers a stream at each step, beside one more value of its size; one unit more would not fit
    largest = 2 ** (membrane - 1) - 1
    assert (steps + 1) * limits["max_stream"] <= largest < (steps + 1) * (limits["max_stream"] + 1)
