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
from boards.link.buffer import FIRST, FrameBuffer
from boards.link.crc import ONES, Crc32
from boards.link.deframer import Deframer
from boards.link.framer import Framer
from boards.link.loader import Kind, Loader
from boards.link.protocol import CRC_BYTES, FRAME_BYTES, Error, image_bytes
from refmodel.config import CoreConfig

ESCAPED = bytes([0x7E, 0x7D, 0x5E, 0x5D, 0x20])


def _simulate(top, bench, *, clock=True):
    sim = Simulator(top)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()


def test_crc_is_zlibs():
    crc = Crc32()
    data = random.Random(1).randbytes(9)

    async def bench(ctx):
        ctx.set(crc.step, 1)
        for byte in data + zlib.crc32(data).to_bytes(4, "little"):
            assert not ctx.get(crc.good)
            ctx.set(crc.byte, byte)
            await ctx.tick().repeat(8)
        assert ctx.get(crc.good)
        ctx.set(crc.step, 0)
        ctx.set(crc.clear, 1)
        await ctx.tick()
        ctx.set(crc.clear, 0)
        ctx.set(crc.step, 1)
        for byte in data:
            ctx.set(crc.byte, byte)
            await ctx.tick().repeat(8)
        assert ctx.get(crc.value) == zlib.crc32(data) ^ ONES
        ctx.set(crc.hold, 1)
        await ctx.tick().repeat(8)
        assert ctx.get(crc.value) == zlib.crc32(data) ^ ONES
        ctx.set(crc.hold, 0)
        ctx.set(crc.rotate, 1)
        await ctx.tick().repeat(8)
        assert ctx.get(crc.value) != zlib.crc32(data) ^ ONES
        await ctx.tick().repeat(24)
        assert ctx.get(crc.value) == zlib.crc32(data) ^ ONES

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
        await ctx.tick().repeat(3)
        return ctx.get(self.buffer.byte)

    async def read(self, ctx):
        """Contents of a frame, or its error; None if there is none."""
        await ctx.tick()
        if not ctx.get(self.buffer.valid):
            return None
        end = await self.byte(ctx, 0)
        got = Error(end) if end < 8 else bytes([await self.byte(ctx, addr) for addr in range(FIRST, end)])
        ctx.set(self.buffer.release, 1)
        await ctx.tick()
        ctx.set(self.buffer.release, 0)
        return got


def test_frames_arrive_whole_or_not_at_all():
    rng = random.Random(2)
    longest = rng.randbytes(FRAME_BYTES - CRC_BYTES)
    receiver = _Receiver()

    async def script(ctx):
        send, read = receiver.send, receiver.read
        for contents in (b"four", ESCAPED, longest):
            await send(ctx, frame(contents))
            assert await read(ctx) == contents
            assert await read(ctx) is None
        for sent, error in (
            (frame(b"abc"), Error.LENGTH),  # less than a header
            (frame(longest + b"x"), Error.LENGTH),
            (frame(longest + bytes(30)), Error.LENGTH),
            (frame(b"")[:4], None),
            (b"\x7e", Error.CRC),  # the flag that ends it
            (b"\x7e\x7e", None),
            (b"\x7dgarbage\x7e", Error.CRC),
            (frame(b"abort")[:-1] + b"\x7d\x7e", Error.CRC),
            (frame(b"damaged").replace(b"g", b"k"), Error.CRC),
        ):
            await send(ctx, sent)
            assert await read(ctx) == error, sent
        assert [await receiver.byte(ctx, 256 - 22 + i) for i in range(22)] == list(range(22))
        # Two wait; the third is lost, whatever becomes free in the middle of it.
        await send(ctx, frame(b"first") + frame(b"second") + frame(b"third")[:5])
        assert await read(ctx) == b"first"
        await send(ctx, frame(b"third")[5:] + frame(b"fourth"))
        assert [await read(ctx) for _ in range(3)] == [b"second", b"fourth", None]

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
        assert [await receiver.read(ctx) for _ in range(2)] == [Error.LINE, b"good"]
        await receiver.ticks(ctx, 9)
        assert await receiver.read(ctx) is None

    receiver.run(script)


def test_framer():
    rng = random.Random(3)
    framer = Framer()
    sent = [b"x", ESCAPED * 2, rng.randbytes(40)]
    got = bytearray()

    async def feed(ctx):
        for contents in sent:
            for index, byte in enumerate(contents):
                ctx.set(framer.i.payload, {"byte": byte, "last": index == len(contents) - 1})
                ctx.set(framer.i.valid, 1)
                await ctx.tick().until(framer.i.ready)
                ctx.set(framer.i.valid, 0)
                await ctx.tick().repeat(rng.randrange(1, 4))

    async def take(ctx):
        while len(got) < sum(len(frame(contents)) for contents in sent):
            ctx.set(framer.tx.ready, rng.random() < 0.4)
            _, _, valid, ready, byte = await ctx.tick().sample(framer.tx.valid, framer.tx.ready, framer.tx.payload)
            if valid and ready:
                got.append(byte)

    sim = Simulator(framer)
    sim.add_clock(1e-6)
    sim.add_testbench(feed)
    sim.add_testbench(take)
    sim.run_until(0.02)
    assert bytes(got) == b"".join(frame(contents) for contents in sent)
    assert Unframer().feed(bytes(got)) == sent


class _Loading:
    """A loader whose words go into ``memory``, by (space, address)."""

    def __init__(self, config, image=()):
        self.loader = Loader(config, image=image)
        self.memory = {}
        self._widths = (config.store_width, config.spike_width)

    async def send(self, ctx, kind, data, space=0):
        port = self.loader.port
        ctx.set(port.kind, kind)
        ctx.set(port.space, space)
        for byte in data:
            ctx.set(port.bytes.payload, byte)
            ctx.set(port.bytes.valid, 1)
            while True:
                _, _, taken, valid, place = await ctx.tick().sample(
                    port.bytes.ready, self.loader.load.valid, self.loader.load.payload
                )
                self._take(ctx, valid, place)
                if taken:
                    break
        ctx.set(port.bytes.valid, 0)
        for _ in range(30):
            _, _, valid, place = await ctx.tick().sample(self.loader.load.valid, self.loader.load.payload)
            self._take(ctx, valid, place)

    def _take(self, ctx, valid, place):
        if valid and ctx.get(self.loader.load.ready):
            self.memory[place.space, place.addr] = place.data & ((1 << self._widths[place.space]) - 1)

    async def pulse(self, ctx, name):
        ctx.set(getattr(self.loader.port, name), 1)
        await ctx.tick()
        ctx.set(getattr(self.loader.port, name), 0)

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

        ctx.set(loader.load.ready, 1)
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
        ctx.set(loader.load.ready, 0)
        await bench.write(ctx, 0, 0, data[:size])
        assert ctx.get(loader.turning) and ctx.get(loader.load.valid)
        await bench.pulse(ctx, "clear")
        assert not ctx.get(loader.turning) and not await bench.commit(ctx, zlib.crc32(data[:size]))

    _simulate(loader, script)


def test_image_of_the_bitstream_is_valid_at_once():
    config = CoreConfig(store_depth=64, spike_depth=32)
    image = [1, 2, 3]
    bench = _Loading(config, image)

    async def script(ctx):
        assert ctx.get(bench.loader.program_valid)
        assert await bench.commit(ctx, zlib.crc32(image_bytes(config, image)))
        assert not await bench.commit(ctx, zlib.crc32(image_bytes(config, [1, 2])))

    _simulate(bench.loader, script)


def test_damaged_frames_are_not_read_by_the_host():
    unframer = Unframer()
    good = frame(b"good one")
    bad = frame(b"bad one").replace(b"b", b"d")
    assert unframer.feed(good[3:] + bad + good[:4]) == [] and unframer.bad == 2
    assert unframer.feed(good[4:] + b"\x7e\x7d\x7e") == [b"good one"] and unframer.bad == 3
    assert SimpleNamespace(**vars(unframer))._rest == b""
