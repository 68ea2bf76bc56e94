"""Leaks: the nearest of each form, the choice between the forms, and what it costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmodel.builder import NetworkBuilder
from refmodel.errors import NetworkError
from refmodel.leaks import LEAK_TOLERANCE, Leak, choose_leak, leak_factor, leak_multiplier, leak_shifts
from refmodel.network import InputSpec, Network, Neuron
from refmodel.quantize import quantize, report


def lif(tau: float) -> Neuron:
    return Neuron("lif", tau=tau)


def network(tau: float) -> Network:
    builder = NetworkBuilder("net", 4, InputSpec((1, 4, 4), 4), neuron=lif(tau))
    builder.readout(builder.conv("input", np.ones((1, 1, 3, 3)), name="a"), np.ones((2, 1)))
    return builder.build()


@pytest.mark.parametrize(
    ("tau", "shifts"),
    [(2.0, (1,)), (4.0, (2,)), (16.0, (4,)), (4 / 3, (1, 2)), (1.001, (1, 1)), (1 / 0.1875, (3, 4)), (1e6, ())],
)
def test_leak_shifts(tau: float, shifts: tuple[int, ...]) -> None:
    got, error = leak_shifts(lif(tau))
    assert got == shifts
    assert error == pytest.approx(abs(leak_factor(shifts) - (1 - 1 / tau)), abs=1e-9)


@pytest.mark.parametrize("kind", ["if", "step"])
def test_neurons_without_leak(kind) -> None:
    assert leak_shifts(Neuron(kind)) == ((), 0.0)
    assert leak_multiplier(Neuron(kind), 8) == (Leak(), 0.0)


@given(st.floats(1.0001, 1e3))
def test_leak_is_the_nearest_of_all(tau: float) -> None:
    _, error = leak_shifts(lif(tau))
    for a in range(1, 6):
        for b in range(1, 6):  # 5 stands for no term
            factor = 1 - (2.0**-a if a < 5 else 0) - (2.0**-b if b < 5 else 0)
            assert error <= abs(factor - (1 - 1 / tau)) + 1e-11


@given(st.floats(1.0001, 1e6), st.integers(1, 15))
def test_multiplier_is_within_half_a_step(tau: float, bits: int) -> None:
    leak, error = leak_multiplier(lif(tau), bits)
    assert error == abs(leak.value - (1 - 1 / tau)) <= 2.0 ** -(bits + 1)
    assert leak.shifts == () and (leak.factor is None or 0 <= leak.factor[0] < 1 << bits)


@given(st.floats(1.0001, 1e3))
def test_auto_takes_shifts_within_the_tolerance(tau: float) -> None:
    leak, error = choose_leak("a", lif(tau), "auto", 8, False)
    assert (leak.factor is None) == (leak_shifts(lif(tau))[1] <= LEAK_TOLERANCE)
    assert error <= LEAK_TOLERANCE


def test_forms() -> None:
    tau = 1 / (1 - 0.09)
    layer = quantize(network(tau)).layers[0]
    assert (layer.leak_shifts, layer.leak_factor) == ((), (23, 8))  # 0.09 * 256 = 23.04
    layer = quantize(network(2.0)).layers[0]
    assert (layer.leak_shifts, layer.leak_factor) == ((1,), None)
    layer = quantize(network(2.0), leak="multiply", leak_bits=3).layers[0]
    assert (layer.leak_shifts, layer.leak_factor) == ((), (4, 3))
    layer = quantize(network(1e6), leak="multiply").layers[0]
    assert (layer.leak_shifts, layer.leak_factor) == ((), None)


def test_leak_errors_are_refused_or_recorded() -> None:
    net = network(1 / (1 - 0.09))
    with pytest.raises(NetworkError, match="layer 'a': tau=.*leak='auto'.*allow_leak_error"):
        quantize(net, leak="shifts")
    with pytest.raises(NetworkError, match="layer 'a': tau=.*more leak_bits"):
        quantize(net, leak="multiply", leak_bits=2)
    made = quantize(net, leak="shifts", allow_leak_error=True)
    assert made.layers[0].leak_shifts == (1, 1)
    assert made.meta["leak_error"] == {"a": pytest.approx(0.09)}
    assert report(net, made)[0].leak_error == pytest.approx(0.09)
    multiplied = quantize(net)
    assert multiplied.meta["leak_error"] == {"a": pytest.approx(0.09 - 23 / 256)}
    assert report(net, multiplied)[0].leak_error == pytest.approx(0.09 - 23 / 256)
    close = quantize(network(20.0))
    assert close.meta["leak_error"] == {"a": pytest.approx(0.0125)}
    assert quantize(network(2.0)).meta["leak_error"] == {}
