"""What the compiler, the cycle model and the attention unit share: sizes, the words it loads, its clocks."""

from __future__ import annotations

from dataclasses import dataclass

from .attention import MAX_SHIFT, OPERAND_BITS, IntegerAttention
from .config import CoreConfig
from .errors import CompileError, ConfigError
from .layout import Field, pack

#: Clocks of a task of the gate engine besides its items and its shifts: from its last item to the sum, relu, store.
TASK_CLOCKS = 5
#: Clocks of the engine besides its tasks: two for settings, one for each of the five phases' shift, one at the end.
ENGINE_CLOCKS = 8

_SETTINGS = (Field("size_last", 8, 0), Field("hidden_last", 6, 8), Field("lif", 1, 14), Field("channel", 1, 15))
#: Bits of a phase's shift word.
SHIFT_BITS = MAX_SHIFT.bit_length()


@dataclass(frozen=True)
class AttentionConfig:
    """Sizes of an attention unit.

    steps: most time steps of an attention along the time axis, 1 to 256.
    channels: most channels of one along the channel axis, 1 to 256.
    hidden: most hidden values R, 1 to 64.
    count_bits: most values a sum goes over is 1 << count_bits.
    weight_depth: words of 16 bits for weights and settings (:func:`attention_words`).

    Raises ConfigError.
    """

    steps: int = 16
    channels: int = 64
    hidden: int = 16
    count_bits: int = 16
    weight_depth: int = 1024

    def __post_init__(self) -> None:
        for name, limit in (("steps", 256), ("channels", 256), ("hidden", 64), ("count_bits", 24)):
            if not 1 <= getattr(self, name) <= limit:
                raise ConfigError(f"attention: {name} must be 1 to {limit}, not {getattr(self, name)!r}")
        if self.weight_depth < 16:
            raise ConfigError(f"attention: weight_depth must be at least 16, not {self.weight_depth!r}")

    def entries(self, config: CoreConfig) -> int:
        """Sums and maxima of one neuron unit: one a step, or one a group of NU channels."""
        chunks, groups = -(-self.steps // config.time_lanes), -(-self.channels // config.output_lanes)
        return max(chunks * config.time_lanes, groups * config.slots_per_step)

    def entry_bits(self, config: CoreConfig) -> int:
        return max(1, (self.entries(config) - 1).bit_length())

    def sum_width(self, config: CoreConfig) -> int:
        """Bits of a sum of X; a gate of 9 bits lies in the same word."""
        return max(config.stream_width + self.count_bits, OPERAND_BITS)

    def product_width(self, config: CoreConfig) -> int:
        """Bits of a sum of products, and of a sum of X on its way to an operand."""
        terms = max(self.steps, self.channels, self.hidden + 1)
        return max(self.sum_width(config), 2 * OPERAND_BITS - 1 + (terms - 1).bit_length())

    @property
    def weight_bits(self) -> int:
        """Bits of the address of a weight word."""
        return (self.weight_depth - 1).bit_length()


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
                f"layer '{name}': {value} {what}, this core has room for {most}; use fewer, or a core with more {option}"
            )
