# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false, reportOptionalMemberAccess=false
"""The one wide register of the link: words on their way in, numbers of the core on their way out, a bit a clock."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from refmodel.config import CoreConfig

from .protocol import STATUS_BYTES, value_bytes, word_bytes


class WordRegister(wiring.Component):
    """Words from bits, lowest first, and bits from the numbers that replies tell.

    Parameters
    ----------
    config: the core's.

    Members
    -------
    step: In(1), it moves by one bit; with ``enters`` ``bit`` enters at the top of a word of ``space`` (0 resting store,
        1 spikes), else numbers leave.
    word: Out, the word; whole when all its bits have entered.
    take_status: In(1), it takes argmax and clocks, whose bits then leave at ``status``.
    take_value: In(1), it takes ``value``, sign-extended to whole bytes, whose bits then leave at ``value_bit``.
    """

    def __init__(self, config: CoreConfig, *, argmax_bits: int) -> None:
        self._config = config
        words = 8 * max(word_bytes(config, space) for space in (0, 1))
        self._length = max(words, 8 * STATUS_BYTES)
        super().__init__(
            {
                "step": In(1),
                "enters": In(1),
                "bit": In(1),
                "space": In(1),
                "word": Out(words),
                "take_status": In(1),
                "argmax": In(argmax_bits),
                "clocks": In(32),
                "status": Out(1),
                "take_value": In(1),
                "value": In(signed(config.membrane_width)),
                "value_bit": Out(1),
            }
        )

    @property
    def config(self) -> CoreConfig:
        return self._config

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config, length = self._config, self._length
        register = Signal(length, reset_less=True)
        first = length - 8 * value_bytes(config)  # of a value, at the top: few bits take both
        m.d.comb += [self.word.eq(register), self.status.eq(register[0]), self.value_bit.eq(register[first])]
        after = [*register[1:], self.bit]
        for space in (0, 1):
            top = 8 * word_bytes(config, space) - 1
            if top < length - 1:
                after[top] = Mux(self.enters & (self.space == space), self.bit, after[top])
        status = Cat(self.argmax, Const(0, 16 - len(self.argmax)), self.clocks)
        value = Signal(signed(length - first))
        m.d.comb += value.eq(self.value)
        with m.If(self.step | self.take_status | self.take_value):
            for bit in range(length):
                come: Any = after[bit]
                if bit < len(status):
                    come = Mux(self.take_status, status[bit], come)
                if bit >= first:
                    come = Mux(self.take_value, value[bit - first], come)
                m.d.sync += register[bit].eq(come)
        return m
