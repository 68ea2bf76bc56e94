"""The networks of the reference vectors, described layer by layer.

All are chains.  ``unit`` divides every weight and bias: a membrane that a leak halves n times needs 2^n in it, so
that an integer shift loses nothing (a leak of 1/4 needs 4^n).  Thresholds are multiples of what is left of the unit,
so that membranes stand exactly at their threshold now and then.
"""

from __future__ import annotations

from typing import Any

Description = dict[str, Any]

EVENTS = {"shape": [2, 6, 5], "bits": 1, "static": False, "signed": False}
FRAMES = {"shape": [2, 6, 5], "bits": 2, "static": False, "signed": False}
IMAGE = {"shape": [2, 6, 5], "bits": 3, "static": True, "signed": False}


def neuron(kind: str, threshold: float, **options: Any) -> Description:
    """Fires at H >= threshold and resets to 0 unless told otherwise."""
    return {"kind": kind, "threshold": threshold, "reset": "hard", "fire": "ge", **options}


def _lif(threshold: float, tau: float = 2.0, decay_input: bool = False, **options: Any) -> Description:
    return neuron("lif", threshold, tau=tau, decay_input=decay_input, **options)


def _decay(threshold: float, decay: float = 0.25, **options: Any) -> Description:
    """u = decay * u * (1 - s) + x, s = [u > threshold]: MS-ResNet and MLF."""
    return neuron("decay", threshold, decay=decay, **{"fire": "gt", **options})


def conv(name: str, channels: int = 4, **options: Any) -> Description:
    return {"op": "conv", "name": name, "channels": channels, **options}


def block(op: str, number: int, **options: Any) -> Description:
    return {"op": op, "name": f"block{number}", **options}


def down(op: str, number: int, channels: int = 6, **options: Any) -> Description:
    """A block that halves the image and projects its shortcut."""
    return block(op, number, stride=2, channels=channels, projection=True, **options)


def network(name: str, cell: Description, layers: list[Description], **options: Any) -> Description:
    made = {"name": name, "steps": 4, "input": EVENTS, "neuron": cell, **options}
    readout = {"op": "readout", **made.pop("readout", {})}
    return {**made, "layers": [*layers, readout]}


def _neurons(name: str, cell: Description, **options: Any) -> Description:
    """Two layers of one neuron."""
    return network(name, cell, [conv("conv1"), conv("conv2")], **{"input": FRAMES, **options})


def _bottlenecks(op: str, **options: Any) -> list[Description]:
    plain = {"convs": 3, "width": 4, **options}
    return [conv("stem", 8), block(op, 1, **plain), down(op, 2, 8, **plain), block(op, 3, **plain)]


def _basics(op: str, **options: Any) -> list[Description]:
    return [conv("stem"), block(op, 1, **options), down(op, 2, **options), block(op, 3, **options)]


#: Systems that SpikingJelly has.
SPIKINGJELLY = [
    _neurons("if-hard", neuron("if", 4), steps=6),
    _neurons("if-soft", neuron("if", 5, reset="soft"), steps=6),
    _neurons("if-reset-below", neuron("if", 4, v_reset=-3.0), steps=6),
    _neurons("if-reset-above", neuron("if", 6, v_reset=2.0), steps=6, input=IMAGE),
    _neurons("if-signed-frames", neuron("if", 6), steps=5, input={**FRAMES, "bits": 3, "signed": True}),
    _neurons("if-flat-readout", neuron("if", 4), steps=5, readout={"flatten": True}),
    _neurons("lif-hard", _lif(128), steps=6, unit=32),
    _neurons("lif-soft", _lif(160, reset="soft"), steps=6, unit=32),
    _neurons("lif-reset-below", _lif(96, v_reset=-64.0), steps=6, unit=32),
    _neurons("lif-reset-above", _lif(160, v_reset=5.0), steps=6, unit=32),
    _neurons("lif-tau4", _lif(256, 4.0), unit=64, input=EVENTS),
    _neurons("lif-tau4-3", _lif(192, 4.0 / 3.0), unit=64, input=EVENTS),
    _neurons("lif-decay-hard", _lif(48, decay_input=True), steps=6, unit=32),
    _neurons("lif-decay-soft", _lif(48, decay_input=True, reset="soft"), steps=6, unit=32),
    _neurons("lif-decay-reset-below", _lif(48, decay_input=True, v_reset=-32.0), steps=5, unit=32),
    _neurons("lif-decay-reset-above", _lif(64, decay_input=True, v_reset=3.0), steps=5, unit=32),
    _neurons("plif-half", neuron("plif", 48, w=0.0), steps=6, unit=32),
    _neurons("plif-quarter", neuron("plif", 40.3, w=-1.0986122886681098), unit=64, input=EVENTS, ties=False),
    network(
        "plain", neuron("if", 4), [conv("stem"), block("plain", 1), block("plain", 2, stride=2, channels=6)],
        steps=5,
    ),
    network(
        "pools", neuron("if", 8),
        [
            conv("stem", kernel=5, stride=1), {"op": "maxpool", "name": "max", "kernel": 3, "stride": 2, "padding": 1},
            conv("conv2"), {"op": "avgpool", "name": "mean", "kernel": 2, "stride": 1}, conv("conv3", unit=4),
        ],
        steps=5, input={**FRAMES, "shape": [2, 8, 7]},
    ),
    network("spiking-resnet", neuron("if", 3), _basics("spiking_resnet"), steps=5),
    network("spiking-resnet-lif", _lif(32, decay_input=True), _basics("spiking_resnet"), unit=16, current=16),
    network("spiking-resnet-bottleneck", neuron("if", 3), _bottlenecks("spiking_resnet"), steps=5),
    network("sew-add", neuron("if", 4), [*_basics("sew", combine="add"), block("sew", 4, combine="add")], most=3),
    network("sew-and", neuron("if", 2), _basics("sew", combine="and"), steps=5),
    network("sew-iand", neuron("if", 4), _basics("sew", combine="iand"), steps=5),
    network(
        "sew-add-plif", neuron("plif", 16, w=0.0),
        [
            conv("stem"), block("sew", 1, combine="add"), {"op": "maxpool", "name": "pool", "kernel": 2},
            block("sew", 2, combine="add"),
        ],
        unit=16, most=2,
    ),
    network("sew-add-bottleneck", neuron("if", 3), _bottlenecks("sew", combine="add"), most=2),
    network("sew-and-bottleneck", neuron("if", 1), _bottlenecks("sew", combine="and"), steps=5),
    network("sew-iand-swapped-bottleneck", neuron("if", 3), _bottlenecks("sew", combine="iand_swapped"), steps=5),
    network(
        "sew-resnet", neuron("if", 6),
        [
            conv("stem", kernel=5, stride=2), {"op": "maxpool", "name": "pool", "kernel": 3, "stride": 2, "padding": 1},
            block("sew", 1, combine="add"), block("sew", 2, combine="add"), down("sew", 3, 8, combine="add"),
            block("sew", 4, combine="add"),
        ],
        input={"shape": [3, 16, 16], "bits": 3, "static": True, "signed": False}, most=3, least=3,
    ),
    network(
        "ms-resnet", _lif(64, 4.0 / 3.0),
        [
            conv("stem", keeps_stream=True), down("ms", 1, 4, projection_unit=1), block("ms", 2),
            down("ms", 3, 6, projection_unit=1), down("ms", 4, 8, projection_unit=1),
        ],
        unit=64, input={**EVENTS, "shape": [2, 8, 8]},
    ),
]  # fmt: skip

_MLF = _decay(48, levels=[112, 176])

#: Systems that it lacks.
EQUATIONS = [
    _neurons("if-above", neuron("if", 4, fire="gt"), steps=6),
    _neurons("lif-above", _lif(128, fire="gt"), steps=6, unit=32),
    _neurons("lif-decay-soft-above", _lif(48, decay_input=True, reset="soft", fire="gt"), steps=6, unit=32),
    _neurons("if-no-reset", neuron("if", 6, reset="none"), steps=6),
    _neurons("lif-no-reset", _lif(128, reset="none"), steps=6, unit=32),
    _neurons("step", neuron("step", 2), steps=5),
    network("dense", neuron("if", 5), [{"op": "dense", "name": "dense", "channels": 8}], steps=5),
    network("sew-or", neuron("if", 5), _basics("sew", combine="or"), steps=5, least=3),
    network("sew-clamp", neuron("if", 5), _basics("sew", combine="clamp"), steps=5, least=3),
    network("sew-iand-bottleneck", neuron("if", 4), _bottlenecks("sew", combine="iand"), steps=5),
    network("sew-or-bottleneck", neuron("if", 4), _bottlenecks("sew", combine="or"), steps=5),
    network("or-spiking-resnet", _lif(32, decay_input=True), _basics("sew", combine="or"), unit=16, least=3),
    network(
        "ms-identity", _decay(64), [conv("stem", keeps_stream=True), block("ms", 1), block("ms", 2), block("ms", 3)],
        unit=64,
    ),
    network(
        "ms-projection", _decay(64),
        [conv("stem", keeps_stream=True), down("ms", 1, projection_unit=1), block("ms", 2)],
        unit=64,
    ),
    network(
        "ms-pool-projection", _decay(64),
        [
            conv("stem", keeps_stream=True), {**down("ms", 1), "projection": "pool", "projection_unit": 4},
            block("ms", 2),
        ],
        unit=64, input={**EVENTS, "shape": [2, 6, 6]},
    ),
    network(
        "ms-bottleneck", _decay(64),
        [
            conv("stem", 8, keeps_stream=True), block("ms", 1, convs=3, width=4),
            down("ms", 2, 8, convs=3, width=4, projection_unit=1),
        ],
        unit=64,
    ),
    network(
        "membrane-shortcut", _lif(32),
        [{"op": "dense", "name": "stem", "channels": 8}, *(block("membrane", n, current=48) for n in (1, 2, 3))],
        unit=8,
    ),
    *(
        _neurons(f"mlf-{1 + len(levels)}", _decay(48, levels=levels), unit=64)
        for levels in ([], [112], [112, 176], [112, 176, 240])
    ),
    network("ds-resnet", _MLF, _basics("ds"), unit=64, most=6),
    network("ds-bottleneck", _MLF, _bottlenecks("ds"), unit=64, most=6),
    network(
        "pools-of-counts", neuron("if", 5),
        [
            conv("stem"), block("sew", 1, combine="add"), {"op": "maxpool", "name": "max", "kernel": 2, "stride": 1},
            conv("conv2"), {"op": "sumpool", "name": "sum", "kernel": 2}, conv("conv3"),
        ],
        steps=5,
    ),
]  # fmt: skip
