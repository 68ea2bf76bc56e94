"""The training code: what PyTorch computes is what the saved network computes; skipped without PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'train'")
pytest.importorskip("sklearn", reason="training needs the extra 'train'")

from examples.training.convert import from_network, to_network  # noqa: E402
from examples.training.digits import Split  # noqa: E402
from examples.training.loop import Recipe, accuracy, fit, images  # noqa: E402
from examples.training.networks import FAMILIES, SpikingNetwork, residual_network  # noqa: E402
from examples.training.neurons import ALPHA, NEURONS, fire  # noqa: E402
from refmodel import floatmodel, golden  # noqa: E402
from refmodel.datasets import load_data  # noqa: E402
from refmodel.network import ConvLayer, Network  # noqa: E402
from refmodel.quantize import quantize  # noqa: E402

SOME = 24


def some_digits() -> Split:
    x, y = load_data("digits")
    return Split(x[:SOME].astype(np.uint8), y[:SOME].astype(np.uint8))


def warmed_up(family: str, **options: Any) -> SpikingNetwork:
    """An untrained model whose BN has seen a few images, in evaluation mode."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    model = residual_network(family=family, blocks=2, channels=4, steps=4, classes=10, input_scale=1 / 16, **options)
    with torch.no_grad():
        for _ in range(20):
            model(images(some_digits()))
    return model.eval()


def converted(model: SpikingNetwork) -> Network:
    return to_network(model, "net", "", {})


@pytest.mark.parametrize("family", FAMILIES)
def test_network_computes_what_pytorch_computed(family: str) -> None:
    model = warmed_up(family)
    with torch.no_grad():
        wanted = model(images(some_digits())).double().numpy()
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
        model = residual_network(family=family, blocks=1, channels=4, steps=4, classes=10, input_scale=1 / 16)
        fit(model, some_digits(), Split(some_digits().x[:0], some_digits().y[:0]), Recipe(epochs=8, batch=8))
        weights.append(model.spiking_layers()[0].conv.weight.detach().numpy())
    losses = [float(line.split()[3]) for line in capsys.readouterr().out.splitlines()[:8]]
    assert losses[-1] < losses[0]
    np.testing.assert_array_equal(*weights)
    assert 0.0 <= accuracy(model, some_digits()) <= 100.0


@pytest.mark.parametrize("family", ["plain", "spiking", "sew-add", "sew-or"])
def test_finetuned_weights_are_their_integers(family: str) -> None:
    """Without leak, float and 4-bit network spike alike, ties with the threshold included."""
    model = warmed_up(family)
    model.quantise(4)
    network = converted(model)
    floats = floatmodel.run(network, some_digits().x, keep=True)
    whole = golden.run(quantize(network, 4), some_digits().x, keep=True)
    for layer in network.layers[:-1]:
        np.testing.assert_array_equal(whole.tensors[layer.name], floats.tensors[layer.name], layer.name)


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
        wanted = model(images(some_digits())).double().numpy()
    np.testing.assert_allclose(floatmodel.run(network, some_digits().x).logits, wanted, atol=1e-4)


def test_a_saved_network_can_be_trained_on() -> None:
    model = warmed_up("ms")
    network = converted(model)
    other = residual_network(family="ms", blocks=2, channels=4, steps=4, classes=10, input_scale=1 / 16)
    from_network(network, other)
    for layer, again in zip(network.layers, converted(other).layers, strict=True):
        assert isinstance(layer, ConvLayer) == isinstance(again, ConvLayer)
        np.testing.assert_array_equal(getattr(again, "weight", None), getattr(layer, "weight", None))


def test_without_batch_norm_there_is_only_a_bias() -> None:
    model = warmed_up("plain", norm=False)
    assert all(layer.norm is None for layer in model.spiking_layers())
    with torch.no_grad():
        wanted = model(images(some_digits())).double().numpy()
    np.testing.assert_allclose(floatmodel.run(converted(model), some_digits().x).logits, wanted, atol=1e-5)
