"""What one core cannot run, said by layer, limit and way out; what the quantiser keeps for it; stored thresholds."""

from __future__ import annotations

import numpy as np

from .attention_layout import check_fits
from .attention_quantize import demand_ranges
from .bounds import LayerBounds, bits_needed, fits
from .config import CoreConfig
from .errors import CompileError, NetworkError
from .program import Op
from .quantized import IntArray, QuantizedLayer
from .window_fields import check_window


def core_limits(config: CoreConfig, steps: int) -> dict[str, int]:
    """Options that :func:`refmodel.quantize.quantize` must keep for a core.

    No sum exceeds its accumulators, and no membrane stream what its membranes hold over all ``steps``.
    """
    largest = (1 << (config.membrane_width - 1)) - 1
    return {"max_sum": (1 << (config.acc_width - 1)) - 1, "max_stream": largest // (steps + 1)}


def check_op(config: CoreConfig, op: Op) -> None:
    """Refuse what this core cannot run, before anything is laid out."""
    layer = op.layer
    where = f"layer '{layer.name}'"
    for what, value, bits in (
        ("input size", max(op.source.shape[1:]), config.dim_bits),
        ("output size", max(op.out.shape[1:]), config.dim_bits),
        ("kernel size", max(layer.kernel) - 1, config.kernel_bits),
        ("stride", max(layer.stride), config.kernel_bits),
        ("padding", max(layer.padding), config.kernel_bits),
    ):
        if value >= 1 << bits:
            raise CompileError(
                f"{where}: its {what} is over this core's limit of {(1 << bits) - (what != 'kernel size')}; "
                f"use a smaller one, or a core with larger {'dim_bits' if 'put' in what else 'kernel_bits'}"
            )
    if min(op.out.shape) < 1:
        raise CompileError(f"{where}: output shape {op.out.shape} is empty; check kernel, stride and padding")
    if op.weights > config.bank_depth:
        raise CompileError(
            f"{where}: a slab needs {op.weights} weights an event lane, this core's banks hold {config.bank_depth}; "
            "use fewer input channels, a smaller kernel, more event lanes, or a core with a larger bank_depth"
        )
    check_window(config, op)
    if op.source.planes > config.most_source_planes:
        raise CompileError(
            f"{where}: its source has {op.source.planes} bits, this core takes {config.most_source_planes}; "
            "use fewer input bits or fewer ADD blocks in a row, or raise source_planes"
        )
    if not op.extracts and op.writes and max(op.out_planes, op.sc_planes) > config.max_planes:
        raise CompileError(
            f"{where}: values need {max(op.out_planes, op.sc_planes)} bits, "
            f"this core has max_planes={config.max_planes}; use fewer input bits or fewer ADD blocks in a row"
        )
    if op.top_tag and not config.signed_sources:
        raise CompileError(
            f"{where}: reads the signed tensor '{layer.source}'; use unsigned inputs, "
            "or a core with signed_sources=True"
        )
    if layer.attention is not None and config.attention is None:
        raise CompileError(f"{where}: has attention (SynA); use a core with attention")
    if layer.rectify and not config.rectify:
        raise CompileError(f"{where}: integrates max(X, 0); use a core with rectify=True")
    if layer.kind == "readout" and op.out.shape[0] > config.result_depth:
        raise CompileError(f"{where}: {op.out.shape[0]} classes, this core keeps {config.result_depth} results")
    if layer.current is not None and (op.sc_planes != 1 or layer.combine != "pass"):
        raise CompileError(f"{where}: a membrane shortcut takes binary spikes and no combiner")
    if layer.combine in ("and", "iand", "or") and op.sc_planes != 1:
        raise CompileError(
            f"{where}: {layer.combine.upper()} takes binary spikes, the shortcut has {op.sc_planes} bits"
        )
    most = config.leak_shift_max
    if len(layer.leak_shifts) > config.leak_terms or any(not 1 <= shift <= most for shift in layer.leak_shifts):
        raise CompileError(
            f"{where}: leak shifts {layer.leak_shifts}, this core takes {config.leak_terms} of 1 to {most}; "
            "use another tau, or a core with more leak_terms or a larger leak_shift_max"
        )
    if layer.leak_factor is not None and layer.leak_factor[1] > config.leak_bits:
        raise CompileError(
            f"{where}: its leak is a multiplication with {layer.leak_factor[1]} fraction bits, this core's have "
            f"leak_bits={config.leak_bits}; quantise with leak='shifts', or use a core with leak_bits"
        )


def check_widths(config: CoreConfig, op: Op, bounds: LayerBounds, steps: int) -> None:
    """Refuse weights, sums, membranes and constants that do not fit, by proof."""
    layer = op.layer
    where = f"layer '{layer.name}'"
    if op.scores:
        _check_attention(config, op, bounds, steps)
    if op.extracts:
        _check_extraction(config, op, bounds)
        return
    top = (1 << (config.weight_bits - 1)) - 1
    weight = np.ones(1, np.int64) if layer.weight is None else layer.weight
    largest = int(np.abs(weight).max(initial=0))
    lowest = -top if op.top_tag else -top - 1  # the top bit-plane of a signed source takes negated weights
    if int(weight.max(initial=0)) > top or int(weight.min(initial=0)) < lowest:
        raise CompileError(
            f"{where}: weight magnitude {largest} does not fit {config.weight_bits} bits; "
            f"quantise to {config.weight_bits} bits or use a core with wider weights"
        )
    if not fits(bounds.sum_low, bounds.sum_high, config.acc_width).all():
        raise CompileError(
            f"{where}: its sums can need {bits_needed(bounds.sum_low, bounds.sum_high)} bits, this core's "
            f"accumulators have {config.acc_width}; quantise with max_sum={(1 << (config.acc_width - 1)) - 1}, "
            "use fewer weight bits, or raise acc_width"
        )
    low, high = bounds.membrane_low, bounds.membrane_high
    if not fits(low, high, config.membrane_width).all():
        raise CompileError(
            f"{where}: its membranes can need {bits_needed(low, high)} bits, this core's have "
            f"{config.membrane_width}; use fewer weight bits or raise membrane_width"
        )
    if layer.keeps_stream and not fits(bounds.input_low, bounds.input_high, max(1, config.stream_width)).all():
        raise CompileError(
            f"{where}: its membrane stream can need {bits_needed(bounds.input_low, bounds.input_high)} bits, "
            f"this core's streams have {config.stream_width}; use fewer weight bits or blocks, or raise stream_width"
        )
    if layer.bias is not None and not fits(layer.bias, layer.bias, config.acc_width).all():
        raise CompileError(f"{where}: its bias does not fit {config.acc_width} bits; raise acc_width")
    if layer.current is not None:
        both = layer.current + (layer.bias if layer.bias is not None else 0)
        if not fits(both, both, config.acc_width).all():
            raise CompileError(f"{where}: its shortcut current does not fit {config.acc_width} bits; raise acc_width")
    _check_margin(config, op, bounds)


def _check_attention(config: CoreConfig, op: Op, bounds: LayerBounds, steps: int) -> None:
    attention, (channels, height, width) = op.layer.attention, op.out.shape
    assert attention is not None and config.attention is not None
    low, high = int(bounds.input_low.min()), int(bounds.input_high.max())
    count = height * width * (channels if attention.axis == "time" else steps)
    check_fits(op.layer.name, attention, low, high, count, config, config.attention)
    try:
        demand_ranges(attention, low, high, count)
    except NetworkError as error:
        raise CompileError(f"layer '{op.layer.name}': {error}") from None


def _check_margin(config: CoreConfig, op: Op, bounds: LayerBounds) -> None:
    """The neurons compare by subtracting: membrane - threshold must fit, too."""
    layer, low, high = op.layer, bounds.membrane_low, bounds.membrane_high
    if layer.kind != "readout":
        threshold = stored_threshold(layer, bounds)
        margin_low, margin_high = low - threshold, high - threshold
        if not fits(margin_low, margin_high, config.membrane_width).all():
            needed = bits_needed(margin_low, margin_high)
            raise CompileError(
                f"layer '{layer.name}': membrane minus threshold can need {needed} bits, this core's "
                f"membranes have {config.membrane_width}; use fewer weight bits or raise membrane_width"
            )


def _check_extraction(config: CoreConfig, op: Op, bounds: LayerBounds) -> None:
    layer = op.layer
    needed = bits_needed(bounds.input_low >> layer.shift, bounds.input_high >> layer.shift)
    if needed > layer.bits:
        raise CompileError(
            f"layer '{layer.name}': the stream of '{layer.source}' can need {needed} bits after a shift of "
            f"{layer.shift}, the tensor has {layer.bits}; use bits={needed} or a larger shift"
        )
    _check_margin(config, op, bounds)


def stored_threshold(layer: QuantizedLayer, bounds: LayerBounds) -> IntArray:
    """Thresholds as stored, moved to the edge of what the membrane can reach.

    One above reach never fires wherever it lies; one below reach always fires, and under a
    hard reset its value does not matter either.  A soft reset subtracts it, so it stays.  Without
    a threshold nothing fires.
    """
    if layer.threshold is None:
        return bounds.membrane_high + 1
    threshold = np.minimum(layer.threshold, bounds.membrane_high + 1)
    if layer.reset == "hard":
        threshold = np.maximum(threshold, bounds.membrane_low)
    return threshold
