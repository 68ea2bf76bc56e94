"""Bits of the weights, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from .errors import NetworkError
from .layers import ConvLayer, ReadoutLayer
from .network import Network
from .quantized import QuantizedNetwork

#: Bits that weights may have.
FEWEST_BITS, MOST_BITS = 2, 16


def bits_by_layer(net: Network, weight_bits: int, layer_bits: Mapping[str, int] | None = None) -> dict[str, int]:
    """Bits of every layer with weights: ``weight_bits``, or what the last matching pattern of ``layer_bits`` says.

    A pattern is a layer's name, or a glob such as ``block*.conv2``.  Raises NetworkError for bits out of range and
    patterns that match no layer with weights.
    """
    where = f"network {net.name!r}"
    if not FEWEST_BITS <= weight_bits <= MOST_BITS:
        raise NetworkError(f"{where}: weight_bits must be {FEWEST_BITS} to {MOST_BITS}, not {weight_bits!r}")
    chosen = {layer.name: weight_bits for layer in net.layers if isinstance(layer, ConvLayer | ReadoutLayer)}
    for pattern, bits in (layer_bits or {}).items():
        if not FEWEST_BITS <= bits <= MOST_BITS:
            raise NetworkError(f"{where}: layer_bits[{pattern!r}] must be {FEWEST_BITS} to {MOST_BITS}, not {bits!r}")
        matching = [name for name in chosen if fnmatchcase(name, pattern)]
        if not matching:
            raise NetworkError(
                f"{where}: layer_bits[{pattern!r}] matches no layer with weights; there are {', '.join(chosen)}"
            )
        chosen.update(dict.fromkeys(matching, bits))
    return chosen


def layer_bits(qnet: QuantizedNetwork) -> dict[str, int]:
    """Bits of every layer with weights of an integer network: what its ``meta`` says, else those of the network."""
    known = qnet.meta.get("layer_bits")
    own = known if isinstance(known, dict) else {}
    return {layer.name: int(own.get(layer.name, qnet.weight_bits)) for layer in qnet.layers if layer.weight is not None}
