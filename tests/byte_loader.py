# Amaranth declares its statements and components to no type checker.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false, reportOptionalMemberAccess=false
"""The link's loader as bytes reach it from a flash: with its word register, a serialiser and the slots' clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from boards.link import Loader, LoaderPort
from boards.link.loader import Serialiser
from boards.link.words import WordRegister
from refmodel.config import CoreConfig
from rtl_gen.layouts import load_layout


class ByteLoader(wiring.Component):
    """A loader with the port of its bytes; ``loader`` is inside."""

    def __init__(self, config: CoreConfig, image: Sequence[int] = ()) -> None:
        self._config = config
        self.loader = Loader(config, image=image)
        super().__init__(
            {
                "port": In(LoaderPort()),
                "load": Out(stream.Signature(load_layout(config))),
                "program_valid": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.loader = loader = self.loader
        m.submodules.words = words = WordRegister(self._config, argmax_bits=1)
        m.submodules.serialiser = serialiser = Serialiser()
        connect(m, flipped(self.port), serialiser.i)
        connect(m, serialiser.o, loader.port)
        connect(m, loader.load, flipped(self.load))
        phase = Signal(4)
        m.d.sync += phase.eq(phase + 1)
        m.d.comb += [
            loader.phase.eq(phase),
            serialiser.phase.eq(phase),
            serialiser.turning.eq(loader.turning),
            words.step.eq(loader.shift),
            words.enters.eq(loader.shift),
            words.bit.eq(loader.port.bit),
            words.space.eq(loader.port.space),
            loader.word.eq(words.word),
            self.program_valid.eq(loader.program_valid),
        ]
        return m
