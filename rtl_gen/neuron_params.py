# Amaranth declares its values to no type checker.
# pyright: reportIndexIssue=false
"""Neuron parameters: threshold and constants of the units' channels, in two halves."""

from __future__ import annotations

from amaranth import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.vendor import SiliconBluePlatform

from refmodel.config import CoreConfig

from .delay import delayed
from .layouts import COLLISION_FREE, param_layout
from .neuron_control import comparing_clock, slot_layout

#: Bits of a word of iCE40's block RAM.
_BLOCK = 16


def early_threshold_bits(config: CoreConfig) -> int:
    """Top bits of a threshold that iCE40 reads with the constants, since they take a block RAM less there."""
    spare, over = -2 * config.acc_width % _BLOCK, config.membrane_width % _BLOCK
    return over if 0 < over <= spare else 0


class NeuronParams(wiring.Component):
    """Parameters of ``units`` units, which all read the same lane.

    On iCE40 thresholds have a memory of their own, read when they are needed: registers cost a cell each.  Elsewhere
    one memory of wide words has all parameters of all units, and thresholds wait in registers.

    Parameters
    ----------
    units: how many; 1 for a unit alone.

    Members
    -------
    run_half: which half is read.
    ahead: lane of the next clock's slot.  later: lane of the slot whose threshold is taken in the next clock.
    bias, bias_shortcut: the constants of this clock's slot.
    not_threshold: threshold of the slot that started ``comparing_clock`` clocks before, all bits inverted.
    write_*: a channel's parameters; ``write_en`` has a bit a unit.
    """

    def __init__(self, *, config: CoreConfig, units: int):
        self._config, self._units = config, units
        index = slot_layout(config)["index"].width
        constants = data.ArrayLayout(signed(config.acc_width), units)
        super().__init__(
            {
                "run_half": In(1),
                "ahead": In(index),
                "later": In(index),
                "bias": Out(constants),
                "bias_shortcut": Out(constants),
                "not_threshold": Out(data.ArrayLayout(config.membrane_width, units)),
                "write_en": In(units),
                "write_half": In(1),
                "write_index": In(index),
                "write_data": In(param_layout(config)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg, units = self._config, self._units
        clocks, acc = comparing_clock(cfg), cfg.acc_width
        # Inverted here, where units share the inverters: subtraction adds the inverse.
        inverted = Signal(cfg.membrane_width)
        m.d.comb += inverted.eq(~self.write_data.threshold)
        constants = Cat(self.write_data.bias, self.write_data.bias_shortcut)
        if isinstance(platform, SiliconBluePlatform):
            split = cfg.membrane_width - early_threshold_bits(cfg)
            # A memory for all units: their words share block RAMs.
            read = self._add_memory(m, "constants", Cat(constants, inverted[split:]), self.ahead, self.write_en)
            low = self._add_memory(m, "thresholds", inverted[:split], self.later, self.write_en)
            for u in range(units):
                top = (
                    delayed(m, read[u][2 * acc :], clocks, f"threshold_top{u}") if split < cfg.membrane_width else Cat()
                )
                m.d.comb += self.not_threshold[u].eq(Cat(low[u], top))
        else:
            read = self._add_memory(m, "parameters", Cat(constants, inverted), self.ahead, self.write_en)
            for u in range(units):
                m.d.comb += self.not_threshold[u].eq(delayed(m, read[u][2 * acc :], clocks, f"threshold{u}"))
        for u in range(units):
            m.d.comb += [
                self.bias[u].eq(read[u][:acc]),
                self.bias_shortcut[u].eq(read[u][acc : 2 * acc]),
            ]
        return m

    def _add_memory(self, m: Module, name: str, value, address, enables) -> data.View:
        """Words of ``value`` for each bit of ``enables``, read a clock after ``address``."""
        units = len(enables)
        memory = Memory(
            shape=data.ArrayLayout(len(value), units),
            depth=2 << len(self.write_index),
            init=[],
            attrs={**COLLISION_FREE, "ram_style": "block"},
        )
        m.submodules[name] = memory
        write, read = memory.write_port(granularity=1), memory.read_port()
        m.d.comb += [
            write.en.eq(enables),
            write.addr.eq(Cat(self.write_index, self.write_half)),
            *(write.data[u].eq(value) for u in range(units)),
            read.en.eq(1),
            read.addr.eq(Cat(address, self.run_half)),
        ]
        return read.data
