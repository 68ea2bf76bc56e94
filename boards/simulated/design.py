# Amaranth's resources and RTLIL back end declare no types.
# pyright: reportAttributeAccessIssue=false
"""The Verilog of a simulated board: the top level as it is built, the vendor's cells, and wires to its pins."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boards.registry import Board, Led
from boards.top import BoardTop
from refmodel.config import CoreConfig
from refmodel.errors import BoardError
from rtl_gen.conversion import contents_as_text, verilog_of

from .memories import memory_models

#: Clocks a bit on the simulated line unless told otherwise: the fewest that the receiver takes.
CLOCKS_A_BIT = 4
#: Clocks after which the simulated link gives up a command: a third of a second or more at the speed of a simulation.
TIMEOUT_CLOCKS = 1 << 17

_PORTS = re.compile(r"^module top ?\(([^)]*)\);", re.MULTILINE)


@dataclass(frozen=True)
class Design:
    """What is compiled, and how it is run.

    Parameters
    ----------
    sources: Verilog by file name; the top module is ``board`` with clk, rx, tx, busy and leds.
    clocks_a_bit: of the UART's line.
    quiet_clocks: after so many clocks without a byte or a busy core nothing can happen any more.
    leds: what each bit of ``leds`` shows.
    """

    sources: dict[str, str]
    clocks_a_bit: float
    quiet_clocks: int
    leds: tuple[str, ...] = ()


def design(
    board: Board,
    config: CoreConfig | None = None,
    store_init: Sequence[int] = (),
    *,
    baud: int | None = None,
    timeout_clocks: int = TIMEOUT_CLOCKS,
    flash: bytes = b"",
    **options: Any,
) -> Design:
    """The design for ``board`` as :mod:`boards.build` hands it to synthesis, to be simulated.

    Parameters
    ----------
    board, config, store_init: as :class:`boards.top.BoardTop` takes them.
    baud: speed of the line; by default one that takes few clocks.
    timeout_clocks: clocks after which the link gives up a command. A simulation runs hundreds of times slower than a
        board: with a board's time-out it would wait for minutes.
    flash: the program part of the board's flash, if it has one (:mod:`boards.flash_image`).
    options: more of ``BoardTop``.
    """
    speed = board.clock_hz // CLOCKS_A_BIT if baud is None else baud
    top = BoardTop(board, config, store_init, baud=speed, timeout=timeout_clocks / board.clock_hz, **options)
    platform = board.platform()
    with contents_as_text():
        plan = platform.prepare(top, "top", emit_src=False)
    content = plan.files["top.il"]
    text = verilog_of(content if isinstance(content, str) else content.decode())
    return Design(
        sources={"top.v": text, "cells.v": cells(), **harness(board, platform, text, flash=flash)},
        clocks_a_bit=top.clock_hz / speed,
        # A time-out is rounded up to a power of two by the link.
        quiet_clocks=4 * timeout_clocks + 1000,
        leds=tuple(led.use for led in board.leds),
    )


def cells() -> str:
    """Verilog of the vendors' cells."""
    return Path(__file__).with_name("cells.v").read_text()


def harness(board: Board, platform: Any, text: str, *, busy: str = "dut.active", flash: bytes = b"") -> dict[str, str]:
    """``board.v`` with module ``board``, the top level's pins by their purpose, and the memories at its pins.

    busy: what says that time must pass.  flash: as of :func:`design`.
    """
    found = _PORTS.search(text)
    if found is None:
        raise BoardError("the top level has no module 'top' with ports: it is not one of this project")
    # With their directions, or without.
    ports = [name.split()[-1].lstrip("\\") for name in found[1].split(",")]
    clock = f"{platform.default_clk}_0__io"
    uses = {clock: "clk", "uart_0__rx__io": "rx", "uart_0__tx__io": "tx"}
    missing = sorted(set(uses) - set(ports))
    if missing:
        raise BoardError(f"the top level has no port {', '.join(missing)}")
    lines = ["module board(input clk, input rx, output tx, output busy, output [7:0] leds);"]
    for port in ports:
        use = uses.get(port)
        lines.append(f"  wire {_width(text, port)}{port}{f' = {use}' if use in ('clk', 'rx') else ''};")
    lit = [_lit(platform, led) for led in reversed(board.leds)]
    lines += [
        "  assign tx = uart_0__tx__io;",
        f"  assign leds = {{{', '.join([f'{8 - len(lit)}' + chr(39) + 'd0', *lit])}}};",
        f"  assign busy = {busy};",
        f"  top dut({', '.join(f'.{port}({port})' for port in ports)});",
    ]
    wired, models = memory_models(ports, clock_hz=board.clock_hz, flash=flash, flash_offset=board.flash_offset)
    return {"board.v": "\n".join(lines) + f"\n{wired}endmodule\n", **models}


def _width(text: str, port: str) -> str:
    """The range of a port of several bits, and a space."""
    found = re.search(rf"^ *(?:input|output|inout) (\[\d+:0\] )\\?{re.escape(port)} ?;", text, re.MULTILINE)
    return found[1] if found else ""


def _lit(platform: Any, led: Led) -> str:
    """Whether an LED is lit, by its pin."""
    found = platform.lookup(led.resource, led.number).ios
    pins = found[0] if led.part is None else next(io.ios[0] for io in found if getattr(io, "name", "") == led.part)
    part = "" if led.part is None else f"__{led.part}"
    return f"{'~' if pins.invert else ''}{led.resource}_{led.number}{part}__io"
