"""Shapes of what the nodes of a NIR graph make: NIR's own, and the layout (C, H, W) of a network's tensors."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..errors import ImportRefused, NetworkError
from ..layer_checks import Shape as Layout
from ..layer_checks import window_shape
from ..layers import FloatArray
from .nir_nodes import Convolution, Dense, Integrator, Node, Pass, Pooling, Port, Reshape, Scaling, Shape, Spiking

#: Most values that one node may make at a step.
VALUES_LIMIT = 1 << 26


def shaped(node: Node, sources: list[tuple[str, Shape, Layout]]) -> tuple[Node, Shape, Layout]:
    """The node with its parameters in full shape, the NIR shape and the layout of what it makes.

    ``sources``: name, shape and layout of each; raises ImportRefused.
    """
    where = f"node {node.name!r}"
    if isinstance(node, Port) and node.kind == "Input":
        return node, node.shape, _bounded(where, _layout(where, node.shape))
    first, shape, layout = sources[0]
    for other, other_shape, other_layout in sources[1:]:
        if (other_shape, other_layout) != (shape, layout):
            # vectors of one length may have been different planes before they were flattened
            found = (layout, other_layout) if shape == other_shape else (shape, other_shape)
            raise ImportRefused(
                f"{where}: shape mismatch: it adds {first!r} of shape {found[0]} and {other!r} of shape {found[1]}"
            )
    if isinstance(node, Port):
        _expect(where, "its shape is", node.shape, shape)
        return node, shape, layout
    if isinstance(node, Pass):
        return node, shape, layout
    if isinstance(node, Dense):
        _expect(where, "its weight takes", (node.weight.shape[1],), shape)
        return node, (len(node.weight),), (len(node.weight), 1, 1)
    if isinstance(node, Convolution | Pooling):
        return _windowed(where, node, shape, layout)
    if isinstance(node, Reshape):
        return node, _flattened(where, node, shape), layout
    if isinstance(node, Scaling):
        return replace(node, scale=_full(where, "scale", node.scale, shape, layout)), shape, layout
    assert isinstance(node, Spiking | Integrator)
    arrays = {
        key: _full(where, "its parameters", value, shape, layout)
        for key, value in vars(node).items()
        if isinstance(value, np.ndarray)
    }
    return replace(node, **arrays), shape, layout


def _expect(where: str, what: str, wanted: Shape, found: Shape) -> None:
    if wanted != found:
        hint = "; put a Flatten node between" if len(wanted) == 1 and len(found) > 1 else ""
        raise ImportRefused(f"{where}: shape mismatch: {what} {wanted}, but its source has shape {found}{hint}")


def _bounded(where: str, layout: Layout) -> Layout:
    """Parameters may be one value for all: what they are written out to has a limit of its own."""
    if math.prod(layout) > VALUES_LIMIT:
        raise ImportRefused(f"{where}: its shape {layout} has more than {VALUES_LIMIT} values")
    return layout


def _layout(where: str, shape: Shape) -> Layout:
    if len(shape) == 1:
        return (shape[0], 1, 1)
    if len(shape) == 2:
        return (shape[0], 1, shape[1])
    if len(shape) == 3:
        return (shape[0], shape[1], shape[2])
    raise ImportRefused(
        f"{where}: its shape {shape} must be (N,), (C, L) or (C, H, W), without batch and time; give input_shape"
    )


def _windowed(where: str, node: Convolution | Pooling, shape: Shape, layout: Layout) -> tuple[Node, Shape, Layout]:
    axes = node.axes if isinstance(node, Convolution) else 2
    if len(shape) != axes + 1 or layout != _layout(where, shape):
        raise ImportRefused(
            f"{where}: shape mismatch: it needs {axes + 1} axes (channels first), but its source is {shape}"
        )
    channels, kernel = layout[0], node.kernel if isinstance(node, Pooling) else node.weight.shape[2:]
    if isinstance(node, Convolution):
        if node.weight.shape[1] != channels:
            raise ImportRefused(
                f"{where}: shape mismatch: its weight takes {node.weight.shape[1]} channels, its source {shape} has "
                f"{channels}"
            )
        # nir writes one size for square planes, and full sizes otherwise
        if node.input_shape is not None and node.input_shape not in (shape[1:], (*set(shape[1:]),)):
            raise ImportRefused(
                f"{where}: shape mismatch: its input_shape is {node.input_shape}, its source's {shape[1:]}"
            )
        channels = len(node.weight)
    try:
        height, width = window_shape(node.name, layout[1:], (kernel[0], kernel[1]), node.stride, node.padding)
    except NetworkError as error:
        raise ImportRefused(f"{where}: shape mismatch: {str(error).split(': ', 1)[-1]}") from None
    made = _bounded(where, (channels, height, width))
    return node, made if axes == 2 else (channels, width), made


def _flattened(where: str, node: Reshape, shape: Shape) -> Shape:
    if node.input_shape is not None:
        _expect(where, "its input_type is", node.input_shape, shape)
    start = node.start + len(shape) if node.start < 0 else node.start
    end = node.end + len(shape) if node.end < 0 else node.end
    if not 0 <= start <= end < len(shape):
        if len(shape) == 1:
            return shape
        raise ImportRefused(
            f"{where}: start_dim={node.start}, end_dim={node.end} do not fit its source of shape {shape}"
        )
    return (*shape[:start], int(np.prod(shape[start : end + 1])), *shape[end + 1 :])


def _full(where: str, what: str, values: FloatArray, shape: Shape, layout: Layout) -> FloatArray:
    """``values``, of the NIR shape or one for all, in the layout."""
    if values.size == 1:
        return np.full(layout, float(values.reshape(-1)[0]))
    if values.shape != shape:
        raise ImportRefused(f"{where}: shape mismatch: {what} have shape {values.shape}, its source {shape}")
    return values.reshape(layout)
