"""The core: a processor that runs any compiled network that fits it."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth import Cat, Const, EnableInserter, Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from refmodel.attention_config import AttentionConfig
from refmodel.config import CoreConfig
from refmodel.layout import LoadKind

from .attention import AttentionUnit
from .fetch import Fetch
from .layouts import load_layout, param_layout, probe_layout, store_write_layout
from .neuron_stage import NeuronStage
from .readout import Readout
from .sequencer import LayerSequencer
from .shortcut_queue import ShortcutQueue
from .spike_memory import SpikeMemory
from .state_memory import StateMemory
from .store import ResidentStore
from .stream_memory import StreamMemory
from .stream_store import StreamStore, words_signature
from .synapses import SynapseArray
from .writeback import WriteBack


class Core(wiring.Component):
    """Resting store, sequencer, fetch, synapse array, neurons, combiner, spike memory.

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
        m.submodules.fetch = fetch = Fetch(config=cfg)
        m.submodules.spikes = spikes = SpikeMemory(config=cfg)
        m.submodules.array = array = SynapseArray(config=cfg)
        m.submodules.neurons = neurons = NeuronStage(config=cfg)
        m.submodules.writeback = writeback = WriteBack(config=cfg)
        m.submodules.readout = readout = Readout(config=cfg)
        m.submodules.shortcuts = shortcuts = ShortcutQueue(config=cfg)
        descriptor = seq.descriptor

        # Host
        host_write = Signal()
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

        # Sequencer and store
        in_flight, written = Signal(4), Signal()
        last_drained = Signal(init=1)
        m.d.comb += [
            store.read.en.eq(seq.store_en),
            store.read.addr.eq(seq.store_addr),
            seq.store_data.eq(store.read.data),
            written.eq(last_drained & (in_flight == 0)),
            seq.slab_idle.eq(written),
            seq.scanned.eq(readout.scanned),
            readout.scan.eq(seq.scan),
            readout.classes_last.eq(seq.classes_last),
            array.run_half.eq(seq.run_half),
            array.write_lane.eq(seq.weight_lane),
            array.write_half.eq(seq.load_half),
            array.write_addr.eq(seq.weight_addr),
            array.write_data.eq(store.read.data),
            neurons.run_half.eq(seq.run_half),
            neurons.write_half.eq(seq.load_half),
            neurons.write_data.eq(store.read.data[: param_layout(cfg).size]),
        ]
        unit_bits = (cfg.neuron_units - 1).bit_length()
        m.d.comb += neurons.write_index.eq(seq.param_index >> unit_bits)
        for unit in range(cfg.neuron_units):
            m.d.comb += neurons.write_unit[unit].eq(seq.param_en & (seq.param_index[:unit_bits] == unit))

        # Fetch
        for mine, port in zip(fetch.reads, spikes.reads, strict=True):
            wiring.connect(m, mine, port)
        m.d.comb += [
            fetch.descriptor.eq(descriptor),
            fetch.start.eq(seq.slab_start),
            array.bundle.eq(fetch.bundle),
            shortcuts.push.eq(fetch.shortcut_push),
            shortcuts.push_word.eq(Cat(port.data for port in fetch.reads)),
        ]
        m.d.sync += in_flight.eq(in_flight + fetch.drained - writeback.finished)
        with m.If(seq.slab_start):
            m.d.sync += last_drained.eq(0)
        with m.Elif(fetch.drained_last):
            m.d.sync += last_drained.eq(1)

        # Neurons and write-back
        m.d.comb += [
            neurons.restart.eq(seq.slab_start),
            neurons.drained.eq(array.drained),
            neurons.sums.eq(array.sums),
            array.slot_active.eq(neurons.slot_active),
            array.slot_step.eq(neurons.slot_step),
            array.slot_index.eq(neurons.slot_index),
            *(neurons.mode[name].eq(descriptor[name]) for name, _ in neurons.mode.shape()),
            neurons.last_step.eq(descriptor.last_step),
            neurons.chunks_last.eq(descriptor.chunks_last),
            neurons.shortcut_word.eq(shortcuts.word),
            shortcuts.pop.eq(neurons.shortcut_pop | writeback.shortcut_pop),
            writeback.descriptor.eq(descriptor),
            writeback.restart.eq(seq.slab_start),
            writeback.word_soon.eq(neurons.word_soon),
            writeback.word_valid.eq(neurons.word_valid),
            writeback.word.eq(neurons.word),
            writeback.shortcut_word.eq(shortcuts.word),
            shortcuts.clear.eq(seq.slab_start),
            readout.write_en.eq(neurons.out_valid & neurons.out_end & descriptor.readout),
            readout.group.eq(descriptor.result_group),
            readout.index.eq(neurons.out_index),
            readout.membranes.eq(neurons.membranes),
        ]

        streams = None
        if cfg.stream_width:
            m.submodules.streams = streams = StreamMemory(config=cfg)
            m.d.comb += [
                streams.restart.eq(seq.slab_start),
                streams.slot.eq(neurons.slot),
                streams.tile_end.eq(neurons.tile_end),
                streams.reads.eq(descriptor.reads_stream),
                streams.keeps.eq(descriptor.keeps_stream),
                streams.read_base.eq(descriptor.stream_in),
                streams.write_base.eq(descriptor.stream_out),
                streams.step.eq(descriptor.stream_step),
                streams.values.eq(neurons.inputs),
                neurons.stream.eq(streams.read),
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

        # Spike memory: the write-back while running, the host while idle; a clock later, long before it is read.
        write_en = Signal()
        write_addr = Signal(cfg.spike_addr_bits, reset_less=True)
        write_data = Signal(cfg.spike_width, reset_less=True)
        m.d.sync += [
            write_en.eq(writeback.write_en | (host_write & self.load.payload.space)),
            write_addr.eq(Mux(writeback.write_en, writeback.write_addr, self.load.payload.addr)),
            write_data.eq(Mux(writeback.write_en, writeback.write_data, self.load.payload.data)),
        ]
        for write in (spikes.write, fetch.write):
            m.d.comb += [write.en.eq(write_en), write.addr.eq(write_addr), write.data.eq(write_data)]
        if self._probe:
            stalled = store.stall if isinstance(store, StreamStore) else Const(0)
            self._add_probe(m, fetch, neurons, writeback, seq, streams, state, stalled)
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
        self,
        m: Module,
        fetch: Fetch,
        neurons: NeuronStage,
        writeback: WriteBack,
        seq: LayerSequencer,
        streams: StreamMemory | None,
        state: StateMemory | None,
        stalled: Value,
    ) -> None:
        cfg = self._config
        trace = Signal(probe_layout(cfg))
        m.d.comb += self.probe.eq(trace)
        for k in range(cfg.event_lanes):
            event = fetch.bundle.events[k]
            m.d.comb += [
                trace[f"event{k}_valid"].eq(event.valid),
                trace[f"event{k}_weight"].eq(Mux(event.valid, event.weight, 0)),
                trace[f"event{k}_mask"].eq(Mux(event.valid, event.mask, 0)),
            ]
        for u in range(cfg.neuron_units):
            m.d.comb += [
                trace[f"neuron{u}_spike"].eq(neurons.out_valid & neurons.spikes[u]),
                trace[f"neuron{u}_membrane"].eq(Mux(neurons.out_valid, neurons.membranes[u], 0)),
            ]
        if streams is not None:
            m.d.comb += [
                trace.stream_valid.eq(streams.write_en),
                trace.stream_addr.eq(Mux(streams.write_en, streams.write_addr, 0)),
            ]
            for u in range(cfg.neuron_units):
                m.d.comb += trace[f"stream{u}_value"].eq(Mux(streams.write_en, streams.values[u], 0))
        if state is not None:
            m.d.comb += [
                trace.state_valid.eq(state.write_en),
                trace.state_addr.eq(Mux(state.write_en, state.write_addr, 0)),
            ]
            for u in range(cfg.neuron_units):
                m.d.comb += trace[f"state{u}_value"].eq(Mux(state.write_en, state.values[u], 0))
        loading = (seq.load_kind != LoadKind.NONE) & ~stalled
        m.d.comb += [
            trace.array_op.eq(fetch.bundle.op),
            trace.neuron_valid.eq(neurons.out_valid),
            trace.write_valid.eq(writeback.write_en),
            trace.write_addr.eq(Mux(writeback.write_en, writeback.write_addr, 0)),
            trace.write_data.eq(Mux(writeback.write_en, writeback.write_data, 0)),
            trace.load_kind.eq(Mux(stalled, LoadKind.NONE, seq.load_kind)),
            trace.load_addr.eq(Mux(loading, seq.load_addr, 0)),
            trace.done.eq(seq.done),
        ]
