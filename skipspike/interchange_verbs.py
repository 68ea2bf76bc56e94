"""The verbs ``import`` and ``export``: their options, and their results as text."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from .command import Json, Net
from .console import show, table


class IfR(StrEnum):
    """What the r of NIR's IF means."""

    unit = "unit"
    scaled = "scaled"


class Li(StrEnum):
    """What a last LI node becomes."""

    refuse = "refuse"
    sum = "sum"


class Fire(StrEnum):
    """When a neuron fires."""

    ge = "ge"
    gt = "gt"


class Reset(StrEnum):
    """What a spike does to the membrane."""

    hard = "hard"
    soft = "soft"


class Connect(StrEnum):
    """How SEW blocks join branch and shortcut."""

    ADD = "ADD"
    AND = "AND"
    IAND = "IAND"
    OR = "OR"


class Kind(StrEnum):
    """Neurons of a PyTorch model."""

    IF = "if"
    LIF = "lif"
    PLIF = "plif"


def _view(result: dict[str, Any]) -> None:
    shape = "x".join(map(str, result["input"]["shape"]))
    kind = "images" if result["input"]["static"] else "frames"
    show(
        f"{result['network']} ({result['family'] or 'no family'}): {result['layers']} layers, "
        f"{result['parameters']} parameters, T = {result['steps']}, {kind} {shape} of {result['input']['bits']} bits"
    )
    blocks = [f"{one['count']} {one['kind']} ({one['shortcut']})" for one in result["structure"]]
    show(f"blocks: {', '.join(blocks) or 'none'}")
    for sentence in result["assumptions"]:
        show(f"assumed: {sentence}")
    show(f"written: {result['file']}")


def _view_families(result: dict[str, Any]) -> None:
    rows = table("family", "models", ">T", "--connect", "inputs", "parameter names of")
    for one in result["families"]:
        inputs = "event frames" if one["events"] else "images"
        rows.add_row(
            one["name"], one["title"], str(one["steps"]), "yes" if one["connect"] else "-", inputs, one["source"]
        )
    show(rows)


def _view_export(result: dict[str, Any]) -> None:
    notes = [f"note: {sentence}" for sentence in result["notes"]]
    show(f"{result['network']}: {result['layers']} layers", *notes, f"written: {result['file']}")


def numbers(text: str | None, option: str) -> tuple[float, ...] | None:
    """Numbers with commas between them."""
    if text is None:
        return None
    try:
        return tuple(float(one) for one in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{option} takes numbers with commas between them, not '{text}'") from None


def sizes(text: str | None) -> tuple[int, int, int] | None:
    """C,H,W."""
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        raise typer.BadParameter(f"--input-shape takes C,H,W, three whole numbers, not '{text}'")
    return int(parts[0]), int(parts[1]), int(parts[2])


def mount(app: typer.Typer, finish: Callable[..., None]) -> None:
    """Adds ``import`` and ``export`` to the command line; ``finish`` does a verb's work and prints its result."""

    @app.command("import")
    def _import(
        file: Annotated[
            Path | None, typer.Argument(metavar="FILE", help="A .nir graph, or a .safetensors, .pt, .pth state_dict.")
        ] = None,
        out: Annotated[
            Path | None, typer.Option("-o", "--out", metavar="FILE", help="Model file (.skn) to write.")
        ] = None,
        name: Annotated[str | None, typer.Option(help="The network's name; by default the file's.")] = None,
        steps: Annotated[int | None, typer.Option(metavar="T", min=1, help="Time steps.")] = None,
        fire: Annotated[Fire | None, typer.Option(help="Fire at H >= threshold (ge) or H > threshold (gt).")] = None,
        reset: Annotated[Reset | None, typer.Option(help="To v_reset (hard), or by the threshold (soft).")] = None,
        input_shape: Annotated[str | None, typer.Option(metavar="C,H,W", help="Shape of the input.")] = None,
        input_bits: Annotated[int | None, typer.Option(metavar="N", min=1, max=16, help="Bits of the input.")] = None,
        input_scale: Annotated[
            float | None, typer.Option(metavar="X", help="What an input of 1 is to the model.")
        ] = None,
        events: Annotated[
            bool | None, typer.Option("--events/--static", help="A frame a step, or the same image at each.")
        ] = None,
        dt: Annotated[float | None, typer.Option(metavar="S", help="NIR: seconds a step.")] = None,
        if_r: Annotated[
            IfR | None, typer.Option("--if-r", help="NIR: IF takes its input as it is (unit) or times r dt (scaled).")
        ] = None,
        li: Annotated[Li | None, typer.Option(help="NIR: a last LI node is refused, or the sum of its input.")] = None,
        signed: Annotated[
            bool | None, typer.Option("--signed/--unsigned", help="NIR: whether inputs may be negative.")
        ] = None,
        family: Annotated[
            str | None, typer.Option(metavar="NAME", help="PyTorch: the model's family (--list-families), or a .toml.")
        ] = None,
        connect: Annotated[Connect | None, typer.Option(help="PyTorch: how SEW blocks connect.")] = None,
        neuron: Annotated[Kind | None, typer.Option(help="PyTorch: the neurons.")] = None,
        tau: Annotated[float | None, typer.Option(help="PyTorch: of LIF neurons.")] = None,
        threshold: Annotated[float | None, typer.Option(help="PyTorch: of all neurons.")] = None,
        v_reset: Annotated[float | None, typer.Option(help="PyTorch: where a hard reset goes.")] = None,
        decay_input: Annotated[
            bool | None, typer.Option("--decay-input/--no-decay-input", help="PyTorch: whether 1/tau scales the input.")
        ] = None,
        levels: Annotated[int | None, typer.Option(metavar="K", min=1, help="PyTorch: levels of MLF units.")] = None,
        epsilon: Annotated[float | None, typer.Option(help="PyTorch: of the batch norms.")] = None,
        mean: Annotated[
            str | None, typer.Option(metavar="X,...", help="PyTorch: mean of the input's normalisation, by channel.")
        ] = None,
        std: Annotated[str | None, typer.Option(metavar="X,...", help="PyTorch: its standard deviation.")] = None,
        stem_stride: Annotated[
            int | None, typer.Option(metavar="N", min=1, help="PyTorch: stride of the first convolution.")
        ] = None,
        stem_pool: Annotated[
            bool | None, typer.Option("--stem-pool/--no-stem-pool", help="PyTorch: a max pool behind the stem.")
        ] = None,
        list_families: Annotated[
            bool, typer.Option("--list-families", help="List the families of PyTorch models and end.")
        ] = False,
        as_json: Json = False,
    ) -> None:
        """Read a network from NIR or PyTorch, and say what was assumed."""
        from . import api, interchange

        if list_families:
            finish(lambda _: interchange.families(), _view_families, as_json)
            return
        if file is None or out is None:
            raise typer.BadParameter("import takes FILE and --out, or --list-families alone")
        options: dict[str, Any] = {
            "steps": steps, "input_shape": sizes(input_shape), "input_bits": input_bits, "input_scale": input_scale,
            "events": events, "dt": dt, "signed": signed, "tau": tau, "threshold": threshold, "v_reset": v_reset,
            "decay_input": decay_input, "levels": levels, "epsilon": epsilon, "mean": numbers(mean, "--mean"),
            "std": numbers(std, "--std"), "stem_stride": stem_stride, "stem_pool": stem_pool,
        }  # fmt: skip
        chosen = {"fire": fire, "reset": reset, "if_r": if_r, "li": li, "connect": connect, "neuron": neuron}
        options |= {key: None if value is None else value.value for key, value in chosen.items()}
        finish(
            lambda p: api.import_network(file, out=out, family=family, name=name, progress=p, **options),
            _view,
            as_json,
        )

    @app.command("export")
    def _export(
        network: Net,
        out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="NIR graph (.nir) to write.")],
        dt: Annotated[float | None, typer.Option(metavar="S", help="Seconds a step.")] = None,
        as_json: Json = False,
    ) -> None:
        """Write a float network as a NIR graph."""
        from . import api

        finish(lambda _: api.export_network(network, out=out, dt=dt), _view_export, as_json)
