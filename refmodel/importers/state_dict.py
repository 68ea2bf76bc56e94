"""Import of PyTorch state_dicts: parameters from the file, the network's structure from a family's description."""

from __future__ import annotations

import os
from pathlib import Path

from ..builder import NetworkBuilder
from ..errors import ImportRefused, NetworkError
from .families import FAMILIES, Chain, Family
from .families.files import read_family
from .imported import Imported
from .state_dict_blocks import BlockMaker
from .state_dict_files import read_tensors
from .state_dict_networks import NetworkMaker
from .state_dict_options import Choices, StateDictOptions
from .state_dict_parameters import Parameters


def import_state_dict(
    path: str | os.PathLike[str],
    family: str | Family | None = None,
    options: StateDictOptions | None = None,
    *,
    name: str | None = None,
) -> Imported:
    """The network of a .safetensors, .pt or .pth file.

    family: a name of :data:`refmodel.importers.families.FAMILIES`, the path of a description of one's own (.toml), a
    :class:`Family`, or None to find it by the parameters' names.  name: of the network; by default the file's.
    Raises ImportRefused, one line, for all that is wrong with file, family or options.
    """
    path = Path(path)
    tensors = read_tensors(path)
    parameters = Parameters(tensors.arrays)
    notes = list(tensors.notes)
    try:
        return _import(path, parameters, family, options or StateDictOptions(), notes, name or path.stem)
    except (ImportRefused, NetworkError) as error:
        text = str(error)
        raise ImportRefused(text if text.startswith(str(path)) else f"{path}: {text}") from error


def _import(
    path: Path,
    parameters: Parameters,
    family: str | Family | None,
    options: StateDictOptions,
    notes: list[str],
    name: str,
) -> Imported:
    found = _family(parameters, family, notes)
    choices = Choices(found, options, notes)
    sew = any(block.join == "sew" for block in found.body.blocks)
    if options.connect is not None and not sew:
        raise ImportRefused(f"connect {options.connect}: family {found.name!r} has no connect function; leave it out")
    connect = choices.value("connect", "ADD", "SEW blocks connect by {}, the most usual.") if sew else "ADD"
    steps = choices.value("steps", found.steps, "T = {} steps, the family's; --steps changes it.")
    plif = _has_plif(found, parameters)
    norm, neuron = choices.norm(), choices.neuron(plif)
    label = f"SEW-{connect}" if sew else found.title.split(",")[0]
    spec = choices.input(_input_channels(found, parameters))
    meta: dict[str, object] = {"source": {"file": path.name, "family": found.name}}
    builder = NetworkBuilder(name, int(steps), spec, neuron=neuron, family=label, meta=meta)
    layers = BlockMaker(builder, parameters, norm, neuron, plif, connect)
    NetworkMaker(found, layers, choices).make()
    counters = parameters.finish(found.name)
    if any(name.endswith(".branch") for name in layers.names):
        notes.append(
            "IAND of these bottlenecks is A * (1 - S), as their code computes it; the SEW paper has (1 - A) * S."
        )
    if layers.fused:
        notes.append(
            f"Convolutions with a bias and no batch norm were taken as fused: {len(layers.fused)}, "
            f"the first is {layers.fused[0]!r}."
        )
    if counters:
        notes.append(counters)
    builder.meta["assumptions"] = list(notes)
    network = builder.build()
    statistics = {
        "parameters_read": len(parameters), "layers": len(network.layers), "blocks": len(layers.blocks),
        "neurons_with_own_tau": layers.taus,
    }  # fmt: skip
    return Imported(network, tuple(notes), tuple(layers.blocks), statistics)


def _family(parameters: Parameters, family: str | Family | None, notes: list[str]) -> Family:
    """The family that was named, or the only one whose names fit best."""
    if isinstance(family, Family):
        return family
    if family is not None and family.endswith(".toml"):
        return read_family(family)
    if family is not None:
        if family not in FAMILIES:
            raise ImportRefused(
                f"no family {family!r}; there are {', '.join(FAMILIES)}, and descriptions of one's own end in .toml"
            )
        return FAMILIES[family]
    scores = {name: _score(one, parameters) for name, one in FAMILIES.items()}
    best = max(scores.values())
    fitting = [name for name, score in scores.items() if score == best]
    if best == 0:
        raise ImportRefused(
            f"the parameters' names fit none of the families {', '.join(FAMILIES)}; give --family, or describe your own"
        )
    if len(fitting) > 1:
        raise ImportRefused(f"the parameters' names fit several families; give --family {' or '.join(fitting)}")
    notes.append(f"The parameters' names are those of family {fitting[0]!r} ({FAMILIES[fitting[0]].source}).")
    return FAMILIES[fitting[0]]


def _score(family: Family, parameters: Parameters) -> int:
    """How many of the names that mark a family are there; 0 if one is missing."""
    body, marks = family.body, [f"{family.readout}.weight"]
    if isinstance(body, Chain):
        first = f"{body.at(0)}."
        marks.append(f"{parameters.find(body.unit.conv, 'weight', first)}.weight")
        marks.append(_mark(family, parameters, f"{body.at(1)}."))
    else:
        marks.append(_mark(family, parameters, f"{body.at(0, 0)}."))
        second = f"{body.at(1, 0)}."
        projection = body.blocks[0].projection
        if projection is not None and parameters.any_below(body.at(1, 0)):
            marks.append(f"{parameters.find(projection.conv, 'weight', second)}.weight")
    if family.stem is not None:
        for unit in family.stem.units:
            marks.append(f"{parameters.find(unit.conv, 'weight')}.weight")
            if unit.norm:
                marks.append(f"{parameters.find(unit.norm, 'running_var')}.running_var")
    if family.input_norm:
        marks.append(f"{family.input_norm}.running_var")
    return len(marks) if all(mark in parameters for mark in marks) else 0


def _mark(family: Family, parameters: Parameters, prefix: str) -> str:
    """The weight of a block's last convolution, of the first kind of block that has it."""
    names = [
        f"{parameters.find(block.branch[-1].conv, 'weight', prefix)}.weight" for block in family.body.blocks
    ]  # fmt: skip
    return next((name for name in names if name in parameters), names[-1])


def _has_plif(family: Family, parameters: Parameters) -> bool:
    """Whether the family's first neuron has a parameter of its own."""
    if isinstance(family.body, Chain):
        path = parameters.find(family.body.unit.neuron, "w", f"{family.body.at(0)}.")
        return f"{path}.w" in parameters
    paths = [unit.neuron for unit in family.stem.units if unit.neuron] if family.stem else []
    prefix = f"{family.body.at(0, 0)}."
    for block in family.body.blocks:
        paths += [parameters.find(unit.neuron, "w", prefix) for unit in block.branch if unit.neuron]
    return any(f"{path}.w" in parameters for path in paths)


def _input_channels(family: Family, parameters: Parameters) -> int:
    """Channels that the first convolution reads."""
    if isinstance(family.body, Chain):
        path = parameters.find(family.body.unit.conv, "weight", f"{family.body.at(0)}.")
    elif family.stem is not None:
        path = parameters.find(family.stem.units[0].conv, "weight")
    else:
        raise ImportRefused(f"family {family.name!r}: blocks in stages need a stem")
    shape = parameters.shape(f"{path}.weight")
    if len(shape) != 4:
        raise ImportRefused(
            f"parameter '{path}.weight' must have shape [?, ?, ?, ?], a convolution's weights, not {list(shape)}"
        )
    return shape[1]
