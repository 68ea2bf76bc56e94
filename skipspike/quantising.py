"""Quantising a float network, and what that cost each layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from refmodel import modelfile
from refmodel.agreement import LayerAgreement, measure_agreement
from refmodel.balance import KEY
from refmodel.balance import balance as balance_lanes
from refmodel.calibration import Calibration, calibrate
from refmodel.errors import ModelFileError, NetworkError
from refmodel.leaks import LeakForm
from refmodel.limits import core_limits
from refmodel.network import Network
from refmodel.pruning import prune
from refmodel.quantize import LayerReport, quantize, report
from refmodel.quantized import QuantizedNetwork
from refmodel.widths import layer_bits as bits_of

from .models import RANDOM, RANDOM_SAMPLES, chosen_bits, data_of, open_network, percent, samples_of
from .progress import Progress, silent

#: Inputs compared and inputs calibrated on, unless told otherwise.
DEFAULT_SAMPLES = 500
CALIBRATION_SAMPLES = 128


def quantise(
    network: str | Path,
    *,
    bits: int | None = None,
    layer_bits: Mapping[str, int] | None = None,
    data: str | Path | None = None,
    samples: int | None = None,
    calibration: str | Path | None = None,
    calibration_samples: int | None = None,
    leak: LeakForm = "auto",
    leak_bits: int = 8,
    allow_leak_error: bool = False,
    clip: Literal["none", "mse"] = "none",
    board: str | None = None,
    balance: str | Path | None = None,
    balance_samples: int | None = None,
    out: str | Path | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """The integer network of a float one, written to ``out`` if given, and how far it follows the float network.

    bits, layer_bits, leak, leak_bits, allow_leak_error, clip: as of :func:`refmodel.quantize.quantize`.  calibration:
    data whose first ``calibration_samples`` (128) choose how to round; none without.  board: no sum can exceed that
    board's accumulators, no stream what its membranes hold.  balance: data whose first ``balance_samples`` (128) choose
    the order of hidden channels in ``out``, pruned, so that the event lanes of the core that the board gets are equally
    busy (:mod:`refmodel.balance`); what is measured is the usual order.  ``layers``: what
    :class:`refmodel.quantize.LayerReport` says of each layer, and of those with spikes
    :class:`refmodel.agreement.LayerAgreement`, measured on the first ``samples`` (500; of random data 32) of the data.
    Raises SkipspikeError.
    """
    path = None if out is None else Path(out)
    if path is not None and path.suffix != modelfile.SUFFIX:
        raise ModelFileError(f"a model file ends in {modelfile.SUFFIX}; write to '{path.stem}{modelfile.SUFFIX}'")
    if path is not None and not path.absolute().parent.is_dir():
        raise ModelFileError(f"{path}: there is no folder {str(path.absolute().parent)!r}; make it first")
    net = open_network(network)
    if not isinstance(net, Network):
        raise NetworkError(f"network {net.name!r} is quantised already; use the float network it was made from")
    usual = RANDOM_SAMPLES if data_of(net, data) == RANDOM else DEFAULT_SAMPLES
    x, y = samples_of(net, data, samples, usual, progress)
    measured: Calibration | None = None
    if calibration is not None:
        sample, _ = samples_of(net, calibration, calibration_samples, CALIBRATION_SAMPLES, progress)
        measured = calibrate(net, sample, progress=lambda share: progress("calibration", share))
    progress("quantising", None)
    whole = quantize(
        net,
        chosen_bits(net, bits),
        layer_bits=layer_bits,
        clip=clip,
        calibration=measured,
        leak=leak,
        leak_bits=leak_bits,
        allow_leak_error=allow_leak_error,
        **_limits(net, board),
    )
    kept, balanced = whole, None
    if balance is not None:
        sample, _ = samples_of(net, balance, balance_samples, CALIBRATION_SAMPLES, progress)
        kept, balanced = _balanced(whole, sample, board, balance, progress)
    rows = report(net, whole)
    found = measure_agreement(net, whole, x, progress=lambda share: progress("comparing both networks", share))
    if path is not None:
        modelfile.save(kept, path)
    spiking = {layer.name: layer for layer in found.layers}
    reports = {row.name: row for row in rows}
    names = [layer.name for layer in net.layers if layer.name in spiking or layer.name in reports]
    return {
        "network": whole.name,
        "family": whole.family,
        "weight_bits": whole.weight_bits,
        "layer_bits": bits_of(whole),
        "board": board,
        "clip": clip,
        "calibration": None if measured is None else {"data": str(calibration), "samples": measured.samples},
        "balance": balanced,
        "parameters": whole.parameters,
        "data": str(data_of(net, data)),
        "samples": len(x),
        "accuracy_float": percent(found.predictions_float, y),
        "accuracy": percent(found.predictions_int, y),
        "agreement": round(100.0 * found.predictions, 2),
        "differing": [int(index) for index in np.flatnonzero(found.predictions_float != found.predictions_int)],
        "first_difference": None
        if found.first is None
        else {"layer": found.first.name, "step": found.first.first_step},
        "layers": [_row(name, reports.get(name), spiking.get(name)) for name in names],
        "file": None if path is None else str(path),
    }


def _balanced(
    whole: QuantizedNetwork, x: NDArray[np.integer], board: str | None, data: str | Path, progress: Progress
) -> tuple[QuantizedNetwork, dict[str, Any]]:
    """The network pruned and in order for the lanes of the board's core, and what that is expected to save."""
    from boards.registry import get_board

    from .cores import core_for

    if board is None:
        raise NetworkError("to balance lanes takes a board, whose core has them: name one")
    pruned = prune(whole)[0]
    config = core_for(get_board(board), pruned)
    progress("balancing event lanes", None)
    made = balance_lanes(pruned, x, config)
    summary = {"data": str(data), "samples": len(x), **dict(cast(dict[str, int], made.network.meta[KEY]))}
    return made.network, {**summary, "events_before": round(made.before), "events_after": round(made.after)}


def _limits(net: Network, board: str | None) -> dict[str, Any]:
    if board is None:
        return {}
    from boards.registry import get_board

    return core_limits(get_board(board).core, net.steps)


def _row(name: str, one: LayerReport | None, agreement: LayerAgreement | None) -> dict[str, Any]:
    """Both reports of a layer; what does not apply to it is None."""
    errors = {key: None for key in LayerReport.__dataclass_fields__} if one is None else asdict(one)
    spikes = {key: None for key in LayerAgreement.__dataclass_fields__} if agreement is None else asdict(agreement)
    return {**errors, **spikes, "name": name, "dead": [] if one is None else list(one.dead)}
