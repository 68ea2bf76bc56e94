"""A layer's attention to integers, for the range that its X is proven to have, and what that costs."""

from __future__ import annotations

from math import prod

from .attention import Attention, IntegerAttention
from .attention_quantize import quantize_attention
from .errors import NetworkError
from .quantized import TensorInfo


def integer_attention(
    name: str, attention: Attention, unit: float, span: tuple[int, int], info: TensorInfo, steps: int
) -> IntegerAttention:
    """The attention of layer ``name`` on X of the shape of its tensor ``info``, of integers in ``span``.

    unit: float value of one unit of X, the same in all channels.  Raises NetworkError.
    """
    count = prod(info.shape) if attention.axis == "time" else steps * prod(info.shape[1:])
    try:
        return quantize_attention(attention, unit=unit, low=span[0], high=span[1], count=count)
    except NetworkError as error:
        raise NetworkError(f"layer {name!r}: {error}") from None


def attention_error(attention: IntegerAttention) -> float:
    """What integers cost at most on any X of the layer.

    Of sigmoid gates the bound of |gate / 256 - float gate|; of a LIF how near to its threshold the membrane
    must be for its gates to differ (times tau if the input decays), as long as those before are the same.
    """
    return attention.gate_error if attention.kind == "sigmoid" else attention.margin
