"""Import of state_dicts: what must be there, what is refused by name, and what options change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refmodel import floatmodel
from refmodel.errors import ImportRefused
from refmodel.importers.imported import Imported
from refmodel.importers.state_dict import import_state_dict
from refmodel.importers.state_dict_options import StateDictOptions
from refmodel.layers import Neuron
from refmodel.network import ConvLayer, Network, ReadoutLayer
from tests.refmodel.importers.parameter_files import Arrays, arrays_of, sew, write

pytest.importorskip("safetensors")

FAMILY = "spikingjelly-sew-resnet"


def imported(folder: Path, arrays: Arrays, family: str | None = FAMILY, **options: Any) -> Imported:
    path = write(folder / "net.safetensors", arrays)
    options = {"input_shape": (1, 6, 6), **options} if family == FAMILY else options
    return import_state_dict(path, family, StateDictOptions(**options))


def refused(folder: Path, arrays: Arrays, family: str | None = FAMILY, **options: Any) -> str:
    with pytest.raises(ImportRefused) as error:
        imported(folder, arrays, family, **options)
    text = str(error.value)
    assert text.startswith(str(folder / "net.safetensors")) and "\n" not in text
    return text


def conv(net: Network, name: str) -> ConvLayer:
    found = next(layer for layer in net.layers if layer.name == name)
    assert isinstance(found, ConvLayer)
    return found


def neurons(net: Network) -> set[Neuron]:
    return {layer.neuron for layer in net.layers if isinstance(layer, ConvLayer) and layer.neuron}


# parameters


@pytest.mark.parametrize("name", sorted(sew()))
def test_every_parameter_is_needed(tmp_path: Path, name: str) -> None:
    arrays = sew()
    del arrays[name]
    if name.endswith(("num_batches_tracked", "fc.bias")):
        imported(tmp_path, arrays)
    else:
        assert f"missing parameter '{name}'" in refused(tmp_path, arrays)


@pytest.mark.parametrize("name", sorted(name for name in sew() if "tracked" not in name))
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused_by_name(tmp_path: Path, name: str, value: float) -> None:
    arrays = sew()
    arrays[name].flat[-1] = value
    text = refused(tmp_path, arrays)
    assert f"'{name}'" in text and "1 NaN or infinite" in text


@pytest.mark.parametrize("name", sorted(name for name in sew() if "tracked" not in name))
def test_wrong_shapes_are_refused_by_name(tmp_path: Path, name: str) -> None:
    arrays = sew()
    arrays[name] = arrays[name][..., None]
    assert f"'{name}' must have shape [" in refused(tmp_path, arrays)


def test_channels_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    arrays = sew()
    arrays["layer1.0.conv2.weight"] = arrays["layer1.0.conv2.weight"][:3]
    assert "'layer1.0.conv2.weight' must have shape [4, 4, ?, ?]" in refused(tmp_path, arrays)
    arrays = sew()
    arrays["layer1.0.conv1.weight"] = arrays["layer1.0.conv1.weight"][:, :2]
    assert "grouped" in refused(tmp_path, arrays)


def test_even_kernels_are_refused(tmp_path: Path) -> None:
    arrays = sew()
    arrays["layer1.0.conv1.weight"] = np.zeros((4, 4, 2, 2))
    assert "2x2" in refused(tmp_path, arrays)


@pytest.mark.parametrize("name", ["layer1.0.conv9.weight", "extra", "num_batches_tracked", "layer5.0.conv1.weight"])
def test_unexpected_parameters_are_refused_by_name(tmp_path: Path, name: str) -> None:
    assert f"unexpected parameters, unknown to family '{FAMILY}': '{name}'" in refused(
        tmp_path, sew() | {name: np.zeros(1)}
    )


def test_integers_and_negative_variances_are_refused(tmp_path: Path) -> None:
    arrays = sew()
    arrays["fc.weight"] = arrays["fc.weight"].astype(np.int64)
    assert "'fc.weight' must be floating point" in refused(tmp_path, arrays)
    arrays = sew()
    arrays["bn1.running_var"][2] = -0.5
    assert "'bn1.running_var' is negative in channel 2" in refused(tmp_path, arrays)
    arrays["bn1.running_var"][2] = 0
    assert "is 0 in channel 2" in refused(tmp_path, arrays, epsilon=0.0)


def test_a_stage_that_halves_needs_its_projection(tmp_path: Path) -> None:
    second = {name.replace("layer1", "layer2"): value for name, value in sew().items() if name.startswith("layer1")}
    assert "missing parameter 'layer2.0.downsample.0.weight'" in refused(tmp_path, sew() | second)


# structure


def test_blocks_and_statistics(tmp_path: Path) -> None:
    found = imported(tmp_path, sew(blocks=3))
    assert [(one.name, one.kind, one.shortcut) for one in found.blocks] == [
        (f"layer1.{number}", "sew-add", "identity") for number in range(3)
    ]
    assert found.blocks[1].layers == ("layer1.1.conv1", "layer1.1.conv2")
    assert found.network.name == "net" and found.network.family == "SEW-ADD"
    assert found.statistics["blocks"] == 3 and found.statistics["layers"] == 8
    assert found.network.meta["source"] == {"file": "net.safetensors", "family": FAMILY}
    assert found.network.meta["assumptions"] == list(found.assumptions)
    assert isinstance(found.network.layers[-1], ReadoutLayer)


def test_the_stem_is_that_of_the_kernel_unless_told_otherwise(tmp_path: Path) -> None:
    small, large = imported(tmp_path, sew()).network, imported(tmp_path, sew(kernel=7)).network
    assert conv(small, "stem").stride == (1, 1) and len(small.layers) == 4
    assert conv(large, "stem").stride == (2, 2) and large.layers[1].name == "stem.pool"
    told = imported(tmp_path, sew(kernel=7), stem_stride=1, stem_pool=False).network
    assert conv(told, "stem").stride == (1, 1) and len(told.layers) == 4
    told = imported(tmp_path, sew(), stem_pool=True).network
    assert told.layers[1].name == "stem.pool"


def test_a_pool_of_membranes_is_refused(tmp_path: Path) -> None:
    text = refused(tmp_path, arrays_of("spikingjelly-ms"), "spikingjelly-ms-resnet", stem_pool=True)
    assert "maximum of membranes" in text


def test_convolutions_that_have_their_batch_norm_in_them(tmp_path: Path) -> None:
    """As conv-BN fusion leaves them: the same network."""
    arrays = sew()
    whole = imported(tmp_path, arrays)
    fused = {name: value for name, value in arrays.items() if ".bn" not in name and not name.startswith("bn")}
    for name, path in (("stem", "conv1"), ("layer1.0.conv1",) * 2, ("layer1.0.conv2",) * 2):
        layer = conv(whole.network, name)
        assert layer.bias is not None
        fused |= {f"{path}.weight": layer.weight, f"{path}.bias": layer.bias}
    found = imported(tmp_path, fused)
    for one, other in zip(found.network.layers, whole.network.layers, strict=True):
        assert isinstance(one, ConvLayer | ReadoutLayer) and isinstance(other, ConvLayer | ReadoutLayer)
        np.testing.assert_array_equal(one.weight, other.weight)
        np.testing.assert_array_equal(one.bias, other.bias)
    assert any("fused: 3, the first is 'conv1'" in sentence for sentence in found.assumptions)


def test_a_bias_in_front_of_a_batch_norm(tmp_path: Path) -> None:
    arrays = sew()
    whole = imported(tmp_path, arrays).network
    arrays["conv1.bias"] = np.array([0.5, -0.25, 0.0, 1.0])
    arrays["bn1.running_mean"] = arrays["bn1.running_mean"] + arrays["conv1.bias"]
    found = imported(tmp_path, arrays).network
    bias, expected = conv(found, "stem").bias, conv(whole, "stem").bias
    assert bias is not None and expected is not None
    np.testing.assert_allclose(bias, expected, rtol=1e-12, atol=1e-12)


# options


def test_connect_functions(tmp_path: Path) -> None:
    for connect, combine in (("ADD", "add"), ("AND", "and"), ("IAND", "iand"), ("OR", "or")):
        found = imported(tmp_path, sew(), connect=connect)
        assert conv(found.network, "layer1.0.conv2").combine == combine
        assert found.network.family == f"SEW-{connect}" and found.blocks[0].kind == f"sew-{combine}"
    assert any("connect by ADD" in sentence for sentence in imported(tmp_path, sew()).assumptions)
    with pytest.raises(ImportRefused, match="connect must be one of ADD, AND, IAND, OR"):
        imported(tmp_path, sew(), connect="XOR")
    assert "connect ADD" in refused(tmp_path, sew(), "spikingjelly-spiking-resnet", connect="ADD")


def test_neurons(tmp_path: Path) -> None:
    def made(**options: Any) -> Neuron:
        found = neurons(imported(tmp_path, sew(), **options).network)
        assert len(found) == 1
        return found.pop()

    assert made() == Neuron()
    assert made(threshold=0.5, fire="gt", v_reset=-1.0) == Neuron(threshold=0.5, fire="gt", v_reset=-1.0)
    assert made(reset="soft") == Neuron(reset="soft")
    assert made(neuron="lif") == Neuron("lif", tau=2.0, decay_input=True)
    assert made(neuron="lif", tau=4.0, decay_input=False) == Neuron("lif", tau=4.0, decay_input=False)
    assert "give --neuron lif" in refused(tmp_path, sew(), tau=2.0)
    assert "no parameter 'w'" in refused(tmp_path, sew(), neuron="plif")
    assert "levels must be" in refused(tmp_path, sew(), levels=2)
    assert "tau must be above 1" in refused(tmp_path, sew(), neuron="lif", tau=1.0)
    assert "threshold must be" in refused(tmp_path, sew(), threshold=-1.0)


def test_plif_neurons_take_their_own_tau(tmp_path: Path) -> None:
    arrays = sew()
    for number, path in enumerate(("sn1", "layer1.0.sn1", "layer1.0.sn2")):
        arrays[f"{path}.w"] = np.array(number - 0.5) if number else np.array([-0.5])
    net = imported(tmp_path, arrays).network
    for number, name in enumerate(("stem", "layer1.0.conv1", "layer1.0.conv2")):
        neuron = conv(net, name).neuron
        assert neuron is not None and neuron.decay_input
        assert 1 / neuron.tau == pytest.approx(1 / (1 + np.exp(0.5 - number)))
    assert "leave it out" in refused(tmp_path, arrays, neuron="if")
    assert "tau: the file has" in refused(tmp_path, arrays, tau=2.0)
    assert "missing parameter 'layer1.0.sn2.w'" in refused(
        tmp_path, {name: value for name, value in arrays.items() if name != "layer1.0.sn2.w"}
    )
    for w in (-1000.0, 100.0):
        assert "'sn1.w' is" in refused(tmp_path, arrays | {"sn1.w": np.array(w)})


def test_levels_of_mlf_units(tmp_path: Path) -> None:
    arrays = arrays_of("ds-resnet")
    for levels, expected in ((1, ()), (2, (1.6,)), (3, (1.6, 2.6))):
        net = imported(tmp_path, arrays, "ds-resnet", levels=levels, input_shape=(3, 9, 9)).network
        assert {neuron.levels for neuron in neurons(net)} == {expected}
    assert "levels must be 1 to 3" in refused(tmp_path, arrays, "ds-resnet", levels=4)


def test_the_input(tmp_path: Path) -> None:
    spec = imported(tmp_path, sew(), input_shape=None).network.input
    assert (spec.shape, spec.bits, spec.static, spec.scale) == ((1, 224, 224), 8, True, 1 / 255)
    spec = imported(tmp_path, sew(), input_bits=4).network.input
    assert (spec.bits, spec.scale) == (4, 1 / 15)
    spec = imported(tmp_path, sew(), events=True, input_scale=0.5).network.input
    assert (spec.bits, spec.static, spec.scale) == (4, False, 0.5)
    assert "3 channels, but the first convolution reads 1" in refused(tmp_path, sew(), input_shape=(3, 6, 6))
    assert "bits must be" in refused(tmp_path, sew(), input_bits=99)


def test_an_epsilon_of_ones_own(tmp_path: Path) -> None:
    arrays = sew()
    usual, other = imported(tmp_path, arrays).network, imported(tmp_path, arrays, epsilon=1e-3).network
    ratio = np.sqrt(arrays["bn1.running_var"] + 1e-5) / np.sqrt(arrays["bn1.running_var"] + 1e-3)
    np.testing.assert_allclose(
        conv(other, "stem").weight, conv(usual, "stem").weight * ratio[:, None, None, None], rtol=1e-12
    )
    assert "epsilon must be" in refused_option(epsilon=-1.0)


def refused_option(**options: Any) -> str:
    with pytest.raises(ImportRefused) as error:
        StateDictOptions(**options)
    return str(error.value)


def test_normalised_inputs_are_exact_at_the_borders(tmp_path: Path) -> None:
    """Against the network whose inputs are normalised and padded by hand, one pixel more on each side."""
    arrays = sew(inputs=2)
    mean, std = (0.4, 0.7), (0.2, 0.5)
    plain = imported(tmp_path, arrays, input_shape=(2, 6, 6))
    normal = imported(tmp_path, arrays, input_shape=(2, 6, 6), mean=mean, std=std)
    assert any("inside the image only" in sentence for sentence in normal.assumptions)
    x = np.random.default_rng(0).integers(0, 256, (3, 2, 6, 6))
    by_hand = (x / 255 - np.array(mean)[:, None, None]) / np.array(std)[:, None, None] * 255
    expected = floatmodel.run(plain.network, by_hand, keep=True)
    result = floatmodel.run(normal.network, x, keep=True)
    np.testing.assert_array_equal(result.tensors["stem"], expected.tensors["stem"])
    assert 0.05 < expected.tensors["stem"].mean() < 0.95
    np.testing.assert_allclose(result.logits, expected.logits, atol=1e-12)


def test_a_deviation_alone_and_kernels_of_one_need_no_border(tmp_path: Path) -> None:
    scaled = imported(tmp_path, sew(inputs=2), input_shape=(2, 6, 6), std=(0.5,)).network
    assert len(scaled.layers) == 4
    arrays = sew(inputs=2, kernel=1)
    plain = imported(tmp_path, arrays, input_shape=(2, 6, 6)).network
    normal = imported(tmp_path, arrays, input_shape=(2, 6, 6), mean=(0.5,), std=(0.5,)).network
    assert len(normal.layers) == len(plain.layers)
    x = np.random.default_rng(0).integers(0, 256, (2, 2, 6, 6))
    expected = floatmodel.run(plain, (x / 255 - 0.5) / 0.5 * 255)
    np.testing.assert_allclose(floatmodel.run(normal, x).logits, expected.logits, atol=1e-12)


def test_normalisation_must_fit_the_channels(tmp_path: Path) -> None:
    assert "mean must have 1 or 1 values" in refused(tmp_path, sew(), mean=(0.1, 0.2))
    assert "std must be positive" in refused_option(std=(0.0,))


# families


def test_the_family_is_found_by_its_names_where_they_are_its_own(tmp_path: Path) -> None:
    names = {
        "spikingjelly-ms": "spikingjelly-ms-resnet",
        "sew-iand-bottleneck": "sew-resnet",
        "sew-spiking": "sew-spiking-resnet",
        "spiking-7b": "spiking-7b-net",
        "ms-resnet": "ms-resnet",
        "ms-resnet104": "ms-resnet104",
        "ds-resnet": "ds-resnet",
        "ds-resnet-events": "ds-resnet-events",
    }
    for name, family in names.items():
        shape = (2, 10, 11) if family.endswith(("events", "7b-net")) else (3, 16, 16)
        found = imported(tmp_path, arrays_of(name), None, input_shape=shape)
        assert f"names are those of family '{family}'" in found.assumptions[0]


def test_names_of_several_families_are_refused(tmp_path: Path) -> None:
    text = refused(tmp_path, sew(), None)
    assert "spikingjelly-sew-resnet or spikingjelly-spiking-resnet" in text
    assert "sew-7b-net or plain-7b-net" in refused(tmp_path, arrays_of("sew-7b"), None)


def test_names_of_no_family_are_refused(tmp_path: Path) -> None:
    assert "fit none of the families" in refused(tmp_path, {"a.weight": np.zeros((2, 2))}, None)
    assert "no family 'resnet'" in refused(tmp_path, sew(), "resnet")
    assert "no blocks 'layer1.execute.0'" in refused(tmp_path, sew(), "ds-resnet")


def test_a_chain_that_does_not_fit_its_readout_is_refused(tmp_path: Path) -> None:
    text = refused(tmp_path, arrays_of("sew-7b"), "sew-7b-net", input_shape=(2, 64, 64))
    assert "'out.weight' reads 6 values" in text and "--input-shape" in text
