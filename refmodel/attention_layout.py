"""What the compiler, the cycle model and the attention unit share: sizes, the words it loads, its clocks."""

from __future__ import annotations

from .attention import MAX_SHIFT, OPERAND_BITS, IntegerAttention
from .attention_config import AttentionConfig
from .config import CoreConfig
from .errors import CompileError
from .layout import Field, pack

#: Clocks of a task of the gate engine besides its items and its shifts: from its last item to the sum, relu, store.
TASK_CLOCKS = 6
#: Clocks of the engine besides its tasks: two for settings, one for each of the five phases' shift, two at the end.
ENGINE_CLOCKS = 9

_SETTINGS = (Field("size_last", 8, 0), Field("hidden_last", 6, 8), Field("lif", 1, 14), Field("channel", 1, 15))
#: Bits of a phase's shift word.
SHIFT_BITS = MAX_SHIFT.bit_length()


def attention_words(attention: IntegerAttention) -> list[int]:
    """The words of 16 bits that the unit loads, in the order in which it uses them, each once.

    Settings; threshold; shift of the sums; shift of the maxima; hidden shift and ``first_average``; hidden
    shift and ``first_max``, both by rows; score shift, and for each step or channel its row of ``second``
    and the leak.
    """
    at = attention
    settings = {
        "size_last": at.size - 1,
        "hidden_last": at.hidden - 1,
        "lif": int(at.kind == "lif"),
        "channel": int(at.axis == "channel"),
    }
    words = [pack(_SETTINGS, settings), at.threshold, at.average_shift, at.max_shift]
    words += [at.hidden_average_shift, *at.first_average.ravel().tolist()]
    words += [at.hidden_max_shift, *at.first_max.ravel().tolist()]
    words += [at.score_shift]
    for row in at.second.tolist():
        words += [*row, at.leak]
    return [word & ((1 << OPERAND_BITS) - 1) for word in words]


def settings_fields() -> tuple[Field, ...]:
    """Fields of the first word."""
    return _SETTINGS


def gate_clocks(attention: IntegerAttention, config: CoreConfig) -> int:
    """Clocks in which the unit is busy with the gates, the same for every X.

    A task is a sum of products, or of the NU units' sums, with its serial shift.
    """
    at = attention
    merged = config.neuron_units if at.axis == "time" else 1
    tasks = [
        (at.size, merged, at.average_shift),
        (at.size, merged, at.max_shift),
        (at.hidden, at.size, at.hidden_average_shift),
        (at.hidden, at.size, at.hidden_max_shift),
        (at.size, at.hidden + 1, at.score_shift),
    ]
    return ENGINE_CLOCKS + sum(count * (items + shift + TASK_CLOCKS) for count, items, shift in tasks)


def check_fits(
    name: str, attention: IntegerAttention, low: int, high: int, count: int, config: CoreConfig, sizes: AttentionConfig
) -> None:
    """Refuse an attention of layer ``name`` that the unit has no room for; raises CompileError.

    ``low``, ``high``: range of X; ``count``: values that a sum goes over.
    """
    limit, entries = {"time": (sizes.steps, "steps"), "channel": (sizes.channels, "channels")}[attention.axis]
    words = len(attention_words(attention))
    top = 1 << (config.stream_width - 1)
    for value, most, what, option in (
        (attention.size, limit, f"{entries} of its attention", entries),
        (attention.hidden, sizes.hidden, "hidden values of its attention", "hidden"),
        (count, 1 << sizes.count_bits, "values in a sum of its attention", "count_bits"),
        (words, sizes.weight_depth, "words of its attention", "weight_depth"),
        (max(high, -low - 1), top - 1, "as the largest X of its attention", "stream_width"),
    ):
        if value > most:
            raise CompileError(
                f"layer '{name}': {value} {what}, this core takes {most}; use fewer, or a core with more {option}"
            )
