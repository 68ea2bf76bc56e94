"""Core shapes that the system tests run on."""

from __future__ import annotations

from refmodel.attention_config import AttentionConfig
from refmodel.config import CoreConfig

#: Small cores that differ in every parameter; each must run any network that fits.
SHAPES = {
    "k2p8": CoreConfig(spike_depth=2048, store_depth=2048, bank_depth=512),
    "k4p16": CoreConfig(
        event_lanes=4,
        output_lanes=16,
        neuron_units=4,
        bank_lanes=4,
        fifo_depth=4,
        bank_depth=256,
        spike_depth=2048,
        store_depth=2048,
    ),
    "k1p4t2": CoreConfig(
        event_lanes=1,
        output_lanes=4,
        time_lanes=2,
        neuron_units=1,
        bank_lanes=1,
        fifo_depth=1,
        max_planes=6,
        bank_depth=1024,
        spike_depth=4096,
        store_depth=8192,
    ),
    "k4p8t1": CoreConfig(
        event_lanes=4,
        output_lanes=8,
        time_lanes=1,
        neuron_units=1,
        bank_lanes=4,
        fifo_depth=3,
        max_planes=6,
        bank_depth=256,
        spike_depth=4096,
        store_depth=4096,
    ),
    "k8p8t8": CoreConfig(
        event_lanes=8,
        output_lanes=8,
        time_lanes=8,
        neuron_units=1,
        bank_lanes=8,
        bank_depth=128,
        spike_depth=1024,
        store_depth=2048,
        result_depth=32,
    ),
    "k2p8streams": CoreConfig(
        fifo_depth=3, spike_depth=2048, store_depth=2048, bank_depth=512, stream_width=22, stream_depth=8192
    ),
    "k2p8all": CoreConfig(
        fifo_depth=3,
        spike_depth=4096,
        store_depth=8192,
        bank_depth=1024,
        stream_width=22,
        stream_depth=16384,
        leak_bits=8,
        rectify=True,
        signed_sources=True,
        source_planes=16,
        attention=AttentionConfig(steps=16, channels=32, hidden=8, count_bits=14, weight_depth=1024),
    ),
    "k4p16all": CoreConfig(
        event_lanes=4,
        output_lanes=16,
        neuron_units=4,
        bank_lanes=4,
        fifo_depth=4,
        spike_depth=4096,
        store_depth=8192,
        bank_depth=512,
        acc_width=20,
        stream_width=20,
        stream_depth=16384,
        leak_bits=10,
        rectify=True,
        signed_sources=True,
        source_planes=12,
    ),
    "k2p16": CoreConfig(
        event_lanes=2,
        output_lanes=16,
        time_lanes=4,
        neuron_units=2,
        bank_lanes=2,
        bank_depth=512,
        spike_depth=2048,
        store_depth=2048,
    ),
}
