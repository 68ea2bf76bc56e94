"""The float model against the equations written out, and facts of the SEW paper."""

from __future__ import annotations

import numpy as np
import pytest

from refmodel import floatmodel
from refmodel.builder import NetworkBuilder
from refmodel.errors import DataError
from refmodel.network import InputSpec, Neuron
from refmodel.quantized import Combine


def trace(neuron: Neuron, *inputs: float) -> list[int]:
    x = np.array(inputs)[None, :, None]
    return floatmodel.fire(neuron, x)[0, :, 0].astype(int).tolist()


def test_if_hard_and_soft() -> None:
    assert trace(Neuron(), 0.6, 0.6, 0.6, 0.6) == [0, 1, 0, 1]
    # soft: the 0.2 above the threshold stays, so 0.2 + 0.9 fires again at once
    assert trace(Neuron(reset="soft"), 0.6, 0.6, 0.9) == [0, 1, 1]
    assert trace(Neuron(), 0.6, 0.6, 0.9) == [0, 1, 0]
    # v_reset is start and reset
    assert trace(Neuron(v_reset=-1.0), 1.5, 0.5, 1.5, 0.5) == [0, 1, 0, 1]


def test_ge_fires_at_the_threshold_and_gt_does_not() -> None:
    assert trace(Neuron(fire="ge"), 1.0) == [1]
    assert trace(Neuron(fire="gt"), 1.0, 0.25) == [0, 1]


def test_lif_conventions() -> None:
    # decay_input: H = X/2 = 1; then V/2 + X/2
    assert trace(Neuron("lif", tau=2.0), 2.0, 1.9) == [1, 0]
    # no decay of the input: H = X; a rest at v_reset does not leak
    assert trace(Neuron("lif", tau=2.0, decay_input=False), 0.8, 0.6) == [0, 1]
    assert trace(Neuron("lif", tau=2.0, decay_input=False), 0.8, 0.5) == [0, 0]
    # leak towards v_reset = -1: V = -1 + 1.2 = 0.2 leaks to -0.4
    neuron = Neuron("lif", tau=2.0, decay_input=False, v_reset=-1.0)
    assert trace(neuron, 1.2, 1.5) == [0, 1]
    assert trace(neuron, 1.2, 1.3) == [0, 0]


def test_no_reset_and_no_memory() -> None:
    assert trace(Neuron(reset="none"), 0.6, 0.6, -0.5, 0.3) == [0, 1, 0, 1]
    assert trace(Neuron("lif", tau=2.0, decay_input=False, reset="none"), 1.2, 0.5, 0.3) == [1, 1, 0]
    # without memory 0.6 never adds up, and -5 is forgotten at once
    assert trace(Neuron("step"), 0.6, 0.6, -5.0, 1.0) == [0, 0, 0, 1]
    assert trace(Neuron("step", fire="gt"), 1.0, 1.1) == [0, 1]


def test_plif_is_a_lif_with_a_trained_tau() -> None:
    # 1/tau = sigmoid(0) = 1/2: H = X/2, then V/2 + X/2
    assert trace(Neuron.plif(0.0), 2.0, 1.9) == [1, 0]
    # 1/tau = 1/4: 0.75 * 0.9 + 0.25 * X
    assert trace(Neuron.plif(-np.log(3.0)), 3.6, 1.4, 1.2) == [0, 1, 0]


def test_mlf_levels_have_their_own_membranes() -> None:
    """K = 3, thresholds 0.6, 1.6, 2.6, leak 1/4 (MLF paper), the three membranes by hand."""
    neuron = Neuron("lif", 0.6, 4 / 3, False, fire="gt", levels=(1.6, 2.6))
    # t=0: X = 1: u = 1, 1, 1; level 1 fires and resets: V = 0, 1, 1
    # t=1: X = 1.5: u = 1.5, 1.75, 1.75: levels 1 and 2: V = 0, 0, 1.75
    # t=2: X = 2.2: u = 2.2, 2.2, 2.6375: all three
    # t=3: X = 0.6: u = 0.6 each: none, since firing is strict
    assert trace(neuron, 1.0, 1.5, 2.2, 0.6) == [1, 2, 3, 0]
    # soft: each level subtracts its own threshold: V = 1 and 0
    assert trace(Neuron(reset="soft", levels=(2.0,)), 2.0, 0.0, 0.5) == [2, 1, 0]


def one_step(*values: float) -> np.ndarray:
    return np.array(values).reshape(1, len(values), 1, 1, 1)


def test_streams_rectification_and_stream_tensors() -> None:
    """X of one pixel by hand: a keeps 2x - 3; b adds it to spikes; c rectifies; s is the stream as a tensor."""
    builder = NetworkBuilder("s", 4, InputSpec((1, 1, 1), 3, static=False, signed=True), neuron=Neuron(threshold=2.0))
    one = np.ones((1, 1, 1, 1))
    builder.conv("input", 2 * one, [-3.0], keeps_stream=True, name="a")
    builder.conv("a", one, neurons=False, stream="a", name="b")
    builder.conv("a", 0 * one, rectify=True, stream="b", keeps_stream=True, name="c")
    builder.stream("b", name="s")
    builder.conv("s", 0.5 * one, [0.25], neuron=Neuron("step"), keeps_stream=True, name="d")
    builder.readout("s", np.ones((2, 1)))
    images = np.array([3, -4, 1, 3]).reshape(1, 4, 1, 1, 1)
    got = floatmodel.run(builder.build(), images, keep=True)
    np.testing.assert_array_equal(got.streams["a"], one_step(3, -11, -1, 3))
    # a fires at 3, then -11 and -12, so that 3 leaves it at -9
    np.testing.assert_array_equal(got.tensors["a"], one_step(1, 0, 0, 0))
    np.testing.assert_array_equal(got.streams["b"], one_step(4, -11, -1, 3))
    # c keeps what was before the rectification, but integrates 4, 0, 0, 3
    np.testing.assert_array_equal(got.streams["c"], one_step(4, -11, -1, 3))
    np.testing.assert_array_equal(got.tensors["c"], one_step(1, 0, 0, 1))
    np.testing.assert_array_equal(got.tensors["s"], got.streams["b"])
    np.testing.assert_array_equal(got.streams["d"], one_step(2.25, -5.25, -0.25, 1.75))
    np.testing.assert_array_equal(got.tensors["d"], one_step(1, 0, 0, 1))
    assert "b" not in got.tensors and got.logits[0, 0] == pytest.approx(-5 / 4)
    dropped = floatmodel.run(builder.build(), images)
    assert dropped.logits.tolist() == got.logits.tolist() and not dropped.streams


@pytest.mark.parametrize(("combine", "identity"), [("add", True), ("iand", True), ("or", True), ("and", False)])
def test_zero_residual_branches(combine: Combine, identity: bool) -> None:
    """With A = 0, ADD, IAND and OR are the identity and AND is silent (SEW paper, section 4)."""
    builder = NetworkBuilder("zero", 3, InputSpec((2, 4, 4), 1, static=False))
    x = first = builder.conv("input", np.eye(2).reshape(2, 2, 1, 1))
    zero = np.zeros((2, 2, 3, 3))
    for _ in range(3):
        x = builder.sew_block(x, zero, None, zero, None, combine=combine)
    builder.readout(x, np.ones((2, 2)))
    images = np.random.default_rng(0).integers(0, 2, (4, 3, 2, 4, 4))
    got = floatmodel.run(builder.build(), images, keep=True)
    np.testing.assert_array_equal(got.tensors[first], images)
    np.testing.assert_array_equal(got.tensors[x], images if identity else np.zeros_like(images))


def test_convolution_and_readout_by_loops() -> None:
    rng = np.random.default_rng(3)
    weight, bias = rng.normal(size=(3, 2, 3, 2)), rng.normal(size=3)
    builder = NetworkBuilder("conv", 1, InputSpec((2, 5, 6), 4, scale=0.25), neuron=Neuron(threshold=0.3))
    x = builder.conv("input", weight, bias, stride=(2, 1), padding=(1, 0))
    fc, offset = rng.normal(size=(4, 3 * 3 * 5)), rng.normal(size=4)
    builder.readout(x, fc, offset, pool="none")
    image = rng.integers(0, 16, (2, 2, 5, 6))
    got = floatmodel.run(builder.build(), image, keep=True, batch=1)
    padded = np.pad(image * 0.25, ((0, 0), (0, 0), (1, 1), (0, 0)))
    spikes = np.zeros((2, 3, 3, 5))
    for n, c, y, k in np.ndindex(spikes.shape):
        spikes[n, c, y, k] = (padded[n, :, 2 * y : 2 * y + 3, k : k + 2] * weight[c]).sum() + bias[c] >= 0.3
    np.testing.assert_array_equal(got.tensors[x][:, 0], spikes)
    np.testing.assert_allclose(got.logits, spikes.reshape(2, -1) @ fc.T + offset)
    np.testing.assert_array_equal(got.predictions, got.logits.argmax(axis=1))


def test_wrong_input_shape_is_refused() -> None:
    builder = NetworkBuilder("n", 2, InputSpec((1, 4, 4), 1))
    builder.readout("input", np.ones((2, 1)))
    with pytest.raises(DataError, match="shape"):
        floatmodel.run(builder.build(), np.zeros((1, 1, 4, 5), int))
