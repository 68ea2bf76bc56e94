# amaranth: UnusedElaboratable=no
"""The parts of the host link: CRC, deframer, frame buffer, framer, loader."""

from __future__ import annotations

import random
import zlib
from types import SimpleNamespace

import pytest
from amaranth import Module
from amaranth.lib.wiring import connect
from amaranth.sim import Simulator

from boards.host.frames import Unframer, frame
from boards.link.buffer import IDENTITY, LENGTH, FrameBuffer
from boards.link.crc import ONES, Crc32
from boards.link.deframer import Deframer
from boards.link.executor import Executor
from boards.link.loader import Kind
from boards.link.protocol import CRC_BYTES, FRAME_BYTES, Error, image_bytes, value_bytes
from boards.link.words import WordRegister
from refmodel.config import CoreConfig
from tests.byte_loader import ByteLoader

ESCAPED = bytes([0x7E, 0x7D, 0x5E, 0x5D, 0x20])


def _simulate(top, bench, *, clock=True):
    sim = Simulator(top)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()


@pytest.mark.parametrize("last_space", [0, 1])
@pytest.mark.parametrize("config", [CoreConfig(), CoreConfig(time_lanes=8)])
def test_numbers_leave_whole_whatever_words_came_before(config, last_space):
    """Argmax and clocks, then a value: words of a space may be shorter than they are."""
    words = WordRegister(config, argmax_bits=4)
    clocks, value = 0xA5CE_9A01, -0x5A5B

    async def bench(ctx):
        ctx.set(words.space, last_space)
        ctx.set(words.argmax, 9)
        ctx.set(words.clocks, clocks)
        ctx.set(words.value, value)
        for take, out, wanted in (
            (words.take_status, words.status, 9 | clocks << 16),
            (words.take_value, words.value_bit, value & (1 << 8 * value_bytes(config)) - 1),
        ):
            ctx.set(take, 1)
            await ctx.tick()
            ctx.set(take, 0)
            ctx.set(words.step, 1)
            for bit in range(max(8 * value_bytes(config), wanted.bit_length())):
                assert ctx.get(out) == wanted >> bit & 1, bit
                await ctx.tick()
            ctx.set(words.step, 0)

    _simulate(words, bench)


def test_crc_is_zlibs():
    crc = Crc32()
    data = random.Random(1).randbytes(9)

    async def feed(ctx, some):
        for byte in some:
            for bit in range(8):
                ctx.set(crc.bit, byte >> bit & 1)
                await ctx.tick()

    async def bench(ctx):
        for _ in range(2):
            ctx.set(crc.step, 1)
            await feed(ctx, data)
            value = zlib.crc32(data) ^ ONES
            assert ctx.get(crc.value) == value
            ctx.set(crc.rotate, 1)
            for bit in range(32):  # as they travel, inverted
                assert ctx.get(crc.low) == value >> bit & 1
                ctx.set(crc.bit, bit & 1)
                await ctx.tick()
            assert ctx.get(crc.value) == value
            ctx.set(crc.rotate, 0)
            ctx.set(crc.step, 0)
            await feed(ctx, b"x")
            assert ctx.get(crc.value) == value
            ctx.set(crc.clear, 1)
            await ctx.tick()
            ctx.set(crc.clear, 0)

    _simulate(crc, bench)


class _Receiver:
    """Deframer and frame buffer: what is left of bytes, errors and pauses; ``read`` takes the oldest frame."""

    def __init__(self):
        self.module = m = Module()
        m.submodules.deframer = self.deframer = Deframer()
        m.submodules.buffer = self.buffer = FrameBuffer(identity=bytes(range(22)))
        connect(m, self.deframer.o, self.buffer.i)

    def run(self, script):
        async def bench(ctx):
            ctx.set(self.deframer.rx.valid, 0)
            await script(ctx)

        _simulate(self.module, bench)

    async def send(self, ctx, data):
        for byte in data:
            ctx.set(self.deframer.rx.payload, byte)
            ctx.set(self.deframer.rx.valid, 1)
            await ctx.tick().until(self.deframer.rx.ready)
        ctx.set(self.deframer.rx.valid, 0)

    async def ticks(self, ctx, count):
        for _ in range(count):
            ctx.set(self.deframer.tick, 1)
            await ctx.tick()
            ctx.set(self.deframer.tick, 0)
            await ctx.tick()

    async def broken(self, ctx):
        ctx.set(self.deframer.rx_error, 1)
        await ctx.tick()
        ctx.set(self.deframer.rx_error, 0)

    async def byte(self, ctx, addr):
        ctx.set(self.buffer.addr, addr)
        await ctx.tick().repeat(2)
        return ctx.get(self.buffer.byte)

    async def read(self, ctx):
        """Contents of a frame and its CRC, or its error; None if there is none."""
        await ctx.tick()
        if not ctx.get(self.buffer.valid):
            return None
        count = await self.byte(ctx, LENGTH)
        got = Error(count) if count < 8 else bytes([await self.byte(ctx, addr) for addr in range(count)])
        ctx.set(self.buffer.release, 1)
        await ctx.tick()
        ctx.set(self.buffer.release, 0)
        return got


def _whole(contents):
    return contents + zlib.crc32(contents).to_bytes(CRC_BYTES, "little")


def test_frames_arrive_whole_or_not_at_all():
    rng = random.Random(2)
    longest = rng.randbytes(FRAME_BYTES - CRC_BYTES)
    receiver = _Receiver()

    async def script(ctx):
        send, read = receiver.send, receiver.read
        for contents in (b"four", ESCAPED, longest):
            await send(ctx, frame(contents))
            assert await read(ctx) == _whole(contents)
            assert await read(ctx) is None
        for sent, error in (
            (frame(b"abc"), Error.LENGTH),  # less than a header
            (frame(longest + b"x"), Error.LENGTH),
            (frame(longest + bytes(30)), Error.LENGTH),
            (frame(b"")[:4], None),
            (b"\x7e", Error.LENGTH),  # the flag that ends it
            (b"\x7e\x7e", None),
            (frame(b"abort")[:-1] + b"\x7d\x7e", Error.CRC),
        ):
            await send(ctx, sent)
            assert await read(ctx) == error, sent
        assert [await receiver.byte(ctx, IDENTITY + i) for i in range(22)] == list(range(22))
        # Two wait; the third is lost, whatever becomes free in the middle of it.
        await send(ctx, frame(b"first") + frame(b"second") + frame(b"third")[:5])
        assert await read(ctx) == _whole(b"first")
        await send(ctx, frame(b"third")[5:] + frame(b"fourth"))
        assert [await read(ctx) for _ in range(3)] == [_whole(b"second"), _whole(b"fourth"), None]

    receiver.run(script)


def test_broken_bytes_and_silence():
    receiver = _Receiver()

    async def script(ctx):
        await receiver.send(ctx, frame(b"truncated")[:6])
        await receiver.ticks(ctx, 3)
        assert await receiver.read(ctx) is None
        await receiver.ticks(ctx, 2)
        assert await receiver.read(ctx) == Error.TIMEOUT
        await receiver.send(ctx, b"~good"[:3])
        await receiver.broken(ctx)
        await receiver.send(ctx, b"od")
        await receiver.ticks(ctx, 5)
        assert await receiver.read(ctx) == Error.LINE
        await receiver.broken(ctx)
        await receiver.send(ctx, frame(b"good"))
        assert [await receiver.read(ctx) for _ in range(2)] == [Error.LINE, _whole(b"good")]
        await receiver.ticks(ctx, 9)
        assert await receiver.read(ctx) is None

    receiver.run(script)


def test_frames_are_checked_and_answered_in_frames():
    """Frames, good and damaged, from a buffer in Python; replies go to a line that is not always free."""
    config = CoreConfig(store_depth=64, spike_depth=32)
    executor = Executor(config)
    rng = random.Random(3)
    good = [bytes([2, 1, session, 0x7E]) for session in (0x7D, 0x7E, 0x5D)] + [bytes([2, 2, 0xFF, 0])]
    identity = bytes(range(0x70, 0x70 + 22))
    damaged = [one[:at] + bytes([one[at] ^ 1 << rng.randrange(8)]) + one[at + 1 :] for at, one in
               ((rng.randrange(8), _whole(rng.choice(good))) for _ in range(12))]  # fmt: skip
    sent = [_whole(one) for one in good] + damaged
    got = bytearray()

    async def clocks(ctx):
        while True:
            ctx.set(executor.phase, (ctx.get(executor.phase) + 1) % 16)
            await ctx.tick()

    async def feed(ctx):
        for one in sent:
            memory = (one + bytes(256))[:IDENTITY] + identity + bytes(256)
            memory = memory[:LENGTH] + bytes([len(one)])
            ctx.set(executor.valid, 1)
            while True:
                _, _, done, addr = await ctx.tick().sample(executor.release, executor.addr)
                if done:
                    break
                ctx.set(executor.byte, memory[addr])
        ctx.set(executor.valid, 0)

    async def take(ctx):
        while True:
            ctx.set(executor.tx.ready, rng.random() < 0.4)
            _, _, valid, ready, byte = await ctx.tick().sample(
                executor.tx.valid, executor.tx.ready, executor.tx.payload
            )
            if valid and ready:
                got.append(byte)

    sim = Simulator(executor)
    sim.add_clock(1e-6)
    sim.add_testbench(feed)
    sim.add_testbench(clocks, background=True)
    sim.add_testbench(take, background=True)
    sim.run()
    unframer = Unframer()
    replies = unframer.feed(bytes(got))
    assert unframer.bad == 0 and b"".join(frame(one) for one in replies) == bytes(got)
    for one, reply in zip(good[:3], replies, strict=False):
        assert reply == one + bytes(3) + identity
    assert replies[3] == good[3] + bytes(3 + 6)
    assert replies[4:] == [bytes([2, 0, 0, 0, Error.CRC, 0, 0])] * len(damaged)


class _Loading:
    """A loader behind bytes, whose words go into ``memory``, by (space, address)."""

    def __init__(self, config, image=()):
        self.module = ByteLoader(config, image)
        self.loader, self.port, self.load = self.module.loader, self.module.port, self.module.load
        self.memory = {}
        self._widths = (config.store_width, config.spike_width)

    async def send(self, ctx, kind, data, space=0):
        port = self.port
        ctx.set(port.kind, kind)
        ctx.set(port.space, space)
        for byte in data:
            ctx.set(port.bytes.payload, byte)
            ctx.set(port.bytes.valid, 1)
            while True:
                _, _, taken, valid, place = await ctx.tick().sample(
                    port.bytes.ready, self.load.valid, self.load.payload
                )
                self._take(ctx, valid, place)
                if taken:
                    break
        ctx.set(port.bytes.valid, 0)
        for _ in range(60):
            _, _, valid, place = await ctx.tick().sample(self.load.valid, self.load.payload)
            self._take(ctx, valid, place)

    def _take(self, ctx, valid, place):
        if valid and ctx.get(self.load.ready):
            self.memory[place.space, place.addr] = place.data & ((1 << self._widths[place.space]) - 1)

    async def pulse(self, ctx, name):
        ctx.set(getattr(self.port, name), 1)
        await ctx.tick()
        ctx.set(getattr(self.port, name), 0)

    async def write(self, ctx, space, address, data):
        await self.pulse(ctx, "clear")
        await self.send(ctx, Kind.ADDRESS, address.to_bytes(3, "little"), space)
        await self.pulse(ctx, "begin")
        await self.send(ctx, Kind.DATA, data, space)

    async def commit(self, ctx, crc):
        await self.pulse(ctx, "clear")
        await self.send(ctx, Kind.CHECK, crc.to_bytes(4, "little"))
        await self.pulse(ctx, "commit")
        return bool(ctx.get(self.loader.program_valid))


@pytest.mark.parametrize("wide", [False, True], ids=["wide-store", "wide-spikes"])
def test_only_a_whole_image_in_order_is_valid(wide):
    shape = {"output_lanes": 16, "event_lanes": 4, "neuron_units": 2, "time_lanes": 16, "max_planes": 8} if wide else {}
    config = CoreConfig(store_depth=300 if wide else 6, spike_depth=32, **shape)
    rng = random.Random(4)
    image = [rng.getrandbits(config.store_width) for _ in range(6)]
    data = image_bytes(config, image)
    size = len(data) // 6
    crc = zlib.crc32(data)
    spikes = [rng.getrandbits(config.spike_width) for _ in range(2)]
    bench = _Loading(config)
    loader = bench.loader

    async def script(ctx):
        async def valid(*parts, check=crc):
            for address, some in parts:
                await bench.write(ctx, 0, address, some)
                assert not ctx.get(loader.program_valid)
            return await bench.commit(ctx, check)

        ctx.set(bench.load.ready, 1)
        assert not await bench.commit(ctx, 0)  # the CRC of nothing
        assert await valid((0, data))
        assert [bench.memory.pop((0, i)) for i in range(6)] == image
        assert await bench.commit(ctx, crc) and not await bench.commit(ctx, crc ^ 1) and await bench.commit(ctx, crc)
        spike_bytes = b"".join(word.to_bytes(config.spike_width // 8, "little") for word in spikes)
        await bench.write(ctx, 1, 30, spike_bytes)
        assert [bench.memory.pop((1, 30 + i)) for i in range(2)] == spikes and not bench.memory
        assert ctx.get(loader.program_valid) and await bench.commit(ctx, crc)
        assert await valid((0, data[: 2 * size]), (2, data[2 * size :]))
        assert not await valid((0, data[:size]))
        assert not await valid(
            (0, data[: 2 * size]), (3, data[3 * size :]), check=zlib.crc32(data[: 2 * size] + data[3 * size :])
        )
        await bench.write(ctx, 0, 0, data[: 2 * size])
        await bench.write(ctx, 1, 2, spike_bytes)
        assert not await valid((2, data[2 * size :]))  # another write came between
        assert not await valid((0, data[:-1]))
        assert await valid((0, data))
        # Beyond the memory: said, dropped, and no program.
        bench.memory.clear()
        await bench.write(ctx, 0, config.store_depth - 1, data[: 2 * size])
        assert ctx.get(loader.outside) and list(bench.memory) == [(0, config.store_depth - 1)]
        for space, address in ((0, 0x10000), (0, 0x800000), (1, 32)):
            bench.memory.clear()
            await bench.write(ctx, space, address, data[:size] if not space else spike_bytes)
            assert ctx.get(loader.outside) and not bench.memory
        assert await valid((0, data))
        # A memory that takes nothing.
        ctx.set(bench.load.ready, 0)
        await bench.write(ctx, 0, 0, data[:size])
        assert ctx.get(loader.turning) and ctx.get(bench.load.valid)
        await bench.pulse(ctx, "clear")
        await ctx.tick()
        assert not ctx.get(loader.turning) and not await bench.commit(ctx, zlib.crc32(data[:size]))

    _simulate(bench.module, script)


def test_image_of_the_bitstream_is_valid_at_once():
    config = CoreConfig(store_depth=64, spike_depth=32)
    image = [1, 2, 3]
    bench = _Loading(config, image)

    async def script(ctx):
        assert ctx.get(bench.loader.program_valid)
        assert await bench.commit(ctx, zlib.crc32(image_bytes(config, image)))
        assert not await bench.commit(ctx, zlib.crc32(image_bytes(config, [1, 2])))

    _simulate(bench.module, script)


def test_damaged_frames_are_not_read_by_the_host():
    unframer = Unframer()
    good = frame(b"good one")
    bad = frame(b"bad one").replace(b"b", b"d")
    assert unframer.feed(good[3:] + bad + good[:4]) == [] and unframer.bad == 2
    assert unframer.feed(good[4:] + b"\x7e\x7d\x7e") == [b"good one"] and unframer.bad == 3
    assert SimpleNamespace(**vars(unframer))._rest == b""
