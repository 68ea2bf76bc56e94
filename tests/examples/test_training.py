"""The training code: what PyTorch computes is what the saved network computes; skipped without PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'train'")
pytest.importorskip("sklearn", reason="training needs the extra 'train'")

from examples.training.convert import from_network, to_network  # noqa: E402
from examples.training.data import Augmentation, input_spec, pixels  # noqa: E402
from examples.training.digits import Split  # noqa: E402
from examples.training.loop import Recipe, accuracy, fit  # noqa: E402
from examples.training.networks import FAMILIES, SpikingNetwork, Stages, residual_network  # noqa: E402
from examples.training.neurons import ALPHA, NEURONS, fire  # noqa: E402
from refmodel import floatmodel, golden  # noqa: E402
from refmodel.datasets import load_data  # noqa: E402
from refmodel.errors import NetworkError  # noqa: E402
from refmodel.network import ConvLayer, Network  # noqa: E402
from refmodel.preparation import prepare  # noqa: E402
from refmodel.quantize import quantize  # noqa: E402
from refmodel.quantized import INPUT  # noqa: E402

SOME = 24
DIGITS = input_spec("digits")


def some_digits() -> Split:
    x, y = load_data("digits")
    return Split(x[:SOME].astype(np.uint8), y[:SOME].astype(np.uint8))


def images() -> Any:
    return pixels(torch.from_numpy(some_digits().x), DIGITS)


def model_of(family: str, stages: Stages, **options: Any) -> SpikingNetwork:
    return residual_network(
        family=family, stages=stages, inputs=1, steps=4, classes=10, input_scale=DIGITS.scale, **options
    )


def warmed_up(family: str, stages: Stages = ((4, 2),), **options: Any) -> SpikingNetwork:
    """An untrained model whose BN has seen a few images, in evaluation mode."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    model = model_of(family, stages, **options)
    with torch.no_grad():
        for _ in range(20):
            model(images())
    return model.eval()


def converted(model: SpikingNetwork) -> Network:
    return to_network(model, DIGITS, "net", "", {})


@pytest.mark.parametrize("stages", [((4, 2),), ((4, 1), (6, 2))], ids=["one stage", "two stages"])
@pytest.mark.parametrize("family", FAMILIES)
def test_network_computes_what_pytorch_computed(family: str, stages: Stages) -> None:
    model = warmed_up(family, stages)
    with torch.no_grad():
        wanted = model(images()).double().numpy()
    logits = floatmodel.run(converted(model), some_digits().x).logits
    np.testing.assert_allclose(logits, wanted, atol=1e-4)


@pytest.mark.parametrize("name", NEURONS)
def test_neurons_fire_as_the_float_model_says(name: str) -> None:
    currents = torch.randn(6, 5, 3, 2, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    wanted = floatmodel.fire(NEURONS[name], currents.transpose(0, 1).numpy())
    assert wanted.max() == len(NEURONS[name].thresholds)
    np.testing.assert_array_equal(fire(currents, NEURONS[name]).transpose(0, 1).numpy(), wanted)


@pytest.mark.parametrize("name", NEURONS)
def test_gradient_is_the_surrogate_through_time(name: str) -> None:
    """Against autograd on the plain equations, the reset detached and S's gradient the arctangent's."""
    neuron = NEURONS[name]
    currents = torch.randn(5, 7, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    weights = torch.randn(5, 7, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    found, wanted = (currents.clone().requires_grad_() for _ in range(2))
    (fire(found, neuron) * weights).sum().backward()
    loss = torch.zeros((), dtype=torch.float64)
    for threshold in neuron.thresholds:
        membrane = torch.zeros(7, dtype=torch.float64)
        for t in range(5):
            charge = neuron.leak * membrane + wanted[t]
            smooth = torch.atan(torch.pi / 2 * ALPHA * (charge - threshold)) / torch.pi
            loss = loss + (smooth * weights[t]).sum()
            spike = (charge > threshold) if neuron.fire == "gt" else (charge >= threshold)
            membrane = charge * ~spike
    loss.backward()
    torch.testing.assert_close(found.grad, wanted.grad)


@pytest.mark.parametrize("family", FAMILIES)
def test_training_lowers_the_loss_and_repeats(family: str, capsys: pytest.CaptureFixture[str]) -> None:
    weights: list[np.ndarray] = []
    for _ in range(2):
        torch.manual_seed(0)
        model = model_of(family, ((4, 1),))
        none = Split(some_digits().x[:0], some_digits().y[:0])
        fit(model, some_digits(), none, DIGITS, Recipe(epochs=8, batch=8))
        weights.append(model.spiking_layers()[0].conv.weight.detach().numpy())
    losses = [float(line.split()[3]) for line in capsys.readouterr().out.splitlines()[:8]]
    assert losses[-1] < losses[0]
    np.testing.assert_array_equal(*weights)
    assert 0.0 <= accuracy(model, some_digits(), DIGITS) <= 100.0


@pytest.mark.parametrize("stages", [((4, 2),), ((4, 1), (6, 2))], ids=["one stage", "two stages"])
@pytest.mark.parametrize("family", ["plain", "spiking", "sew-add", "sew-or"])
def test_finetuned_weights_are_their_integers(family: str, stages: Stages) -> None:
    """Without leak, float and 4-bit network spike alike, ties with the threshold included."""
    model = warmed_up(family, stages)
    model.quantise(4)
    network = converted(model)
    floats = floatmodel.run(network, some_digits().x, keep=True)
    whole = golden.run(quantize(network, 4), some_digits().x, keep=True)
    spiking = set(whole.tensors) - {INPUT}
    assert spiking == set(floats.tensors) - {INPUT}
    for name in spiking:
        np.testing.assert_array_equal(whole.tensors[name], floats.tensors[name], name)


@pytest.mark.parametrize("family", FAMILIES)
def test_finetuned_weights_quantise_to_themselves(family: str) -> None:
    model = warmed_up(family)
    model.quantise(4)
    network = converted(model)
    for layer, made in zip(network.layers[:-1], quantize(network, 4).layers[:-1], strict=True):
        assert isinstance(layer, ConvLayer) and made.weight is not None and made.scale is not None
        unit = made.scale / (1 / 16 if layer.source == "input" else 1.0)
        np.testing.assert_allclose(made.weight * unit[:, None, None, None], layer.weight, atol=1e-5)
    with torch.no_grad():
        wanted = model(images()).double().numpy()
    np.testing.assert_allclose(floatmodel.run(network, some_digits().x).logits, wanted, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_network_can_be_trained_on(family: str) -> None:
    model = warmed_up(family, ((4, 1), (6, 2)))
    network = converted(model)
    other = model_of(family, ((4, 1), (6, 2)))
    from_network(network, other)
    for layer, again in zip(network.layers, converted(other).layers, strict=True):
        assert isinstance(layer, ConvLayer) == isinstance(again, ConvLayer)
        np.testing.assert_array_equal(getattr(again, "weight", None), getattr(layer, "weight", None))


def test_without_batch_norm_there_is_only_a_bias() -> None:
    model = warmed_up("plain", norm=False)
    assert all(layer.norm is None for layer in model.spiking_layers())
    with torch.no_grad():
        wanted = model(images()).double().numpy()
    np.testing.assert_allclose(floatmodel.run(converted(model), some_digits().x).logits, wanted, atol=1e-5)


def test_the_pool_is_a_layer() -> None:
    model = warmed_up("sew-add", ((4, 1), (6, 1)), pool=True)
    with torch.no_grad():
        wanted = model(images()).double().numpy()
    network = converted(model)
    assert [type(layer).__name__ for layer in network.layers].count("PoolLayer") == 1
    np.testing.assert_allclose(floatmodel.run(network, some_digits().x).logits, wanted, atol=1e-4)


def test_ms_with_projections_is_not_finetuned() -> None:
    with pytest.raises(NetworkError, match="projections cannot be fine-tuned"):
        warmed_up("ms", ((4, 1), (6, 1))).quantise(4)


def test_pixels_are_the_network_s_input() -> None:
    """Folded and shortened as refmodel prepares them, times the scale."""
    spec = input_spec("mnist", fold=2, drop_bits=4)
    raw = np.random.default_rng(0).integers(0, 256, (3, 1, 28, 28)).astype(np.uint8)
    assert spec.shape == (4, 14, 14) and spec.bits == 4 and spec.scale == 1 / 15
    wanted = prepare(spec, raw) * spec.scale
    np.testing.assert_allclose(pixels(torch.from_numpy(raw), spec).numpy(), wanted, rtol=1e-6)


def test_images_are_mirrored_and_moved() -> None:
    raw = torch.from_numpy(np.random.default_rng(0).integers(1, 256, (64, 1, 6, 6)).astype(np.uint8))
    random = torch.Generator().manual_seed(0)
    np.testing.assert_array_equal(Augmentation()(raw, random), raw)
    mirrored = Augmentation(mirror=True)(raw, random)
    same = (mirrored == raw).all(dim=(1, 2, 3))
    assert 0 < same.sum() < 64
    np.testing.assert_array_equal(mirrored[~same], raw[~same].flip(3))
    moved = Augmentation(shift=1)(raw, random)
    padded = torch.nn.functional.pad(raw, (1, 1, 1, 1))
    windows = {(y, x): padded[:, :, y : y + 6, x : x + 6] for y in range(3) for x in range(3)}
    found = [{at for at, window in windows.items() if torch.equal(moved[n], window[n])} for n in range(64)]
    assert all(found) and len(set.union(*found)) == 9
