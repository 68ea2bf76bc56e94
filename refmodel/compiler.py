"""Compiler: an integer network and a core configuration become a Program."""

from __future__ import annotations

import numpy as np

from .bounds import LayerBounds, bits_needed, fits, network_bounds
from .buffers import Buffer, chunk_count, plan_buffers, stored_tensors
from .config import CoreConfig
from .errors import CompileError
from .layout import CombineOp, descriptor_bits, descriptor_fields, descriptor_words, header_fields, pack, param_fields
from .lowering import lower
from .program import Op, Program, Slab
from .quantized import LEAK_SHIFTS, IntArray, QuantizedLayer, QuantizedNetwork, TensorInfo
from .streams import StreamBuffer, plan_streams

_COMBINE = {
    "pass": CombineOp.ADD,
    "add": CombineOp.ADD,
    "and": CombineOp.AND,
    "iand": CombineOp.IAND,
    "or": CombineOp.OR,
}


def compile_network(net: QuantizedNetwork, config: CoreConfig) -> Program:
    """Map ``net`` to ``config``.

    Raises
    ------
    CompileError: naming the layer, the limit and the way out, when anything does not fit.
    """
    original, net = net, lower(net)
    chunks = chunk_count(net, config)
    if chunks > 1 << config.chunk_bits:
        most = config.time_lanes << config.chunk_bits
        raise CompileError(
            f"network '{net.name}' runs for T={net.steps} steps, this core for at most {most}; use fewer"
        )
    bounds = network_bounds(net)
    streams = plan_streams(net, config)
    ops = _ops(net, config, bounds)
    buffers = plan_buffers(net, config)
    image: list[int] = []
    slabs: list[Slab] = []
    for op in ops:
        for group in range(op.groups):
            for plane in range(op.out_planes if op.extracts else 1):
                descriptor = _descriptor(net, config, op, group, buffers, chunks)
                descriptor |= _neuron_fields(config, op)
                descriptor |= _stream_fields(config, op, group, plane, streams)
                if op.extracts:
                    descriptor |= _extraction_fields(op, group, plane, buffers)
                slabs.append(Slab(op, group, len(image), descriptor, plane))
                image += _slab_image(config, op, group, descriptor, bounds[op.layer.name])
    classes = ops[-1].out.shape[0]
    image.append(pack(header_fields(config), {"end": 1, "classes_last": classes - 1}))
    if len(image) > config.store_depth:
        raise CompileError(
            f"network '{net.name}' needs {len(image)} words of {config.store_width} bits in the resting store, "
            f"this core has {config.store_depth}; use fewer weight bits or channels, or a board with more memory"
        )
    return Program(config, net, tuple(ops), tuple(slabs), buffers, streams, tuple(image), chunks, original)


def _ops(net: QuantizedNetwork, config: CoreConfig, bounds: dict[str, LayerBounds]) -> list[Op]:
    infos = net.tensors()
    if not net.layers or net.layers[-1].kind != "readout":
        raise CompileError(f"network '{net.name}' must end with a readout layer")
    stored = stored_tensors(net)
    ops = []
    for index, layer in enumerate(net.layers):
        source, out = infos[layer.source], infos[layer.name]
        shortcut = infos[layer.shortcut] if layer.shortcut is not None else None
        channelwise = layer.kind in ("window", "stream")
        words = 1 if channelwise else -(-source.shape[0] // config.output_lanes)
        tags = words if channelwise else layer.kernel[0] * layer.kernel[1] * words
        signed = source.signed and not channelwise
        op = Op(
            index=index,
            layer=layer,
            source=TensorInfo(source.shape, 1) if layer.kind == "stream" else source,
            out=out,
            groups=-(-out.shape[0] // config.output_lanes),
            words=words,
            shared_taps=channelwise,
            sc_planes=0 if shortcut is None else shortcut.planes,
            out_planes=out.planes,
            weights=1 if layer.kind == "stream" else tags * config.channels_per_word * (2 if signed else 1),
            discard=layer.kind != "readout" and layer.name not in stored,
            top_tag=tags if signed else 0,
        )
        _check(config, op)
        _check_widths(config, op, bounds[layer.name])
        ops.append(op)
    return ops


def _check(config: CoreConfig, op: Op) -> None:
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
    if len(layer.leak_shifts) > config.leak_terms or any(shift not in LEAK_SHIFTS for shift in layer.leak_shifts):
        raise CompileError(
            f"{where}: leak shifts {layer.leak_shifts}, this core takes {config.leak_terms} of 1 to {LEAK_SHIFTS[-1]}; "
            "use another tau, or a core with more leak_terms"
        )
    if layer.leak_factor is not None and layer.leak_factor[1] > config.leak_bits:
        raise CompileError(
            f"{where}: its leak is a multiplication with {layer.leak_factor[1]} fraction bits, this core's have "
            f"leak_bits={config.leak_bits}; quantise with leak='shifts', or use a core with leak_bits"
        )


def _check_widths(config: CoreConfig, op: Op, bounds: LayerBounds) -> None:
    layer = op.layer
    where = f"layer '{layer.name}'"
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


def _check_margin(config: CoreConfig, op: Op, bounds: LayerBounds) -> None:
    """The neurons compare by subtracting: membrane - threshold must fit, too."""
    layer, low, high = op.layer, bounds.membrane_low, bounds.membrane_high
    if layer.kind != "readout":
        threshold = stored_threshold(layer, bounds)
        margin_low, margin_high = low - threshold, high - threshold
        if not fits(margin_low, margin_high, config.membrane_width).all():
            raise CompileError(
                f"layer '{layer.name}': membrane minus threshold can need {bits_needed(margin_low, margin_high)} bits, this core's "
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


def _descriptor(
    net: QuantizedNetwork, config: CoreConfig, op: Op, group: int, buffers: dict[str, Buffer], chunks: int
) -> dict[str, int]:
    layer = op.layer
    source = buffers[layer.name if op.extracts else layer.source]
    _, in_h, in_w = op.source.shape
    _, out_h, out_w = op.out.shape
    row, planes = in_w * source.groups, op.source.planes
    # From a loop's first address to its last, for the loops inside the one that steps.
    kernel_row = (layer.kernel[1] - 1) * source.groups
    window = (layer.kernel[0] - 1) * row + kernel_row
    all_planes = window - (planes - 1) * source.plane_step
    all_chunks = all_planes + (chunks - 1) * source.chunk_step
    tile_row = (out_w - 1) * layer.stride[1] * source.groups
    origin = -layer.padding[0] * row - layer.padding[1] * source.groups
    values = {
        "src": source.base + (op.source.planes - 1) * source.plane_step + origin + (group if op.pool else 0),
        "words_last": op.words - 1,
        "tap_step": source.groups,
        "row_step": row - kernel_row,
        "plane_step": -source.plane_step - window,
        "chunk_step": source.chunk_step - all_planes,
        "tile_x_step": layer.stride[1] * source.groups - all_chunks,
        "tile_y_step": layer.stride[0] * row - tile_row - all_chunks,
        "kernel_x_last": layer.kernel[1] - 1,
        "kernel_y_last": layer.kernel[0] - 1,
        "origin_x": -layer.padding[1],
        "origin_y": -layer.padding[0],
        "stride_x": layer.stride[1],
        "stride_y": layer.stride[0],
        "in_x": in_w,
        "in_y": in_h,
        "out_x_last": out_w - 1,
        "out_y_last": out_h - 1,
        "planes_last": op.source.planes - 1,
        "chunks_last": chunks - 1,
        "shared_taps": int(op.shared_taps),
        "last_step": (net.steps - 1) % config.time_lanes,
    }
    if config.signed_sources:
        values["top_tag"] = op.top_tag
    if layer.kind == "readout":
        values |= {"readout": 1, "result_group": group}
        return values
    if op.discard:
        values |= {"discard": 1, "use_current": int(layer.current is not None)}
        return values | _shortcut(op, group, buffers, chunks)
    out = buffers[layer.name]
    values |= {
        "dst": out.base + group,
        "dst_plane_step": out.plane_step,
        "dst_chunk_step": out.chunk_step - (op.out_planes - 1) * out.plane_step,
        "dst_pixel_step": out.groups - (op.out_planes - 1) * out.plane_step - (chunks - 1) * out.chunk_step,
        "out_planes_last": op.out_planes - 1,
        "combine": int(_COMBINE[layer.combine]),
        "use_current": int(layer.current is not None),
    }
    return values | _shortcut(op, group, buffers, chunks)


def _shortcut(op: Op, group: int, buffers: dict[str, Buffer], chunks: int) -> dict[str, int]:
    if op.layer.shortcut is None:
        return {}
    shortcut = buffers[op.layer.shortcut]
    last_plane = (op.sc_planes - 1) * shortcut.plane_step
    return {
        "sc": shortcut.base + group,
        "sc_plane_step": shortcut.plane_step,
        "sc_chunk_step": shortcut.chunk_step - last_plane,
        "sc_pixel_step": shortcut.groups - last_plane - (chunks - 1) * shortcut.chunk_step,
        "sc_planes": op.sc_planes,
    }


def _neuron_fields(config: CoreConfig, op: Op) -> dict[str, int]:
    layer = op.layer
    if layer.kind == "readout":
        return {}
    values = {
        "soft_reset": int(layer.reset == "soft"),
        "no_reset": int(layer.reset == "none"),
        "stateless": int(layer.stateless or layer.kind != "conv" or layer.threshold is None),
        "leak_a": layer.leak_shifts[0] if layer.leak_shifts else 0,
        "leak_b": layer.leak_shifts[1] if len(layer.leak_shifts) > 1 else 0,
    }
    if config.leak_bits and layer.leak_factor is not None:
        factor, bits = layer.leak_factor
        values |= {"leak_multiply": 1, "leak_factor": factor << (config.leak_bits - bits)}
    if config.rectify:
        values["rectify"] = int(layer.rectify)
    return values


def _extraction_fields(op: Op, group: int, plane: int, buffers: dict[str, Buffer]) -> dict[str, int]:
    """A window outside an input of no size: nothing is scanned, every tile drains at once."""
    out = buffers[op.layer.name]
    return {
        "in_x": 0,
        "in_y": 0,
        "dst": out.base + group + plane * out.plane_step,
        "dst_chunk_step": out.chunk_step,
        "dst_pixel_step": out.groups - (out.chunks - 1) * out.chunk_step,
        "out_planes_last": 0,
    }


def _stream_fields(
    config: CoreConfig, op: Op, group: int, plane: int, streams: dict[str, StreamBuffer]
) -> dict[str, int]:
    layer, values = op.layer, {}
    if op.extracts:
        bit = min(layer.shift + plane, config.stream_width - 1)  # beyond: the sign
        values |= {"extract": 1, "extract_bit": bit}
    read = layer.source if op.extracts else layer.stream
    if read is not None:
        buffer = streams[read]
        values |= {"reads_stream": 1, "stream_in": buffer.base + group * buffer.group_words}
        values["stream_step"] = buffer.tile_step
    if layer.keeps_stream:
        buffer = streams[layer.name]
        values |= {"keeps_stream": 1, "stream_out": buffer.base + group * buffer.group_words}
        values["stream_step"] = buffer.tile_step
    return values


def _slab_image(
    config: CoreConfig, op: Op, group: int, descriptor: dict[str, int], bounds: LayerBounds
) -> list[int]:
    image = [pack(header_fields(config), {"weights_last": op.weights - 1})]
    weights = _slab_weights(config, op, group)  # [K, n, P]
    mask = (1 << config.weight_bits) - 1
    for row in (weights.reshape(-1, config.output_lanes) & mask).tolist():
        word = 0
        for lane, value in enumerate(row):
            word |= value << (lane * config.weight_bits)
        image.append(word)
    image += _slab_params(config, op, group, bounds)
    packed = pack(descriptor_fields(config), descriptor)
    assert descriptor_bits(config) >= packed.bit_length()
    width = config.store_width
    image += [(packed >> (i * width)) & ((1 << width) - 1) for i in range(descriptor_words(config))]
    return image


def _slab_weights(config: CoreConfig, op: Op, group: int) -> IntArray:
    """``[K, words, P]``: event lane k owns channels k*W .. k*W+W-1 of every group of P."""
    lanes, events, per_word = config.output_lanes, config.event_lanes, config.channels_per_word
    if op.extracts:
        return np.zeros((events, 1, lanes), np.int64)
    if op.pool:
        return np.eye(lanes, dtype=np.int64).reshape(events, per_word, lanes)
    weight = op.layer.weight
    assert weight is not None
    _, cin, kh, kw = weight.shape
    part = weight[group * lanes : (group + 1) * lanes]
    padded = np.zeros((lanes, op.words * lanes, kh, kw), np.int64)
    padded[: part.shape[0], :cin] = part
    split = padded.reshape(lanes, op.words, events, per_word, kh, kw)
    words = split.transpose(2, 4, 5, 1, 3, 0).reshape(events, -1, lanes)
    return np.concatenate([words, -words], axis=1) if op.top_tag else words


def _slab_params(config: CoreConfig, op: Op, group: int, bounds: LayerBounds) -> list[int]:
    lanes, layer = config.output_lanes, op.layer
    count = op.out.shape[0]
    unreachable = (1 << (config.membrane_width - 1)) - 1
    zero = np.zeros(count, np.int64)
    bias = zero if layer.bias is None else layer.bias
    both = bias if layer.current is None else bias + layer.current
    threshold = zero + unreachable if layer.kind == "readout" else stored_threshold(layer, bounds)
    words = []
    for lane in range(lanes):
        channel = group * lanes + lane
        if channel < count:
            values = {
                "threshold": int(threshold[channel]),
                "bias": int(bias[channel]),
                "bias_shortcut": int(both[channel]),
            }
        else:
            values = {"threshold": unreachable}
        words.append(pack(param_fields(config), values))
    return words
