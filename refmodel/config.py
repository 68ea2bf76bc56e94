"""CoreConfig: the parameters of one processor core, and every width derived from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .attention_config import AttentionConfig
from .errors import ConfigError

#: What a program can lie in; the last two are outside the FPGA.
STORES = ("bram", "spram", "flash", "sdram")


def _is_power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0


@dataclass(frozen=True)
class CoreConfig:
    """A core: ``event_lanes * output_lanes * time_lanes`` synaptic operations a clock.

    Parameters
    ----------
    event_lanes: K, events that enter the adder tree together (power of two).
    output_lanes: P, output channels computed together (power of two, >= K).
    time_lanes: Tp, time steps computed together.
    engines: E, engines (fetch, array, neurons), each with output rows of its own; attention needs a single one.
    neuron_units: NU, serial neuron units that share the P output lanes; at most Q.
    bank_lanes: Q, output lanes fed by one weight memory (one systolic stage).
    weight_bits: Bw, signed weight width, 2 to 8.
    acc_width: bits of a synaptic sum (signed).
    membrane_width: bits of a membrane (signed), at least ``acc_width``.
    bank_depth: weights a lane can hold in *each half* of its double-buffered bank.
    spike_depth: words of the spike memory (a word is P channels x Tp steps, one plane).
    store_depth: words of the resting store that holds the program image.
    fifo_depth: occupancy items that a lane may have waiting.
    scan_words: S, words of the spike memory whose occupancy is read in one clock (power of two).
    adder: how a stage adds its K weights: in a "tree" of pairs, or in a "chain" of one lane a clock (fewer LUTs).
    max_planes: most bit-planes a tensor may have.
    result_depth: largest number of readout channels.
    dim_bits: bits of a tensor's width and height.
    kernel_bits: bits of a kernel's size, stride and padding.
    chunk_bits: bits of the number of time chunks (T <= Tp << chunk_bits).
    leak_terms: leak shifts a neuron can subtract, 0 to 2.
    leak_shift_max: largest shift of a leak term, 1 to 4: small ones save logic.
    leak_bits: fraction bits f of a leak by multiplication, (V * m) >> f; 0 builds no multiplier.
    rectify: neurons can integrate max(X, 0).
    signed_sources: convolutions can read signed tensors (inputs, membrane streams).
    source_planes: most bit-planes of a convolution's source; 0: as ``max_planes``.
    store: what holds the program: block RAM ("bram"), SPRAM of an UP5K ("spram"), or a memory outside the FPGA whose
        words come in order, SPI flash ("flash") or SDRAM ("sdram"): see refmodel/store_stream.py.
    store_fifo: words of a memory outside that may be under way or waiting (power of two, 2 to 256).
    stream_width: bits of a membrane stream's value (signed); 0 builds no membrane streams.
    stream_depth: words of the stream memory (a word is one neuron slot, NU values).
    attention: sizes of the attention unit (SynA); None builds none.  It needs membrane streams.
    state_depth: words of the state memory, which keeps membranes between runs (a word is one neuron slot, NU
        membranes); 0 builds none.
    """

    event_lanes: int = 2
    output_lanes: int = 8
    time_lanes: int = 4
    engines: int = 1
    neuron_units: int = 2
    bank_lanes: int = 2
    weight_bits: int = 8
    acc_width: int = 18
    membrane_width: int = 24
    bank_depth: int = 128
    spike_depth: int = 1024
    store_depth: int = 16384
    fifo_depth: int = 2
    scan_words: int = 4
    adder: Literal["tree", "chain"] = "tree"
    max_planes: int = 8
    result_depth: int = 16
    dim_bits: int = 8
    kernel_bits: int = 4
    chunk_bits: int = 6
    leak_terms: int = 2
    leak_shift_max: int = 4
    leak_bits: int = 0
    rectify: bool = False
    signed_sources: bool = False
    source_planes: int = 0
    store: Literal["bram", "spram", "flash", "sdram"] = "bram"
    store_fifo: int = 16
    stream_width: int = 0
    stream_depth: int = 1024
    attention: AttentionConfig | None = None
    state_depth: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.attention, dict):  # as dataclasses.asdict leaves it
            object.__setattr__(self, "attention", AttentionConfig(**self.attention))
        for name in ("event_lanes", "output_lanes", "time_lanes", "neuron_units", "bank_lanes", "scan_words"):
            value = getattr(self, name)
            if not _is_power_of_two(value):
                raise ConfigError(f"{name} must be a power of two, not {value!r}")
        checks = (
            (self.output_lanes % self.event_lanes == 0, "output_lanes must be a multiple of event_lanes"),
            (1 <= self.engines <= 16, f"engines must be 1 to 16, not {self.engines!r}"),
            (
                self.slots_per_step >= self.NEURON_LOOP,
                f"output_lanes / neuron_units must be at least {self.NEURON_LOOP}, the clocks of a neuron's recurrence",
            ),
            (self.output_lanes % self.bank_lanes == 0, "output_lanes must be a multiple of bank_lanes"),
            (
                self.neuron_units <= self.bank_lanes,
                "neuron_units must be at most bank_lanes: a neuron slot reads one systolic stage",
            ),
            (self.scan_words <= 16, f"scan_words must be at most 16, not {self.scan_words}"),
            (self.adder in ("tree", "chain"), f"adder must be 'tree' or 'chain', not {self.adder!r}"),
            (2 <= self.weight_bits <= 8, f"weight_bits must be 2 to 8, not {self.weight_bits}"),
            (
                self.weight_bits < self.acc_width <= self.membrane_width <= 48,
                "widths must satisfy weight_bits < acc_width <= membrane_width <= 48",
            ),
            (1 <= self.fifo_depth <= 16, f"fifo_depth must be 1 to 16, not {self.fifo_depth}"),
            (
                1 <= self.max_planes <= self.slots_per_chunk - 2,
                f"max_planes must be 1 to {self.slots_per_chunk - 2} for this shape, not {self.max_planes}",
            ),
            (_is_power_of_two(self.bank_depth), f"bank_depth must be a power of two, not {self.bank_depth}"),
            (self.bank_depth >= self.channels_per_word, "bank_depth must hold at least one word of channels"),
            (self.spike_depth >= 4 and self.store_depth >= 4, "memories must have at least 4 words"),
            (4 <= self.dim_bits <= 12, f"dim_bits must be 4 to 12, not {self.dim_bits}"),
            (2 <= self.kernel_bits <= self.dim_bits, "kernel_bits must be 2 to dim_bits"),
            (1 <= self.chunk_bits <= 12, f"chunk_bits must be 1 to 12, not {self.chunk_bits}"),
            (0 <= self.leak_terms <= 2, f"leak_terms must be 0 to 2, not {self.leak_terms}"),
            (1 <= self.leak_shift_max <= 4, f"leak_shift_max must be 1 to 4, not {self.leak_shift_max}"),
            (0 <= self.leak_bits <= 15, f"leak_bits must be 0 to 15, not {self.leak_bits}"),
            (0 <= self.source_planes <= 32, f"source_planes must be 0 to 32, not {self.source_planes}"),
            (
                self.stream_width == 0 or 2 <= self.stream_width <= self.membrane_width,
                f"stream_width must be 0, or 2 to membrane_width, not {self.stream_width}",
            ),
            (self.stream_depth >= 4, f"stream_depth must be at least 4, not {self.stream_depth}"),
            (
                self.attention is None or self.stream_width > 0,
                "attention needs stream_width > 0: X waits in the stream memory for its gates",
            ),
            (
                self.state_depth == 0 or self.state_depth >= 4,
                f"state_depth must be 0 or at least 4, not {self.state_depth}",
            ),
            (
                self.attention is None or self.engines == 1,
                f"attention pools all output rows in one place: use engines=1, not {self.engines}",
            ),
            (
                not self.streams_store or self.engines == 1,
                f"engines start with words that come one a clock: use store='bram', or engines=1, not {self.engines}",
            ),
            (
                self.state_depth == 0 or self.engines == 1,
                f"a state memory keeps the membranes of one engine: use engines=1, not {self.engines}",
            ),
            (self.store in STORES, f"store must be one of {', '.join(STORES)}, not {self.store!r}"),
            (
                2 <= self.store_fifo <= 256 and _is_power_of_two(self.store_fifo),
                f"store_fifo must be a power of two from 2 to 256, not {self.store_fifo}",
            ),
        )
        for fine, message in checks:
            if not fine:
                raise ConfigError(message)

    #: Clocks of the membrane recurrence: membrane and its margin, reset, two for the leak.
    NEURON_LOOP = 4

    @property
    def lanes(self) -> int:
        """Synaptic operations a clock: E*K*P*Tp."""
        return self.engines * self.event_lanes * self.output_lanes * self.time_lanes

    @property
    def channels_per_word(self) -> int:
        """W: channels of one event lane in a spike word, P / K."""
        return self.output_lanes // self.event_lanes

    @property
    def spike_width(self) -> int:
        """Bits of a spike-memory word: P channels x Tp steps; bit p*Tp + t."""
        return self.output_lanes * self.time_lanes

    @property
    def most_source_planes(self) -> int:
        """Most bit-planes of a source."""
        return self.source_planes or self.max_planes

    @property
    def slots_per_step(self) -> int:
        """Neuron slots of one time step: P / NU."""
        return self.output_lanes // self.neuron_units

    @property
    def slots_per_chunk(self) -> int:
        """Clocks the neuron stage needs for one tile and chunk."""
        return self.slots_per_step * self.time_lanes

    @property
    def stages(self) -> int:
        """Systolic stages of the synapse array, P / Q."""
        return self.output_lanes // self.bank_lanes

    @property
    def tree_levels(self) -> int:
        """Registered levels of the adder tree over K."""
        return (self.event_lanes - 1).bit_length()

    @property
    def param_width(self) -> int:
        """Bits of one channel's parameters: threshold, bias, shortcut current."""
        return self.membrane_width + 2 * self.acc_width

    @property
    def store_width(self) -> int:
        """Bits of a word of the resting store, a multiple of 16."""
        return -(-max(self.output_lanes * self.weight_bits, self.param_width) // 16) * 16

    @property
    def spike_addr_bits(self) -> int:
        return (self.spike_depth - 1).bit_length()

    @property
    def stream_addr_bits(self) -> int:
        return (self.stream_depth - 1).bit_length()

    @property
    def state_addr_bits(self) -> int:
        return max(1, (self.state_depth - 1).bit_length())

    @property
    def store_addr_bits(self) -> int:
        return (self.store_depth - 1).bit_length()

    @property
    def streams_store(self) -> bool:
        """The program's words come in order from a memory outside, and the sequencer waits for them."""
        return self.store in ("flash", "sdram")

    @property
    def tag_bits(self) -> int:
        """Bits that number the channel words of a slab: log2(bank_depth / W)."""
        return max(1, (self.bank_depth // self.channels_per_word - 1).bit_length())

    @property
    def weight_addr_bits(self) -> int:
        """Bits that number a lane's weights in one half of its bank."""
        return self.tag_bits + (self.channels_per_word - 1).bit_length()
