"""Drains: the sums of a tile, kept while the neuron slots take them one after another."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any

from amaranth import Cat, Const, Instance, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig
from refmodel.layout import drain_clocks

from .adders import Form, adder_form


def slot_layout(config: CoreConfig) -> dict[str, Any]:
    """Members that name the neuron slot of this clock: step-major, one a clock from the first one."""
    return {
        "slot_step": In(max(1, (config.time_lanes - 1).bit_length())),
        "slot_index": In(max(1, (config.slots_per_step - 1).bit_length())),
    }


def choose(values: Sequence[Value], select: Value) -> Value:
    """``values[select]``, a tree of two-way choices; the number of values is a power of two."""
    values = list(values)
    for bit in range((len(values) - 1).bit_length()):
        values = [Mux(select[bit], values[i + 1], values[i]) for i in range(0, len(values), 2)]
    return values[0]


def choose_ecp5(m: Module, values: Sequence[Value], select: Value, name: str) -> Value:
    """As :func:`choose`, for single bits: 16 of them take 8 LUTs, whose outputs the slices' own multiplexers join.

    Synthesis by itself takes up to twice as many.
    """
    level = 0
    values = list(values)
    for bit in range((len(values) - 1).bit_length()):
        chosen = []
        for i in range(0, len(values), 2):
            out = Signal(name=f"{name}_{bit}_{i // 2}")
            low, high, sel = values[i], values[i + 1], select[bit]
            if level == 0:  # I(D, C, B, A): B if C else A
                one = Const(1, 1)
                ports = {"p_INIT": Const(0xCACA, 16), "i_A": low, "i_B": high, "i_C": sel, "i_D": one, "o_Z": out}
                m.submodules[f"{out.name}_lut"] = Instance("LUT4", **ports)
            elif level == 1:
                m.submodules[f"{out.name}_mux"] = Instance("PFUMX", i_BLUT=low, i_ALUT=high, i_C0=sel, o_Z=out)
            else:
                m.submodules[f"{out.name}_mux"] = Instance("L6MUX21", i_D0=low, i_D1=high, i_SD=sel, o_Z=out)
            chosen.append(out)
        values = chosen
        level = (level + 1) % 4
    return values[0]


class Drain(wiring.Component):
    """Snapshots of the P x Tp sums and the way out of them.

    Slot t * P/NU + i takes step t of the lanes i*NU .. i*NU+NU-1.  One stage: each unit has a shift register in
    slot order, loaded at once, that moves on in every clock.  Several stages: registers loaded stage by stage and a
    multiplexer, also where ``chained`` is False, since a multiplexer takes half a LUT a bit on ECP5 and a shift
    register one; on iCE40 the register's LUT is free.  Long arrays (``drain_clocks``): each stage has a register
    that takes its step's sums in the clock before their slot and is 0 otherwise, and the slot's sums are all stages'
    joined by or.  What tells a stage its clock and step goes from stage to stage and round again, so that no wire
    goes to all of them.

    Flow: slots come one a clock from the one after stage 0's load, ``drain_clocks`` later, and need no handshake.

    Parameters
    ----------
    chained: a shift register, which needs a single stage.
    form: how the multiplexer is built; None: as the platform asks.

    Members
    -------
    totals: the sums of the P lanes and Tp steps.
    load: of each stage, its totals are final in this clock.
    begins: stage 0's are; only long arrays have it.
    slot_step, slot_index: the neuron slot of this clock, for the multiplexer.
    sums: of each unit, the sum of this clock's slot.
    """

    def __init__(self, *, config: CoreConfig, chained: bool, form: Form | None = None):
        if chained and config.stages > 1:
            raise ValueError(f"a chained drain needs 1 stage, not {config.stages}; use chained=False")
        self._config = config
        self._chained = chained
        self._form: Form | None = form
        width = signed(config.acc_width)
        super().__init__(
            {
                "totals": In(data.ArrayLayout(data.ArrayLayout(width, config.time_lanes), config.output_lanes)),
                "load": In(config.stages),
                **({"begins": In(1)} if drain_clocks(config) else {}),
                **slot_layout(config),
                "sums": Out(data.ArrayLayout(width, config.neuron_units)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg = self._config
        form = self._form or adder_form(platform)
        turns = self._turns(m) if drain_clocks(cfg) else []
        for u in range(cfg.neuron_units):
            lanes = [i * cfg.neuron_units + u for i in range(cfg.slots_per_step)]
            slots = [(lane, t) for t in range(cfg.time_lanes) for lane in lanes]
            kept = {
                slot: Signal(signed(cfg.acc_width), name=f"snapshot_{slot[0]}_{slot[1]}", reset_less=True)
                for slot in slots
            }
            for slot, after in zip(slots, [*slots[1:], slots[-1]], strict=True):
                total = self.totals[slot[0]][slot[1]]
                if self._chained:
                    m.d.sync += kept[slot].eq(Mux(self.load, total, kept[after]))
                else:
                    with m.If(self.load[slot[0] // cfg.bank_lanes]):
                        m.d.sync += kept[slot].eq(total)
            if self._chained:
                m.d.comb += self.sums[u].eq(kept[slots[0]])
                continue
            if drain_clocks(cfg):
                parts = []
                for index, (lane, (turn, step)) in enumerate(zip(lanes, turns, strict=True)):
                    chosen = _choose(m, [kept[lane, t] for t in range(cfg.time_lanes)], step, form, f"step_{u}_{index}")
                    part = Signal(signed(cfg.acc_width), name=f"part_{u}_{index}", reset_less=True)
                    m.d.sync += part.eq(Mux(turn, chosen, 0))  # a register that is cleared takes no LUT on ECP5
                    parts.append(part)
                m.d.comb += self.sums[u].eq(reduce(or_, parts))
                continue
            index = self.slot_index[: (cfg.slots_per_step - 1).bit_length()]
            select = Cat(index, self.slot_step[: (cfg.time_lanes - 1).bit_length()])
            m.d.comb += self.sums[u].eq(_choose(m, [kept[slot] for slot in slots], select, form, f"sum_{u}"))
        return m

    def _turns(self, m: Module) -> list[tuple[Signal, Signal]]:
        """Of each stage, whether its slot comes in the next clock, and which step that is."""
        cfg = self._config
        count, steps = cfg.slots_per_step, cfg.time_lanes
        turns = [
            (Signal(name=f"turn{i}"), Signal(range(max(2, steps)), name=f"turn_step{i}", reset_less=True))
            for i in range(count)
        ]
        for (turn, step), (turn_before, step_before) in zip(turns[1:], turns[:-1], strict=True):
            m.d.sync += [turn.eq(turn_before), step.eq(step_before)]
        (turn, step), (last_turn, last_step) = turns[0], turns[-1]
        m.d.sync += [
            turn.eq(self.begins | (last_turn & (last_step != steps - 1))),
            step.eq(Mux(self.begins, 0, last_step + 1)),
        ]
        return turns


def _choose(m: Module, values: Sequence[Value], select: Value, form: Form, name: str) -> Value:
    """``values[select]``, signed numbers of the same width."""
    if form != "ecp5":
        return choose(values, select)
    bits = [choose_ecp5(m, [value[i] for value in values], select, f"{name}_{i}") for i in range(len(values[0]))]
    return Cat(bits).as_signed()
