"""Systolic synapse array: weight banks, masked adder tree, accumulators, snapshots."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig
from refmodel.layout import ArrayOp

from .delay import delayed
from .layouts import COLLISION_FREE, bundle_layout


class SynapseStage(wiring.Component):
    """Q output lanes: a weight bank for each event lane and Q x Tp accumulators.

    For each output lane q and time lane t, with K events (weight address, mask over time):
    acc[q,t] <- op(acc[q,t]) + sum over k of mask_k[t] * weight_k[q]; see
    :class:`refmodel.layout.ArrayOp`.  DOUBLE is Horner's rule over bit-planes.

    Flow: takes a bundle every clock, neither provides nor respects back pressure.  The
    snapshot of a NEW bundle is readable ``2 + log2 K`` clocks after its register.

    Members
    -------
    bundle: the events and the op, in this stage's register.
    run_half: which half of the banks computes.
    write_lane, write_half, write_addr, write_data: weight load; ``write_lane`` is one-hot.
    shift: per output lane, move its snapshot on to the next time step.
    sums: per output lane, the snapshot of its present time step.
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        lanes = config.bank_lanes
        super().__init__(
            {
                "bundle": In(bundle_layout(config)),
                "run_half": In(1),
                "write_lane": In(config.event_lanes),
                "write_half": In(1),
                "write_addr": In(config.weight_addr_bits),
                "write_data": In(lanes * config.weight_bits),
                "shift": In(lanes),
                "sums": Out(data.ArrayLayout(signed(config.acc_width), lanes)),
                "op_seen": Out(2),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg = self._config
        lanes, steps, bits = cfg.bank_lanes, cfg.time_lanes, cfg.weight_bits
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
            mask = Signal(steps, name=f"mask{k}", reset_less=True)
            m.d.sync += mask.eq(Mux(event.valid, event.mask, 0))
            weights.append([read.data.word_select(q, bits).as_signed() for q in range(lanes)])
            masks.append(mask)
        op = delayed(m, self.bundle.op, 1 + cfg.tree_levels, "op", reset_less=False)
        m.d.comb += self.op_seen.eq(op)
        keep, double, snap = Signal(), Signal(), Signal()
        m.d.comb += [
            keep.eq((op == ArrayOp.ADD) | (op == ArrayOp.DOUBLE)),
            double.eq(op == ArrayOp.DOUBLE),
            snap.eq(op == ArrayOp.NEW),
        ]
        for q in range(lanes):
            # The sum of two lanes' weights is made once for all time lanes, each of which then
            # chooses 0, one weight, the other or the sum: cheaper than masking and adding in each.
            pairs = []
            for k in range(0, cfg.event_lanes - 1, 2):
                pair = Signal(signed(bits + 1), name=f"pair_{q}_{k // 2}")
                m.d.comb += pair.eq(weights[k][q] + weights[k + 1][q])
                pairs.append(pair)
            accs = []
            for t in range(steps):
                if pairs:
                    terms = []
                    for number, pair in enumerate(pairs):
                        low, high = masks[2 * number][t], masks[2 * number + 1][t]
                        w_low, w_high = weights[2 * number][q], weights[2 * number + 1][q]
                        part = Signal(signed(bits + 1), name=f"part0_{q}_{t}_{number}", reset_less=True)
                        m.d.sync += part.eq(Mux(low & high, pair, Mux(low, w_low, Mux(high, w_high, 0))))
                        terms.append(part)
                else:
                    terms = [Mux(masks[0][t], weights[0][q], 0)]
                level = 1
                while len(terms) > 1:
                    sums = []
                    for i in range(0, len(terms), 2):
                        part = Signal(signed(bits + level + 1), name=f"part{level}_{q}_{t}_{i // 2}", reset_less=True)
                        m.d.sync += part.eq(terms[i] + terms[i + 1])
                        sums.append(part)
                    terms, level = sums, level + 1
                acc = Signal(signed(cfg.acc_width), name=f"acc_{q}_{t}", reset_less=True)
                held = Signal(signed(cfg.acc_width), name=f"held_{q}_{t}")
                m.d.comb += held.eq(Mux(keep, Mux(double, acc << 1, acc), 0))
                m.d.sync += acc.eq(held + terms[0])
                accs.append(acc)
            chain = [Signal(signed(cfg.acc_width), name=f"snapshot_{q}_{t}", reset_less=True) for t in range(steps)]
            with m.If(snap):
                m.d.sync += [chain[t].eq(accs[t]) for t in range(steps)]
            with m.Elif(self.shift[q]):
                m.d.sync += [chain[t].eq(chain[t + 1]) for t in range(steps - 1)]
            m.d.comb += self.sums[q].eq(chain[0])
        return m


class SynapseArray(wiring.Component):
    """P / Q systolic stages: stage s sees each bundle s clocks after stage 0.

    Members as of :class:`SynapseStage`, ``write_data`` and ``shift`` over all P lanes.
    ``bundle`` is the register of stage 0; ``drained`` is high in the clock before stage 0's
    snapshot is readable.
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        super().__init__(
            {
                "bundle": In(bundle_layout(config)),
                "run_half": In(1),
                "write_lane": In(config.event_lanes),
                "write_half": In(1),
                "write_addr": In(config.weight_addr_bits),
                "write_data": In(config.output_lanes * config.weight_bits),
                "shift": In(config.output_lanes),
                "sums": Out(data.ArrayLayout(signed(config.acc_width), config.output_lanes)),
                "drained": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg = self._config
        lanes = cfg.bank_lanes
        bundle = self.bundle
        for s in range(cfg.stages):
            stage = SynapseStage(config=cfg)
            m.submodules[f"stage{s}"] = stage
            if s:
                late = Signal(bundle_layout(cfg), name=f"bundle{s}")
                m.d.sync += late.eq(bundle)
                bundle = late
            m.d.comb += [
                stage.bundle.eq(bundle),
                stage.run_half.eq(self.run_half),
                stage.write_lane.eq(self.write_lane),
                stage.write_half.eq(self.write_half),
                stage.write_addr.eq(self.write_addr),
                stage.write_data.eq(self.write_data.word_select(s, lanes * cfg.weight_bits)),
                stage.shift.eq(self.shift.word_select(s, lanes)),
            ]
            m.d.comb += [self.sums[s * lanes + q].eq(stage.sums[q]) for q in range(lanes)]
            if s == 0:
                m.d.comb += self.drained.eq(stage.op_seen == ArrayOp.NEW)
        return m
