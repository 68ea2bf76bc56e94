"""What networks ask of a core: operations counted one by one."""

from __future__ import annotations

import numpy as np
import pytest

from boards.registry import get_board
from refmodel import golden
from refmodel.config import CoreConfig
from refmodel.quantized import QuantizedNetwork
from skipspike import workload
from skipspike.models import open_network, quantised
from skipspike.workload import exact_workload, expected_workload, is_affordable

CORE = get_board("ulx3s_85f").core


@pytest.fixture
def net(small: str) -> QuantizedNetwork:
    return quantised(open_network(small), None, CORE)


def additions(net: QuantizedNetwork, x: np.ndarray) -> float:
    """Set bits of each source, step, window and tap, times the outputs, over the inputs: the plain way."""
    tensors, infos, total = golden.run(net, x, keep=True).tensors, net.tensors(), 0
    for layer in net.layers:
        if layer.weight is None:
            continue
        source, (_, high, wide) = tensors[layer.source], infos[layer.name].shape
        for index in np.ndindex(*source.shape):
            value, (y, x_) = int(source[index]), index[3:]
            for oy in range(high):
                for ox in range(wide):
                    ky = y - oy * layer.stride[0] + layer.padding[0]
                    kx = x_ - ox * layer.stride[1] + layer.padding[1]
                    if 0 <= ky < layer.kernel[0] and 0 <= kx < layer.kernel[1]:
                        total += value.bit_count() * layer.weight.shape[0]
    return total / len(x)


def test_spike_operations_are_those_of_set_bits(net: QuantizedNetwork) -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(0, 8, (3, 1, 4, 4))
    made = exact_workload(net, CORE, x)
    assert made.spike_operations == pytest.approx(additions(net, x))
    # 4 steps of 4x4 pixels: 1 to 6 and twice 6 to 6 channels with 3x3, a readout of 3 classes.
    assert made.operations == 4 * 16 * (9 * 6 + 2 * 9 * 36 + 3 * 6)
    assert made.exact and 0 < made.lane_use <= 1
    assert made.lane_use == pytest.approx(made.events / (CORE.event_lanes * made.clocks))
    assert 0 < made.operations_a_weight <= CORE.time_lanes


def test_expected_is_near_what_is_counted(net: QuantizedNetwork) -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(0, 8, (24, 1, 4, 4))
    tensors = golden.run(net, x, keep=True).tensors
    rates = {layer.name: float((tensors[layer.name] != 0).mean()) for layer in net.layers[:1]}
    exact, (expected, why) = exact_workload(net, CORE, x), expected_workload(net, CORE, rates)
    assert why is None and not expected.exact
    first = net.layers[0]
    meet = workload._meetings(first, net.tensors()[first.source]).sum()
    bits = np.array([value.bit_count() for value in range(8)]).mean()
    assert expected.spike_operations > 4 * bits * meet * 6  # the first layer's part
    assert expected.operations == exact.operations


def test_a_network_that_does_not_fit_is_expected_on_a_larger_core(net: QuantizedNetwork) -> None:
    made, why = expected_workload(net, CoreConfig(store_depth=64))
    assert why is not None and "store" in why and made.clocks > 0


def test_what_is_affordable(net: QuantizedNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_affordable(net, CORE)
    monkeypatch.setattr(workload, "MOST_WORDS", 10)
    assert not is_affordable(net, CORE)
    monkeypatch.setattr(workload, "MOST_WORDS", 10**9)
    monkeypatch.setattr(workload, "MOST_OPERATIONS", 10)
    assert not is_affordable(net, CORE)
