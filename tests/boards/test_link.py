# amaranth: UnusedElaboratable=no
"""The host link: the real driver talks to the gateware in simulation."""

from __future__ import annotations

import random
from dataclasses import replace
from types import SimpleNamespace

import pytest

from boards.host import FrameChannel, LinkDriver, LinkError
from boards.host.frames import Request, frame, results_request, write_request
from boards.link.protocol import FRAME_BYTES, Command, Error, State
from refmodel.errors import BoardError

TIMEOUT = 512
RUN = Request(Command.RUN, b"\0")


@pytest.fixture
def board(small_config, link_bench, sim_transport, driver_of):
    transport = sim_transport(link_bench(small_config, timeout=TIMEOUT))
    return SimpleNamespace(
        transport=transport,
        config=small_config,
        driver=driver_of(transport, small_config),
        link=FrameChannel(transport),
    )


def _program(config, image, classes=3):
    return SimpleNamespace(
        config=config, image=image, classes=classes, input_words=lambda x: (range(len(x)), [int(v) for v in x])
    )


def _answer(board, request, sequence, *, session=None, version=2, thousands=2.0):
    """Command and error of the reply to one frame, and whether it shows the device's next number."""
    contents = request.contents(board.driver.session if session is None else session, sequence)
    board.link.send(bytes([version]) + contents[1:])
    reply = board.link.receive(thousands)
    assert reply is not None, "no reply"
    assert reply[0] == 2
    return reply[1], Error(reply[4]), reply[6]


def test_identify(board):
    identity = board.driver.identify()
    assert identity.store_width == board.config.store_width
    assert identity.spike_addr_bits == board.config.spike_addr_bits
    assert identity.result_depth == board.config.result_depth
    assert identity.membrane_width == board.config.membrane_width
    assert 1 << identity.timeout_log2 == TIMEOUT
    other = LinkDriver(FrameChannel(board.transport), replace(board.config, fifo_depth=3))
    with pytest.raises(BoardError, match="another configuration"):
        other.identify()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"result_depth": 1},
        pytest.param({"membrane_width": 19, "result_depth": 40}, marks=pytest.mark.slow),
        pytest.param(  # wide spikes
            {"output_lanes": 16, "event_lanes": 4, "neuron_units": 2, "time_lanes": 16, "max_planes": 8},
            marks=pytest.mark.slow,
        ),
        {"store_depth": 1 << 17},  # addresses of three bytes
    ],
    ids=lambda changes: "-".join(changes) or "small",
)
def test_load_and_infer(small_config, link_bench, sim_transport, driver_of, changes):
    config = replace(small_config, **changes)
    driver = driver_of(sim_transport(link_bench(config, timeout=TIMEOUT)), config, timeout=20)
    rng = random.Random(7)
    image = [rng.getrandbits(config.store_width) for _ in range(12)]
    spikes = [[rng.getrandbits(config.spike_width) for _ in range(9)] for _ in range(2)]
    classes = config.result_depth
    assert driver.load_program(_program(config, image, classes=classes))
    assert not driver.load_program(_program(config, image, classes=classes))
    width = config.membrane_width
    for one, got in zip(spikes, driver.infer_many(spikes), strict=True):
        expected = []
        for store, spike in zip(image + 60 * [0], one + 60 * [0], strict=False):
            value = (store + spike) % (1 << width)
            expected.append(value - (1 << width) if value >> (width - 1) else value)
        if not changes:  # behind the image are zeros
            assert list(got.values) == expected[:classes]
        assert list(got.values)[:9] == expected[: min(9, classes)]
        assert got.argmax == 1
    assert driver.retries == 0


def test_through_uarts(small_config, link_bench, sim_transport, driver_of):
    transport = sim_transport(link_bench(small_config, timeout=1024, divisor=4))
    driver = driver_of(transport, small_config, timeout=20)
    assert driver.load_program(_program(small_config, [5, 6, 7]))
    assert driver.infer([1, 1, 1]).values == (6, 7, 8)


def test_every_error_has_its_reply(board):
    """And none of them takes a number: the next good command has the one that was due."""
    config, number = board.config, board.driver._sequence
    results = results_request(0, 3)
    size = config.store_width // 8
    last = config.store_depth - 1
    cases = [
        (RUN, {"version": 3}, Error.VERSION),
        (RUN, {"session": (board.driver.session + 1) & 0xFF}, Error.SESSION),
        (RUN, {"sequence": number + 1}, Error.SEQUENCE),
        (RUN, {"sequence": number - 1}, Error.SEQUENCE),
        (Request(Command.RESET, b"x"), {}, Error.LENGTH),
        (Request(Command.RUN), {}, Error.LENGTH),
        (Request(Command.COMMIT, b"abc"), {}, Error.LENGTH),
        (Request(Command.COMMIT, b"abcde"), {}, Error.LENGTH),
        (Request(Command.RESULTS, b"abcde"), {}, Error.LENGTH),
        (Request(Command.WRITE, b"abc"), {}, Error.LENGTH),
        (Request(Command.WRITE, b"\0\0\0\0" + bytes(size + 1)), {}, Error.LENGTH),
        (Request(9), {}, Error.COMMAND),
        (Request(0), {}, Error.COMMAND),
        (Request(0x42), {}, Error.COMMAND),
        (Request(0xF6), {}, Error.COMMAND),
        (Request(Command.WRITE, b"\0\0\0\2"), {}, Error.RANGE),
        (Request(Command.WRITE, last.to_bytes(3, "little") + bytes(1 + 2 * size)), {}, Error.RANGE),
        (Request(Command.RUN, b"\1"), {}, Error.RANGE),
        (RUN, {}, Error.PROGRAM),
        (Request(Command.COMMIT, b"abcd"), {}, Error.PROGRAM),
        (results, {}, Error.RESULT),
    ]
    for request, options, error in cases:
        options = {"sequence": number, **options}
        command, got, due = _answer(board, request, options.pop("sequence") & 0xFF, **options)
        assert (command, got, due) == (request.command, error, number), request
    assert board.driver.load_program(_program(config, [1, 2, 3]))
    assert board.driver.infer([1, 1, 1]).values == (2, 3, 4)
    with pytest.raises(LinkError, match="beyond the board's memory"):
        board.driver.results(64, 1)
    assert board.driver.retries == 0


def test_a_program_runs_only_after_its_crc_was_right(board):
    image = [3, 4, 5]
    board.driver.load_program(_program(board.config, image))
    board.driver.write(0, [(0, 9)])
    with pytest.raises(LinkError, match="no valid program"):
        board.driver.run()
    assert not board.driver.commit(image)
    with pytest.raises(LinkError, match="no valid program"):
        board.driver.infer([1])
    assert board.driver.commit([9])
    board.driver.run()


def test_truncated_frames(board):
    whole = frame(write_request(board.config, 0, 3, [1, 2]).contents(board.driver.session, board.driver._sequence))
    for length in (1, 2, 5, 11, len(whole) - 1):
        board.transport.write(whole[:length])
        if length == 1:
            assert board.link.receive(1) is None
            continue
        reply = board.link.receive(1)  # within the time-out
        assert reply is not None and (reply[1], reply[4]) == (0, Error.TIMEOUT)
        board.transport.write(whole[:length])
        assert board.driver.status()[0] == State(0)  # at once


def test_line_error_inside_a_frame(board):
    whole = frame(RUN.contents(0, 0))
    board.transport.write(whole[:3])
    board.transport.clocks(100)
    board.transport.broken = True
    board.transport.write(whole[3:])
    reply = board.link.receive(1)
    assert reply is not None and (reply[1], reply[4]) == (0, Error.LINE)


def test_busy_core_answers_and_can_be_reset(board):
    stuck = [(1 << board.config.store_width) - 1]  # the stub now runs for ever
    board.driver.load_program(_program(board.config, stuck))
    board.driver.run()
    assert board.driver.status()[0] == State.BUSY | State.PROGRAM
    number = board.driver._sequence
    for request in (write_request(board.config, 1, 0, [1]), RUN, results_request(0, 1)):
        assert _answer(board, request, number)[:2] == (request.command, Error.BUSY)
    board.driver._run_timeout = 0.01
    with pytest.raises(BoardError, match="still busy"):
        board.driver.write(1, [(0, 1)])
    board.driver.reset()
    assert board.driver.status()[0] == State.PROGRAM
    with pytest.raises(LinkError, match="no results"):
        board.driver.results(0, 1)


def test_two_hosts(board, driver_of):
    program = _program(board.config, [1, 2, 3])
    board.driver.load_program(program)
    other = driver_of(board.transport, board.config, session=board.driver.session % 255 + 1)
    with pytest.raises(LinkError, match="another host"):
        board.driver.infer([5, 5, 5])
    assert not other.load_program(program)
    assert other.infer([1, 1, 1]).values == (2, 3, 4)
    board.driver.open()
    assert board.driver.infer([5, 5, 5]).values == (6, 7, 8)


def test_damage_on_both_lines_is_mended(board):
    """One byte in 125 changed or lost on the way there, one in 250 on the way back."""
    rng, back = random.Random(5), random.Random(6)

    def damage(data):
        out = bytearray()
        for byte in data:
            chance = rng.random()
            if chance > 0.004:
                out.append(byte ^ (1 << rng.randrange(8)) if chance < 0.008 else byte)
        return bytes(out)

    image = [rng.getrandbits(board.config.store_width) for _ in range(6)]
    board.transport.damage = damage
    board.transport.lose = lambda byte: back.random() < 0.004
    board.driver.load_program(_program(board.config, image))
    inputs = [[rng.randrange(1000) for _ in range(3)] for _ in range(3)]
    for one, got in zip(inputs, board.driver.infer_many(inputs), strict=True):
        assert [(value - part) % (1 << 24) for value, part in zip(got.values, one, strict=True)] == [
            word % (1 << 24) for word in image[:3]
        ]
    assert board.driver.retries > 0


def test_a_reset_board_is_told_apart(board, link_bench, sim_transport):
    """After a loss of power the sequence is another one: an error, not a wrong result."""
    board.driver.load_program(_program(board.config, [1]))
    fresh = sim_transport(link_bench(board.config, timeout=TIMEOUT))
    board.driver._channel = FrameChannel(fresh)
    with pytest.raises(LinkError, match="or it was reset"):
        board.driver.infer([1])


def test_random_bytes_never_hang(board):
    rng = random.Random(3)
    for _ in range(10):
        board.transport.write(bytes(rng.choice(b"\x7e\x7d\x02\x00\x03\x04\xff?") for _ in range(rng.randrange(1, 60))))
    board.driver.open()
    assert board.driver.load_program(_program(board.config, [4, 5, 6]))
    assert board.driver.infer([1, 2, 3]).values == (5, 7, 9)


@pytest.mark.slow
def test_longest_frame(board):
    count = (FRAME_BYTES - 12) // 8
    assert board.driver.load_program(_program(board.config, list(range(2 * count + 1))))
    with pytest.raises(BoardError, match="at most 27 words"):
        write_request(board.config, 0, 0, [0] * (count + 1))
