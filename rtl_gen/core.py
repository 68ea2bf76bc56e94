"""The core: a processor that runs any compiled network that fits it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_

from amaranth import Cat, Const, EnableInserter, Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from refmodel.attention_config import AttentionConfig
from refmodel.config import CoreConfig
from refmodel.layout import LoadKind, probe_prefix

from .attention import AttentionUnit
from .engine import Engine
from .layouts import load_layout, probe_layout, store_write_layout
from .neuron_stage import NeuronStage
from .readout import Readout
from .sequencer import LayerSequencer
from .state_memory import StateMemory
from .store import ResidentStore
from .stream_store import StreamStore, words_signature
from .write_bus import WriteBus


class Core(wiring.Component):
    """Resting store, sequencer, readout, and engines: fetch, synapse array, neurons, combiner, spike memory.

    Load a program image into space 0 and an input into space 1 through ``load`` (only while
    idle), pulse ``start``, wait for ``done``, read the results.  Another program runs after
    loading another image: the gateware stays.

    Parameters
    ----------
    config: the core's shape.
    store_init: program image to initialise the resting store with.
    probe: expose the trace of every clock in ``probe`` (see ``refmodel.layout.probe_fields``).

    Members
    -------
    load: stream of :func:`rtl_gen.layouts.load_layout`; ready while idle.
    start, busy, done: run control; ``done`` is a pulse.
    resume: with a state memory, in the clock of ``start``: membranes begin where the last run left them, if there
        was one since the reset; else, and with 0, they begin anew.  drifted: since they did, one has left the inner
        half of its range (:mod:`refmodel.state_bounds`); valid from ``done`` on.
    result_addr, result_data: potentials by class, one clock latency, valid while idle.
    argmax: class with the largest potential, lowest index first.
    clocks: clocks from ``start`` to ``done`` of the last run.

    A core whose program lies outside the FPGA (``store`` "flash" or "sdram") has besides:

    words: the program's words, see :func:`rtl_gen.stream_store.words_signature`.
    stalls: clocks of the last run in which the sequencer stood still because a word had not come.
    store_write: stream of ``addr`` and ``data``, what the host loads into space 0; with "flash" there is none, and
    such words are dropped.
    """

    def __init__(self, *, config: CoreConfig, store_init: Sequence[int] = (), probe: bool = False):
        self._config = config
        self._store_init = tuple(store_init)
        self._probe = probe
        result_bits = max(1, (config.result_depth - 1).bit_length())
        members = {
            "load": In(stream.Signature(load_layout(config))),
            "start": In(1),
            "busy": Out(1),
            "done": Out(1),
            "result_addr": In(result_bits),
            "result_data": Out(signed(config.membrane_width)),
            "argmax": Out(result_bits),
            "clocks": Out(32),
        }
        if config.streams_store:
            members |= {"words": Out(words_signature(config)), "stalls": Out(32)}
        if config.store == "sdram":
            members["store_write"] = Out(stream.Signature(store_write_layout(config)))
        if config.state_depth:
            members |= {"resume": In(1), "drifted": Out(1)}
        if probe:
            members["probe"] = Out(probe_layout(config).size)
        super().__init__(members)

    @property
    def config(self) -> CoreConfig:
        """The core's shape."""
        return self._config

    def elaborate(self, platform) -> Module:
        m = Module()
        cfg = self._config

        seq = LayerSequencer(config=cfg)
        store = StreamStore(cfg) if cfg.streams_store else ResidentStore(cfg, init=self._store_init)
        m.submodules.store = store
        m.submodules.sequencer = EnableInserter(~store.stall)(seq) if isinstance(store, StreamStore) else seq
        engines = [
            Engine(m, config=cfg, number=number, seq=seq, store_data=store.read.data) for number in range(cfg.engines)
        ]
        m.submodules.bus = bus = WriteBus(config=cfg)
        m.submodules.readout = readout = Readout(config=cfg)
        neurons, descriptor = engines[0].neurons, seq.descriptor  # readouts run on engine 0

        # Host
        host_write, written = Signal(), Signal()
        m.d.comb += [
            self.load.ready.eq(~seq.busy),
            host_write.eq(self.load.valid & self.load.ready),
            seq.start.eq(self.start),
            self.busy.eq(seq.busy),
            self.done.eq(seq.done),
            *(() if cfg.streams_store else (self.clocks.eq(seq.clocks),)),
            readout.addr.eq(self.result_addr),
            self.result_data.eq(readout.value),
            self.argmax.eq(readout.argmax),
        ]
        if isinstance(store, StreamStore):
            self._add_stream_store(m, store, seq)
        else:
            m.d.comb += [
                store.write.we.eq(host_write & ~self.load.payload.space),
                store.write.addr.eq(self.load.payload.addr),
                store.write.data.eq(self.load.payload.data),
            ]

        # Sequencer, store and readout
        m.d.comb += [
            store.read.en.eq(seq.store_en),
            store.read.addr.eq(seq.store_addr),
            seq.store_data.eq(store.read.data),
            written.eq(Cat(engine.idle for engine in engines).all()),
            seq.slab_idle.eq(written),
            seq.scanned.eq(readout.scanned),
            readout.scan.eq(seq.scan),
            readout.classes_last.eq(seq.classes_last),
            readout.write_en.eq(neurons.out_valid & neurons.out_end & descriptor.readout),
            readout.group.eq(descriptor.result_group),
            readout.index.eq(neurons.out_index),
            readout.membranes.eq(neurons.membranes),
        ]

        state = None
        if cfg.state_depth:
            m.submodules.state = state = StateMemory(config=cfg)
            resumes, left = Signal(), Signal()  # left: a run has left its membranes
            begins = self.start & ~seq.busy
            m.d.comb += [
                state.restart.eq(seq.slab_start),
                state.base.eq(descriptor.state),
                state.keeps.eq(descriptor.keeps_state),
                state.resumes.eq(resumes),
                state.next.eq(neurons.begun),
                state.write.eq(neurons.keep),
                state.values.eq(neurons.kept),
                neurons.begins.eq(state.read),
                state.anew.eq(begins & ~(self.resume & left)),
                self.drifted.eq(state.drifted),
            ]
            with m.If(begins):
                m.d.sync += [resumes.eq(self.resume & left), left.eq(0)]
            with m.Elif(seq.done):
                m.d.sync += left.eq(1)

        if cfg.attention is not None:
            self._add_attention(m, cfg.attention, seq, neurons, store, written)

        # Spike memories: the engines while running, the host while idle.
        m.d.comb += [
            bus.host.en.eq(host_write & self.load.payload.space),
            bus.host.addr.eq(self.load.payload.addr),
            bus.host.data.eq(self.load.payload.data),
        ]
        if cfg.engines > 1:
            m.d.comb += [bus.start.eq(engines[0].start), bus.turns_last.eq(descriptor.turns_last)]
        for number, engine in enumerate(engines):
            writeback = engine.writeback
            m.d.comb += [
                bus.engines[number].en.eq(writeback.write_en),
                bus.engines[number].addr.eq(writeback.write_addr),
                bus.engines[number].data.eq(writeback.write_data),
            ]
            if cfg.engines > 1:
                m.d.comb += writeback.turn.eq(bus.turn[number])
            engine.add_write(m, bus.write)
        if self._probe:
            stalled = store.stall if isinstance(store, StreamStore) else Const(0)
            self._add_probe(m, engines, seq, state, stalled)
        return m

    def _add_stream_store(self, m: Module, store: StreamStore, seq: LayerSequencer) -> None:
        """Words from outside, and the clocks that the sequencer, which stands still without them, does not count."""
        begins = Signal()
        m.d.comb += [
            begins.eq(self.start & ~seq.busy),
            store.begin.eq(begins),
            self.clocks.eq(seq.clocks + self.stalls),
        ]
        wiring.connect(m, wiring.flipped(self.words), store.words)
        with m.If(store.stall):
            m.d.sync += self.stalls.eq(self.stalls + 1)
        with m.If(begins):
            m.d.sync += self.stalls.eq(0)
        if self._config.store == "sdram":
            to_store = ~seq.busy & ~self.load.payload.space
            m.d.comb += [
                self.store_write.valid.eq(self.load.valid & to_store),
                self.store_write.payload.addr.eq(self.load.payload.addr),
                self.store_write.payload.data.eq(self.load.payload.data),
                self.load.ready.eq(~seq.busy & (self.load.payload.space | self.store_write.ready)),
            ]

    def _add_attention(
        self,
        m: Module,
        sizes: AttentionConfig,
        seq: LayerSequencer,
        neurons: NeuronStage,
        store: ResidentStore | StreamStore,
        written: Signal,
    ) -> None:
        """The unit that pools inputs, and makes gates when a slab that ``computes`` has ended."""
        d = seq.descriptor
        m.submodules.attention = unit = AttentionUnit(config=self._config, attention=sizes)
        ending = Signal()  # the slab has started and not been seen to end: the descriptor is its own
        m.d.comb += [
            unit.restart.eq(seq.slab_start),
            unit.slot.eq(neurons.slot),
            unit.values.eq(neurons.inputs),
            unit.score.eq(d.score),
            unit.channel.eq(d.pool_channels),
            unit.first.eq(d.pool_first),
            unit.base.eq(d.pool_base),
            unit.lanes_last.eq(d.lanes_last),
            unit.last_step.eq(d.last_step),
            unit.chunks_last.eq(d.chunks_last),
            neurons.gates.eq(unit.gates),
            unit.word_en.eq(seq.load_kind == LoadKind.ATTENTION),
            unit.word_addr.eq(seq.word_index),
            unit.word_data.eq(store.read.data),
            unit.compute.eq(written & ending & d.computes),
            seq.slab_idle.eq(written & (~d.computes | (~ending & ~unit.busy))),
        ]
        with m.If(seq.slab_start):
            m.d.sync += ending.eq(1)
        with m.Elif(written):
            m.d.sync += ending.eq(0)

    def _add_probe(
        self, m: Module, engines: Sequence[Engine], seq: LayerSequencer, state: StateMemory | None, stalled: Value
    ) -> None:
        cfg = self._config
        trace = Signal(probe_layout(cfg))
        m.d.comb += self.probe.eq(trace)
        for number, engine in enumerate(engines):
            engine.add_probe(m, trace, probe_prefix(number))
        if state is not None:
            m.d.comb += [
                trace.state_valid.eq(state.write_en),
                trace.state_addr.eq(Mux(state.write_en, state.write_addr, 0)),
            ]
            for u in range(cfg.neuron_units):
                m.d.comb += trace[f"state{u}_value"].eq(Mux(state.write_en, state.values[u], 0))
        loading = (seq.load_kind != LoadKind.NONE) & ~stalled
        writes = [engine.writeback for engine in engines]
        m.d.comb += [
            trace.write_valid.eq(Cat(write.write_en for write in writes).any()),
            trace.write_addr.eq(reduce(or_, (Mux(write.write_en, write.write_addr, 0) for write in writes))),
            trace.write_data.eq(reduce(or_, (Mux(write.write_en, write.write_data, 0) for write in writes))),
            trace.load_kind.eq(Mux(stalled, LoadKind.NONE, seq.load_kind)),
            trace.load_addr.eq(Mux(loading, seq.load_addr, 0)),
            trace.done.eq(seq.done),
        ]
