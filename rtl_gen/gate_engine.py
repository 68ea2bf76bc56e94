"""Gate engine: the attention's MLP on pooled values, one product a clock, and its sigmoid or LIF."""

from __future__ import annotations

from amaranth import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from refmodel.attention import GATE_BITS, GATE_ONE, OPERAND_BITS, SIGMOID_TABLE, TABLE_SIZE
from refmodel.attention_config import AttentionConfig
from refmodel.attention_layout import SHIFT_BITS, TASK_CLOCKS, settings_fields
from refmodel.config import CoreConfig

from .layouts import COLLISION_FREE, struct

#: Bits of the table's index.
INDEX_BITS = (TABLE_SIZE - 1).bit_length()
#: Clocks from a task's last item until the sum is shifted.
DRAIN_CLOCKS = TASK_CLOCKS - 1


class GateEngine(wiring.Component):
    """Turns pooled sums and maxima into gates (:class:`refmodel.attention.IntegerAttention`), in place.

    Five phases, each of so many tasks: shift every sum; shift every maximum; the hidden values of the
    sums; those of the maxima, added to them; the scores.  A task adds its items up (one multiplier, one
    item a clock), shifts the sum right one bit a clock, and stores it, or two clocks later its gate.  The
    words of weights and settings are read once, from the first to the last.

    Members
    -------
    compute: pulse; busy: for ``refmodel.attention_layout.gate_clocks`` clocks from the next clock on.
        Words are complete two clocks before ``compute``.
    word_en, word_addr, word_data: write of a word of :func:`refmodel.attention_layout.attention_words`.
    entry, sums, maxima, store_*: the pools' memories, see :class:`AttentionPools`.
    """

    def __init__(self, *, config: CoreConfig, attention: AttentionConfig):
        attention.demand_streams(config)
        self._config = config
        self._attention = attention
        units, bits = config.neuron_units, attention.entry_bits(config)
        sums = signed(attention.sum_width(config))
        super().__init__(
            {
                "compute": In(1),
                "busy": Out(1),
                "word_en": In(1),
                "word_addr": In(attention.weight_bits),
                "word_data": In(OPERAND_BITS),
                "entry": Out(bits),
                "sums": In(data.ArrayLayout(sums, units)),
                "maxima": In(data.ArrayLayout(signed(config.stream_width), units)),
                "store_sums": Out(units),
                "store_maxima": Out(units),
                "store_entry": Out(bits),
                "store_value": Out(sums),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg, sizes = self._config, self._attention
        units = cfg.neuron_units
        unit_bits = ceil_log2(units)
        operand = signed(OPERAND_BITS)

        m.submodules.words = words = Memory(shape=OPERAND_BITS, depth=sizes.weight_depth, init=[], attrs=COLLISION_FREE)
        m.submodules.hidden = hidden = Memory(shape=operand, depth=sizes.hidden + 1, init=[], attrs=COLLISION_FREE)
        m.submodules.table = table = Memory(shape=8, depth=TABLE_SIZE, init=SIGMOID_TABLE)
        word_write, word_read = words.write_port(), words.read_port()
        hidden_write, hidden_read = hidden.write_port(), hidden.read_port()
        table_read = table.read_port()

        # Words come one after the other.
        pointer = Signal(sizes.weight_bits)
        word = word_read.data
        settings = Signal(struct(settings_fields()))
        threshold = Signal(operand)
        shift = Signal(SHIFT_BITS)
        m.d.comb += [
            word_write.en.eq(self.word_en),
            word_write.addr.eq(self.word_addr),
            word_write.data.eq(self.word_data),
            word_read.en.eq(1),
            word_read.addr.eq(pointer),
        ]

        # Loops: phases, tasks, items.
        phase = Signal(3)
        pooling, of_maxima, scoring = phase[1:] == 0, phase[0], phase[2]
        number = ceil_log2(max(sizes.steps, sizes.channels, sizes.hidden + 2, 2))
        task, item = Signal(number), Signal(number)
        task_last, item_last = Signal(number), Signal(number)
        m.d.comb += [
            task_last.eq(Mux(pooling | scoring, settings.size_last, settings.hidden_last)),
            item_last.eq(Mux(scoring, settings.hidden_last + 1, settings.size_last)),
        ]
        with m.If(pooling):
            m.d.comb += item_last.eq(Mux(settings.channel, 0, units - 1))
        issues = Signal()
        drain = Signal(range(DRAIN_CLOCKS))
        clears, shifts, stores = Signal(), Signal(), Signal()

        # Which entry, and which unit's: along the channel axis unit c % NU has channel c.
        def place(number: Signal, otherwise) -> tuple:
            if units == 1:
                return number, Const(0)
            return (
                Mux(settings.channel, number >> unit_bits, number),
                Mux(settings.channel, number[:unit_bits], otherwise),
            )

        wanted, wanted_lane = place(Mux(pooling, task, item), Mux(pooling, item[: max(1, unit_bits)], 0))
        lane = Signal(max(1, unit_bits))
        m.d.sync += lane.eq(wanted_lane)
        found_value = Signal(self.sums[0].shape())
        m.d.comb += [
            self.entry.eq(wanted),
            found_value.eq(Array(Mux(of_maxima, self.maxima[u], self.sums[u]) for u in range(units))[lane]),
            hidden_read.en.eq(1),
            hidden_read.addr.eq(Mux(scoring, item, task)),
        ]

        # Items: memories in clock 1; operands 2, product 3; addend 4, or a pooled value 2; sum in the next.
        width = signed(sizes.product_width(cfg))
        issued, due = Signal(3), Signal()
        m.d.sync += [issued.eq(Cat(issues, issued[:2])), due.eq(Mux(pooling, issued[0], issued[2]))]
        addend = Signal(width, reset_less=True)
        left, right = Signal(operand, reset_less=True), Signal(operand, reset_less=True)
        product = Signal(signed(2 * OPERAND_BITS), reset_less=True)
        m.d.sync += [
            addend.eq(Mux(pooling, found_value, product)),
            left.eq(Mux(scoring, hidden_read.data, found_value)),
            right.eq(word),
            product.eq(left * right),
        ]
        acc = Signal(width)
        adds, kept = Signal(), Signal(width)
        m.d.comb += [adds.eq(due), kept.eq(acc)]
        if units > 1:
            found = Signal()  # a maximum is in the sum: only a larger one replaces it
            narrow = cfg.stream_width
            m.d.sync += found.eq(~clears & (found | due))
            with m.If(pooling & of_maxima):
                larger = addend[:narrow].as_signed() > acc[:narrow].as_signed()
                m.d.comb += [adds.eq(due & (larger | ~found)), kept.eq(0)]
        with m.If(adds):
            m.d.sync += acc.eq(kept + addend)
        with m.If(shifts):
            m.d.sync += acc.eq(acc >> 1)
        with m.If(clears):
            m.d.sync += acc.eq(0)

        # The last item of a score is a LIF's leak: there is none at first, and after a spike.
        fired, leaking, begins = Signal(), Signal(3), Signal()
        m.d.sync += leaking.eq(Cat(scoring & (item == item_last), leaking[:2]))
        with m.If(leaking[2] & fired):
            m.d.sync += due.eq(0)

        remaining, shifted = Signal(SHIFT_BITS), Signal()
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.compute):
                    m.d.sync += [self.busy.eq(1), settings.eq(word), pointer.eq(1), phase.eq(0)]
                    m.next = "SETTINGS"
            with m.State("SETTINGS"):
                m.d.sync += pointer.eq(2)
                m.next = "THRESHOLD"
            with m.State("THRESHOLD"):
                m.d.sync += threshold.eq(word)
                m.next = "PHASE"
            with m.State("PHASE"):
                m.d.sync += [shift.eq(word), pointer.eq(pointer + 1), task.eq(0), item.eq(0)]
                m.d.comb += [begins.eq(1), clears.eq(1)]
                m.next = "ITEMS"
            with m.State("ITEMS"):
                m.d.comb += issues.eq(1)
                m.d.sync += [item.eq(item + 1), drain.eq(0), remaining.eq(shift)]
                with m.If(~pooling):
                    m.d.sync += pointer.eq(pointer + 1)
                with m.If(item == item_last):
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                m.d.sync += [drain.eq(drain + 1), shifted.eq(remaining == 0)]
                with m.If(drain == DRAIN_CLOCKS - 1):
                    m.d.comb += clears.eq(acc[-1] & ~pooling & ~scoring)  # relu
                    m.next = "SHIFT"
            with m.State("SHIFT"):
                m.d.sync += [remaining.eq(remaining - 1), shifted.eq(remaining == 1), item.eq(0)]
                m.d.comb += shifts.eq(~shifted)
                with m.If(shifted):
                    m.d.comb += [stores.eq(1), clears.eq(1)]
                    m.d.sync += task.eq(task + 1)
                    m.next = "ITEMS"
                    with m.If(task == task_last):
                        m.d.sync += phase.eq(phase + 1)
                        m.next = "PHASE"
                        with m.If(scoring):
                            m.next = "LAST"
            with m.State("LAST"):
                m.next = "END"
            with m.State("END"):
                m.d.sync += [self.busy.eq(0), pointer.eq(0)]
                m.next = "IDLE"

        # A hidden value, or a LIF's membrane behind them.
        m.d.comb += [
            hidden_write.en.eq(stores),
            hidden_write.addr.eq(Mux(scoring, settings.hidden_last + 1, task)),
            hidden_write.data.eq(acc + Mux(of_maxima, hidden_read.data, 0)),
        ]
        with m.If(stores):
            m.d.sync += fired.eq(acc[:OPERAND_BITS].as_signed() >= threshold)
        with m.If(begins):
            m.d.sync += fired.eq(1)

        # A gate, two clocks after its score: the table's value on the score's side of 128.
        beyond = (acc[INDEX_BITS:-1] ^ acc[-1].replicate(len(acc) - INDEX_BITS - 1)).any()
        below, looks, gating, gated = Signal(), Signal(), Signal(), Signal(number)
        value = Signal(8, reset_less=True)
        signed_value, gate = Signal(GATE_BITS), Signal(GATE_BITS)
        m.d.sync += [looks.eq(stores & scoring), gating.eq(looks), value.eq(table_read.data)]
        with m.If(stores):
            m.d.sync += [below.eq(acc[-1]), gated.eq(task)]
        m.d.comb += [
            table_read.en.eq(1),
            table_read.addr.eq(acc[:INDEX_BITS] ^ acc[-1].replicate(INDEX_BITS) | beyond.replicate(INDEX_BITS)),
            signed_value.eq((value ^ below.replicate(GATE_BITS)) + below),
            gate.eq(Mux(settings.lif, fired << (GATE_BITS - 1), GATE_ONE // 2 + signed_value)),
        ]

        stored, stored_lane = place(Mux(gating, gated, task), 0)
        m.d.comb += [
            self.store_entry.eq(stored),
            self.store_value.eq(Mux(gating, gate, acc)),
        ]
        for u in range(units):
            mine = stored_lane == u
            everywhere = ~settings.channel  # a step's gate is every unit's
            m.d.comb += [
                self.store_sums[u].eq((stores & (phase == 0) & mine) | (gating & (mine | everywhere))),
                self.store_maxima[u].eq(stores & (phase == 1) & mine),
            ]
        return m
