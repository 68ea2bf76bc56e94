"""Every component makes Verilog of its own."""

from __future__ import annotations

import pytest

from refmodel.errors import ConfigError
from rtl_gen.catalogue import component_names, component_verilog, make_component

SMALL = {"store_depth": "64", "spike_depth": "64"}
WIDTH_ONLY = ("MembraneShortcutMux", "SpikeCombiner")


@pytest.mark.parametrize("name", component_names())
def test_verilog(name: str) -> None:
    settings = {"width": "5"} if name in WIDTH_ONLY else SMALL
    if name == "StreamMemory":
        settings = SMALL | {"stream_width": "12", "stream_depth": "64"}
    text = component_verilog(name, settings)
    assert f"module {name}(" in text


def test_same_parameters_give_the_same_text() -> None:
    assert component_verilog("WindowWalker") == component_verilog("WindowWalker")
    assert component_verilog("SpikeCombiner", {"width": "8"}) != component_verilog("SpikeCombiner", {"width": "9"})


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("Nothing", {}, "no component 'Nothing'; there are Core"),
        ("Core", {"lanes": "3"}, "Core has no parameter 'lanes'"),
        ("Core", {"event_lanes": "two"}, "event_lanes must be a whole number"),
        ("Core", {"event_lanes": "3"}, "event_lanes must be a power of two"),
        ("StreamMemory", {}, "needs stream_width > 0"),
        ("SpikeCombiner", {"width": "0"}, "width must be at least 1"),
    ],
)
def test_refusals(name: str, settings: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_component(name, settings)
