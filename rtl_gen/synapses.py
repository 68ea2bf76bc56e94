"""Systolic synapse array: weight banks, masked adders, accumulators, drain."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig
from refmodel.layout import ArrayOp, array_latency, drain_clocks

from .adders import CarryChain, Form, adder_form, gated_sum
from .delay import delayed
from .drain import Drain, slot_layout
from .layouts import COLLISION_FREE, bundle_layout


def lane_delay(config: CoreConfig, form: Form, lane: int) -> int:
    """Clocks by which an event lane enters a stage later than the first one.

    In a tree all lanes enter together.  In a chain lane k is added a clock after lane k - 1; on ECP5 the first two
    are added together and all weights wait one of these clocks in registers: its block RAMs are slow.
    """
    if config.adder == "tree":
        return 0
    return max(lane - 1, 0) if form == "ecp5" else lane


def stage_layout(config: CoreConfig) -> data.StructLayout:
    """What enters a stage in a clock: events without valid bits (an empty mask says as much), decoded op."""
    event = data.StructLayout({"weight": config.weight_addr_bits, "mask": config.time_lanes})
    return data.StructLayout({"events": data.ArrayLayout(event, config.event_lanes), "shift": 1, "drain": 1})


def bank_write_layout(config: CoreConfig, lanes: int) -> dict[str, Any]:
    """Members of a weight load: ``write_lane`` is one-hot, the data of ``lanes`` output lanes side by side."""
    return {
        "write_lane": In(config.event_lanes),
        "write_half": In(1),
        "write_addr": In(config.weight_addr_bits),
        "write_data": In(lanes * config.weight_bits),
    }


class SynapseStage(wiring.Component):
    """Q output lanes: a weight bank for each event lane and Q x Tp accumulators.

    For each output lane q and time lane t, with K events (weight address, mask over time):
    ``total[q,t] = base[q,t] + sum over k of mask_k[t] * weight_k[q]``.  The next base is the total, twice the total
    after a SHIFT (Horner's rule over bit-planes), 0 after a DRAIN.

    Two ways of adding, ``config.adder``: "tree": pairs of weights, of which each time lane takes none, one, the
    other or the sum, then a registered binary tree.  "chain": a register for each event lane, one gated adder
    behind the other; lane k's events come :func:`lane_delay` clocks later than the first lane's.

    Flow: takes a bundle every clock, neither provides nor respects back pressure.

    Parameters
    ----------
    form: how adders are built; None: as the platform asks.

    Members
    -------
    bundle: the events of this clock and what happens to the sums with them.
    run_half: which half of the banks computes.
    write_lane, write_half, write_addr, write_data: weight load; ``write_lane`` is one-hot.
    totals: of each lane and step, the sum with this clock's events, combinational.
    drain: the totals are a tile's sums.
    """

    def __init__(self, *, config: CoreConfig, form: Form | None = None):
        self._config = config
        self._form: Form | None = form
        lanes = config.bank_lanes
        row = data.ArrayLayout(signed(config.acc_width), config.time_lanes)
        super().__init__(
            {
                "bundle": In(stage_layout(config)),
                "run_half": In(1),
                **bank_write_layout(config, lanes),
                "totals": Out(data.ArrayLayout(row, lanes)),
                "drain": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg = self._config
        form = self._form or adder_form(platform)
        weights, masks = self._banks(m)
        # The op's way beside the events. After a reset `drain` is 1 until they have all gone by.
        rest = array_latency(cfg) - 1 - lane_delay(cfg, form, cfg.event_lanes - 1)
        shift, drain = self.bundle.shift, self.bundle.drain
        for number in range(rest):
            late_shift, late_drain = Signal(name=f"shift_{number}"), Signal(name=f"drain_{number}", init=1)
            if number == rest - 1:
                late_drain = Signal(name=f"drain_{number}")
            m.d.sync += [late_shift.eq(shift), late_drain.eq(drain)]
            shift, drain = late_shift, late_drain
        m.d.comb += self.drain.eq(drain)

        lanes, steps = range(cfg.bank_lanes), range(cfg.time_lanes)
        cleared = rest > 1  # by that `drain`; with a single register of it the reset does it
        accs = [[Signal(signed(cfg.acc_width), name=f"acc_{q}_{t}", reset_less=cleared) for t in steps] for q in lanes]
        in_chains = cfg.adder == "chain" and form == "ecp5"
        if in_chains:
            keep = Signal(init=1)  # the last op was no SHIFT
            m.d.sync += keep.eq(~shift)
            totals = self._carry_chains(m, weights, masks, accs, keep)
        else:
            parts = self._tree(m, weights, masks) if cfg.adder == "tree" else self._chain(m, weights, masks, form)
            totals = [[(parts[q][t] + accs[q][t])[: cfg.acc_width].as_signed() for t in steps] for q in lanes]
        for q in lanes:
            for t in steps:
                total = self.totals[q][t]
                m.d.comb += total.eq(totals[q][t])
                following = total if in_chains else Mux(shift, Cat(0, total[:-1]).as_signed(), total)
                m.d.sync += accs[q][t].eq(Mux(drain, 0, following))
        return m

    def _banks(self, m: Module) -> tuple[list[list[Any]], list[Any]]:
        """Of each event lane, the weights of its Q output lanes and the mask beside them."""
        cfg = self._config
        lanes, bits = cfg.bank_lanes, cfg.weight_bits
        weights, masks = [], []
        for k in range(cfg.event_lanes):
            bank = Memory(shape=lanes * bits, depth=2 << cfg.weight_addr_bits, init=[], attrs=COLLISION_FREE)
            m.submodules[f"bank{k}"] = bank
            write, read = bank.write_port(), bank.read_port()
            event = self.bundle.events[k]
            m.d.comb += [
                write.en.eq(self.write_lane[k]),
                write.addr.eq(Cat(self.write_addr, self.write_half)),
                write.data.eq(self.write_data),
                read.en.eq(1),
                read.addr.eq(Cat(event.weight, self.run_half)),
            ]
            mask = Signal(cfg.time_lanes, name=f"mask{k}", reset_less=True)
            m.d.sync += mask.eq(event.mask)
            weights.append([read.data.word_select(q, bits).as_signed() for q in range(lanes)])
            masks.append(mask)
        return weights, masks

    def _first(self, m: Module, weight: Value, gate: Value, name: str) -> Signal:
        """The first event lane's masked weight: the register is cleared, which takes no LUT on ECP5."""
        part = Signal(signed(len(weight)), name=name, reset_less=True)
        m.d.sync += part.eq(Mux(gate, weight, 0))
        return part

    def _chain(self, m: Module, weights: list[list[Any]], masks: list[Any], form: Form) -> list[list[Signal]]:
        """Of each output lane and step, the sum of the K masked weights in its last register."""
        cfg = self._config
        parts = []
        for q in range(cfg.bank_lanes):
            row = []
            for t in range(cfg.time_lanes):
                part = self._first(m, weights[0][q], masks[0][t], f"part0_{q}_{t}")
                for k in range(1, cfg.event_lanes):
                    width = min(cfg.weight_bits + k.bit_length(), cfg.acc_width)
                    total = gated_sum(m, part, weights[k][q], masks[k][t], width, form, f"sum{k}_{q}_{t}")
                    part = Signal(signed(width), name=f"part{k}_{q}_{t}", reset_less=True)
                    m.d.sync += part.eq(total)
                row.append(part)
            parts.append(row)
        return parts

    def _carry_chains(
        self, m: Module, weights: list[list[Any]], masks: list[Any], accs: list[list[Signal]], keep: Signal
    ) -> list[list[Value]]:
        """As :meth:`_chain`, plus the accumulators, or twice them without ``keep``: two carry chains for each.

        The first two lanes enter together.  A register waits between banks and adders, which a block RAM can hold.
        """
        cfg = self._config
        idle = Signal(cfg.time_lanes, reset_less=True)  # neither of the first two lanes has an event
        if cfg.event_lanes > 1:
            m.d.sync += idle.eq(~(masks[0] | masks[1]))
            masks = [delayed(m, mask, 1, f"mask{k}") for k, mask in enumerate(masks)]
            weights = [
                [delayed(m, weight, 1, f"weight{k}_{q}") for q, weight in enumerate(row)]
                for k, row in enumerate(weights)
            ]
        nothing = 1 << cfg.weight_bits
        totals: list[list[Value]] = []
        for q, row in enumerate(accs):
            totals.append([])
            for t, acc in enumerate(row):
                chain = CarryChain(m, f"chain_{q}_{t}")
                if cfg.event_lanes == 1:
                    part = self._first(m, weights[0][q], masks[0][t], f"part0_{q}_{t}")
                else:
                    total = chain.pair(weights[0][q], weights[1][q], masks[0][t], masks[1][t])
                    part = Signal(len(total), name=f"part1_{q}_{t}", init=nothing, reset_less=True)
                    m.d.sync += part.eq(Mux(idle[t], nothing, total))
                for k in range(2, cfg.event_lanes):
                    most = (k + 1) * (nothing - 1)
                    total = chain.gated(part, weights[k][q], masks[k][t], most)
                    part = Signal(len(total), name=f"part{k}_{q}_{t}", reset_less=True)
                    m.d.sync += part.eq(total)
                chain.close()
                # A chain of its own: else timing analysis sees a path from the weights through all of them.
                last = CarryChain(m, f"total_{q}_{t}")
                totals[q].append(last.doubling(part, acc, keep))
                last.close()
        return totals

    def _tree(self, m: Module, weights: list[list[Any]], masks: list[Any]) -> list[list[Value]]:
        """As :meth:`_chain`, in a binary tree."""
        cfg = self._config
        lanes, steps, bits = cfg.bank_lanes, cfg.time_lanes, cfg.weight_bits
        parts: list[list[Value]] = []
        for q in range(lanes):
            # The sum of two lanes' weights is made once for all time lanes, each of which then
            # chooses 0, one weight, the other or the sum: cheaper than masking and adding in each.
            pairs = []
            for k in range(0, cfg.event_lanes - 1, 2):
                pair = Signal(signed(bits + 1), name=f"pair_{q}_{k // 2}")
                m.d.comb += pair.eq(weights[k][q] + weights[k + 1][q])
                pairs.append(pair)
            row: list[Value] = []
            for t in range(steps):
                terms: list[Any] = []
                for number, pair in enumerate(pairs):
                    low, high = masks[2 * number][t], masks[2 * number + 1][t]
                    w_low, w_high = weights[2 * number][q], weights[2 * number + 1][q]
                    part = Signal(signed(bits + 1), name=f"part0_{q}_{t}_{number}", reset_less=True)
                    m.d.sync += part.eq(Mux(low & high, pair, Mux(low, w_low, Mux(high, w_high, 0))))
                    terms.append(part)
                if not pairs:
                    terms = [Mux(masks[0][t], weights[0][q], 0).as_signed()]
                level = 1
                while len(terms) > 1:
                    sums = []
                    for i in range(0, len(terms), 2):
                        part = Signal(signed(bits + level + 1), name=f"part{level}_{q}_{t}_{i // 2}", reset_less=True)
                        m.d.sync += part.eq(terms[i] + terms[i + 1])
                        sums.append(part)
                    terms, level = sums, level + 1
                row.append(terms[0])
            parts.append(row)
        return parts


class SynapseArray(wiring.Component):
    """P / Q systolic stages and the drain: stage s sees each bundle s clocks after stage 0.

    The sums of a DRAIN bundle come ``barrier_to_slot(config)`` clocks after its register, slot by slot: see
    :class:`refmodel.layout.ArrayOp` for the ops and :class:`~rtl_gen.drain.Drain` for the slots.  Sums start from
    0 at power-on and reset.

    Flow: takes a bundle every clock; drains come at least R = P/NU * Tp clocks apart.

    Parameters
    ----------
    form: how adders are built; None: as the platform asks.  Clocks are the same.

    Members
    -------
    bundle: the register of stage 0.
    run_half, write_lane, write_half, write_addr, write_data: as of :class:`SynapseStage`, the data over all P lanes.
    slot_active, slot_step, slot_index: the neuron slot of this clock.
    sums: of each neuron unit, the sum of this clock's slot: unit u has lane slot_index * NU + u, step slot_step.
    drained: high in the clock before the first slot.
    """

    def __init__(self, *, config: CoreConfig, form: Form | None = None):
        self._config = config
        self._form: Form | None = form
        super().__init__(
            {
                "bundle": In(bundle_layout(config)),
                "run_half": In(1),
                **bank_write_layout(config, config.output_lanes),
                "slot_active": In(1),
                **slot_layout(config),
                "sums": Out(data.ArrayLayout(signed(config.acc_width), config.neuron_units)),
                "drained": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg = self._config
        form = self._form or adder_form(platform)
        lanes, last = cfg.bank_lanes, lane_delay(cfg, form, cfg.event_lanes - 1)
        first = Signal(stage_layout(cfg))
        for k in range(cfg.event_lanes):
            event = self.bundle.events[k]
            wait = lane_delay(cfg, form, k)
            m.d.comb += [
                first.events[k].weight.eq(delayed(m, event.weight, wait, f"weight{k}")),
                first.events[k].mask.eq(delayed(m, Mux(event.valid, event.mask, 0), wait, f"mask{k}")),
            ]
        shift, drain = Signal(), Signal()
        m.d.comb += [shift.eq(self.bundle.op == ArrayOp.SHIFT), drain.eq(self.bundle.op == ArrayOp.DRAIN)]
        taken = delayed(m, drain, array_latency(cfg) - 1, "taken", reset_less=False)  # by stage 0's snapshots
        m.d.comb += self.drained.eq(delayed(m, taken, drain_clocks(cfg), "drained", reset_less=False))
        for number in range(last):
            late_shift, late_drain = Signal(name=f"shift_{number}"), Signal(name=f"drain_{number}", init=1)
            m.d.sync += [late_shift.eq(shift), late_drain.eq(drain)]
            shift, drain = late_shift, late_drain
        m.d.comb += [first.shift.eq(shift), first.drain.eq(drain)]

        out = Drain(config=cfg, chained=cfg.stages == 1 and form != "ecp5", form=form)
        m.submodules.drain = out
        m.d.comb += [
            out.slot_step.eq(self.slot_step),
            out.slot_index.eq(self.slot_index),
            self.sums.eq(out.sums),
        ]
        if drain_clocks(cfg):
            m.d.comb += out.begins.eq(taken)
        bundle: Any = first
        for s in range(cfg.stages):
            stage = SynapseStage(config=cfg, form=form)
            m.submodules[f"stage{s}"] = stage
            if s:
                late = Signal(stage_layout(cfg), name=f"bundle{s}", init={"drain": 1})
                m.d.sync += late.eq(bundle)
                bundle = late
            m.d.comb += [
                stage.bundle.eq(bundle),
                stage.run_half.eq(self.run_half),
                stage.write_lane.eq(self.write_lane),
                stage.write_half.eq(self.write_half),
                stage.write_addr.eq(self.write_addr),
                stage.write_data.eq(self.write_data.word_select(s, lanes * cfg.weight_bits)),
                out.load[s].eq(stage.drain),
            ]
            m.d.comb += [out.totals[s * lanes + q].eq(stage.totals[q]) for q in range(lanes)]
        return m
