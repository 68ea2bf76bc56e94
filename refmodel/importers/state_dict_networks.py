"""Whole networks of a family's description: input normalisation, stem, stages or chains, readout."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from ..errors import ImportRefused
from ..layer_checks import MAX_STREAM_BITS
from ..layers import FloatArray, Neuron
from ..quantized import INPUT
from .families import Block, Chain, Family, Stages, Unit
from .state_dict_blocks import BlockMaker
from .state_dict_layers import Folded
from .state_dict_options import Choices

#: Most modules of a chain.
_MOST_MODULES = 1000
#: Ones that count for so many units of the input, or fewer, are spikes; others the largest 8-bit integer, or several.
_FEW, _LARGE, _MOST_ONES = 16, 127, 2048
_TINY = 1e-300
#: Bits of what goes from one convolution of a stem straight to the next: without a limit each adds those of its sums,
#: until nothing is left for the weights of the last.
_STEM_BITS = 10


class NetworkMaker:
    """Adds all layers of a family's network to ``layers``'s builder; ``choices`` takes the notes."""

    def __init__(self, family: Family, layers: BlockMaker, choices: Choices) -> None:
        self.family, self.layers, self.choices = family, layers, choices
        self.parameters = layers.parameters

    def make(self) -> None:
        """Every layer from the input to the readout."""
        body = self.family.body
        x = self._chain(body) if isinstance(body, Chain) else self._stages(body)
        self._readout(x)

    # input and stem

    def _first(self, unit: Unit, prefix: str, **options: Any) -> tuple[Folded, dict[str, Any]]:
        """The first convolution, with the input's normalisation (x - mean) / std in it, and its options.

        Zeros that pad a normalised image are not pixels of 0: there the mean is subtracted only where the window
        lies inside the image.  A tensor of ones, convolved alike, knows where that is.
        """
        builder = self.layers.builder
        channels = builder.input.shape[0]
        weight, bias = self.layers.folded(unit, prefix, channels)
        scale, shift = self._normalisation(channels)
        if not shift.any():
            return (weight * scale[:, None, None], bias), options
        constant = np.einsum("oikl,i->okl", weight, shift)  # what the shift adds at each tap
        weight = weight * scale[:, None, None]
        if weight.shape[2:] == (1, 1):
            total = constant.sum(axis=(1, 2))
            return (weight, total if bias is None else bias + total), options
        ones = self._ones(float(np.max(_peak(constant) / np.maximum(_peak(weight) * builder.input.scale, _TINY))))
        copies = builder.tensor(ones).shape[0]
        shares = np.repeat(constant[:, None] / copies, copies, axis=1)
        mean = self.layers.conv((shares, None), ones, "input.mean", options.get("stride", 1), neurons=False)
        self.choices.notes.append(
            "The mean of the inputs is subtracted inside the image only, as padding comes after normalisation: layer "
            "'input.mean' is the share of it in the first convolution, exact at the borders."
        )
        return (weight, bias), {**options, "stream": mean}

    def _ones(self, ratio: float) -> str:
        """A tensor of ones; ``ratio``: how much larger weights they will have than one unit of the input.

        As integers of few bits both kinds of weights share a scale, so ones that count for many units come as a
        stream's tensor, whose integers are large, and others as several channels of spikes.
        """
        channels = self.layers.builder.input.shape[0]
        copies = max(1, math.ceil(min(ratio, _MOST_ONES) / (1 if ratio <= _FEW else _LARGE)))
        constant = np.zeros((copies, channels, 1, 1)), np.ones(copies)
        ones = self.layers.conv(constant, INPUT, "input.ones", neuron=Neuron("step", threshold=0.5))
        if ratio <= _FEW:
            return ones
        self.layers.conv((np.full((1, copies, 1, 1), 1 / copies), None), ones, "input.one", neurons=False)
        return self.layers.stream("input.one", "input.one.stream", MAX_STREAM_BITS)

    def _normalisation(self, channels: int) -> tuple[FloatArray, FloatArray]:
        """Inputs as the model sees them: scale * x + shift, both [channels]."""
        scale, shift = np.ones(channels), np.zeros(channels)
        given = self.choices.normalisation(channels)
        if given is not None:
            mean, std = (np.array(values, dtype=np.float64) for values in given)
            scale, shift = 1 / std, -mean / std
        norm = self.family.input_norm
        if norm and self.parameters.any_below(norm):
            affine = f"{norm}.weight" in self.parameters
            factor, offset = self.parameters.scale_and_shift(norm, self.layers.norm, channels, affine)
            scale, shift = scale * factor, shift * factor + offset
            self.choices.notes.append(f"The batch norm {norm!r} of the input is folded into the first convolution.")
        return scale, shift

    def _stem(self, behind: str) -> str:
        """The stem; ``behind``: path of the neuron after it, where blocks join membranes, else the unit's own."""
        stem = self.family.stem
        if stem is None:
            raise ImportRefused(f"family {self.family.name!r}: blocks in stages need a stem")
        membranes = bool(behind)
        kernel = self.parameters.shape(f"{self.parameters.find(stem.units[0].conv, 'weight')}.weight")[-1]
        small = kernel <= stem.small
        what = f"{kernel}x{kernel} kernel" + (", as for small images" if small else "")
        stride = self.choices.value(
            "stem_stride", 1 if small else stem.stride, f"The first convolution ({what}) has stride {{}}."
        )
        pooled = stem.pool is not None and not small
        if stem.pool is not None or self.choices.options.stem_pool:
            text = "No pool follows the stem."
            if pooled and stem.pool is not None:
                text = f"A max pool of {stem.pool.kernel}, stride {stem.pool.stride}, follows the stem."
            pooled = self.choices.value("stem_pool", pooled, text)
        if pooled and (stem.pool is None or membranes):
            raise ImportRefused("stem_pool: a maximum of membranes, before neurons fire, cannot be expressed")
        x = INPUT
        for number, unit in enumerate(stem.units, start=1):
            last = number == len(stem.units)
            name = "stem" if last else f"stem{number}"
            options: dict[str, Any] = {"neurons": False} if not last else {"keeps_stream": membranes}
            if last:
                path = behind if membranes else unit.neuron
                options["neuron"] = self.layers.neuron_at(path)
            if number == 1:
                options["stride"] = stride
                folded, options = self._first(unit, "", **options)
            else:
                folded = self.layers.folded(unit, "", self.layers.builder.tensor(x).shape[0])
            x = self.layers.conv(folded, x, name, options.pop("stride", 1), **options)
            if not last:
                x = self.layers.stream(x, f"{name}.stream", _STEM_BITS)
        return self.layers.pool(x, stem.pool, "stem.pool") if pooled and stem.pool else x

    # bodies

    def _stages(self, body: Stages) -> str:
        paths = self._paths(body)
        if not paths:
            raise ImportRefused(
                f"no blocks {body.at(0, 0)!r}, ...: not of family {self.family.name!r}"
            )
        kinds = [self._kind(body.blocks, f"{path}.") for path, _ in paths]
        membranes = kinds[0].join == "membrane"
        # the neuron in front of each block, and the one behind the last
        fronts = [f"{path}.{kind.branch[0].neuron}" for (path, _), kind in zip(paths, kinds, strict=True)]
        fronts.append(self.family.head)
        x = self._stem(fronts[0] if membranes else "")
        for (path, stride), kind, after in zip(paths, kinds, fronts[1:], strict=True):
            x = self.layers.block(kind, x, path, stride, after if membranes else "")
        counts = [len(list(group)) for _, group in itertools.groupby(paths, lambda one: one[0].rsplit(".", 1)[0])]
        strides = ", ".join(str(stride) for stride in body.strides[: len(counts)])
        self.choices.notes.append(
            f"Stages of {', '.join(map(str, counts))} blocks were found; their first blocks have stride {strides}, "
            "as the family's."
        )
        return x

    def _paths(self, body: Stages) -> list[tuple[str, int]]:
        """Path and stride of every block there is."""
        found = []
        for stage, stride in enumerate(body.strides):
            for block in itertools.count():
                path = body.at(stage, block)
                if not self.parameters.any_below(path):
                    break
                found.append((path, 1 if block else stride))
        return found

    def _kind(self, blocks: tuple[Block, ...], prefix: str) -> Block:
        """The first kind of block whose last convolution is there; else the last kind, which then misses something."""
        for block in blocks:
            path = self.parameters.find(block.branch[-1].conv, "weight", prefix)
            if f"{path}.weight" in self.parameters:
                return block
        return blocks[-1]

    def _chain(self, body: Chain) -> str:
        x, pools = INPUT, 0
        numbers = [index for index in range(_MOST_MODULES) if self._at(body, index)]
        last = max(numbers, default=0)
        for index in range(last + 1):
            path = body.at(index)
            unit = self.parameters.find(body.unit.conv, "weight", f"{path}.")
            if index and index not in numbers:
                pools += 1
                x = self.layers.pool(x, body.pool, path)
            elif index and f"{unit}.weight" not in self.parameters:
                x = self.layers.block(self._kind(body.blocks, f"{path}."), x, path, 1)
            else:
                x = self._unit(body.unit, x, path)
        features = self.parameters.shape(f"{self.family.readout}.weight")[-1]
        channels, height, width = self.layers.builder.tensor(x).shape
        size = (height // body.pool.stride) * (width // body.pool.stride)
        if features not in (channels * height * width, channels * size):
            raise ImportRefused(
                f"parameter '{self.family.readout}.weight' reads {features} values, but the network makes {channels} "
                f"channels of {height}x{width}, or half of that; give the right --input-shape"
            )
        if features != channels * height * width:
            pools += 1
            x = self.layers.pool(x, body.pool, body.at(last + 1))
        self.choices.notes.append(
            f"{pools} modules without parameters were taken for max pools of {body.pool.kernel}, stride "
            f"{body.pool.stride}."
        )
        return x

    def _unit(self, unit: Unit, x: str, path: str) -> str:
        """A convolution of a chain with its neurons; the first one reads the input."""
        if x == INPUT:
            folded, options = self._first(unit, f"{path}.")
        else:
            folded, options = self.layers.folded(unit, f"{path}.", self.layers.builder.tensor(x).shape[0]), {}
        return self.layers.conv(folded, x, path, neuron=self.layers.neuron_at(unit.neuron, f"{path}."), **options)

    def _at(self, body: Chain, index: int) -> bool:
        return self.parameters.any_below(body.at(index))

    def _readout(self, x: str) -> None:
        path = self.family.readout
        channels, height, width = self.layers.builder.tensor(x).shape
        features = channels * height * width if self.family.flatten else channels
        weight = self.parameters.take(f"{path}.weight", (None, features), "of the last dense layer")
        bias = None
        if f"{path}.bias" in self.parameters:
            bias = self.parameters.take(f"{path}.bias", (len(weight),), "of the last dense layer")
        pool = "none" if self.family.flatten else "global_average"
        self.layers.names.append(self.layers.builder.readout(x, weight, bias, pool=pool))
        self.choices.notes.append("The results are the last layer's outputs, averaged over the steps.")


def _peak(weight: FloatArray) -> FloatArray:
    """Largest magnitude ``[Cout]``."""
    return np.abs(weight).max(axis=tuple(range(1, weight.ndim)))
