"""The verbs ``import`` and ``export``: networks from and to other programs' files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from refmodel import modelfile
from refmodel.errors import ImportRefused
from refmodel.importers.families import FAMILIES
from refmodel.importers.imported import Imported
from refmodel.importers.state_dict import import_state_dict
from refmodel.importers.state_dict_options import StateDictOptions
from refmodel.network import Network

from .models import open_network
from .progress import Progress, silent

NIR = ".nir"
STATE_DICTS = (".safetensors", ".pt", ".pth")
#: Options that only one kind of file has.
NIR_ONLY = ("dt", "if_r", "li", "signed")
SHARED = ("steps", "fire", "reset", "input_shape", "input_bits", "input_scale", "events")


def families() -> dict[str, Any]:
    """The families of PyTorch models: ``families``, list of ``name``, ``title``, ``source``, ``steps``, ``connect``
    (whether its blocks have a connect function) and ``events``."""
    return {
        "families": [
            {
                "name": one.name,
                "title": one.title,
                "source": one.source,
                "steps": one.steps,
                "connect": any(block.join == "sew" for block in one.body.blocks),
                "events": one.events,
            }
            for one in FAMILIES.values()
        ]
    }


def import_network(
    file: str | Path,
    *,
    out: str | Path,
    family: str | None = None,
    name: str | None = None,
    progress: Progress = silent,
    **options: Any,
) -> dict[str, Any]:
    """Read a network from another program's file and write it to ``out`` (.skn).

    The suffix says what ``file`` is: a NIR graph (.nir) or a PyTorch state_dict (.safetensors, .pt, .pth).
    ``family``: of a state_dict, see :func:`refmodel.importers.state_dict.import_state_dict`.  ``options``: those of
    :class:`refmodel.importers.state_dict_options.StateDictOptions`, or of
    :func:`refmodel.importers.nir_import.import_nir`, whose ``static`` is ``events`` the other way round; None is as
    if not given.  Nothing is written if anything is refused (SkipspikeError).
    """
    path, target = Path(file), Path(out)
    if target.suffix != modelfile.SUFFIX:
        raise ImportRefused(f"a network is written to a {modelfile.SUFFIX} file; use '{target.stem}{modelfile.SUFFIX}'")
    given = {key: value for key, value in options.items() if value is not None}
    progress(f"reading {path.name}", None)
    if path.suffix == NIR:
        found = _from_nir(path, family, name, given)
    elif path.suffix.lower() in STATE_DICTS:
        _refuse_options(path, given, [key for key in given if key in NIR_ONLY], NIR)
        found = import_state_dict(path, family, StateDictOptions(**given), name=name)
    else:
        raise ImportRefused(f"{path}: a file to import ends in {NIR}, {', '.join(STATE_DICTS)}, not '{path.suffix}'")
    progress("writing", None)
    modelfile.save(found.network, target)
    return {"file": str(target), "source": str(path), **_described(found)}


def _from_nir(path: Path, family: str | None, name: str | None, given: dict[str, Any]) -> Imported:
    from refmodel.importers.nir_import import import_nir

    wrong = [key for key in given if key not in (*SHARED, *NIR_ONLY)]
    _refuse_options(path, given, (["family"] if family is not None else []) + wrong, ", ".join(STATE_DICTS))
    if "events" in given:
        given["static"] = not given.pop("events")
    return import_nir(path, name=name, **given)


def _refuse_options(path: Path, given: dict[str, Any], wrong: list[str], suffixes: str) -> None:
    if wrong:
        raise ImportRefused(f"{path}: option --{wrong[0].replace('_', '-')} is for files that end in {suffixes}")


def _described(found: Imported) -> dict[str, Any]:
    """An imported network as the verb's result."""
    net = found.network
    return {
        "network": net.name,
        "family": net.family,
        "steps": net.steps,
        "input": {"shape": list(net.input.shape), "bits": net.input.bits, "static": net.input.static},
        "layers": len(net.layers),
        "parameters": net.parameters,
        "blocks": [
            {"name": one.name, "kind": one.kind, "shortcut": one.shortcut, "layers": list(one.layers)}
            for one in found.blocks
        ],
        "structure": [
            {"kind": kind, "shortcut": shortcut, "count": count}
            for (kind, shortcut), count in Counter((one.kind, one.shortcut) for one in found.blocks).items()
        ],
        "assumptions": list(found.assumptions),
        "statistics": dict(found.statistics),
    }


def export_network(network: str | Path, *, out: str | Path, dt: float | None = None) -> dict[str, Any]:
    """Write a float network as a NIR graph (.nir); what NIR cannot say is refused by name (SkipspikeError).

    ``dt``: seconds a step, 1e-4 by default.
    """
    from refmodel.importers.nir_export import export_nir

    target = Path(out)
    if target.suffix != NIR:
        raise ImportRefused(f"a NIR graph is written to a {NIR} file; use '{target.stem}{NIR}'")
    net = open_network(network)
    if not isinstance(net, Network):
        raise ImportRefused(f"network {net.name!r} is quantised, and NIR has no integers; export the float network")
    notes = export_nir(net, target, **({} if dt is None else {"dt": dt}))
    return {"file": str(target), "network": net.name, "layers": len(net.layers), "notes": list(notes)}
