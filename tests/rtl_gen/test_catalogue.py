# amaranth: UnusedElaboratable=no
"""Every component makes Verilog of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from refmodel.errors import ConfigError
from rtl_gen.catalogue import component_names, component_verilog, make_component

SMALL = {"store_depth": "64", "spike_depth": "64"}
#: A second set of parameters of each component.
OTHERS = {
    "AttentionPools": {"attention.steps": "4", "attention.channels": "8"},
    "AttentionUnit": {"attention.hidden": "4", "attention.weight_depth": "256"},
    "Core": {**SMALL, "event_lanes": "1", "output_lanes": "4", "neuron_units": "1", "weight_bits": "4"},
    "EventScanner": {"fifo_depth": "4", "weight_bits": "4", "time_lanes": "8"},
    "Fetch": {"event_lanes": "4", "scan_words": "8"},
    "FlashReader": {"addresses": "0x100000,0x100010", "wake": "100"},
    "FlashStream": {"store_fifo": "4"},
    "GateEngine": {"attention.hidden": "4", "attention.weight_depth": "256"},
    "GateMultiplier": {"width": "20", "gated_width": "16"},
    "LIFArray": {"neurons": "6", "units": "2", "leak_shifts": "1,3", "reset": "soft", "shortcut": "1"},
    "LayerSequencer": {"output_lanes": "16", "neuron_units": "4", "bank_lanes": "4"},
    "MembraneShortcutMux": {"width": "5"},
    "NeuronStage": {"neuron_units": "1", "leak_terms": "0"},
    "NeuronUnit": {"acc_width": "12", "membrane_width": "12", "leak_terms": "1"},
    "OccupancyMemory": {"scan_words": "8"},
    "Readout": {"result_depth": "100"},
    "ResidentStore": {"store_depth": "64"},
    "ScanFront": {"event_lanes": "4"},
    "SdramController": {"output_lanes": "16", "bank_lanes": "4", "neuron_units": "4"},
    "ShortcutQueue": {"max_planes": "2"},
    "SpikeCombiner": {"width": "5"},
    "SpikeMemory": {"spike_depth": "64"},
    "StateMemory": {"state_depth": "64", "membrane_width": "20"},
    "StreamMemory": {"stream_width": "12", "stream_depth": "64"},
    "StreamStore": {"store_fifo": "4"},
    "SynapseArray": {"weight_bits": "2", "event_lanes": "1"},
    "SynapseStage": {"bank_lanes": "4", "event_lanes": "4"},
    "WindowWalker": {"dim_bits": "5", "spike_depth": "64"},
    "WriteBack": {"time_lanes": "8", "max_planes": "3"},
    "WriteBus": {"engines": "4"},
}


@pytest.mark.parametrize("name", component_names())
def test_verilog(name: str) -> None:
    """Both sets of parameters make a module of that name, each time the same one, and they differ."""
    texts = [component_verilog(name, settings) for settings in ({}, OTHERS[name])]
    for text in texts:
        assert re.search(rf"^module {name}\(", text, re.MULTILINE)
    assert texts[0] != texts[1]
    assert component_verilog(name, OTHERS[name]) == texts[1]


def test_every_component_is_described() -> None:
    """docs/components.md has a section and an example command for each."""
    page = (Path(__file__).parents[2] / "docs" / "components.md").read_text()
    text, _ = page.split("\n## What they take\n")
    sections = re.findall(r"^### (\w+)$", text, re.MULTILINE)
    assert sorted(sections) == component_names()
    commands = dict(
        re.findall(r"^    skipspike generate --component (\w+)((?: --set \S+=\S+)+) -o out$", text, re.MULTILINE)
    )
    assert sorted(commands) == component_names()
    for name, options in commands.items():
        make_component(name, dict(re.findall(r"--set (\S+?)=(\S+)", options)))


def test_parameters_as_text() -> None:
    soft = component_verilog("LIFArray", {"leak_shifts": "", "leak_factor": "7,3", "neurons": "0x4"})
    assert soft != component_verilog("LIFArray", {"leak_shifts": "", "neurons": "4"})
    assert component_verilog("LIFArray", {"leak_factor": ""}) == component_verilog("LIFArray")
    attention = {"stream_width": "16", "attention.steps": "8", "attention.channels": "8"}
    assert component_verilog("NeuronUnit", attention) != component_verilog("NeuronUnit", {"stream_width": "16"})
    assert make_component("Core", {"rectify": "true"}).signature == make_component("Core").signature


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("Nothing", {}, "no component 'Nothing'; there are AttentionPools"),
        ("Core", {"lanes": "3"}, "Core has no parameter 'lanes'"),
        ("Core", {"event_lanes": "two"}, "event_lanes must be a whole number"),
        ("Core", {"event_lanes": "3"}, "event_lanes must be a power of two"),
        ("Core", {"rectify": "2"}, "rectify must be 1 or 0, not '2'"),
        ("Core", {"attention.steps": "8"}, "attention needs stream_width > 0"),
        ("Core", {"attention.depth": "8"}, "Core has no parameter 'attention.depth'"),
        ("Core", {"store": "paper"}, "store must be one of bram, spram"),
        ("StateMemory", {"state_depth": "0"}, "needs state_depth > 0"),
        ("StreamMemory", {"stream_width": "0"}, "needs stream_width > 0"),
        ("FlashReader", {"addresses": "0x1000000"}, "flash addresses must be 0 to 16777215"),
        ("SpikeCombiner", {"width": "0"}, "SpikeCombiner: width must be at least 1"),
        ("LIFArray", {"width": "8"}, "LIFArray has no parameter 'width'; it takes bias, input_width"),
        ("LIFArray", {"leak_shifts": "1,x"}, "leak_shifts must be a whole number, not 'x'"),
        ("LIFArray", {"leak_factor": "7"}, "leak_factor must be two whole numbers"),
        ("LIFArray", {"reset": "off"}, "reset must be 'hard'"),
    ],
)
def test_refusals(name: str, settings: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_component(name, settings)
