"""LIF array: neurons behind streams, usable without the rest of a core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig
from refmodel.errors import ConfigError
from refmodel.quantized import LEAK_SHIFTS, MAX_LEAK_BITS

from .neuron import NeuronUnit

Reset = Literal["hard", "soft", "none"]


class LIFArray(wiring.Component):
    """An array of fixed-point LIF or IF neurons, time-multiplexed over :class:`NeuronUnit`\\ s.

    For every neuron and step: H = leak(V) + X + bias (+ current where ``shortcut`` is 1), spike = [H >= threshold],
    then V = 0 (hard reset), H - threshold (soft) or H (none) where it spikes, else V = H: the neuron of
    :class:`refmodel.quantized.QuantizedLayer`.  leak(V) = V - sum(V >> a for a in leak_shifts), shifts arithmetic and
    taken from the same V; or (V * m) >> f.  Nothing saturates: H and H - threshold must fit ``membrane_width``, which
    :func:`membrane_bits` gives for a known number of steps; beyond it they wrap.

    Order: a transfer of ``x`` carries neurons g*units .. g*units + units - 1 of one step; g runs from 0 to
    neurons / units - 1, then the next step begins.  Spikes leave in the same order.

    Flow control: all streams respect ``ready`` and ``valid``.  ``x`` takes a transfer a clock as long as spikes are
    taken, and pauses while parameters wait or are written, and a clock longer.  A step takes at least 4 clocks, and
    with more than 4 transfers at least 8.  After a reset, ``x`` and ``params`` wait for the clocks of one step, in
    which every neuron gets ``threshold`` and ``bias``.

    ``LATENCY``: clocks from a transfer of ``x`` to its spikes being valid, when nothing waits before them.

    Parameters
    ----------
    neurons: how many, a multiple of ``units``.
    units: neurons computed in a clock (power of two); each unit has its own adders.
    input_width: bits of X, bias and bias + current (signed), 3 or more.
    membrane_width: bits of V, H and threshold (signed), ``input_width`` to 48.
    leak_shifts: none (IF), one or two shifts of 1 to 4; leak_factor: instead of them (m, f), 0 <= m < 2**f.
    reset: "hard", "soft" or "none".
    threshold, bias: of every neuron until ``params`` says otherwise.
    shortcut: with the membrane shortcut's multiplexer: the array takes a spike beside X.
    membranes: shows H beside the spikes.

    Members
    -------
    x: In stream: ``values`` (``units`` of input_width bits, signed), ``first`` (these neurons' membranes start
        anew from 0) and, with ``shortcut``, ``shortcut`` (a bit a unit).
    params: In stream, a write for each transfer: ``neuron``, ``threshold``, ``bias`` and, with ``shortcut``,
        ``bias_shortcut`` = bias + current.  It counts from the neuron's next transfer of ``x`` on.
    spikes: Out stream: ``spikes`` (a bit a unit), ``last`` (the step's last transfer) and, with ``membranes``,
        ``membranes`` (H of each, before the reset).

    Raises
    ------
    ConfigError: a parameter out of its range.
    """

    LATENCY = NeuronUnit.LATENCY + 1

    def __init__(
        self,
        *,
        neurons: int = 16,
        units: int = 1,
        input_width: int = 12,
        membrane_width: int = 16,
        leak_shifts: Sequence[int] = (1,),
        leak_factor: tuple[int, int] | None = None,
        reset: Reset = "hard",
        threshold: int = 256,
        bias: int = 0,
        shortcut: bool = False,
        membranes: bool = False,
    ):
        leak_shifts = tuple(leak_shifts)
        _demand(units >= 1 and units & (units - 1) == 0, f"units must be a power of two, not {units!r}")
        _demand(
            neurons >= units and neurons % units == 0,
            f"neurons must be a multiple of units={units}, not {neurons!r}",
        )
        _demand(
            3 <= input_width <= membrane_width <= 48,
            f"widths must satisfy 3 <= input_width <= membrane_width <= 48, not {input_width!r} and {membrane_width!r}",
        )
        _demand(
            len(leak_shifts) <= 2 and all(shift in LEAK_SHIFTS for shift in leak_shifts),
            f"leak_shifts must be at most two of {LEAK_SHIFTS[0]} to {LEAK_SHIFTS[-1]}, not {leak_shifts}",
        )
        if leak_factor is not None:
            m, f = leak_factor
            _demand(not leak_shifts, "leak_factor takes the place of leak_shifts: use leak_shifts=()")
            _demand(
                1 <= f <= MAX_LEAK_BITS and 0 <= m < 1 << f,
                f"leak_factor must be (m, f) with f of 1 to {MAX_LEAK_BITS} and 0 <= m < 2**f, not {leak_factor}",
            )
        _demand(reset in ("hard", "soft", "none"), f"reset must be 'hard', 'soft' or 'none', not {reset!r}")
        _demand(_fits(threshold, membrane_width), f"threshold {threshold} does not fit {membrane_width} bits, signed")
        _demand(_fits(bias, input_width), f"bias {bias} does not fit {input_width} bits, signed")

        self._neurons, self._units = neurons, units
        self._leak_shifts, self._leak_factor, self._reset = leak_shifts, leak_factor, reset
        self._threshold, self._bias, self._membranes = threshold, bias, membranes
        self._slots = neurons // units
        self._config = config = _unit_config(
            self._slots, units, input_width, membrane_width, len(leak_shifts), leak_factor
        )
        inputs = {"values": data.ArrayLayout(signed(input_width), units), "first": 1}
        params = {
            "neuron": max(1, (neurons - 1).bit_length()),
            "threshold": signed(membrane_width),
            "bias": signed(input_width),
        }
        outputs = {"spikes": units, "last": 1}
        if shortcut:
            inputs["shortcut"] = units
            params["bias_shortcut"] = signed(input_width)
        if membranes:
            outputs["membranes"] = data.ArrayLayout(signed(config.membrane_width), units)
        self._shortcut = shortcut
        super().__init__(
            {
                "x": In(stream.Signature(data.StructLayout(inputs))),
                "params": In(stream.Signature(data.StructLayout(params))),
                "spikes": Out(stream.Signature(data.StructLayout(outputs))),
            }
        )

    @property
    def neurons(self) -> int:
        return self._neurons

    @property
    def units(self) -> int:
        return self._units

    @property
    def step_clocks(self) -> int:
        """Clocks of one step of all neurons, when nothing waits."""
        return max(self._slots, min(self._config.slots_per_step, 2 * self._config.NEURON_LOOP))

    def elaborate(self, platform) -> Module:
        m = Module()
        slots, units = self._slots, self._units
        made = [NeuronUnit(config=self._config) for _ in range(units)]

        # Results wait here. A transfer of x is taken only if its result will have room.
        depth = 1 << self.LATENCY.bit_length()
        layout = self.spikes.payload.shape()
        m.submodules.results = results = SyncFIFO(width=layout.size, depth=depth)
        result = Signal(layout)
        promised = Signal(range(depth + 1))
        takes, gives = Signal(), Signal()
        m.d.comb += [
            takes.eq(self.x.valid & self.x.ready),
            gives.eq(self.spikes.valid & self.spikes.ready),
            results.w_data.eq(result),
            results.w_en.eq(made[0].out_valid & (made[0].out_index < slots)),
            self.spikes.payload.eq(results.r_data),
            self.spikes.valid.eq(results.r_rdy),
            results.r_en.eq(self.spikes.ready),
        ]
        m.d.sync += promised.eq(promised + takes - gives)

        # After a reset: threshold and bias of every neuron.
        filling = Signal(init=1)
        index = Signal(range(max(2, slots)))
        index_last = Signal()
        m.d.comb += index_last.eq(index == slots - 1)
        pause = Signal(range(2 * self._config.NEURON_LOOP))  # turns of lanes that do not exist
        written = Signal()  # the next slot's parameters were read while some were written
        under_way = Signal(self.LATENCY - 2)  # slots that may still read their threshold
        turn, ahead = Signal.like(made[0].slot.index), Signal.like(made[0].slot.index)
        m.d.comb += [
            self.params.ready.eq(~filling & (under_way == 0)),
            self.x.ready.eq(~filling & ~self.params.valid & ~written & (pause == 0) & (promised != depth)),
            turn.eq(Mux(pause != 0, self._config.slots_per_step - pause, index)),
            ahead.eq(Mux(takes | filling, Mux(index_last, 0, index + 1), index)),
        ]
        m.d.sync += [written.eq(self.params.valid & self.params.ready), under_way.eq(Cat(takes, under_way))]
        with m.If(pause != 0):
            m.d.sync += pause.eq(pause - 1)
        with m.If(filling | takes):
            m.d.sync += index.eq(index + 1)
            with m.If(index_last):
                m.d.sync += [index.eq(0), filling.eq(0), pause.eq(self.step_clocks - slots)]

        unit_bits = (units - 1).bit_length()
        target = self.params.payload.neuron
        for u, unit in enumerate(made):
            m.submodules[f"unit{u}"] = unit
            write = unit.write_data
            m.d.comb += [
                unit.slot.valid.eq(takes | (pause != 0)),
                unit.slot.index.eq(turn),
                unit.ahead.eq(ahead),
                unit.slot.first.eq(self.x.payload.first),
                unit.slot.end.eq(index_last),
                unit.sum.eq(self.x.payload["values"][u]),
                unit.write_index.eq(target[unit_bits:]),
                unit.write_en.eq(self.params.valid & self.params.ready & (target[:unit_bits] == u)),
                write.threshold.eq(self.params.payload.threshold),
                write.bias.eq(self.params.payload.bias),
                *self._modes(unit),
                result.spikes[u].eq(unit.spike),
            ]
            if self._shortcut:
                m.d.comb += [
                    unit.shortcut.eq(self.x.payload.shortcut[u]),
                    write.bias_shortcut.eq(self.params.payload.bias_shortcut),
                ]
            if self._membranes:
                m.d.comb += result.membranes[u].eq(unit.membrane)
            with m.If(filling):
                m.d.comb += [
                    unit.write_index.eq(index),
                    unit.write_en.eq(1),
                    write.threshold.eq(self._threshold),
                    write.bias.eq(self._bias),
                ]
                if self._shortcut:
                    m.d.comb += write.bias_shortcut.eq(self._bias)
        m.d.comb += result.last.eq(made[0].out_end)
        return m

    def _modes(self, unit: NeuronUnit) -> list:
        """What never changes in this array."""
        mode, shifts = unit.mode, (*self._leak_shifts, 0, 0)
        fixed = [
            mode.soft_reset.eq(self._reset == "soft"),
            mode.no_reset.eq(self._reset == "none"),
            mode.use_current.eq(self._shortcut),
            mode.leak_a.eq(shifts[0]),
            mode.leak_b.eq(shifts[1]),
        ]
        if self._leak_factor is not None:
            fixed += [mode.leak_factor.eq(self._leak_factor[0]), mode.leak_multiply.eq(1)]
        return fixed


def membrane_bits(
    *,
    steps: int,
    inputs: tuple[int, int],
    threshold: int,
    leak_shifts: Sequence[int] = (1,),
    leak_factor: tuple[int, int] | None = None,
    reset: Reset = "hard",
) -> int:
    """Signed bits in which a neuron's V, H and H - threshold stay for ``steps`` steps.

    inputs: smallest and largest X + bias (+ current).  An upper bound: two leak terms may cost a bit more than
    needed.  Raises ConfigError for an empty range.
    """
    low_in, high_in = inputs
    _demand(low_in <= high_in, f"inputs must be (smallest, largest), not {inputs}")

    def leak(v: int) -> int:
        if leak_factor is not None:
            return (v * leak_factor[0]) >> leak_factor[1]
        return v - sum(v >> a for a in leak_shifts)

    # Two terms are not monotone, but never further than 2 from where they would be.
    slack = 2 if len(leak_shifts) > 1 else 0
    low = high = 0
    reach = [0, threshold]
    for _ in range(steps):
        h_low, h_high = leak(low) - slack + low_in, leak(high) + slack + high_in
        reach += [h_low, h_high, h_low - threshold, h_high - threshold]
        kept_high = h_high if reset == "none" else min(h_high, threshold - 1)
        after = [h_low, kept_high] if h_low <= kept_high else []
        if h_high >= threshold:
            after += {"hard": [0], "soft": [max(0, h_low - threshold), h_high - threshold], "none": []}[reset]
        before, (low, high) = (low, high), (min(low, *after), max(high, *after))
        if (low, high) == before:
            break
    return max((v if v >= 0 else ~v).bit_length() for v in reach) + 1


def _unit_config(
    slots: int,
    units: int,
    input_width: int,
    membrane_width: int,
    leak_terms: int,
    leak_factor: tuple[int, int] | None,
) -> CoreConfig:
    """The shape of a core whose neuron units are these: one lane for each slot."""
    lanes = max(CoreConfig.NEURON_LOOP, 1 << (slots - 1).bit_length()) * units
    return CoreConfig(
        event_lanes=1,
        output_lanes=lanes,
        time_lanes=1,
        neuron_units=units,
        bank_lanes=units,
        weight_bits=2,
        acc_width=input_width,
        membrane_width=membrane_width,
        bank_depth=lanes,
        max_planes=1,
        leak_terms=leak_terms,
        leak_bits=leak_factor[1] if leak_factor else 0,
    )


def _fits(value: int, width: int) -> bool:
    return -(1 << (width - 1)) <= value < 1 << (width - 1)


def _demand(fine: bool, message: str) -> None:
    if not fine:
        raise ConfigError(f"LIFArray: {message}")
