"""Neuron control: what the neuron units need to know of each slot, clock by clock."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig
from refmodel.layout import descriptor_fields, slot_to_spike, slot_to_state


def slot_layout(config: CoreConfig) -> data.StructLayout:
    """Control of one neuron slot.

    valid; index: which of the unit's lanes; first: the membrane starts anew; fake: the step
    lies past T, nothing may fire; end: the chunk's last step (a readout's result is final).
    keep, with a state memory: the membrane is kept for the next run.
    """
    index = max(1, (config.slots_per_step - 1).bit_length())
    keep = {"keep": 1} if config.state_depth else {}
    return data.StructLayout({"valid": 1, "index": index, "first": 1, "fake": 1, "end": 1, **keep})


def mode_layout(config: CoreConfig) -> data.StructLayout:
    """What the slab's neurons do, stable while it runs: fields of the descriptor, by the same names."""
    return data.StructLayout({name: width for name, width in _mode_fields(config)})


def _mode_fields(config: CoreConfig) -> list[tuple[str, int]]:
    wanted = {
        "readout", "soft_reset", "no_reset", "stateless", "use_current", "leak_a", "leak_b", "leak_factor",
        "leak_multiply", "rectify", "extract", "extract_bit", "gated", "combine", "keeps_state",
    }  # fmt: skip
    return [(field.name, field.width) for field in descriptor_fields(config) if field.name in wanted]


def joining_clock(config: CoreConfig) -> int:
    """Clocks from a slot to its whole input X standing in a register: sum and constant, stream, gate."""
    return 2 + (config.stream_width > 0) + (config.attention is not None)


def in_ring(config: CoreConfig) -> bool:
    """Whether the membranes stand in the registers of the recurrence itself: it has a place for each lane."""
    return config.slots_per_step == config.NEURON_LOOP


def comparing_clock(config: CoreConfig) -> int:
    """Clocks from a slot to its threshold being subtracted: from X in a ring, from H elsewhere, a clock later."""
    return joining_clock(config) + (not in_ring(config))


def spike_to_write(config: CoreConfig) -> int:
    """Clocks from a spike to its membrane being written to a memory; see :func:`rtl_gen.leak.add_leak`."""
    return 2 if config.leak_terms < 2 and not config.leak_bits else 3


def loading_clock(config: CoreConfig) -> int:
    """Clocks from a slot to the clock in which the register of V takes a membrane that begins."""
    return joining_clock(config) - (not in_ring(config))


def leak_layout(config: CoreConfig) -> data.StructLayout:
    """A leak term's shift as a unit takes it: ``by`` = a - 1, if it is ``on``."""
    del config
    return data.StructLayout({"on": 1, "by": 2})


def control_layout(config: CoreConfig) -> data.StructLayout:
    """What the units are told.

    slots: the slots that started 0, 1, ... clocks ago.  takes_bias: the slot of this clock has a constant.
    fires, clears, subtracts: of the result that is known now: a spike shows; it leaves V = 0; it leaves
    V = H - threshold.  leak_a, leak_b: see :func:`leak_layout`.
    """
    clocks = slot_to_spike(config) + spike_to_write(config) + 1
    if config.state_depth:
        clocks = max(clocks, slot_to_state(config) + 1)
    return data.StructLayout(
        {
            "slots": data.ArrayLayout(slot_layout(config), clocks),
            "takes_bias": 1,
            "fires": 1,
            "clears": 1,
            "subtracts": 1,
            "leak_a": leak_layout(config),
            "leak_b": leak_layout(config),
        }
    )


class NeuronControl(wiring.Component):
    """Control of all units that take the same slots: it stands once beside them.

    Members
    -------
    slot: of this clock.  mode: see :func:`mode_layout`.
    keep: with a state memory: ``keep`` of the slot of the clock before; that of ``slot`` itself is not looked at.
    controls: see :func:`control_layout`.
    """

    def __init__(self, *, config: CoreConfig):
        self._config = config
        super().__init__(
            {
                "slot": In(slot_layout(config)),
                "mode": In(mode_layout(config)),
                "controls": Out(control_layout(config)),
                **({"keep": In(1)} if config.state_depth else {}),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg, mode = self._config, self.mode
        slots = [self.slot]
        for clock in range(1, len(self.controls.slots)):
            late = Signal(slot_layout(cfg), name=f"slot{clock}", reset_less=True)
            valid = Signal(name=f"valid{clock}")
            m.d.sync += [late.eq(slots[-1]), valid.eq(slots[-1].valid)]
            shown = Signal(slot_layout(cfg), name=f"slot{clock}_shown")
            m.d.comb += [shown.eq(late), shown.valid.eq(valid)]
            if cfg.state_depth and clock == 1:
                m.d.comb += shown.keep.eq(self.keep)
            slots.append(shown)
        m.d.comb += [self.controls.slots[clock].eq(slot) for clock, slot in enumerate(slots)]
        m.d.comb += self.controls.takes_bias.eq(~mode.readout | self.slot.first)

        # A membrane in the ring may wait behind its result: these stand until the next one.
        due = slots[slot_to_spike(cfg) - 1]
        fires, clears, subtracts = Signal(), Signal(), Signal()
        may = ~mode.readout & ~due.fake
        with m.If(due.valid):
            m.d.sync += [
                fires.eq(may),
                clears.eq(may & ~mode.no_reset & ~mode.soft_reset),
                subtracts.eq(may & ~mode.no_reset & mode.soft_reset),
            ]
        m.d.comb += [
            self.controls.fires.eq(fires),
            self.controls.clears.eq(clears),
            self.controls.subtracts.eq(subtracts),
        ]
        for name in ("leak_a", "leak_b")[: cfg.leak_terms]:
            code, term = mode[name], Signal(leak_layout(cfg), name=name, reset_less=True)
            m.d.sync += [term.on.eq(code != 0), term.by.eq(code - 1)]
            m.d.comb += self.controls[name].eq(term)
        return m
