"""The driver: sessions, a window of two requests, and getting back in step after whatever went wrong."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from boards.link.protocol import RESUME, STATUS_BYTES, WINDOW, Command, Error, State, config_digest, keeps_state
from refmodel.config import CoreConfig
from refmodel.errors import BoardError

from .channel import Channel
from .frames import (
    RESULTS_COUNT,
    Identity,
    Reply,
    Request,
    Status,
    commit_request,
    read_identity,
    read_reply,
    read_status,
    read_values,
    results_request,
    write_requests,
)

#: Times that a frame is sent again before the driver gives up.
TRIES = 5
#: Replies to others, or to frames of ours that were given up, that are passed over while one is awaited.
_STRANGE = 100

_MESSAGES = {
    Error.CRC: "the board received a frame with a wrong CRC",
    Error.LENGTH: "the board received a frame of a wrong length",
    Error.LINE: "the board received a broken byte; check cable and baud rate",
    Error.TIMEOUT: "the board waited in vain for the rest of a frame",
    Error.VERSION: "the board speaks another protocol; build the bitstream with this version of Skipspike",
    Error.SESSION: "another host has taken the board, or it was reset; open it again",
    Error.SEQUENCE: "the board lost a frame",
    Error.COMMAND: "the board does not know this command; build the bitstream with this version of Skipspike",
    Error.BUSY: "the core is busy",
    Error.RANGE: "an address is beyond the board's memory",
    Error.PROGRAM: "the board holds no valid program; load one",
    Error.RESULT: "the board has no results; run the program first",
}
#: Errors after which the same frame may succeed.
_AGAIN = (Error.CRC, Error.LENGTH, Error.LINE, Error.TIMEOUT, Error.SEQUENCE, Error.BUSY)


class LinkError(BoardError):
    """An error that the board reported: ``code``."""

    def __init__(self, code: Error | int) -> None:
        self.code = code
        known = code in _MESSAGES
        super().__init__(_MESSAGES[Error(code)] if known else f"the board reports error {code}, unknown to this host")


class ProgramLike(Protocol):
    """The part of ``refmodel.program.Program`` the driver needs."""

    @property
    def config(self) -> CoreConfig: ...

    @property
    def image(self) -> Sequence[int]: ...

    @property
    def classes(self) -> int: ...

    def input_words(self, x: Any, /) -> tuple[Iterable[Any], Iterable[int]]: ...


@dataclass(frozen=True)
class Inference:
    """One result: every readout channel's sum, the winner, and the clocks it took.

    drifted: kept membranes have gone as far as is proven (:mod:`refmodel.state_bounds`).
    """

    values: tuple[int, ...]
    argmax: int
    clocks: int
    drifted: bool = False


@dataclass
class _Sent:
    """A request under way."""

    request: Request
    sequence: int
    reply: Reply | None = field(default=None)


class LinkDriver:
    """Drives one core over a channel; the same calls work on a board and on a simulated one.

    Parameters
    ----------
    channel: carries the frames.
    config: the core's configuration.
    timeout: seconds to wait for a reply; a board answers within its own time-out, well below 0.2 s.
    run_timeout: seconds that a run may take.
    session: number that marks this host's frames, 1 to 255; by default a random one.

    ``retries`` counts how often it had to get back in step.
    """

    def __init__(
        self,
        channel: Channel,
        config: CoreConfig,
        *,
        timeout: float = 2.0,
        run_timeout: float = 60.0,
        session: int | None = None,
    ) -> None:
        self._channel = channel
        self._config = config
        self._timeout = timeout
        self._run_timeout = run_timeout
        self._session = session or 1 + secrets.randbelow(255)
        self._sequence = 0
        self._query = 0
        self._program: ProgramLike | None = None
        self.retries = 0

    @property
    def config(self) -> CoreConfig:
        return self._config

    @property
    def session(self) -> int:
        return self._session

    # Queries: no sequence, any number of times.

    def _ask(self, command: Command) -> Reply:
        """HELLO, STATUS or OPEN until it is answered."""
        problem: LinkError | None = None
        for attempt in range(TRIES):
            if attempt:
                self.retries += 1
            self._query = (self._query + 1) & 0xFF
            self._channel.send(Request(command).contents(self._session, self._query))
            patience = self._timeout
            for _ in range(_STRANGE):
                contents = self._channel.receive(patience)
                if contents is None:
                    break
                reply = read_reply(contents)
                if (reply.command, reply.session, reply.sequence) == (command, self._session, self._query):
                    if reply.error == Error.NONE:
                        return reply
                    problem = LinkError(reply.error)  # unless it is the answer to a stranger's frame with our numbers
                    break
                if reply.command == 0:  # ours may be the frame that it could not read
                    patience = self._timeout / 4
        if problem is not None:
            raise problem
        raise BoardError(
            f"the board did not answer {TRIES} times within {self._timeout:g} s; "
            "check power, cable, baud rate and that the bitstream is loaded"
        )

    def identify(self) -> Identity:
        """Asks the board what it is; BoardError if its core is not the one of ``config``."""
        identity = read_identity(self._ask(Command.HELLO).body)
        if identity.digest != config_digest(self._config):
            raise BoardError("the board's core has another configuration; load the bitstream built for this one")
        return identity

    def status(self) -> tuple[State, Status]:
        """What the board is doing; the status is that of the last run if the state says RESULT."""
        reply = self._ask(Command.STATUS)
        return reply.state, read_status(reply.body)

    def open(self) -> Identity:
        """Takes the board for this host, whoever had it before; BoardError if it is another core."""
        identity = self.identify()
        self._sequence = self._ask(Command.OPEN).expected
        return identity

    # Requests in order.

    def exchange(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Reply | None]]:
        """Sends requests, two at a time, and gives each with its reply, in order.

        The reply is None if it was lost after the board had carried the request out; RESULTS always has one.
        """
        waiting: deque[_Sent] = deque()
        todo = iter(requests)
        held: Request | None = None
        failures = 0
        while True:
            while len(waiting) < WINDOW:
                held = next(todo, None) if held is None else held
                # What destroys results must not be on its way while somebody waits for them.
                if held is None or (
                    held.command in (Command.RUN, Command.RESET)
                    and any(one.request.command == Command.RESULTS for one in waiting)
                ):
                    break
                waiting.append(_Sent(held, self._sequence))
                self._send(waiting[-1])
                self._sequence = (self._sequence + 1) & 0xFF
                held = None
            if not waiting:
                return
            reply = self._reply(waiting)
            if reply is None or reply.error:
                failures += 1
                if failures > TRIES:
                    raise LinkError(reply.error) if reply else self._silent()
                self._recover(waiting, reply)
            else:
                failures = 0
            while waiting and waiting[0].reply is not None:
                one = waiting.popleft()
                yield one.request, one.reply if one.reply.error == Error.NONE else None

    def _silent(self) -> BoardError:
        return BoardError(f"the board did not answer within {self._timeout:g} s; check power and cable")

    def _send(self, one: _Sent) -> None:
        self._channel.send(one.request.contents(self._session, one.sequence))

    def _reply(self, waiting: Iterable[_Sent]) -> Reply | None:
        """The next reply to one of ``waiting``, or to a frame that the board could not read; None: none in time."""
        for _ in range(_STRANGE):
            contents = self._channel.receive(self._timeout)
            if contents is None:
                break
            reply = read_reply(contents)
            if reply.command == 0:
                return reply
            for one in waiting:
                if (reply.command, reply.session, reply.sequence) == (
                    one.request.command,
                    self._session,
                    one.sequence,
                ):
                    if reply.error == Error.NONE:
                        one.reply = reply
                    elif reply.error not in _AGAIN:
                        self._sequence = reply.expected
                        raise LinkError(reply.error)
                    return reply
        return None

    def _recover(self, waiting: deque[_Sent], reply: Reply | None) -> None:
        """Asks how far the board got, and sends the rest again."""
        self.retries += 1
        asked = self._ask(Command.STATUS)
        if reply is not None and reply.error == Error.BUSY:
            deadline = time.monotonic() + self._run_timeout
            while asked.state & State.BUSY:
                if time.monotonic() > deadline:
                    self._sequence = asked.expected
                    raise BoardError(f"the core is still busy after {self._run_timeout:g} s; reset it")
                time.sleep(0.005)
                asked = self._ask(Command.STATUS)
        first = waiting[0].sequence
        done = (asked.expected - first) & 0xFF
        if done > len(waiting):
            raise LinkError(Error.SESSION)
        again = []
        for number, one in enumerate(waiting):
            if number >= done or (one.request.command == Command.RESULTS and one.reply is None):
                one.reply = None
                again.append(one)
            elif one.reply is None:
                one.reply = Reply(0, 0, 0, -1, State(0), 0, b"")  # carried out; its own reply was lost
        self._sequence = asked.expected
        for one in again:
            one.sequence = self._sequence
            self._send(one)
            self._sequence = (self._sequence + 1) & 0xFF

    def _all(self, requests: Iterable[Request]) -> Reply | None:
        """Carries out requests; the last one's reply."""
        replies = [reply for _, reply in self.exchange(requests)]
        return replies[-1] if replies else None

    def run(self, *, resume: bool = False) -> None:
        """Starts the program on what the spike memory holds."""
        self._all([Request(Command.RUN, bytes([resume and RESUME]))])

    # What people call.

    def reset(self) -> None:
        """Takes the board and resets its core: stops a run; the memories stay."""
        self.open()
        self._all([Request(Command.RESET)])

    def write(self, space: int, words: Iterable[tuple[int, int]]) -> None:
        """Writes (address, word) pairs to ``space`` (0 resting store, 1 spike memory)."""
        self._all(write_requests(self._config, space, words))

    def commit(self, image: Sequence[int]) -> bool:
        """Whether the resting store holds this image, whole and right; if so, the board may run it."""
        try:
            self._all([commit_request(self._config, image)])
        except LinkError as error:
            if error.code != Error.PROGRAM:
                raise
            return False
        return True

    def load_program(self, program: ProgramLike, *, always: bool = False) -> bool:
        """Loads a program's image; False if the board held it already (then nothing is sent, unless ``always``)."""
        if program.config != self._config:
            raise BoardError("the program was compiled for another core configuration; compile it for this one")
        self._program = None
        sent = always or not self.commit(program.image)
        if sent and self._config.store == "flash":
            raise BoardError(
                "the program in the board's flash is another one; put this one's flash image there: "
                "skipspike load --flash"
            )
        if sent:
            self.write(0, enumerate(program.image))
            if not self.commit(program.image):
                raise BoardError("the board's memory does not hold what was loaded; load it again")
        self._program = program
        return sent

    def results(self, first: int, count: int) -> Inference:
        """``count`` numbers of the last run from number ``first`` on, its argmax and clocks."""
        values: list[int] = []
        body = bytes(STATUS_BYTES)
        for start in range(first, first + count, RESULTS_COUNT):
            part = min(RESULTS_COUNT, first + count - start)
            reply = self._all([results_request(start, part)])
            assert reply is not None
            body = reply.body
            values += read_values(self._config, body, part)
        status = read_status(body)
        return Inference(tuple(values), status.argmax, status.clocks)

    def infer(self, x: Any, *, resume: bool = False) -> Inference:
        """Loads input ``x`` (as the program's ``input_words`` takes it), runs, and reads the program's classes."""
        (result,) = self.infer_many([x], resume=resume)
        return result

    def infer_many(self, batch: Iterable[Any], *, resume: bool = False) -> Iterator[Inference]:
        """Results in order; while the core runs, the next input's first frames are on their way.

        resume: membranes start where the run before left them (cores with a state memory).
        """
        if resume and not keeps_state(self._config):
            raise BoardError("this core keeps no membranes between runs; use one with state_depth > 0")
        program = self._program
        if program is None:
            raise BoardError("no program is loaded: call load_program first")
        values: list[int] = []
        for request, reply in self.exchange(self._plan(program, batch, resume)):
            if request.command != Command.RESULTS:
                continue
            assert reply is not None
            part = min(RESULTS_COUNT, program.classes - len(values))
            values += read_values(self._config, reply.body, part)
            if len(values) == program.classes:
                status = read_status(reply.body)
                yield Inference(tuple(values), status.argmax, status.clocks, State.DRIFTED in reply.state)
                values = []

    def _plan(self, program: ProgramLike, batch: Iterable[Any], resume: bool) -> Iterator[Request]:
        """For each input: its words, RUN; then two frames of the next input, which wait for the core; then RESULTS."""
        reads = [
            results_request(start, min(RESULTS_COUNT, program.classes - start))
            for start in range(0, program.classes, RESULTS_COUNT)
        ]
        running = False
        for x in batch:
            addresses, words = program.input_words(x)
            pairs = ((int(address), word) for address, word in zip(addresses, words, strict=True))
            for number, write in enumerate(write_requests(self._config, 1, pairs)):
                if running and number == WINDOW:
                    yield from reads
                    running = False
                yield write
            if running:
                yield from reads
            yield Request(Command.RUN, bytes([resume and RESUME]))
            running = True
        if running:
            yield from reads

    def close(self) -> None:
        """Ends the channel."""
        self._channel.close()
