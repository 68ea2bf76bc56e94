"""A float network in PyTorch, plain and written by hand for speed: what the golden model is measured against.

Batch norm is folded already.  T is folded into the batch, [T * N, C, H, W], for convolutions and pools; what a static
input needs is computed once; neurons step through T in place.  PyTorch comes with the extra ``train``.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refmodel.errors import NetworkError, ToolError
from refmodel.network import ConvLayer, Network, Neuron, PoolLayer, ReadoutLayer, StreamLayer
from refmodel.quantized import INPUT


def import_torch() -> Any:
    """PyTorch; raises ToolError where it is not installed."""
    try:
        import torch
    except ImportError:
        raise ToolError("PyTorch is not installed; pip install 'skipspike[train]'") from None
    return torch


def refusal(net: Network) -> str | None:
    """Why there is no PyTorch form of ``net``, or None."""
    for layer in net.layers:
        if not isinstance(layer, ConvLayer | PoolLayer | ReadoutLayer | StreamLayer):
            return f"layer {layer.name!r}: no PyTorch form of a {type(layer).__name__}"
        if isinstance(layer, ConvLayer) and layer.attention is not None:
            return f"layer {layer.name!r}: no PyTorch form of attention"
    return None


class TorchModel:
    """``net`` in float32.  ``channels_last``: the memory format of all tensors.  Raises NetworkError, ToolError."""

    def __init__(self, net: Network, *, channels_last: bool = True) -> None:
        self._torch = torch = import_torch()
        problem = refusal(net)
        if problem is not None:
            raise NetworkError(problem)
        self._net = net
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._weights: dict[str, tuple[Any, Any]] = {}
        for layer in net.layers:
            if isinstance(layer, ConvLayer | ReadoutLayer):
                weight = torch.tensor(layer.weight, dtype=torch.float32)
                if weight.ndim == 4:
                    weight = weight.contiguous(memory_format=self._format)
                bias = None if layer.bias is None else torch.tensor(layer.bias, dtype=torch.float32)
                self._weights[layer.name] = weight, bias

    def logits(self, x: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Logits ``[N, classes]`` of integers ``[N, C, H, W]``, ``[N, T, C, H, W]`` unless the input is static."""
        with self._torch.inference_mode():
            return self._run(self._torch.from_numpy(np.ascontiguousarray(x))).numpy()

    def _run(self, x: Any) -> Any:
        torch, net = self._torch, self._net
        functional = torch.nn.functional
        n = len(x)
        if not net.input.static:
            x = x.transpose(0, 1).flatten(0, 1)
        tensors = {INPUT: (x.float() * net.input.scale).contiguous(memory_format=self._format)}
        streams: dict[str, Any] = {}
        for layer in net.layers:
            source = streams[layer.source] if isinstance(layer, StreamLayer) else tensors[layer.source]
            if isinstance(layer, StreamLayer):
                tensors[layer.name] = source
            elif isinstance(layer, PoolLayer):
                tensors[layer.name] = self._pool(layer, source)
            elif isinstance(layer, ReadoutLayer):
                weight, bias = self._weights[layer.name]
                features = source.mean((2, 3)) if layer.pool == "global_average" else source.flatten(1)
                return functional.linear(features.unflatten(0, (-1, n)).mean(0), weight, bias)
            elif isinstance(layer, ConvLayer):
                weight, bias = self._weights[layer.name]
                drive = functional.conv2d(source, weight, bias, layer.stride, layer.padding)
                if layer.current is not None:
                    drive = self._both(drive, tensors[layer.shortcut or ""] * layer.current, n)
                if layer.stream is not None:
                    drive = self._both(drive, streams[layer.stream], n)
                if layer.keeps_stream:
                    streams[layer.name] = drive
                if layer.neuron is not None:
                    driven = drive.relu() if layer.rectify else drive
                    spikes = self._fire(layer.neuron, driven, n)
                    tensors[layer.name] = self._combine(layer, spikes, tensors, n)
        raise AssertionError("unreachable: a network ends with a readout")

    def _whole(self, tensor: Any, n: int) -> Any:
        """``[T * N, ...]`` of one that is the same at every step."""
        return tensor.repeat(self._net.steps, 1, 1, 1) if len(tensor) == n else tensor

    def _both(self, a: Any, b: Any, n: int) -> Any:
        return a + b if len(a) == len(b) else self._whole(a, n) + self._whole(b, n)

    def _pool(self, layer: PoolLayer, source: Any) -> Any:
        functional = self._torch.nn.functional
        if layer.kind == "max":
            (ph, pw) = layer.padding
            padded = functional.pad(source, (pw, pw, ph, ph)) if ph or pw else source
            return functional.max_pool2d(padded, layer.kernel, layer.stride)
        divisor = 1 if layer.kind == "sum" else None
        return functional.avg_pool2d(source, layer.kernel, layer.stride, layer.padding, divisor_override=divisor)

    def _fire(self, neuron: Neuron, drive: Any, n: int) -> Any:
        spikes = self._fire_level(neuron, neuron.threshold, drive, n)
        for level in neuron.levels:
            spikes += self._fire_level(neuron, level, drive, n)
        return spikes

    def _fire_level(self, neuron: Neuron, threshold: float, drive: Any, n: int) -> Any:
        """Spikes ``[T * N, C, H, W]`` as float32; the equations are those of :class:`refmodel.layers.Neuron`."""
        torch, steps = self._torch, self._net.steps
        shape = (steps * n, *drive.shape[1:])
        spikes = torch.empty(shape, memory_format=self._format)
        compare: Callable[..., Any] = torch.ge if neuron.fire == "ge" else torch.gt
        gain = 1.0 / neuron.tau if neuron.kind == "lif" and neuron.decay_input else 1.0
        rest = (1.0 - neuron.leak) * neuron.v_reset
        membrane = torch.full_like(drive[:n], neuron.v_reset)
        for t in range(steps):
            x = drive if len(drive) == n else drive[t * n : (t + 1) * n]
            if neuron.leak != 1.0:
                membrane.mul_(neuron.leak)
            membrane.add_(x, alpha=gain)
            if rest:
                membrane.add_(rest)
            fired = spikes[t * n : (t + 1) * n]
            compare(membrane, threshold, out=fired)
            if t == steps - 1 or neuron.reset == "none":
                continue
            if neuron.reset == "soft":
                membrane.add_(fired, alpha=-threshold)
            elif neuron.v_reset:
                membrane.masked_fill_(fired.bool(), neuron.v_reset)
            else:
                membrane.addcmul_(membrane, fired, value=-1.0)
        return spikes

    def _combine(self, layer: ConvLayer, spikes: Any, tensors: dict[str, Any], n: int) -> Any:
        """g(A, S), SEW paper, table 1."""
        if layer.combine == "pass" or layer.shortcut is None:
            return spikes
        shortcut = self._whole(tensors[layer.shortcut], n)
        if layer.combine == "add":
            return spikes.add_(shortcut)
        if layer.combine == "and":
            return spikes.mul_(shortcut)
        if layer.combine == "iand":
            return (1.0 - spikes).mul_(shortcut)
        return spikes.maximum(shortcut)


class PlainTorchModel(TorchModel):
    """The same with neurons as modules for training have them: each step makes new tensors, and all are stacked."""

    def _fire_level(self, neuron: Neuron, threshold: float, drive: Any, n: int) -> Any:
        torch, steps = self._torch, self._net.steps
        gain = 1.0 / neuron.tau if neuron.kind == "lif" and neuron.decay_input else 1.0
        rest = (1.0 - neuron.leak) * neuron.v_reset
        membrane = torch.full_like(drive[:n], neuron.v_reset)
        made = []
        for t in range(steps):
            x = drive if len(drive) == n else drive[t * n : (t + 1) * n]
            membrane = membrane * neuron.leak + rest + x * gain
            spikes = (membrane >= threshold if neuron.fire == "ge" else membrane > threshold).float()
            made.append(spikes)
            if neuron.reset == "hard":
                membrane = membrane * (1.0 - spikes) + neuron.v_reset * spikes
            elif neuron.reset == "soft":
                membrane = membrane - spikes * threshold
        return torch.cat(made)
