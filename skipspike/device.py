"""One way to run programs: on the golden model, on a simulated board, on a board, or from a recording of one."""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boards.host import FrameChannel, LinkDriver, Recorder, Replay, SerialTransport, find_port
from boards.host.channel import Channel
from boards.registry import Board, get_board, is_board
from refmodel import golden
from refmodel.config import CoreConfig
from refmodel.cycles import run_timing
from refmodel.errors import BoardError, DataError
from refmodel.event_frames import Frames, Rest, calls_of
from refmodel.program import Program
from refmodel.state import State
from refmodel.state_bounds import has_drifted

from .progress import Progress, silent
from .streaming import StreamPlace

#: Where a program can run besides serial ports and boards.
GOLDEN, SIMULATED, REPLAY = "golden", "sim", "replay:"
#: Seconds to wait for a reply of a simulated board, which may be a thousand times slower than a real one.
_SIMULATED_TIMEOUT = 120.0
#: Inputs that the golden model takes at once.
_BATCH = 24


@dataclass(frozen=True)
class Result:
    """What one input gave.

    potentials: ``[classes]`` int64, the readout's sums over all steps.  argmax: class with the largest one, the lowest
    of equals.  clocks: of the core, from its start to its end.
    """

    potentials: NDArray[np.int64]
    argmax: int
    clocks: int

    @property
    def counts(self) -> NDArray[np.int64]:
        """The same sums: spike counts where the readout's weights only count (as an identity's do)."""
        return self.potentials

    def same(self, other: Result) -> bool:
        """Whether every number is equal."""
        return (self.potentials.tolist(), self.argmax, self.clocks) == (
            other.potentials.tolist(),
            other.argmax,
            other.clocks,
        )


class Device(ABC):
    """Something that runs programs; open one with :meth:`open`.

    It may be used by several threads, one operation after the other; ``close`` may come at any time from any of them,
    and an operation that is under way then raises BoardError.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._closed = False
        self._program: Program | None = None
        self._stream = StreamPlace()

    @staticmethod
    def open(
        where: str = GOLDEN,
        *,
        board: str | Board | None = None,
        config: CoreConfig | None = None,
        baud: int | None = None,
        timeout: float | None = None,
        run_timeout: float = 60.0,
        record: str | Path | None = None,
        flash: bytes = b"",
    ) -> Device:
        """Opens a device.

        Parameters
        ----------
        where: ``"golden"`` (golden model, clocks by the cycle model); ``"sim"`` (the whole board in a simulator,
            :class:`boards.simulated.SimulatedBoard`); a serial port such as ``/dev/ttyUSB1``; the name of a board,
            whose port is then found by its USB chip; ``"replay:FILE"``, a recording.
        board: the board, or its name; by default what ``where`` names, or icebreaker.
        config: the core's configuration; by default the board's own.
        baud: speed of the port; by default the board's.
        timeout, run_timeout: seconds to wait for a reply, and for the end of a run.
        record: write every frame, with its time, to this file.
        flash: the program part of a simulated board's flash (:func:`boards.flash_image.program_part`).

        Raises
        ------
        BoardError: no such port or board, no answer, or another core than ``config`` there.
        """
        if where == GOLDEN:
            return _Golden()
        if where.startswith(REPLAY):
            return _open_replay(where.removeprefix(REPLAY), run_timeout)
        named = board if board is not None else where if is_board(where) else "icebreaker"
        found = get_board(named) if isinstance(named, str) else named
        config = config or found.core
        if where == SIMULATED:
            from boards.simulated import SimulatedBoard

            simulated = SimulatedBoard(found, config, flash=flash)
            simulated.start()
            try:
                port = SerialTransport(simulated.port, baud=baud or found.baud)
                wait = _SIMULATED_TIMEOUT if timeout is None else timeout
                return _open_link(port, found, config, wait, 60 * run_timeout, record, simulated)
            except BaseException:
                simulated.stop()
                raise
        port = SerialTransport(find_port(where) if is_board(where) else where, baud=baud or found.baud)
        return _open_link(port, found, config, 2.0 if timeout is None else timeout, run_timeout, record)

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise BoardError("the device was closed")
            yield

    @property
    def clock_hz(self) -> int | None:
        """Clock of the core; None where there is none."""
        return None

    @property
    def retries(self) -> int:
        """How often the host had to get back in step with the board."""
        return 0

    def load(self, program: Program, *, always: bool = False) -> bool:
        """Loads a program; False if the device held it already (then nothing is sent, unless ``always``)."""
        with self._working():
            self._program, self._stream = None, StreamPlace()
            sent = self._load(program, always)
            self._program = program
            return sent

    def infer(self, x: NDArray[np.integer]) -> Result:
        """Runs the program on one input, prepared integers ``[T, C, H, W]``, or ``[C, H, W]`` for static inputs.

        Raises BoardError without a program and when the device fails, DataError for another shape or range.
        """
        return self.infer_many([x])[0]

    def infer_many(
        self, batch: Sequence[NDArray[np.integer]] | NDArray[np.integer], progress: Progress = silent
    ) -> list[Result]:
        """Runs the program on inputs in order; what :meth:`infer` gives for each, in less time."""
        with self._working():
            program = self._loaded()
            self._stream.interrupted("an inference was made in between")
            results: list[Result] = []
            for result in self._run(program, batch, resume=False):
                results.append(result)
                progress(f"running {len(batch)} inputs", len(results) / len(batch))
            return results

    def step(self, x: NDArray[np.integer]) -> Result:
        """Runs the program on the next T steps of a stream: membranes begin where the step before left them.

        The first step after :meth:`load`, :meth:`reset` or :meth:`reset_state` begins anew.  The result is of these
        steps alone.  ``x``: as of :meth:`infer`.

        Raises BoardError for a program that keeps no membranes, where the next step is not proven exact, when the
        device fails, and after that, or an inference in between, until :meth:`reset_state`; DataError as :meth:`infer`.
        """
        with self._working():
            program, place = self._loaded(), self._stream
            place.check(program)
            place.lost = "the last step failed"
            try:
                result, drifted = self._step(program, x, place.steps > 0)
            except DataError:  # nothing ran
                place.lost = ""
                raise
            self._stream = StreamPlace(place.steps + program.network.steps, drifted and program.state_watched)
            return result

    def stream(self, source: Frames, rest: Rest = "refuse") -> Iterator[Result]:
        """:meth:`step` for frames of a file, an array or a generator, T at a time, as they come; goes on where the
        last step ended.

        source, rest: as :func:`refmodel.event_frames.calls_of` takes them.  Raises as that and :meth:`step` do.
        """
        with self._working():
            net = self._loaded().network
        for call in calls_of(net, source, rest):
            yield self.step(call.x)

    def reset_state(self) -> None:
        """The next step begins anew."""
        with self._working():
            self._stream = StreamPlace()

    def reset(self) -> None:
        """Stops what runs; the program stays."""
        with self._working():
            self._stream = StreamPlace()
            self._reset()

    def close(self) -> None:
        """Gives the device back."""
        self._closed = True
        self._end()

    def _loaded(self) -> Program:
        if self._program is None:
            raise BoardError("no program is loaded: call load first")
        return self._program

    @abstractmethod
    def _load(self, program: Program, always: bool) -> bool: ...

    @abstractmethod
    def _run(self, program: Program, batch: Sequence[Any] | NDArray[Any], *, resume: bool) -> Iterator[Result]:
        """Results of ``batch``; with ``resume`` membranes go on where the run before left them."""

    @abstractmethod
    def _step(self, program: Program, x: NDArray[np.integer], resume: bool) -> tuple[Result, bool]:
        """One result that leaves its membranes for the next, and whether these have drifted."""

    def _reset(self) -> None:
        """Stops what runs, if anything runs by itself."""
        return

    def _end(self) -> None:
        """Gives back what was opened."""
        return


class _Golden(Device):
    """The golden model, and clocks by the cycle model."""

    def __init__(self) -> None:
        super().__init__()
        self._state: State | None = None

    _held: Program | None = None

    def _load(self, program: Program, always: bool) -> bool:
        sent, self._held = always or program is not self._held, program
        return sent

    def _run(self, program: Program, batch: Sequence[Any] | NDArray[Any], *, resume: bool) -> Iterator[Result]:
        if resume:
            raise BoardError("the golden model goes on from its own state: use step")
        for start in range(0, len(batch), _BATCH):
            if self._closed:
                raise BoardError("the device was closed")
            part = batch[start : start + _BATCH]
            for x in part:
                program.input_words(x)  # raises DataError as a board's driver does
            made = golden.run(program.network, np.stack(list(part)), keep=True)
            clocks = run_timing(program, made.tensors).clocks
            for values, prediction, count in zip(made.results, made.predictions, clocks, strict=True):
                yield Result(np.asarray(values, np.int64), int(prediction), int(count))

    def _step(self, program: Program, x: NDArray[np.integer], resume: bool) -> tuple[Result, bool]:
        program.input_words(x)  # raises DataError as a board's driver does
        state = self._state if resume else None
        made = golden.run(program.network, x[None], keep=True, state=state, keep_state=True)
        assert made.state is not None
        self._state = made.state
        clocks = int(run_timing(program, made.tensors).clocks[0])
        drifted = has_drifted(program.original, program.config, made.state)
        return Result(made.results[0].astype(np.int64), int(made.predictions[0]), clocks), drifted


class _Link(Device):
    """A core behind the host link."""

    def __init__(self, driver: LinkDriver, simulated: Any = None) -> None:
        super().__init__()
        self._driver = driver
        self._simulated = simulated
        try:
            self._identity = driver.open()
        except BaseException:
            self.close()
            raise

    @property
    def clock_hz(self) -> int | None:
        return self._identity.clock_hz or None

    @property
    def retries(self) -> int:
        return self._driver.retries

    def _load(self, program: Program, always: bool) -> bool:
        return self._driver.load_program(program, always=always)

    def _run(self, program: Program, batch: Sequence[Any] | NDArray[Any], *, resume: bool) -> Iterator[Result]:
        for one in self._driver.infer_many(batch, resume=resume):
            yield Result(np.array(one.values, np.int64), one.argmax, one.clocks)

    def _step(self, program: Program, x: NDArray[np.integer], resume: bool) -> tuple[Result, bool]:
        one = self._driver.infer(x, resume=resume)
        return Result(np.array(one.values, np.int64), one.argmax, one.clocks), one.drifted

    def _reset(self) -> None:
        self._driver.reset()

    def _end(self) -> None:
        self._driver.close()  # whoever reads or writes now fails
        with self._lock:
            if self._simulated is not None:
                self._simulated.stop()


def _open_link(
    transport: SerialTransport,
    board: Board,
    config: CoreConfig,
    timeout: float,
    run_timeout: float,
    record: str | Path | None,
    simulated: Any = None,
) -> Device:
    channel: Channel = FrameChannel(transport)
    driver = LinkDriver(channel, config, timeout=timeout, run_timeout=run_timeout)
    if record is not None:
        header = {"board": board.name, "config": asdict(config), "session": driver.session}
        channel = Recorder(channel, record, header)
        driver = LinkDriver(channel, config, timeout=timeout, run_timeout=run_timeout, session=driver.session)
    return _Link(driver, simulated)


def _open_replay(path: str, run_timeout: float) -> Device:
    replay = Replay(path)
    try:
        config, session = CoreConfig(**replay.header["config"]), int(replay.header["session"])
    except (KeyError, TypeError, ValueError):
        raise BoardError(f"{path} does not say which core was recorded") from None
    return _Link(LinkDriver(replay, config, run_timeout=run_timeout, session=session))
