"""Networks and data: opening, quantising, describing, evaluating."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refmodel import bundled, floatmodel, golden, modelfile, zoo
from refmodel.balance import KEY
from refmodel.bounds import bits_needed, network_bounds
from refmodel.config import CoreConfig
from refmodel.datasets import is_name, load_data
from refmodel.densities import random_inputs
from refmodel.errors import DataError, ModelFileError, NetworkError
from refmodel.limits import core_limits
from refmodel.network import Network
from refmodel.outline import outline
from refmodel.preparation import prepare
from refmodel.pruning import prune
from refmodel.quantize import quantize
from refmodel.quantized import QuantizedNetwork, bits_range

from .progress import Progress, silent

#: Data made up on the spot, and how much of it unless told otherwise.
RANDOM = "random"
RANDOM_SAMPLES = 32
#: Networks of the zoo with more parameters are described without weights.
MOST_PARAMETERS = 2_000_000
#: Images evaluated between two words of progress; the models take them in parts of their own.
_BATCH = 500


def open_network(network: str | Path, *, sketch: bool = False) -> Network | QuantizedNetwork:
    """The network of a .skn file, a bundled one by name, or one of the zoo: ``zoo:NAME,option=value,...``.

    ``sketch``: one of the zoo without weights.  NetworkError or ModelFileError if there is no such network.
    """
    name = str(network)
    if name in bundled.names():
        return bundled.load_network(name)
    if name.startswith(zoo.PREFIX):
        found, options = zoo.read(name)
        return zoo.sketch(found, **options) if sketch else zoo.build(found, **options)
    path = Path(network)
    if path.is_dir():
        raise ModelFileError(f"{name}: a folder, not a model file; name the {modelfile.SUFFIX} file in it")
    if path.exists() or path.suffix == modelfile.SUFFIX:
        return modelfile.load(path)
    raise NetworkError(
        f"no network {name!r}: neither a {modelfile.SUFFIX} file nor a bundled network ({', '.join(bundled.names())}) "
        f"nor {zoo.PREFIX}NAME; `skipspike networks` lists all names"
    )


def quantised(
    net: Network | QuantizedNetwork,
    bits: int | None = None,
    config: CoreConfig | None = None,
    *,
    whole: bool = False,
) -> QuantizedNetwork:
    """The integer network: a float one is quantised to ``bits``, by default those its ``meta`` recommends.

    With a core, no synaptic sum can exceed its accumulators and no membrane stream what its membranes
    hold over all steps, and what cannot matter is removed (:mod:`refmodel.pruning`) unless the
    ``whole`` network is wanted, or it was done before channels were put in order for a core's lanes
    (:mod:`refmodel.balance`).  NetworkError if a network that is quantised already has other bits.
    """
    if isinstance(net, QuantizedNetwork):
        if bits is not None and bits != net.weight_bits:
            raise NetworkError(
                f"network {net.name!r} is quantised to {net.weight_bits} bits already, not {bits}; "
                "use the float network it was made from"
            )
        made = net
    else:
        limits: dict[str, Any] = {} if config is None else core_limits(config, net.steps)
        made = quantize(net, chosen_bits(net, bits), **limits)
    return made if whole or config is None or KEY in made.meta else prune(made)[0]


def chosen_bits(net: Network | QuantizedNetwork, bits: int | None) -> int:
    """Weight bits: ``bits``, or those that the network's ``meta`` recommends."""
    if isinstance(net, QuantizedNetwork):
        return net.weight_bits
    recommended = net.meta.get("weight_bits", 8)
    return bits or (recommended if isinstance(recommended, int) else 8)


def data_of(net: Network | QuantizedNetwork, data: str | Path | None) -> str | Path:
    """``data``, or the data set that the network's ``meta`` names (the zoo's: ``random``), or ``digits``."""
    if data is not None:
        return data
    named = net.meta.get("data")
    return named if isinstance(named, str) and (named == RANDOM or is_name(named)) else "digits"


def samples_of(
    net: Network | QuantizedNetwork,
    data: str | Path | None,
    samples: int | None,
    default: int | None = None,
    progress: Progress = silent,
) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
    """The first ``samples`` inputs, prepared for ``net``, and labels of a data set; DataError if they do not fit.

    Without a number: the first ``default``, or as many as there are.  Data ``random``: inputs of
    :func:`refmodel.densities.random_inputs`, the same every time, with the label -1, which is no class.  Where the
    input is not static, ``[T, C, H, W]`` without labels are the frames of one.
    """
    data = data_of(net, data)
    if data == RANDOM:
        count = samples or default or RANDOM_SAMPLES
        x = random_inputs(net.input, net.steps, count, np.random.default_rng(0))
        return x, np.full(count, -1, np.int64)
    x, y = load_data(data, progress)
    if not net.input.static and x.ndim == 4 and (y < 0).all():
        x, y = x[None], y[:1]  # the frames of one input
    if samples is None and default is not None:
        samples = min(default, len(x))
    if samples is not None and not 1 <= samples <= len(x):
        raise DataError(f"samples must be 1 to {len(x)}, as many as data {str(data)!r} has, not {samples}")
    x, y = x[:samples], y[:samples]
    try:
        x = prepare(net.input, x, net.steps)
    except DataError as error:
        raise DataError(
            f"data {str(data)!r} for network {net.name!r}: {error}; reshape the data, use another network or data "
            f"'{RANDOM}'"
        ) from None
    low, high = bits_range(net.input.bits, net.input.signed)
    if int(x.max()) > high or int(x.min()) < low:
        dropped = f" after dropping {net.input.drop_bits}" if net.input.drop_bits else ""
        raise DataError(
            f"data {str(data)!r} has values of {int(x.min())} to {int(x.max())}, but network {net.name!r} takes "
            f"{low} to {high} ({net.input.bits} bits{dropped}); scale the data"
        )
    return x, y


def percent(predictions: NDArray[np.int64], labels: NDArray[np.int64]) -> float | None:
    """Accuracy in percent, two decimals; None where the data has no labels."""
    return None if (labels < 0).all() else round(100.0 * float(np.mean(predictions == labels)), 2)


def networks() -> dict[str, Any]:
    """The bundled networks, ``networks``: name, family, data, T, parameters, bits and accuracies in percent;
    and those of the zoo, ``zoo``: name, family, source and options with their defaults."""
    found = [zoo.entry(name) for name in zoo.names()]
    listed = [
        {"name": zoo.PREFIX + one.name, "family": one.family, "source": one.source, "options": dict(one.defaults)}
        for one in found
    ]
    return {"networks": bundled.list_networks(), "zoo": listed}


def info(network: str | Path, *, bits: int | None = None) -> dict[str, Any]:
    """Layers, shapes, widths and parameters of a network; widths are those of its integer form.

    ``sum_bits`` and ``membrane_bits`` of a layer are the signed widths that no input can exceed; they are None for
    networks of the zoo with more than ``MOST_PARAMETERS``, which get no weights for this.
    """
    net = open_network(network, sketch=True)
    drawn = str(network).startswith(zoo.PREFIX)
    huge = drawn and net.parameters > MOST_PARAMETERS
    if drawn and not huge:
        net = open_network(network)
    whole = outline(net, chosen_bits(net, bits)) if huge and isinstance(net, Network) else quantised(net, bits)
    tensors = whole.tensors()
    all_bounds = {} if huge else network_bounds(whole)
    layers = []
    for layer in whole.layers:
        out = tensors[layer.name]
        entry: dict[str, Any] = {
            "name": layer.name,
            "kind": layer.kind,
            "source": layer.source,
            "shape": list(out.shape),
            "max_value": out.max_value,
            "planes": out.planes,
            "kernel": list(layer.kernel),
            "stride": list(layer.stride),
            "padding": list(layer.padding),
            "shortcut": layer.shortcut,
            "combine": "membrane" if layer.current is not None else layer.combine,
            "reset": layer.reset if layer.kind == "conv" else None,
            "leak_shifts": list(layer.leak_shifts),
            "parameters": 0,
            "sum_bits": None,
            "membrane_bits": None,
        }
        if layer.weight is not None:
            entry["parameters"] = int(layer.weight.size) + (0 if layer.bias is None else int(layer.bias.size))
        if layer.weight is not None and not huge:
            bounds = all_bounds[layer.name]
            entry["sum_bits"] = bits_needed(bounds.sum_low, bounds.sum_high)
            entry["membrane_bits"] = bits_needed(bounds.membrane_low, bounds.membrane_high)
        layers.append(entry)
    return {
        "name": whole.name,
        "family": whole.family,
        "form": "float" if isinstance(net, Network) else "quantised",
        "steps": whole.steps,
        "input": {
            "shape": list(whole.input.shape),
            "bits": whole.input.bits,
            "static": whole.input.static,
            "fold": whole.input.fold,
            "drop_bits": whole.input.drop_bits,
        },
        "weight_bits": whole.weight_bits,
        "parameters": whole.parameters,
        "layers": layers,
    }


def evaluate(
    network: str | Path,
    *,
    data: str | Path | None = None,
    samples: int | None = None,
    bits: int | None = None,
    board: str | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Accuracy (percent) and predictions of the integer golden model on ``samples`` inputs (default: all).

    With a board, the network is quantised for its core: no sum can exceed its accumulators.
    A float network is evaluated in float64, too: ``accuracy_float``; otherwise that is None.
    """
    from boards.registry import get_board

    net = open_network(network)
    whole = quantised(net, bits, None if board is None else get_board(board).core)
    x, y = samples_of(whole, data, samples, progress=progress)

    def predict(run: Callable[[NDArray[Any]], NDArray[np.int64]], step: str) -> NDArray[np.int64]:
        parts = []
        for start in range(0, len(x), _BATCH):
            progress(step, start / len(x))
            parts.append(run(x[start : start + _BATCH]))
        return np.concatenate(parts)

    integer = predict(lambda part: golden.run(whole, part).predictions, "golden model")
    accuracy_float = None
    if isinstance(net, Network):
        accuracy_float = percent(predict(lambda part: floatmodel.run(net, part).predictions, "float model"), y)
    return {
        "network": whole.name,
        "data": str(data_of(whole, data)),
        "weight_bits": whole.weight_bits,
        "samples": len(x),
        "accuracy": percent(integer, y),
        "accuracy_float": accuracy_float,
        "predictions": integer.tolist(),
        "labels": y.tolist(),
    }
