# amaranth: UnusedElaboratable=no
"""Abuse of the link: after any frames and bytes whatever, the next inference is exact, and soon.

A core's stand-in under Verilator, behind the whole top level's pins: thousands of frames take a minute.
"""

from __future__ import annotations

import random
import shutil
from types import SimpleNamespace

import pytest

from boards.host import FrameChannel, LinkDriver, LinkError, SerialTransport
from boards.host.frames import Request, frame, results_request, write_request
from boards.link.protocol import FRAME_BYTES, Command, Error
from boards.registry import get_board
from boards.simulated import SimulatedBoard, design
from boards.simulated.design import CLOCKS_A_BIT
from refmodel.config import CoreConfig

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("g++", "make", "perl")), reason="Verilator needs g++, make and perl"
)
CONFIG = CoreConfig(store_depth=64, spike_depth=32, result_depth=5, max_planes=4)
#: Clocks of the link's time-out.
TIMEOUT = 4096


@pytest.fixture(scope="module")
def board(tmp_path_factory, stub_core):
    made = design(get_board("icebreaker"), CONFIG, core=stub_core, timeout_clocks=TIMEOUT)
    folder = tmp_path_factory.mktemp("abuse")
    with SimulatedBoard("icebreaker", CONFIG, design=made, folder=folder) as simulated:
        yield simulated


def _good(rng, session, number):
    """Some request of a host that may have the board, or not."""
    choice = rng.randrange(6)
    if choice == 0:
        words = [rng.getrandbits(62) for _ in range(rng.randrange(0, 20))]
        request = write_request(CONFIG, 0, rng.randrange(40), words)
    elif choice == 1:
        request = write_request(CONFIG, 1, rng.randrange(20), [rng.getrandbits(32) for _ in range(rng.randrange(12))])
    elif choice == 2:
        request = Request(Command.COMMIT, rng.randbytes(4))
    elif choice == 3:
        request = results_request(0, rng.randrange(1, 6))
    else:
        request = Request(Command(rng.choice([1, 2, 6, 8])), b"\0" if rng.random() < 0.5 else b"")
    return request.contents(session, number)


def _abuse(rng, session, numbers):
    """Bytes of one act of abuse, and for how many bits the line then breaks, if it does."""
    contents = _good(rng, rng.choice([session, rng.randrange(256)]), rng.choice(numbers))
    whole = frame(contents)
    kind = rng.randrange(10)
    if kind == 9:
        return whole[: rng.randrange(len(whole) + 1)], rng.choice([1, 3, 9, 12, 40, 400])  # in the middle, or about
    return _frames(rng, kind, whole, contents, session, numbers), 0


def _frames(rng, kind, whole, contents, session, numbers):
    """Bytes of one act of abuse of the frames."""
    if kind == 0:
        return rng.randbytes(rng.randrange(1, 60))
    if kind == 1:
        return whole[: rng.randrange(len(whole))]  # truncated
    if kind == 2:  # corrupted
        at = rng.randrange(len(whole))
        return whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :]
    if kind == 3:
        return frame(contents + rng.randbytes(rng.choice([1, FRAME_BYTES, 3 * FRAME_BYTES])))  # too long
    if kind == 4:
        return frame(bytes([rng.randrange(256)]) + contents[1:])  # another version
    if kind == 5:
        return whole + whole  # twice
    if kind == 6:  # in the wrong order
        return frame(_good(rng, session, (numbers[0] + 1) & 0xFF)) + whole
    if kind == 7:  # two hosts at once
        other = frame(_good(rng, rng.randrange(256), rng.randrange(256)))
        mixed, parts = b"", [whole, other]
        while any(parts):
            which = rng.randrange(2)
            count = rng.randrange(1, 9)
            mixed, parts[which] = mixed + parts[which][:count], parts[which][count:]
        return mixed
    return bytes([0x7D, 0x7E]) * rng.randrange(1, 8)


def _survives(board, acts, batch, seed):
    rng = random.Random(seed)
    transport = SerialTransport(board.port)
    driver = LinkDriver(FrameChannel(transport), CONFIG, timeout=4)
    done = over = 0
    while done < acts:
        driver.open()
        for _ in range(batch):
            numbers = [driver._sequence, (driver._sequence - 1) & 0xFF, rng.randrange(256)]
            data, bits = _abuse(rng, driver.session, numbers)
            transport.write(data)
            if bits:
                over = board.line_break(bits).clocks + bits * CLOCKS_A_BIT
            done += 1
        while board.state().clocks < over:  # what is sent during a break is lost without a trace
            pass
        image = [rng.getrandbits(16) for _ in range(rng.randrange(1, 9))]
        spikes = [rng.getrandbits(16) for _ in range(5)]
        program = SimpleNamespace(config=CONFIG, image=image, classes=5, input_words=lambda x: (range(len(x)), x))
        driver.reset()
        if rng.random() < 0.3:  # what is there now is not this program
            driver.write(0, [(0, 1)])
            with pytest.raises(LinkError) as failed:
                driver.run()
            assert failed.value.code == Error.PROGRAM
        driver.load_program(program)
        driver.write(0, [])
        before = board.state().clocks
        got = driver.infer(spikes)
        assert board.state().clocks - before < 20 * TIMEOUT
        assert list(got.values)[: len(image)] == [a + b for a, b in zip(image, spikes, strict=False)][:5]
    driver.close()


def test_some_hundred_acts(board):
    _survives(board, 500, 50, 1)


@pytest.mark.slow
def test_a_hundred_thousand_acts(board):
    _survives(board, 100_000, 100, 2)


def test_recovery_time(board):
    """After the worst, half a frame, the next one is answered within the time-out."""
    transport = SerialTransport(board.port)
    channel = FrameChannel(transport)
    status = frame(Request(Command.STATUS).contents(1, 1))
    for before in (b"", status[:-1], status[:5], b"\x7d", bytes(300)):
        transport.write(before + status)
        start = board.state().clocks
        replies = [channel.receive(20)]
        if before:
            replies.append(channel.receive(20))
        assert any(reply is not None and reply[1] == Command.STATUS for reply in replies)
        # The bytes, the time-out, and as long as the simulation runs on after the last byte.
        assert board.state().clocks - start < 400 * 40 + TIMEOUT + (4 * TIMEOUT + 1000)
    transport.close()
