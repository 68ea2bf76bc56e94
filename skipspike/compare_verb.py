"""The verb ``compare``: its options, and its result as tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from .command import Bits, Data, Json, Net, Simulator
from .console import show, table

#: Rows of the table of images that differ.
_MOST = 16
#: How a layer's worst number is marked that no rounding explains.
_MARKS = {"rounding": "", "clipping": " clipped", "neither": " !"}


def view(result: dict[str, Any]) -> None:
    """All of it: accuracies, layers, images that differ, where it begins, the verdict."""
    parts: list[Any] = [_stages(result), "", _layers(result)]
    if result["differing"]:
        parts += ["", _images(result)]
        if len(result["differing"]) > _MOST:
            parts.append(f"... and {len(result['differing']) - _MOST} more images")
    parts += ["", *_beginning(result), f"verdict: {result['verdict']}"]
    show(*parts, *(f"written: {path}" for path in result["plots"]))


def _stages(result: dict[str, Any]) -> Any:
    rows = table("stage", ">images", ">accuracy", ">same prediction as the stage before", "")
    count = result["samples"]
    if result["form"] == "float":
        rows.add_row("float network", str(count), _percent(result["accuracy_float"]), "-", "float64")
    widths = sorted(set(result["layer_bits"].values()))
    bits = f"{widths[0]}-bit weights" if len(widths) == 1 else f"weights of {widths[0]} to {widths[-1]} bits"
    rows.add_row("integer network", str(count), _percent(result["accuracy_int"]), _percent(result["agreement"]), bits)
    rtl = result["rtl"]
    if rtl is not None:
        pairs = list(zip(rtl["predictions"], rtl["golden_predictions"], strict=True))
        equal = 100.0 * sum(a == b for a, b in pairs) / len(pairs)
        mean = sum(rtl["clocks"]) / len(rtl["clocks"])
        text = f"{result['board']} in {rtl['simulator']}, {mean:.0f} clocks an image"
        text += f", {rtl['compared_clocks']} compared, {rtl['mismatched_clocks']} differ"
        rows.add_row("core", str(rtl["samples"]), _percent(rtl["accuracy"]), _percent(equal), text)
    return rows


def _layers(result: dict[str, Any]) -> Any:
    streams = any(layer["stream_error"] is not None for layer in result["layers"])
    both = result["form"] == "float"
    columns = [">float", ">integer", ">agreement", ">own", ">images that differ", ">first in", ">step", ">off by"]
    rows = table("layer", *(columns if both else [">integer"]), *([">stream error"] if streams else []))
    for layer in result["layers"]:
        if not both:
            rows.add_row(layer["name"], _share(layer["rate_int"]))
            continue
        misfit = layer["misfit"]
        spikes = layer["agreement"] is not None
        rows.add_row(
            layer["name"],
            _share(layer["rate_float"]),
            _share(layer["rate_int"]),
            "-" if not spikes else f"{100 * layer['agreement']:.3f} %",
            "-" if layer["own"] is None else f"{100 * layer['own']:.3f} %",
            str(layer["images"]) if spikes else "-",
            str(layer["first_in"]) if spikes else "-",
            "-" if layer["first_step"] is None else str(layer["first_step"]),
            "-" if misfit is None else f"{misfit['units']:.2f}" + _MARKS[misfit["cause"]],
            *([_share(layer["stream_error"])] if streams else []),
        )
    return rows


def _images(result: dict[str, Any]) -> Any:
    rows = table(">image", ">label", ">float", ">integer", ">float's margin", ">integer's margin", "first layer")
    for one in result["differing"][:_MOST]:
        rows.add_row(
            str(one["image"]),
            "-" if one["label"] < 0 else str(one["label"]),
            str(one["float"]),
            str(one["integer"]),
            f"{one['margin_float']:.4g}",
            f"{one['margin_int']:.4g}",
            one["first_layer"] or "the readout",
        )
    return rows


def _beginning(result: dict[str, Any]) -> list[str]:
    if result["form"] == "quantised":
        return ["no float network to compare with: give it as NET, and this one as --integer", ""]
    same = f"all spikes equal in {result['same_spikes']} of {result['samples']} images"
    first = result["first"]
    if first is None:
        return [same, ""]
    lines = [f"{same}; first difference in layer '{first['layer']}', step {first['step']}:"]
    if first["example"] is not None:
        lines.append(f"  {first['example']['text']}")
    own = {layer["name"]: layer["own"] for layer in result["layers"] if layer["own"]}
    if own:
        worst = max(own, key=lambda name: own[name])
        lines.append(f"  most differences of its own: layer '{worst}', {100 * own[worst]:.2g} % of its spikes")
    margins = first["margins"]
    if margins is not None:
        lines.append(
            f"  neurons that differ there first: {margins['count']}, {margins['median']:.2f} units from their "
            f"threshold in the median ({100 * margins['relative']:.2g} % of it), {margins['largest']:.2f} at most; "
            f"all neurons: {margins['all_median']:.2f}. Integer membranes are off by {margins['error_rms']:.2f} (RMS), "
            f"{margins['error_largest']:.2f} at most"
        )
    if result["misfits"]:
        lines.append(f"  NOT ROUNDING: {'; '.join(result['misfits'])}")
    elif result["clipped"]:
        lines.append(f"  numbers are rounded to nearest, but weights are clipped in {len(result['clipped'])} layers")
    else:
        lines.append("  every number of the integer network is the float network's, rounded: it is rounding alone")
    return [*lines, ""]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} %"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def mount(app: typer.Typer, finish: Callable[..., None]) -> None:
    """Adds ``compare`` to the command line; ``finish`` does a verb's work and prints its result."""

    @app.command("compare")
    def _compare(
        network: Net,
        data: Data = None,
        samples: Annotated[
            int | None, typer.Option(metavar="N", min=1, help="The first so many; 1000, or all, by default.")
        ] = None,
        board: Annotated[
            str | None,
            typer.Option(metavar="BOARD", help="Whose core; iCEBreaker by default, none without --rtl-samples."),
        ] = None,
        rtl_samples: Annotated[
            int, typer.Option(metavar="M", min=0, help="So many of them in the simulated core; 0 for none.")
        ] = 2,
        bits: Bits = None,
        integer: Annotated[
            Path | None,
            typer.Option(metavar="FILE", help="An integer network made from NET, instead of quantising here."),
        ] = None,
        simulator: Annotated[Simulator, typer.Option(help="Which simulator.")] = Simulator.verilator,
        plots: Annotated[Path | None, typer.Option(metavar="DIR", help="Draw figures (.svg) into this folder.")] = None,
        as_json: Json = False,
    ) -> None:
        """Compare float network, integer network and core; say where they part."""
        from . import api

        finish(
            lambda p: api.compare(
                network,
                data=data,
                samples=samples,
                board=board,
                rtl_samples=rtl_samples,
                bits=bits,
                integer=integer,
                simulator=simulator.value,
                plots=plots,
                progress=p,
            ),
            view,
            as_json,
            _problem,
        )


def _problem(result: dict[str, Any]) -> str | None:
    rtl = result["rtl"]
    if rtl is None or rtl["agrees"]:
        return None
    if rtl["mismatched_clocks"]:
        return f"the core differs from the model in {rtl['mismatched_clocks']} clocks: {rtl['first_mismatch']}"
    return "the core's predictions differ from the model's"
