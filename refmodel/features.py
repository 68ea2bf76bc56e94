"""Which optional parts of a core a network needs."""

from __future__ import annotations

from dataclasses import asdict, replace

from .attention_config import AttentionConfig
from .attention_layout import attention_words
from .bounds import bits_needed, network_bounds
from .buffers import stored_tensors
from .config import CoreConfig
from .lowering import lower
from .quantized import QuantizedNetwork
from .streams import stream_words

#: Memories grow in steps of a block RAM's depth.
_STREAM_STEP = 256


def with_features(config: CoreConfig, net: QuantizedNetwork) -> CoreConfig:
    """``config`` with the optional parts that ``net`` needs and it lacks; nothing is removed.

    Leaks, rectified inputs, signed sources, the planes of sources and of written tensors, an
    attention unit, and a stream memory wide and deep enough for the network's membrane streams.  A network that needs
    none of them gets ``config`` itself, so that one core serves many networks.
    Raises CompileError where the network cannot be lowered.
    """
    net = lower(net)
    infos, stored = net.tensors(), stored_tensors(net)
    convolutions = [layer for layer in net.layers if layer.weight is not None]
    sources = [infos[layer.source] for layer in net.layers if layer.kind != "stream"]
    changes: dict[str, object] = {}

    def at_least(option: str, value: int) -> None:
        if value > getattr(config, option):
            changes[option] = value

    at_least("leak_terms", max(len(layer.leak_shifts) for layer in net.layers))
    at_least("leak_bits", max(layer.leak_factor[1] if layer.leak_factor else 0 for layer in net.layers))
    at_least("rectify", any(layer.rectify for layer in net.layers))
    at_least("signed_sources", any(infos[layer.source].signed for layer in convolutions))
    source_planes = max(info.planes for info in sources)
    if source_planes > config.most_source_planes:
        changes["source_planes"] = source_planes
    written = [layer for layer in net.layers if layer.name in stored and layer.kind != "stream"]
    room = config.slots_per_chunk - 2  # a core cannot write more planes than this between two tiles
    planes = max((infos[layer.name].planes for layer in written), default=1)
    if config.max_planes < planes <= room:
        changes["max_planes"] = planes
    sizes = _attention_sizes(net, config.attention)
    if sizes != config.attention:
        changes["attention"] = sizes
    kept = [layer.name for layer in net.layers if layer.keeps_stream]
    if kept:
        bounds = network_bounds(net)
        at_least("stream_width", max(bits_needed(bounds[k].input_low, bounds[k].input_high) for k in kept))
        words = stream_words(net, config)
        if words > config.stream_depth or config.stream_width == 0:
            changes["stream_depth"] = -(-words // _STREAM_STEP) * _STREAM_STEP
    return replace(config, **changes) if changes else config  # pyright: ignore[reportArgumentType]


def _attention_sizes(net: QuantizedNetwork, present: AttentionConfig | None) -> AttentionConfig | None:
    """An attention unit for every attention of a lowered network, no smaller than the one present."""
    infos = net.tensors()
    sizes = present
    for layer in net.layers:
        if layer.attention is None or not layer.keeps_stream:
            continue
        at, (channels, height, width) = layer.attention, infos[layer.name].shape
        along_time = at.axis == "time"
        count = height * width * (channels if along_time else net.steps)
        words = -(-len(attention_words(at)) // _STREAM_STEP) * _STREAM_STEP
        wanted = AttentionConfig(
            steps=at.size if along_time else 1,
            channels=1 if along_time else at.size,
            hidden=at.hidden,
            count_bits=max(1, (count - 1).bit_length()),
            weight_depth=words,
        )
        sizes = wanted if sizes is None else _larger(sizes, wanted)
    return sizes


def _larger(a: AttentionConfig, b: AttentionConfig) -> AttentionConfig:
    return AttentionConfig(**{key: max(value, getattr(b, key)) for key, value in asdict(a).items()})
