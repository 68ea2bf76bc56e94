"""A board in Python, as far as its host can tell: protocol 2 over bytes, or behind a pseudo-terminal."""

from __future__ import annotations

import os
import threading
import time
import zlib
from typing import Any

import numpy as np

from boards.host.frames import Unframer, frame
from boards.link.protocol import RESUME, Command, Error, identity_bytes, keeps_state, value_bytes, word_bytes
from refmodel import golden
from refmodel.config import CoreConfig
from refmodel.cycles import run_timing
from refmodel.program import Program
from refmodel.state import State
from refmodel.state_bounds import has_drifted


class PythonBoard:
    """Answers as the gateware does; a run gives what the models say of the inputs ``x`` of ``program``.

    mute: of the next so many frames, the replies are lost. run_seconds: time that a run takes.
    """

    def __init__(self, config: CoreConfig, program: Program | None = None, x: Any = (), run_seconds: float = 0.0):
        self.config = config
        self.mute = 0
        self.run_seconds = run_seconds
        self.frames = 0
        self.wrong = 0  # added to every result
        self._unframer = Unframer()
        self._session = self._expected = 0
        self._image: list[bytes] = []
        self._valid = False
        self._spikes: dict[int, int] = {}
        self._until = 0.0
        self._result: tuple[list[int], int, int] | None = None
        self._known: dict[tuple[tuple[int, int], ...], tuple[list[int], int, int]] = {}
        self._program = program
        self._inputs: dict[tuple[tuple[int, int], ...], Any] = {}
        self._state: State | None = None
        if program is not None and len(x):
            made = golden.run(program.network, np.asarray(x), keep=True)
            clocks = run_timing(program, made.tensors).clocks
            for one, values, prediction, count in zip(x, made.results, made.predictions, clocks, strict=True):
                addresses, words = program.input_words(one)
                key = tuple(zip(addresses.tolist(), words, strict=True))
                self._known[key] = (values.tolist(), int(prediction), int(count))
                self._inputs[key] = one

    def feed(self, data: bytes) -> bytes:
        """What the board sends when it receives ``data``."""
        bad = self._unframer.bad
        replies = [self._carry_out(contents) for contents in self._unframer.feed(data)]
        replies += [self._reply(0, 0, 0, Error.CRC)] * (self._unframer.bad - bad)
        lost, self.mute = replies[: self.mute], max(0, self.mute - len(replies))
        return b"".join(frame(reply) for reply in replies[len(lost) :])

    def _reply(self, command: int, session: int, sequence: int, error: int, body: bytes = b"") -> bytes:
        state = (time.monotonic() < self._until) | (self._result is not None) << 1 | self._valid << 2
        if self._state is not None and self._program is not None:
            state |= has_drifted(self._program.original, self.config, self._state) << 4
        return bytes([2, command, session, sequence, error, state, self._expected]) + body

    def _carry_out(self, contents: bytes) -> bytes:
        self.frames += 1
        version, command, session, sequence = contents[:4]
        if version != 2:
            return self._reply(command, session, sequence, Error.VERSION)
        if command == Command.OPEN:
            self._session, self._expected = session, sequence
        if command >= Command.WRITE and (session, sequence) != (self._session, self._expected):
            error = Error.SESSION if session != self._session else Error.SEQUENCE
            return self._reply(command, session, sequence, error)
        error, body = self._command(command, contents[4:])
        if error == Error.NONE and command >= Command.OPEN:
            self._expected = (self._expected + 1) & 0xFF
        return self._reply(command, session, sequence, error, body)

    def _command(self, command: int, arguments: bytes) -> tuple[Error, bytes]:
        if command == Command.HELLO:
            return Error.NONE, identity_bytes(self.config, clock_hz=24_000_000, timeout_log2=21)
        if command in (Command.WRITE, Command.RUN, Command.RESULTS) and time.monotonic() < self._until:
            return Error.BUSY, b""
        if command == Command.WRITE:
            self._write(int.from_bytes(arguments[:3], "little"), arguments[3], arguments[4:])
        elif command == Command.COMMIT:
            self._valid = zlib.crc32(b"".join(self._image)) == int.from_bytes(arguments, "little")
            return (Error.NONE if self._valid else Error.PROGRAM), b""
        elif command == Command.RUN:
            if not self._valid:
                return Error.PROGRAM, b""
            key = tuple(sorted(self._spikes.items()))
            self._result = self._known[key]
            if keeps_state(self.config):
                self._result = self._keep(self._inputs[key], bool(arguments[0] & RESUME))
            self._spikes = {}
            self._until = time.monotonic() + self.run_seconds
        elif command in (Command.STATUS, Command.RESULTS):
            values, argmax, clocks = self._result or ([], 0, 0)
            body = argmax.to_bytes(2, "little") + clocks.to_bytes(4, "little")
            if command == Command.RESULTS:
                if self._result is None:
                    return Error.RESULT, b""
                first = int.from_bytes(arguments[:3], "little")
                last = first + ((arguments[3] - first) & 0xFF)
                size = value_bytes(self.config)
                some = values[first : last + 1]
                body += b"".join((v + self.wrong).to_bytes(size, "little", signed=True) for v in some)
            return Error.NONE, body
        return Error.NONE, b""

    def _keep(self, x: Any, resume: bool) -> tuple[list[int], int, int]:
        """A run that leaves its membranes."""
        assert self._program is not None
        state = self._state if resume else None
        made = golden.run(self._program.network, x[None], keep=True, state=state, keep_state=True)
        self._state = made.state
        clocks = run_timing(self._program, made.tensors).clocks
        return made.results[0].tolist(), int(made.predictions[0]), int(clocks[0])

    def _write(self, address: int, space: int, data: bytes) -> None:
        size = word_bytes(self.config, space)
        words = [data[at : at + size] for at in range(0, len(data), size)]
        if space:
            self._spikes |= {address + i: int.from_bytes(word, "little") for i, word in enumerate(words)}
            return
        self._valid = False
        self._image = self._image[:address] + words


class PtyBoard:
    """A :class:`PythonBoard` behind a pseudo-terminal; ``pull`` is pulling its cable."""

    def __init__(self, board: PythonBoard):
        self.board = board
        self._master, self._slave = os.openpty()
        self.port = os.ttyname(self._slave)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            while data := os.read(self._master, 4096):
                if answer := self.board.feed(data):
                    os.write(self._master, answer)
        except OSError:
            pass  # pulled

    def pull(self) -> None:
        """The port fails from now on."""
        if self._master < 0:
            return
        slave, master, self._slave, self._master = self._slave, self._master, -1, -1
        os.close(slave)
        os.close(master)
