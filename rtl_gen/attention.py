"""Attention unit: pools X of the neuron slots, and makes the gates of a layer's steps or channels."""

from __future__ import annotations

from amaranth import Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from refmodel.attention import GATE_BITS, OPERAND_BITS
from refmodel.attention_config import AttentionConfig
from refmodel.config import CoreConfig

from .attention_pools import AttentionPools
from .gate_engine import GateEngine


class AttentionUnit(wiring.Component):
    """SynA attention: gate = sigmoid or LIF of MLP(mean X) + MLP(max X), by step or channel.

    1. The score slabs of a layer run with ``score``: every slot's X is counted.
    2. ``compute`` after the last of them: ``busy`` for ``gate_clocks`` clocks.
    3. The layer's other slabs run without ``score``: ``gates`` are those of their slots.
    Words may be written at any time but between ``compute`` and the end of ``busy``.  The unit neither
    gives nor takes back pressure.

    Members
    -------
    restart, slot, values, score, channel, first, base, lanes_last, last_step, chunks_last, gates: see
        :class:`AttentionPools`.
    compute, busy, word_en, word_addr, word_data: see :class:`GateEngine`.
    """

    def __init__(self, *, config: CoreConfig, attention: AttentionConfig):
        attention.demand_streams(config)
        self._config = config
        self._attention = attention
        units = config.neuron_units
        super().__init__(
            {
                "restart": In(1),
                "slot": In(1),
                "values": In(data.ArrayLayout(signed(config.stream_width), units)),
                "score": In(1),
                "channel": In(1),
                "first": In(1),
                "base": In(attention.entry_bits(config)),
                "lanes_last": In((config.output_lanes - 1).bit_length()),
                "last_step": In(max(1, (config.time_lanes - 1).bit_length())),
                "chunks_last": In(config.chunk_bits),
                "gates": Out(data.ArrayLayout(GATE_BITS, units)),
                "compute": In(1),
                "busy": Out(1),
                "word_en": In(1),
                "word_addr": In(attention.weight_bits),
                "word_data": In(OPERAND_BITS),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.pools = pools = AttentionPools(config=self._config, attention=self._attention)
        m.submodules.engine = engine = GateEngine(config=self._config, attention=self._attention)
        for name in (
            "restart", "slot", "values", "score", "channel", "first", "base", "lanes_last", "last_step", "chunks_last",
        ):  # fmt: skip
            m.d.comb += getattr(pools, name).eq(getattr(self, name))
        for name in ("compute", "word_en", "word_addr", "word_data"):
            m.d.comb += getattr(engine, name).eq(getattr(self, name))
        for name in ("entry", "store_sums", "store_maxima", "store_entry", "store_value"):
            m.d.comb += getattr(pools, name).eq(getattr(engine, name))
        m.d.comb += [
            self.gates.eq(pools.gates),
            self.busy.eq(engine.busy),
            pools.computing.eq(engine.busy),
            engine.sums.eq(pools.sums),
            engine.maxima.eq(pools.maxima),
        ]
        return m
