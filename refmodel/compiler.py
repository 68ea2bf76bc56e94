"""Compiler: an integer network and a core configuration become a Program."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .attention_layout import attention_words
from .bounds import LayerBounds, network_bounds
from .buffers import Buffer, chunk_count, plan_buffers, stored_tensors
from .config import CoreConfig
from .engines import engine_rows
from .errors import CompileError
from .image import StoreImage, word_rows
from .layout import START_FIELDS, CombineOp, header_fields, pack
from .limits import check_op, check_widths
from .lowering import lower
from .program import Op, Program, Slab
from .quantized import INPUT, QuantizedNetwork, TensorInfo
from .slab_image import slab_rows
from .state_bounds import StateProof, prove_state
from .state_plan import StatePlace, plan_state
from .streams import StreamBuffer, plan_streams
from .window_fields import window_fields

_COMBINE = {
    "pass": CombineOp.ADD,
    "add": CombineOp.ADD,
    "and": CombineOp.AND,
    "iand": CombineOp.IAND,
    "or": CombineOp.OR,
}


def compile_network(net: QuantizedNetwork, config: CoreConfig, *, keep_state: bool | None = None) -> Program:
    """Map ``net`` to ``config``.

    keep_state: whether runs leave their membranes for the next one (docs/streaming.md); None: if the core has a
    state memory.

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
    keeps = config.state_depth > 0 if keep_state is None else keep_state
    state = plan_state(net, config) if keeps else {}
    streams = plan_streams(net, config)
    ops = _ops(net, config, bounds)
    buffers = plan_buffers(net, config)
    proof = prove_state(net, config, bounds) if keeps else StateProof(None, False, bounds)
    bounds = proof.bounds  # thresholds are stored as all runs together need them, not one alone
    parts: list[NDArray[np.uint8]] = []  # of the image
    words = 0
    slabs: list[Slab] = []
    for op in ops:
        for group in range(op.groups):
            for plane in range(op.out_planes if op.extracts else 1):
                descriptor = _descriptor(net, config, op, group, buffers, chunks)
                descriptor |= _neuron_fields(config, op)
                descriptor |= _stream_fields(config, op, group, plane, streams)
                descriptor |= _state_fields(op, group, state)
                if op.extracts:
                    descriptor |= _extraction_fields(op, group, plane, buffers)
                starts = _starts(config, op, group, descriptor, buffers)
                slab = Slab(op, group, words, descriptor, plane, starts)
                if config.attention is not None and op.layer.attention is not None:
                    descriptor |= _attention_fields(config, slab)
                slabs.append(replace(slab, descriptor=descriptor))
                parts.append(slab_rows(config, slabs[-1], bounds[op.layer.name]))
                words += len(parts[-1])
    classes = ops[-1].out.shape[0]
    end = pack(header_fields(config), {"end": 1, "classes_last": classes - 1})
    image = StoreImage(np.concatenate([*parts, word_rows([end], config.store_width)]))
    if len(image) > config.store_depth:
        raise CompileError(
            f"network '{net.name}' needs {len(image)} words of {config.store_width} bits in the resting store, "
            f"this core has {config.store_depth}; use fewer weight bits or channels, a board with more memory, "
            "or one with its program outside the FPGA, such as ulx3s_85f+sdram or icebreaker+flash"
        )
    return Program(
        config, net, tuple(ops), tuple(slabs), buffers, streams, image, chunks, original, keeps, state, proof.steps,
        proof.watched,
    )  # fmt: skip


def _ops(net: QuantizedNetwork, config: CoreConfig, bounds: dict[str, LayerBounds]) -> list[Op]:
    infos = net.tensors()
    if not net.layers or net.layers[-1].kind != "readout":
        raise CompileError(f"network '{net.name}' must end with a readout layer")
    stored, rows = stored_tensors(net), engine_rows(net, config)
    ops = []
    for index, layer in enumerate(net.layers):
        source, out = infos[layer.source], infos[layer.name]
        shortcut = infos[layer.shortcut] if layer.shortcut is not None else None
        channelwise = layer.kind in ("window", "stream", "apply")
        silent = layer.kind in ("stream", "apply")
        words = 1 if channelwise else -(-source.shape[0] // config.output_lanes)
        tags = words if channelwise else layer.kernel[0] * layer.kernel[1] * words
        signed = source.signed and not channelwise
        op = Op(
            index=index,
            layer=layer,
            source=TensorInfo(source.shape, 1) if silent else source,
            out=out,
            groups=-(-out.shape[0] // config.output_lanes),
            words=words,
            shared_taps=channelwise,
            sc_planes=0 if shortcut is None else shortcut.planes,
            out_planes=out.planes,
            weights=1 if silent else tags * config.channels_per_word * (2 if signed else 1),
            discard=layer.kind != "readout" and layer.name not in stored,
            top_tag=tags if signed else 0,
            attention_words=tuple(attention_words(layer.attention)) if layer.attention is not None else (),
            rows=rows[layer.name],
        )
        check_op(config, op)
        check_widths(config, op, bounds[layer.name], net.steps)
        ops.append(op)
    return ops


def _descriptor(
    net: QuantizedNetwork, config: CoreConfig, op: Op, group: int, buffers: dict[str, Buffer], chunks: int
) -> dict[str, int]:
    layer = op.layer
    source = _source(op, buffers)
    values = window_fields(op, source, group) | {
        "out_x_last": op.out.shape[2] - 1,
        "out_y_last": op.share(0)[1] - 1,
        "planes_last": op.source.planes - 1,
        "chunks_last": chunks - 1,
        "shared_taps": int(op.shared_taps),
        "last_step": (net.steps - 1) % config.time_lanes,
    }
    if config.engines > 1:
        values |= {"turns_last": op.engines - 1, "enable": 1}
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


def _source(op: Op, buffers: dict[str, Buffer]) -> Buffer:
    """What scans nothing needs no source: its own place stands in."""
    return buffers[op.layer.source] if op.scans else buffers.get(op.layer.name, buffers[INPUT])


def _starts(
    config: CoreConfig, op: Op, group: int, descriptor: dict[str, int], buffers: dict[str, Buffer]
) -> tuple[dict[str, int], ...]:
    """Start fields of engines 1 and on; ``descriptor``: the slab's, with engine 0's."""
    places = [
        (field, name) for field, name in (("dst", op.layer.name), ("sc", op.layer.shortcut)) if field in descriptor
    ]
    starts = []
    for engine in range(1, config.engines):
        first, count = op.share(engine)
        if not count:
            starts.append({"enable": 0})
            continue
        values = descriptor | window_fields(op, _source(op, buffers), group, engine) | {"out_y_last": count - 1}
        for field, name in places:
            assert name is not None
            values[field] = descriptor[field] + first * op.out.shape[2] * buffers[name].groups
        starts.append({field: value for field, value in values.items() if field in START_FIELDS})
    return tuple(starts)


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
        "stateless": int(layer.stateless or layer.kind in ("window", "stream") or layer.threshold is None),
        "leak_a": layer.leak_shifts[0] if layer.leak_shifts else 0,
        "leak_b": layer.leak_shifts[1] if len(layer.leak_shifts) > 1 else 0,
    }
    if config.leak_bits and layer.leak_factor is not None:
        factor, bits = layer.leak_factor
        values |= {"leak_multiply": 1, "leak_factor": factor << (config.leak_bits - bits)}
    if config.rectify:
        values["rectify"] = int(layer.rectify)
    return values


def _attention_fields(config: CoreConfig, slab: Slab) -> dict[str, int]:
    op, group, attention = slab.op, slab.group, slab.op.layer.attention
    assert attention is not None
    channels = attention.axis == "channel"
    return {
        "gated": int(not op.scores),
        "score": int(op.scores),
        "computes": int(slab.computes),
        "pool_channels": int(channels),
        "pool_first": int(channels or group == 0),
        "pool_base": group * config.slots_per_step if channels else 0,
        "lanes_last": min(config.output_lanes, op.out.shape[0] - group * config.output_lanes) - 1,
    }


def _state_fields(op: Op, group: int, state: dict[str, StatePlace]) -> dict[str, int]:
    place = state.get(op.layer.name)
    return {} if place is None else {"state": place.base + group * place.group_words, "keeps_state": 1}


def _extraction_fields(op: Op, group: int, plane: int, buffers: dict[str, Buffer]) -> dict[str, int]:
    """A slab writes one plane."""
    out = buffers[op.layer.name]
    return {
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
    read = layer.stream if op.scans else layer.source
    if read is not None:
        buffer = streams[read]
        values |= {"reads_stream": 1, "stream_in": buffer.base + group * buffer.group_words}
        values["stream_step"] = buffer.tile_step
    if layer.keeps_stream:
        buffer = streams[layer.name]
        values |= {"keeps_stream": 1, "stream_out": buffer.base + group * buffer.group_words}
        values["stream_step"] = buffer.tile_step
    return values
