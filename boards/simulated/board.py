"""The running simulated board: a process, a pseudo-terminal, and a look at its pins."""

from __future__ import annotations

import contextlib
import random
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from boards.registry import Board, get_board
from refmodel.config import CoreConfig
from refmodel.errors import ToolError

from .compiled import compiled
from .design import Design, design


@dataclass(frozen=True)
class State:
    """What a simulated board does.

    clocks: since its start. busy: the core runs. leds: what those that are lit show (``boards.registry.Led.use``).
    received, sent: bytes over the UART. broken: bytes of the board without a stop bit.
    """

    clocks: int
    busy: bool
    leds: frozenset[str]
    received: int
    sent: int
    broken: int


class SimulatedBoard:
    """A board under Verilator; ``port`` is a serial port to it until the context ends.

    The first start of a design compiles it (a minute or two), later ones use what is in the user's cache. Time stands
    still while nothing happens on the board, so that it costs nothing to leave it running.

    Parameters
    ----------
    board: the board, or its name.
    config, store_init: core and program as :class:`boards.top.BoardTop` takes them.
    design: a design made already, instead of one of ``config`` and ``store_init``.
    folder: where compiled designs are kept.
    seed: start state of what has none after configuration, such as SPRAM; a random one by default.
    options: more of :func:`boards.simulated.design.design`.

    Raises
    ------
    ToolError: a tool is missing or failed, or the simulation ended.
    """

    def __init__(
        self,
        board: Board | str,
        config: CoreConfig | None = None,
        store_init: Sequence[int] = (),
        *,
        design: Design | None = None,
        folder: Path | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        self._board = get_board(board) if isinstance(board, str) else board
        self._config = config or self._board.core
        self._design = design
        self._arguments = (store_init, options)
        self._folder = folder
        self._seed = random.randrange(1, 1 << 31) if seed is None else seed
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[bytes] | None = None
        self._port = ""

    @property
    def board(self) -> Board:
        return self._board

    @property
    def config(self) -> CoreConfig:
        return self._config

    @property
    def port(self) -> str:
        """Path of the serial port."""
        self._running()
        return self._port

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise ToolError("the simulated board is not running: use it in a `with` block")
        return self._process

    def __enter__(self) -> SimulatedBoard:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Compiles the design if need be, and switches the board on."""
        if self._process is not None:
            return
        if self._design is None:
            store_init, options = self._arguments
            self._design = design(self._board, self._config, store_init, **options)
        binary = compiled(self._design.sources, self._folder)
        command = [str(binary), repr(self._design.clocks_a_bit), str(self._design.quiet_clocks)]
        command += ["+verilator+rand+reset+2", f"+verilator+seed+{self._seed}"]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process)
        try:
            self._process = subprocess.Popen(
                command,
                cwd=binary.parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                bufsize=1,
                start_new_session=True,  # an interrupt ends the host first, and that ends the board
            )
        except OSError as error:
            self._errors.close()
            raise ToolError(f"the simulated board could not be started: {error.strerror}") from None
        self._port = self._answer().removeprefix("port ")

    def _answer(self) -> str:
        assert self._process is not None and self._process.stdout is not None and self._errors is not None
        line = self._process.stdout.readline().strip()
        if line:
            return line
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        self.stop()
        raise ToolError(f"the simulated board ended: {said[-1] if said else 'it says nothing'}")

    @property
    def pid(self) -> int:
        """Number of the simulation's process."""
        return self._running().pid

    def wait(self) -> None:
        """Returns when the simulation ends by itself, which it does only if it fails."""
        if self._process is not None:
            self._process.wait()

    def state(self) -> State:
        """Clocks, LEDs and bytes as they are now."""
        return self._asked("state")

    def line_break(self, bits: float) -> State:
        """Holds the line to the board low for ``bits`` bits, from now on and whatever is on it; the state then.

        Fewer than ten bits damage a byte, more are a break as a host or a bad contact makes it.
        """
        return self._asked(f"break {bits:g}")

    def _asked(self, command: str) -> State:
        commands = self._running().stdin
        assert commands is not None
        with contextlib.suppress(OSError):  # if it has ended there is no answer
            commands.write(f"{command}\n")
            commands.flush()
        clocks, busy, leds, received, sent, broken = map(int, self._answer().split())
        assert self._design is not None
        lit = frozenset(use for bit, use in enumerate(self._design.leds) if leds >> bit & 1)
        return State(clocks, bool(busy), lit, received, sent, broken)

    def stop(self) -> None:
        """Switches the board off: whoever has the port open sees it fail, as when a cable is pulled."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, self._errors):
            if stream is not None:
                stream.close()
