# amaranth: UnusedElaboratable=no
"""The host link: the real driver talks to the gateware in simulation."""

from __future__ import annotations

import random
from dataclasses import replace
from types import SimpleNamespace

import pytest

from boards import host, link
from boards.host import UartHost
from refmodel.config import CoreConfig
from refmodel.errors import BoardError

TIMEOUT = 400


@pytest.fixture
def board(small_config, link_bench, sim_transport):
    transport = sim_transport(link_bench(small_config, timeout=TIMEOUT))
    return SimpleNamespace(
        transport=transport, config=small_config, host=UartHost(transport, small_config, timeout=2.0)
    )


def _program(config, image, classes=3):
    return SimpleNamespace(
        config=config, image=image, classes=classes, input_words=lambda x: (range(len(x)), [int(v) for v in x])
    )


def test_identify(board):
    identity = board.host.identify()
    assert identity.store_width == board.config.store_width
    assert identity.spike_addr_bits == board.config.spike_addr_bits
    assert identity.result_depth == board.config.result_depth
    assert identity.membrane_width == board.config.membrane_width


def test_identify_refuses_another_config(board):
    other = UartHost(board.transport, replace(board.config, fifo_depth=3))
    with pytest.raises(BoardError, match="another configuration"):
        other.identify()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"result_depth": 1},
        {"membrane_width": 19},
        {"result_depth": 300},
        {"output_lanes": 16, "event_lanes": 4, "neuron_units": 2, "time_lanes": 16, "max_planes": 8},  # wide spikes
        {"store_depth": 1 << 17},  # addresses of three bytes
    ],
    ids=lambda changes: "-".join(changes) or "small",
)
def test_load_and_infer(small_config, link_bench, sim_transport, changes):
    config = replace(small_config, **changes)
    transport = sim_transport(link_bench(config, timeout=TIMEOUT))
    driver = UartHost(transport, config, timeout=20)
    rng = random.Random(7)
    image = [rng.randrange(1 << config.store_width) for _ in range(20)]
    spikes = [rng.randrange(1 << config.spike_width) for _ in range(9)]
    driver.load_program(_program(config, image, classes=min(5, config.result_depth)))
    first = driver.infer(spikes)
    width = config.membrane_width
    expected = []
    for store, spike in zip(image, spikes + [0] * 20, strict=False):
        value = (store + spike) % (1 << width)
        expected.append(value - (1 << width) if value >> (width - 1) else value)
    assert list(first.values) == expected[: min(5, config.result_depth)]
    assert first.argmax == 1
    assert 40 <= first.clocks <= 42
    assert driver.infer(spikes) == first


def test_through_uarts(small_config, link_bench, sim_transport):
    transport = sim_transport(link_bench(small_config, timeout=TIMEOUT, divisor=4))
    driver = UartHost(transport, small_config, timeout=20)
    driver.identify()
    driver.load_program(_program(small_config, [5, 6, 7]))
    assert driver.infer([1, 1, 1]).values == (6, 7, 8)


def test_unknown_command(board):
    board.transport.write(b"?")
    assert board.transport.read(2, 2) == b"E\x01"
    board.host.identify()


def test_unknown_space(board):
    board.transport.write(b"L\x02" + bytes(4))
    assert board.transport.read(2, 2) == bytes([ord("E"), link.ERROR_SPACE])
    board.host.identify()


@pytest.mark.parametrize("length", range(1, 14))
def test_truncated_load_times_out(board, length):
    command = host.encode_load(board.config, 0, 3, [1, 2])
    assert length < len(command)
    board.transport.write(command[:length])
    assert board.transport.read(2, 2) == bytes([ord("E"), link.ERROR_TIMEOUT])
    board.host.identify()


def test_line_error_inside_a_command(board):
    board.transport.write(b"L\x00")
    board.transport.read(1, 0.1)
    board.transport.broken = True
    assert board.transport.read(2, 2) == bytes([ord("E"), link.ERROR_LINE])
    board.host.identify()


def test_busy_core_answers_and_can_be_reset(board):
    board.host.load_words(0, [(0, (1 << board.config.store_width) - 1)])  # the stub now runs for ever
    board.transport.write(b"R")
    assert board.transport.read(1, 1) == b""
    board.host.identify()
    with pytest.raises(BoardError, match="busy"):
        board.host.load_words(1, [(0, 1)])
    with pytest.raises(BoardError, match="busy"):
        board.host.run()
    board.host.reset()
    board.host.load_words(0, [(0, 1)])
    assert board.host.run().argmax == 1


def test_reset_from_the_middle_of_a_command(board):
    board.transport.write(host.encode_load(board.config, 0, 0, [1, 2, 3])[:9])
    board.host.reset()
    board.host.identify()


def test_random_bytes_never_hang(board):
    rng = random.Random(3)
    for _ in range(20):
        board.transport.write(bytes(rng.choice(b"ILRX\x00\x01\xff?") for _ in range(rng.randrange(1, 12))))
        board.transport.read(1000, 0.3)
    board.host.reset()
    board.host.identify()


def test_empty_load(board):
    board.transport.write(host.encode_load(board.config, 1, 0, []))
    assert board.transport.read(1, 1) == b"K"


def test_encode_words_shares_commands():
    config = CoreConfig(store_depth=4096)
    pairs = [(addr, addr) for addr in range(host.MAX_BURST + 2)] + [(4000, 1), (3000, 2)]
    commands = host.encode_words(config, 0, pairs)
    assert [command[2:6] for command in commands] == [
        (0).to_bytes(2, "little") + host.MAX_BURST.to_bytes(2, "little"),
        host.MAX_BURST.to_bytes(2, "little") + (2).to_bytes(2, "little"),
        (4000).to_bytes(2, "little") + (1).to_bytes(2, "little"),
        (3000).to_bytes(2, "little") + (1).to_bytes(2, "little"),
    ]


def test_encoder_refuses():
    config = CoreConfig(store_depth=64)
    with pytest.raises(BoardError, match="64 words"):
        host.encode_load(config, 0, 63, [0, 0])
    with pytest.raises(BoardError, match="fit 64 bits"):
        host.encode_load(config, 0, 0, [1 << 64])
    with pytest.raises(BoardError, match="space"):
        host.encode_load(config, 2, 0, [0])


class _Canned:
    """A transport that answers with the same bytes whatever is sent."""

    def __init__(self, answer):
        self._answer = answer

    def write(self, data):
        pass

    def read(self, count, timeout):
        answer, self._answer = self._answer[:count], self._answer[count:]
        return answer


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", "0 of 1 bytes"),
        (b"E\x09", "error 9"),
        (b"Z", "answered"),
        (b"IBLOB" + bytes(14), "not a Skipspike core"),
        (b"ISKSP\x07" + bytes(13), "protocol 7"),
        (b"ISKSP", "of 18 bytes"),
    ],
)
def test_bad_answers(answer, expected):
    with pytest.raises(BoardError, match=expected):
        UartHost(_Canned(answer), CoreConfig()).identify()


def test_infer_without_a_program():
    with pytest.raises(BoardError, match="load_program"):
        UartHost(_Canned(b""), CoreConfig()).infer([])


def test_program_for_another_core():
    program = _program(CoreConfig(fifo_depth=3), [])
    with pytest.raises(BoardError, match="another core"):
        UartHost(_Canned(b""), CoreConfig()).load_program(program)


def test_serial_port_missing():
    with pytest.raises(BoardError, match="cannot open serial port"):
        host.SerialTransport("/dev/no-such-port")
