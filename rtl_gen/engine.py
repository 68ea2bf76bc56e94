"""Engine: what computes some output rows, from the walk over their windows to finished spike words."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring

from refmodel.config import CoreConfig
from refmodel.layout import probe_prefix

from .fetch import Fetch
from .layouts import descriptor_layout, param_layout
from .neuron_stage import NeuronStage
from .sequencer import LayerSequencer
from .shortcut_queue import ShortcutQueue
from .spike_memory import SpikeMemory
from .stream_memory import StreamMemory
from .synapses import SynapseArray
from .writeback import WriteBack


class Engine:
    """The parts of engine ``number``: submodules of a core's module, connected with each other and the sequencer.

    Each engine has copies of the spike memory, its occupancy, the weights and the parameters, all written alike, and a
    stream memory for its own rows.  Names of the parts begin with ``e1_`` and so on but for engine 0.

    One of several engines keeps a descriptor of its own, and what it loads passes a register: wires between engines
    are long.

    Attributes
    ----------
    start: the engine starts.  idle: it has written its last word.
    write: a word of this engine's rows for all spike memories (``refmodel.layout.probe_fields`` shows it as written).
    """

    def __init__(self, m: Module, *, config: CoreConfig, number: int, seq: LayerSequencer, store_data: Value) -> None:
        self._config, self._seq = config, seq
        prefix = probe_prefix(number)
        self.fetch = Fetch(config=config)
        self.spikes = SpikeMemory(config=config)
        self.array = SynapseArray(config=config)
        self.neurons = NeuronStage(config=config)
        self.writeback = WriteBack(config=config)
        self.shortcuts = ShortcutQueue(config=config)
        self.streams = StreamMemory(config=config) if config.stream_width else None
        parts = {
            "fetch": self.fetch,
            "spikes": self.spikes,
            "array": self.array,
            "neurons": self.neurons,
            "writeback": self.writeback,
            "shortcuts": self.shortcuts,
            **({} if self.streams is None else {"streams": self.streams}),
        }
        for name, part in parts.items():
            m.submodules[prefix + name] = part
        self.idle = Signal(name=f"{prefix}idle")
        self.start: Value = seq.slab_start
        self._descriptor: data.View = seq.descriptor
        if config.engines > 1:
            self.start = Signal(name=f"{prefix}start")
            self._descriptor = Signal(descriptor_layout(config), name=f"{prefix}descriptor", reset_less=True)
            m.d.sync += self.start.eq(seq.engine_starts[number] & seq.descriptor.enable)
            with m.If(seq.engine_starts[number]):
                m.d.sync += self._descriptor.eq(seq.descriptor)
        self._add_progress(m, prefix)
        self._add_loads(m, prefix, store_data)
        self._add_fetch(m)
        # Readouts run on engine 0.
        self._add_neurons(m, self._descriptor.readout if number == 0 else Const(0))

    def _add_progress(self, m: Module, prefix: str) -> None:
        """What is under way: drained and not yet written."""
        in_flight = Signal(4, name=f"{prefix}in_flight")
        last_drained = Signal(init=1, name=f"{prefix}last_drained")
        m.d.comb += self.idle.eq(last_drained & (in_flight == 0))
        m.d.sync += in_flight.eq(in_flight + self.fetch.drained - self.writeback.finished)
        with m.If(self.start):
            m.d.sync += last_drained.eq(0)
        with m.Elif(self.fetch.drained_last):
            m.d.sync += last_drained.eq(1)

    def _add_loads(self, m: Module, prefix: str, store_data: Value) -> None:
        """Weights and parameters, which all engines load alike; the register may be one for all of them."""
        cfg, seq, array, neurons = self._config, self._seq, self.array, self.neurons
        unit_bits = (cfg.neuron_units - 1).bit_length()
        loads = {
            "write_lane": (array.write_lane, seq.weight_lane),
            "write_half": (array.write_half, seq.load_half),
            "write_addr": (array.write_addr, seq.weight_addr),
            "write_data": (array.write_data, store_data[: len(array.write_data)]),
            "param_index": (neurons.write_index, seq.param_index >> unit_bits),
            "param_data": (neurons.write_data.as_value(), store_data[: param_layout(cfg).size]),
            "param_unit": (
                neurons.write_unit,
                Cat(seq.param_en & (seq.param_index[:unit_bits] == unit) for unit in range(cfg.neuron_units)),
            ),
        }
        for name, (port, value) in loads.items():
            if cfg.engines > 1:
                late = Signal.like(port, name=f"{prefix}{name}", reset_less=True)
                m.d.sync += late.eq(value)
                value = late
            m.d.comb += port.eq(value)
        m.d.comb += [
            array.run_half.eq(seq.run_half),
            neurons.run_half.eq(seq.run_half),
            neurons.write_half.eq(array.write_half),
        ]

    def _add_fetch(self, m: Module) -> None:
        """Spike memory, fetch, array, and the way of shortcut words."""
        fetch, shortcuts = self.fetch, self.shortcuts
        for mine, port in zip(fetch.reads, self.spikes.reads, strict=True):
            wiring.connect(m, mine, port)
        m.d.comb += [
            fetch.descriptor.eq(self._descriptor),
            fetch.start.eq(self.start),
            self.array.bundle.eq(fetch.bundle),
            shortcuts.push.eq(fetch.shortcut_push),
            shortcuts.push_word.eq(Cat(port.data for port in fetch.reads)),
        ]

    def _add_neurons(self, m: Module, readout: Value) -> None:
        """Neurons, write-back and membrane streams."""
        d, array, neurons, shortcuts, writeback = (
            self._descriptor, self.array, self.neurons, self.shortcuts, self.writeback,
        )  # fmt: skip
        m.d.comb += [
            neurons.restart.eq(self.start),
            neurons.drained.eq(array.drained),
            neurons.sums.eq(array.sums),
            array.slot_active.eq(neurons.slot_active),
            array.slot_step.eq(neurons.slot_step),
            array.slot_index.eq(neurons.slot_index),
            *(neurons.mode[name].eq(d[name]) for name, _ in neurons.mode.shape() if name != "readout"),
            neurons.mode.readout.eq(readout),
            neurons.last_step.eq(d.last_step),
            neurons.chunks_last.eq(d.chunks_last),
            neurons.shortcut_word.eq(shortcuts.word),
            shortcuts.pop.eq(neurons.shortcut_pop | writeback.shortcut_pop),
            writeback.descriptor.eq(d),
            writeback.descriptor.readout.eq(readout),
            writeback.restart.eq(self.start),
            writeback.word_soon.eq(neurons.word_soon),
            writeback.word_valid.eq(neurons.word_valid),
            writeback.word.eq(neurons.word),
            writeback.shortcut_word.eq(shortcuts.word),
            shortcuts.clear.eq(self.start),
        ]
        streams = self.streams
        if streams is not None:
            m.d.comb += [
                streams.restart.eq(self.start),
                streams.slot.eq(neurons.slot),
                streams.tile_end.eq(neurons.tile_end),
                streams.reads.eq(d.reads_stream),
                streams.keeps.eq(d.keeps_stream),
                streams.read_base.eq(d.stream_in),
                streams.write_base.eq(d.stream_out),
                streams.step.eq(d.stream_step),
                streams.values.eq(neurons.inputs),
                neurons.stream.eq(streams.read),
            ]

    def add_write(self, m: Module, write: data.View) -> None:
        """Connect what is written to the spike memories."""
        for port in (self.spikes.write, self.fetch.write):
            m.d.comb += [port.en.eq(write.en), port.addr.eq(write.addr), port.data.eq(write.data)]

    def add_probe(self, m: Module, trace: data.View, prefix: str) -> None:
        """Show the engine's events and neurons in the fields of ``trace`` that begin with ``prefix``."""
        cfg, fetch, neurons, streams = self._config, self.fetch, self.neurons, self.streams
        for k in range(cfg.event_lanes):
            event = fetch.bundle.events[k]
            m.d.comb += [
                trace[f"{prefix}event{k}_valid"].eq(event.valid),
                trace[f"{prefix}event{k}_weight"].eq(Mux(event.valid, event.weight, 0)),
                trace[f"{prefix}event{k}_mask"].eq(Mux(event.valid, event.mask, 0)),
            ]
        for u in range(cfg.neuron_units):
            m.d.comb += [
                trace[f"{prefix}neuron{u}_spike"].eq(neurons.out_valid & neurons.spikes[u]),
                trace[f"{prefix}neuron{u}_membrane"].eq(Mux(neurons.out_valid, neurons.membranes[u], 0)),
            ]
        m.d.comb += [
            trace[f"{prefix}array_op"].eq(fetch.bundle.op),
            trace[f"{prefix}neuron_valid"].eq(neurons.out_valid),
        ]
        if streams is not None:
            m.d.comb += [
                trace[f"{prefix}stream_valid"].eq(streams.write_en),
                trace[f"{prefix}stream_addr"].eq(Mux(streams.write_en, streams.write_addr, 0)),
            ]
            for u in range(cfg.neuron_units):
                value = Mux(streams.write_en, streams.values[u], 0)
                m.d.comb += trace[f"{prefix}stream{u}_value"].eq(value)
