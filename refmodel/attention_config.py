"""Sizes of a core's attention unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .attention import OPERAND_BITS
from .errors import ConfigError

if TYPE_CHECKING:
    from .config import CoreConfig


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

    def demand_streams(self, config: CoreConfig) -> None:
        """Refuse a core without membrane streams; raises ConfigError."""
        if config.stream_width == 0:
            raise ConfigError("an attention unit needs stream_width > 0: X waits in the stream memory for its gates")
