"""A float network's layers to integer ones, given what the quantiser was asked for."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from .attention import Attention
from .bounds import LayerBounds, bits_needed, layer_bounds
from .calibration import Calibration
from .errors import NetworkError
from .layer_checks import MAX_STREAM_BITS
from .layers import ConvLayer, FloatArray, GateLayer, PoolLayer, ReadoutLayer, StreamLayer
from .leaks import Leak
from .network import Network
from .quantize_gates import integer_attention
from .quantize_layers import Source, conv_drive, make_conv, make_gate, make_readout, readout_drive
from .quantized import INPUT, IntArray, QuantizedLayer, TensorInfo, bits_range
from .scale_groups import keeps_input, pools_channels, scale_groups
from .scales import ScaleOptions, fit_scales, unlimited_scales
from .stream_shift import SharedReader, best_shift, stream_spread


class Converter:
    """Makes integer layers, each when it is first needed: readers of a stream's tensor need that stream's scale."""

    def __init__(
        self, net: Network, options: ScaleOptions, leaks: dict[str, Leak], calibration: Calibration | None = None
    ) -> None:
        self.net, self.options, self.leaks, self.calibration = net, options, leaks, calibration
        self.rescaled: dict[str, object] = {}
        self._floats = {layer.name: layer for layer in net.layers}
        self._infos = net.tensors()
        self._groups = scale_groups(net)
        self._units: dict[str, FloatArray] = {}
        self._pending: set[str] = set()
        self._made: dict[str, QuantizedLayer] = {}
        self._bounds: dict[str, LayerBounds] = {}

    def convert(self, name: str) -> QuantizedLayer:
        """The integer layer of that name."""
        if name not in self._made:
            layer = self._floats[name]
            if isinstance(layer, ConvLayer):
                made = self._conv(layer, self._scales(layer))
                self._made[name] = made if layer.attention is None else self._gated(layer, layer.attention, made)
            elif isinstance(layer, GateLayer):
                info = self._infos[name]
                attention = integer_attention(name, layer.attention, 1.0, (0, 1), info, self.net.steps)
                self._made[name] = make_gate(layer, info, attention)
            elif isinstance(layer, ReadoutLayer):
                self._made[name] = self._readout(layer)
            elif isinstance(layer, StreamLayer):
                self._made[name] = self._stream(layer)
            else:
                kind = "maxpool" if layer.kind == "max" else "sumpool"
                self._made[name] = QuantizedLayer(
                    name, kind, layer.source, None, layer.kernel, layer.stride, layer.padding
                )
        return self._made[name]

    def _source(self, name: str) -> Source:
        """The tensor that a weighted layer reads."""
        info = self._infos[name]
        channels = info.shape[0]
        factor, offset = np.ones(channels), np.zeros(channels)
        layer = self._floats.get(name)
        if name == INPUT:
            factor = factor * self.net.input.scale
        elif isinstance(layer, PoolLayer):
            factor = self._source(layer.source).factor if layer.source == INPUT else factor
            factor = factor / (math.prod(layer.kernel) if layer.kind == "average" else 1)
        elif isinstance(layer, StreamLayer):
            made, kept = self.convert(name), self._floats[layer.source]
            assert isinstance(kept, ConvLayer)
            low, high = bits_range(made.bits, True)
            info = TensorInfo(info.shape, high, low)
            factor = self._scales(kept) * (1 << made.shift)
            if self.options.scale == "max":
                offset = self._scales(kept) * ((1 << made.shift) - 1) / 2
        if self.calibration is None:
            return Source(info, factor, offset)
        return Source(info, factor, offset, self.calibration.mean[name], self.calibration.power[name])

    def _conv(self, layer: ConvLayer, units: FloatArray) -> QuantizedLayer:
        return make_conv(layer, self._source(layer.source), units, self.leaks.get(layer.name, Leak()), self.options)

    def _gated(self, layer: ConvLayer, attention: Attention, made: QuantizedLayer) -> QuantizedLayer:
        """``made`` with gates for the proven range of its X."""
        bounds = self._bounds_of(layer)
        span = int(bounds.input_low.min()), int(bounds.input_high.max())
        unit = float(self._scales(layer)[0])
        whole = integer_attention(layer.name, attention, unit, span, self._infos[layer.name], self.net.steps)
        return replace(made, attention=whole)

    def _scales(self, layer: ConvLayer) -> FloatArray:
        """The scales of a convolution's channels; those of all layers that share them are found together."""
        group = self._groups[layer.name]
        if layer.name not in self._units:
            if group[0].name in self._pending:
                raise NetworkError(
                    f"layer {layer.name!r}: its scale depends on itself, since a layer that shares it "
                    f"({', '.join(repr(member.name) for member in group)}) reads a stream's tensor that it takes part "
                    "in; project the stream with a layer that keeps one of its own"
                )
            self._pending.add(group[0].name)
            drives = [conv_drive(member, self._source(member.source), self.options) for member in group]
            keeps = any(keeps_input(member) for member in group)
            reach = (lambda u: self._reach(group, u)) if keeps else None
            units, factors = fit_scales(drives, self.options, reach, uniform=pools_channels(group))
            for member in group:
                self._units[member.name] = units
                enlarged = {str(channel): float(factors[channel]) for channel in np.flatnonzero(factors > 1)}
                if enlarged:
                    self.rescaled[member.name] = enlarged
            self._pending.remove(group[0].name)
        return self._units[layer.name]

    def _kept_bounds(self, group: tuple[ConvLayer, ...], units: FloatArray) -> dict[str, LayerBounds]:
        """Bounds of the layers of ``group`` with the scales ``units``."""
        bounds: dict[str, LayerBounds] = {}
        for member in group:
            source = self._source(member.source).info
            before = bounds[member.stream] if member.stream else None
            bounds[member.name] = layer_bounds(self._conv(member, units), source, self.net.steps, 1, before)
        return bounds

    def _reach(self, group: tuple[ConvLayer, ...], units: FloatArray) -> IntArray:
        """Largest magnitude ``[C]`` of the streams that ``group`` keeps, and of X that waits for its gates."""
        bounds = self._kept_bounds(group, units)
        kept = [bounds[member.name] for member in group if keeps_input(member)]
        return np.max([np.maximum(np.abs(one.input_low), np.abs(one.input_high)) for one in kept], axis=0)

    def _bounds_of(self, layer: ConvLayer) -> LayerBounds:
        if layer.name not in self._bounds:
            self._bounds.update(self._kept_bounds(self._groups[layer.name], self._scales(layer)))
        return self._bounds[layer.name]

    def _stream(self, layer: StreamLayer) -> QuantizedLayer:
        kept = self._floats[layer.source]
        assert isinstance(kept, ConvLayer)
        bounds = self._bounds_of(kept)
        bits = max(2, bits_needed(bounds.input_low, bounds.input_high))
        shift = self._shift(layer, bits) if layer.max_bits is None else max(0, bits - layer.max_bits)
        if bits - shift > MAX_STREAM_BITS:
            raise NetworkError(
                f"layer {layer.name!r}: the stream of {layer.source!r} needs {bits} bits, more than {MAX_STREAM_BITS}; "
                "give it max_bits or quantise with max_stream"
            )
        return QuantizedLayer(layer.name, "stream", layer.source, None, (1, 1), bits=bits - shift, shift=shift)

    def _shift(self, layer: StreamLayer, bits: int) -> int:
        """Bits to drop from a stream's tensor for the sake of readers whose scales others decide."""
        if self.options.scale == "unit":
            return 0
        readers: list[SharedReader] = []
        for reader in self.net.layers:
            if isinstance(reader, ConvLayer) and reader.source == layer.name:
                group = self._groups[reader.name]
                others = [one for one in group if not isinstance(self._floats.get(one.source), StreamLayer)]
                if others:
                    drives = [conv_drive(one, self._source(one.source), self.options) for one in others]
                    scales = unlimited_scales(drives, self.options, pools_channels(group))
                    readers.append(SharedReader(reader.weight, scales, self.options.largest_weight(reader.name)))
        kept = self._floats[layer.source]
        assert isinstance(kept, ConvLayer)
        return best_shift(readers, self._scales(kept), self._spread(kept), bits)

    def _spread(self, layer: ConvLayer) -> FloatArray:
        """How far a stream's values are from 0 ``[C]``: their root mean square where samples were measured, else
        an estimate of their standard deviation by which half of all spikes come, independently."""
        if self.calibration is not None:
            return np.sqrt(self.calibration.streams[layer.name])
        source = self._floats.get(layer.source)
        if isinstance(source, StreamLayer):
            below = self._floats[source.source]
            assert isinstance(below, ConvLayer)
            spread = self._spread(below)
        else:
            tensor = self._source(layer.source)
            spread = tensor.factor * (tensor.info.max_value - tensor.info.min_value) / 2
        before = self._floats[layer.stream] if layer.stream else None
        return stream_spread(layer.weight, spread, self._spread(before) if isinstance(before, ConvLayer) else None)

    def _readout(self, layer: ReadoutLayer) -> QuantizedLayer:
        source = self._source(layer.source)
        drive, weight, bias, terms = readout_drive(layer, source, self.net.steps, self.options)
        units, factors = fit_scales([drive], self.options)
        if factors[0] > 1:
            self.rescaled[layer.name] = {"all": float(factors[0])}
        return make_readout(layer, source, weight, bias, terms, float(units[0]), self.options)
