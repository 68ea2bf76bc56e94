# Amaranth's back end is not public and declares no types.
# pyright: reportAttributeAccessIssue=false, reportPrivateUsage=false
"""Verilog of a component whose memories are large.

Amaranth writes a memory's contents bit by bit, as nets, and Yosys repeats them word by word: a store of 1 Mbit
takes seconds, and one of 100 Mbit hours.  Here contents are text made of whole words, and a memory of zeros is
filled by a loop in the Verilog.  Everything else is as :func:`amaranth.back.verilog.convert` makes it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from amaranth.back import rtlil, verilog

#: Where a module starts, and its name as Yosys writes it.
_START = re.compile(r"^(?=module )", re.MULTILINE)
_NAME = re.compile(r"module \\?([^\s(]+)")
#: A memory as Yosys declares it, without contents after it.
_EMPTY = re.compile(r"^  reg (?:\[\d+:0\] )?(\w+) +\[(\d+):0\];\n(?!  initial begin\n    \1 *\[)", re.MULTILINE)


def convert(component: Any, *, name: str, blank: Collection[str] = ()) -> str:
    """Verilog of ``component`` as module ``name``, without sources and attributes of Amaranth; the same every time.

    blank: submodules whose memories, if they have no contents, stay undefined: what is loaded before it is read.
    (A tool that takes memories with contents as lists of words, as Yosys does, reads the file much faster.)
    """
    with contents_as_text():
        text = verilog.convert(component, name=name, emit_src=False, strip_internal_attrs=True)
    return _filled(text, {f"{name}.{part}" for part in blank})


def verilog_of(il: str) -> str:
    """Verilog of RTLIL that a platform prepared within :func:`contents_as_text`."""
    return _filled(verilog._convert_rtlil_text(il, strip_internal_attrs=True))


def _filled(text: str, left: Collection[str] = ()) -> str:
    """Verilog with zeros in the memories that have no contents, but for those of the modules ``left``."""
    return "".join(part if _named(part) in left else _EMPTY.sub(_with_zeros, part) for part in _START.split(text))


def _named(module: str) -> str:
    found = _NAME.match(module)
    return found[1] if found else ""


def _with_zeros(memory: re.Match[str]) -> str:
    """The declaration, and a block with a name, for its variable, that fills the memory."""
    name, last = memory[1], memory[2]
    return (
        f"{memory[0]}  initial begin : zeros_{name}\n    integer i;\n"
        f"    for (i = 0; i <= {last}; i = i + 1) {name}[i] = 0;\n  end\n"
    )


@contextmanager
def contents_as_text() -> Iterator[None]:
    """Amaranth's RTLIL back end with :func:`_emit_memory` in its own method's place."""
    usual = rtlil.ModuleEmitter.emit_memory
    rtlil.ModuleEmitter.emit_memory = _emit_memory
    try:
        yield
    finally:
        rtlil.ModuleEmitter.emit_memory = usual


def _emit_memory(self: Any, cell_idx: int, cell: Any) -> None:
    """The cell with a memory's contents, first word last; none for zeros."""
    if not any(cell.init):
        return
    mask = (1 << cell.width) - 1
    words = "".join(f"{row & mask:0{cell.width}b}" for row in reversed(cell.init))
    self.builder.cell(
        "$meminit_v2",
        ports={"ADDR": "{ }", "DATA": f"{len(words)}'{words}", "EN": f"{cell.width}'{'1' * cell.width}"},
        parameters={
            "MEMID": self.memories[cell_idx].memid,
            "ABITS": 0,
            "WIDTH": cell.width,
            "WORDS": cell.depth,
            "PRIORITY": 0,
        },
        src_loc=cell.src_loc,
    )
