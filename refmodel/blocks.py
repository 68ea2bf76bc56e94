"""The residual blocks of the field as layers: what basic and bottleneck forms have in common.

A block's residual branch is a list of convolutions, all but the last followed by their neurons;
the families differ in what the last one does with the shortcut.  BN is folded everywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .attention import Attention
from .errors import NetworkError
from .layer_builder import LayerBuilder, floats, pair
from .layers import Neuron, Pair
from .quantized import Combine

#: Weight and bias (or None) of one convolution whose BN is folded.
Synapses = tuple[ArrayLike, ArrayLike | None]
Stride = int | Pair


class BlockBuilder(LayerBuilder):
    """Blocks of any number of convolutions; :class:`refmodel.builder.NetworkBuilder` has the usual forms."""

    _blocks = 0

    def _block(self, name: str | None) -> str:
        self._blocks += 1
        return name or f"block{self._blocks}"

    def _branch(
        self, x: str, convs: list[Synapses], strides: list[Stride], neuron: Neuron | None, name: str, **last: Any
    ) -> str:
        """``SN(BN(C(...)))`` chain; ``last``: options of its last convolution."""
        for index, ((weight, bias), stride) in enumerate(zip(convs, strides, strict=True), start=1):
            options = last if index == len(convs) else {}
            x = self.conv(x, weight, bias, stride=stride, neuron=neuron, name=f"{name}.conv{index}", **options)
        return x

    def _sew(
        self,
        x: str,
        convs: list[Synapses],
        strides: list[Stride],
        projection: Synapses | None,
        combine: Combine,
        clamp: bool,
        neuron: Neuron | None,
        name: str | None,
    ) -> str:
        """O = g(A, sc(S)): sc the identity or SN(BN(C1 stride))."""
        name = self._block(name)
        y = self._branch(x, convs[:-1], strides[:-1], neuron, name)
        shortcut = x
        if projection is not None:
            stride = _total(strides)
            shortcut = self.conv(x, *projection, stride=stride, neuron=neuron, name=f"{name}.projection")
        if clamp:
            combine = self._clamped(name, combine, shortcut, neuron or self.neuron)
        weight, bias = convs[-1]
        return self.conv(
            y, weight, bias, stride=strides[-1], neuron=neuron, shortcut=shortcut, combine=combine,
            name=f"{name}.conv{len(convs)}",
        )  # fmt: skip

    def _syna(
        self,
        x: str,
        convs: list[Synapses],
        strides: list[Stride],
        attentions: list[Attention | None],
        projection: Synapses | None,
        inhibition: Attention | None,
        neuron: Neuron | None,
        name: str | None,
    ) -> str:
        """O = OR(A, IA(sc(S))), MA after each BN of the branch."""
        name = self._block(name)
        shortcut = x
        if projection is not None:
            stride = _total(strides)
            shortcut = self.conv(x, *projection, stride=stride, neuron=neuron, name=f"{name}.projection")
        if inhibition is not None:
            shortcut = self.gate(shortcut, inhibition, name=f"{name}.inhibition")
        rows = list(zip(convs, strides, attentions, strict=True))
        for index, ((weight, bias), stride, attention) in enumerate(rows, start=1):
            last: dict[str, Any] = {"shortcut": shortcut, "combine": "or"} if index == len(rows) else {}
            x = self.conv(
                x, weight, bias, stride=stride, neuron=neuron, attention=attention, name=f"{name}.conv{index}", **last
            )
        return x

    def _clamped(self, name: str, combine: Combine, shortcut: str, neuron: Neuron) -> Combine:
        """min(A + S, 1) of binary A and S is A or S."""
        if combine != "add":
            raise NetworkError(f"block {name!r}: clamp limits the sum of combine='add'; {combine!r} needs none")
        largest = self.tensor(shortcut).max_value
        if largest > 1 or neuron.levels:
            what = f"shortcut {shortcut!r} counts up to {largest}" if largest > 1 else "MLF units count"
            raise NetworkError(
                f"block {name!r}: clamp=True needs binary spikes and a binary shortcut, but {what}; clamp the blocks "
                "before it, too, or use a projection"
            )
        return "or"

    def _spiking_resnet(
        self,
        x: str,
        convs: list[Synapses],
        strides: list[Stride],
        projection: Synapses | None,
        current: float,
        neuron: Neuron | None,
        name: str | None,
    ) -> str:
        """O = SN(BN(C(...)) + sc(S)): sc is current * S, or BN(C1 stride) without neurons."""
        name = self._block(name)
        if projection is None:
            return self._branch(x, convs, strides, neuron, name, shortcut=x, current=current)
        if current != 1.0:
            raise NetworkError(f"block {name!r}: a projection has no current={current!r}; scale its weights instead")
        shortcut = self.conv(x, *projection, stride=_total(strides), neurons=False, name=f"{name}.projection")
        return self._branch(x, convs, strides, neuron, name, stream=shortcut)

    def _ms(
        self,
        x: str,
        convs: list[Synapses],
        strides: list[Stride],
        projection: Synapses | None,
        pool_projection: bool,
        neuron: Neuron | None,
        name: str | None,
    ) -> str:
        """y = BN(C(...SN x)) + sc(x), kept as stream, and SN y."""
        name = self._block(name)
        if not self.keeps_stream(x):
            raise NetworkError(
                f"block {name!r}: layer {x!r} keeps no membrane stream for the shortcut; give it keeps_stream=True"
            )
        shortcut = x
        if projection is not None:
            shortcut = self._stream_projection(x, projection, _total(strides), pool_projection, name)
        elif pool_projection:
            raise NetworkError(f"block {name!r}: pool_projection needs a projection; give its (weight, bias)")
        return self._branch(x, convs, strides, neuron, name, stream=shortcut, keeps_stream=True)

    def _stream_projection(self, x: str, projection: Synapses, stride: Pair, pooled: bool, name: str) -> str:
        """BN(C1(stride)) of a stream; ``pooled``: BN(C1(AvgPool(stride))), one convolution with equal taps."""
        weight, bias = floats(projection[0]), projection[1]
        if pooled:
            if weight.shape[2:] != (1, 1):
                raise NetworkError(f"block {name!r}: pool_projection takes a 1x1 convolution, not {weight.shape}")
            weight = np.broadcast_to(weight, (*weight.shape[:2], *stride)) / (stride[0] * stride[1])
        source = self.stream(x, name=f"{name}.stream")
        padding = 0 if pooled else None
        return self.conv(
            source, weight, bias, stride=stride, padding=padding, neurons=False, name=f"{name}.projection"
        )


def _total(strides: list[Stride]) -> Pair:
    """Stride of the whole branch."""
    pairs = [pair(stride) for stride in strides]
    return int(np.prod([p[0] for p in pairs])), int(np.prod([p[1] for p in pairs]))
