"""The verb ``compare``: float network, integer network and core beside each other, and where they part."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boards.registry import get_board
from refmodel import comparison as models
from refmodel import golden
from refmodel.agreement import batch_images
from refmodel.balance import KEY
from refmodel.comparison import Comparison
from refmodel.compiler import compile_network
from refmodel.errors import CompileError, NetworkError, SkipspikeError, ToolError
from refmodel.network import Network
from refmodel.quantized import QuantizedNetwork
from refmodel.widths import layer_bits

from .cores import core_for
from .models import data_of, open_network, percent, quantised, samples_of
from .progress import Progress, silent, within
from .simulation import Simulator, agrees, simulate

#: Inputs compared and inputs simulated unless told otherwise.
DEFAULT_SAMPLES = 1000
DEFAULT_RTL_SAMPLES = 2
DEFAULT_BOARD = "icebreaker"


def compare(
    network: str | Path,
    *,
    data: str | Path | None = None,
    samples: int | None = None,
    board: str | None = None,
    rtl_samples: int = DEFAULT_RTL_SAMPLES,
    bits: int | None = None,
    integer: str | Path | None = None,
    simulator: Simulator = "verilator",
    plots: str | Path | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Compare a float network with the integer network that a board's core gets, and that with the core.

    Parameters
    ----------
    samples: the first so many of ``data``; 1000 by default, or all if there are fewer.
    board: by default iCEBreaker; without simulation none, so that no accumulator limits the integer network.
    rtl_samples: so many of these are simulated, every clock compared; 0 for none.
    integer: an integer network made from ``network``, unpruned, instead of quantising it here.
    plots: folder for figures (:mod:`skipspike.plots`).

    A network that is quantised already is compared with the core alone: what belongs to the float network is None.
    A core that cannot run the network is no error: ``rtl`` is None, and ``rtl_reason`` says why.  A core that differs
    raises nothing either: see ``rtl["agrees"]``.  Raises SkipspikeError.
    """
    if rtl_samples < 0:
        raise SkipspikeError(f"rtl_samples must be 0 or more, not {rtl_samples}")
    if plots is not None:
        from .plots import demand

        demand(plots)
    if board is None and rtl_samples:
        board = DEFAULT_BOARD
    net = open_network(network)
    whole = _integer(net, bits, board, integer)
    x, y = samples_of(whole, data, samples, DEFAULT_SAMPLES)
    taken = min(rtl_samples, len(x))
    rtl, reason = _rtl(network if integer is None else integer, whole, taken, board, data, bits, simulator, progress)
    result: dict[str, Any] = {
        "network": net.name,
        "board": board,
        "data": str(data_of(whole, data)),
        "weight_bits": whole.weight_bits,
        "layer_bits": layer_bits(whole),
        "steps": whole.steps,
        "samples": len(x),
        "labels": y.tolist(),
    }
    made = None
    if isinstance(net, Network):
        made = models.compare(net, whole, x, progress=lambda share: progress("float and golden model", share))
        result |= _both(made, y)
    else:
        result |= _alone(whole, x, y, progress)
    result |= {"rtl": rtl, "rtl_reason": reason}
    result["verdict"] = _verdict(result)
    if plots is not None:
        from .plots import draw

        progress("plots", None)
        result["plots"] = [str(path) for path in draw(result, made, Path(plots))]
    else:
        result["plots"] = []
    return result


def _integer(
    net: Network | QuantizedNetwork, bits: int | None, board: str | None, integer: str | Path | None
) -> QuantizedNetwork:
    """The integer network, with every layer of the float one."""
    core = None if board is None else get_board(board).core
    if integer is None:
        return quantised(net, bits, core, whole=True)
    if not isinstance(net, Network):
        raise NetworkError(f"network {net.name!r} is quantised already; give the float network beside --integer")
    made = open_network(integer)
    if not isinstance(made, QuantizedNetwork):
        raise NetworkError(f"network {str(integer)!r} is a float network; --integer wants one that is quantised")
    if KEY in made.meta:
        raise NetworkError(
            f"network {str(integer)!r} has its channels in another order than the float network, for a core's lanes; "
            "compare one that was quantised without --balance"
        )
    return quantised(made, bits, core, whole=True)


def _rtl(
    network: str | Path,
    whole: QuantizedNetwork,
    count: int,
    board: str | None,
    data: str | Path | None,
    bits: int | None,
    simulator: Simulator,
    progress: Progress,
) -> tuple[dict[str, Any] | None, str | None]:
    """What the core did, or why it did nothing."""
    if count == 0 or board is None:
        return None, "not asked for"
    found = get_board(board)
    pruned = quantised(whole, None, found.core)
    try:
        compile_network(pruned, core_for(found, pruned))
    except CompileError as error:
        return None, f"{board} cannot run it: {error}"
    try:
        seen = simulate(
            network,
            board=board,
            data=data,
            samples=count,
            bits=bits,
            simulator=simulator,
            progress=within(progress, "core: "),
        )
    except ToolError as error:
        raise ToolError(f"{error}; --rtl-samples 0 compares without the core") from None
    keys = (
        "simulator", "samples", "accuracy", "predictions", "golden_predictions", "clocks", "compared_clocks",
        "mismatched_clocks", "first_mismatch",
    )  # fmt: skip
    return {**{key: seen[key] for key in keys}, "agrees": agrees(seen)}, None


def _both(made: Comparison, labels: NDArray[np.int64]) -> dict[str, Any]:
    """The part of the result that is about both networks."""
    real, whole = made.predictions_float, made.predictions_int
    right = None if (labels < 0).all() else (real == labels, whole == labels)
    first = made.first
    found = {misfit.layer: misfit for misfit in made.misfits}
    return {
        "form": "float",
        "accuracy_float": percent(real, labels),
        "accuracy_int": percent(whole, labels),
        "agreement": round(100.0 * made.agreement, 2),
        "lost": None if right is None else int(np.sum(right[0] & ~right[1])),
        "won": None if right is None else int(np.sum(~right[0] & right[1])),
        "predictions_float": real.tolist(),
        "predictions_int": whole.tolist(),
        "differing": [_differing(made, int(image), labels) for image in np.flatnonzero(real != whole)],
        "same_spikes": int(np.sum(made.first_layer < 0)),
        "first": None
        if first is None or first.agreement is None
        else {
            "layer": first.name,
            "step": first.agreement.first_step,
            "images": first.images,
            "example": _example(first),
            "margins": None if first.margins is None else asdict(first.margins),
        },
        "layers": [_layer(layer, found.get(layer.name)) for layer in made.layers],
        "clipped": [misfit.layer for misfit in made.misfits if misfit.cause == "clipping"],
        "misfits": [str(misfit) for misfit in made.misfits if misfit.cause == "neither"],
    }


def _differing(made: Comparison, image: int, labels: NDArray[np.int64]) -> dict[str, Any]:
    """An image with two predictions; a margin is how far a network's class is above the other network's."""
    real, whole = int(made.predictions_float[image]), int(made.predictions_int[image])
    layer = int(made.first_layer[image])
    return {
        "image": image,
        "label": int(labels[image]),
        "float": real,
        "integer": whole,
        "margin_float": float(made.logits_float[image, real] - made.logits_float[image, whole]),
        "margin_int": float(made.logits_int[image, whole] - made.logits_int[image, real]),
        "first_layer": None if layer < 0 else made.layers[layer].name,
    }


def _layer(layer: models.LayerComparison, misfit: models.Misfit | None) -> dict[str, Any]:
    found = layer.agreement
    return {
        "name": layer.name,
        "rate_float": None if found is None else found.rate_float,
        "rate_int": None if found is None else found.rate_int,
        "agreement": None if found is None else found.agreement,
        "count_difference": None if found is None else found.count_difference,
        "first_step": None if found is None else found.first_step,
        "steps": layer.steps.tolist(),
        "images": layer.images,
        "first_in": layer.first_in,
        "own": layer.own,
        "stream_error": layer.stream_error,
        "misfit": None if misfit is None else {"what": misfit.what, "units": misfit.units, "cause": misfit.cause},
        "margins": None if layer.margins is None else asdict(layer.margins),
        "example": _example(layer),
    }


def _example(layer: models.LayerComparison) -> dict[str, Any] | None:
    return None if layer.example is None else {**asdict(layer.example), "text": str(layer.example)}


def _alone(
    whole: QuantizedNetwork, x: NDArray[np.integer], labels: NDArray[np.int64], progress: Progress
) -> dict[str, Any]:
    """The same keys for a network without its float one."""
    batch = batch_images(whole.tensors(), whole.steps)
    rates = dict.fromkeys((layer.name for layer in whole.layers if layer.spikes and layer.kind != "stream"), 0.0)
    found = []
    for start in range(0, len(x), batch):
        progress("golden model", start / len(x))
        part = golden.run(whole, x[start : start + batch])
        found.append(part.predictions)
        for name, rate in golden.firing_rates(part).items():
            if name in rates:
                rates[name] += rate * len(part.predictions) / len(x)
    predictions = np.concatenate(found)
    empty: dict[str, Any] = dict.fromkeys(
        (
            "rate_float",
            "agreement",
            "count_difference",
            "first_step",
            "own",
            "stream_error",
            "misfit",
            "margins",
            "example",
        )
    )
    layers = [
        {"name": name, **empty, "rate_int": rate, "steps": [], "images": None, "first_in": None}
        for name, rate in rates.items()
    ]
    absent = ("accuracy_float", "agreement", "lost", "won", "predictions_float", "same_spikes", "first")
    return {
        "form": "quantised",
        **dict.fromkeys(absent),
        "accuracy_int": percent(predictions, labels),
        "predictions_int": predictions.tolist(),
        "differing": [],
        "layers": layers,
        "clipped": [],
        "misfits": [],
    }


def _verdict(result: dict[str, Any]) -> str:
    """Which stage loses how many images, in one line."""
    count = result["samples"]
    if result["form"] == "quantised":
        first = "no float network: it is quantised already"
    elif result["lost"] is None:
        differing = len(result["differing"])
        first = f"quantising changes {differing} of {count} predictions"
    else:
        other = len(result["differing"]) - result["lost"] - result["won"]
        more = f" ({other} more with another wrong class)" if other else ""
        first = f"quantising loses {result['lost']} and wins {result['won']} of {_images(count)}{more}"
    if result["misfits"]:
        first += f", and not by rounding alone: {result['misfits'][0]}"
    rtl = result["rtl"]
    if rtl is None:
        return f"{first}; the core was not simulated: {result['rtl_reason']}"
    if not rtl["agrees"]:
        where = rtl["first_mismatch"] or "its predictions"
        return f"{first}; the CORE DIFFERS from the integer network: {where}"
    return f"{first}; the core loses none: {_images(rtl['samples'])} and {rtl['compared_clocks']} clocks equal"


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"
