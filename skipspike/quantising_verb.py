"""The verb ``quantise``: its options, and its result as a table."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from .command import Data, Json, Net
from .console import show, table

#: Dead channels that are named; of more only how many there are.
_MOST_NAMED = 6


class LeakForms(StrEnum):
    """Leaks that hardware has."""

    auto = "auto"
    shifts = "shifts"
    multiply = "multiply"


class Clips(StrEnum):
    """How weights may be clipped."""

    none = "none"
    mse = "mse"


def read_bits(text: str | None) -> tuple[int | None, dict[str, int]]:
    """``8``, ``PATTERN=4`` or several of both with commas: bits of all layers, and those of layers by pattern.

    Raises typer.BadParameter.
    """
    every: int | None = None
    chosen: dict[str, int] = {}
    for part in [] if text is None else text.split(","):
        pattern, equals, number = part.rpartition("=")
        if not number.strip().isdecimal() or (equals and not pattern.strip()):
            raise typer.BadParameter(f"--bits takes N, LAYER=N or several of these with commas, not {part!r}")
        if not 2 <= int(number) <= 16:
            raise typer.BadParameter(f"--bits must be 2 to 16, not {number.strip()}")
        if equals:
            chosen[pattern.strip()] = int(number)
        elif every is None:
            every = int(number)
        else:
            raise typer.BadParameter(f"--bits has two numbers for all layers, {every} and {number.strip()}")
    return every, chosen


def view(result: dict[str, Any]) -> None:
    """A row a layer, then the totals."""
    errors = (">bits", ">weights", ">bias", ">leak", ">threshold", ">rescaled", ">at limit", ">clipped")
    rows = table("layer", *errors, ">rate, float", ">integer", ">spikes agree", "dead channels")
    for layer in result["layers"]:
        plain = layer["bits"] is None or layer["bits"] == 0
        figures = ["-"] * len(errors)
        if not plain:
            figures = [
                str(layer["bits"]),
                f"{100 * layer['weight_rms']:.2f} %",
                f"{layer['bias_error']:.2g}",
                f"{layer['leak_error']:.2g}",
                f"{layer['threshold_error']:.2g}",
                *(str(layer[key]) for key in ("rescaled", "saturated", "clipped")),
            ]
        rates = [_rate(layer[key]) for key in ("rate_float", "rate_int", "agreement")]
        rows.add_row(layer["name"], *figures, *rates, _named(layer["dead"]))
    accuracies = ""
    if result["accuracy"] is not None:
        accuracies = f"accuracy {result['accuracy_float']:.2f} % float, {result['accuracy']:.2f} % integer; "
    show(
        rows,
        "",
        f"{result['network']}: {result['parameters']} parameters, weights of up to {result['weight_bits']} bits"
        + ("" if result["board"] is None else f", for {result['board']}"),
        f"{result['samples']} samples of {result['data']}: {accuracies}"
        f"{result['agreement']:.2f} % of predictions agree",
    )
    ties = sum(layer["ties"] or 0 for layer in result["layers"])
    if ties:
        show(f"in {ties} channels a bias or a shortcut's current equals a threshold, and does so in integers, too")
    if result["balance"] is not None:
        made = result["balance"]
        show(
            f"balanced for {made['event_lanes']} event lanes and {made['output_lanes']} output lanes: "
            f"the slowest have {made['events_before']} events, then {made['events_after']}"
        )
    if result["file"] is not None:
        show(f"written: {result['file']}")


def _rate(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"


def _named(channels: list[int]) -> str:
    if len(channels) > _MOST_NAMED:
        return f"{len(channels)}: {', '.join(map(str, channels[:_MOST_NAMED]))}, ..."
    return ", ".join(map(str, channels))


def mount(app: typer.Typer, finish: Callable[..., None]) -> None:
    """Adds ``quantise`` to the command line; ``finish`` does a verb's work and prints its result."""

    @app.command("quantise")
    def _quantise(
        network: Net,
        bits: Annotated[
            str | None,
            typer.Option(metavar="N|LAYER=N,...", help="Weight bits: of all layers, or by name or pattern, or both."),
        ] = None,
        data: Data = None,
        samples: Annotated[int | None, typer.Option(metavar="N", min=1, help="Compare the first N; 500.")] = None,
        calibration: Annotated[
            str | None,
            typer.Option("--calibrate", metavar="DATA", help="Choose how to round by this data, not that of --data."),
        ] = None,
        calibration_samples: Annotated[
            int | None, typer.Option("--calibrate-samples", metavar="N", min=1, help="The first N of it; 128.")
        ] = None,
        leak: Annotated[LeakForms, typer.Option(help="Leaks by shifts, by multiplication, or the nearer.")] = (
            LeakForms.auto
        ),
        leak_bits: Annotated[
            int, typer.Option(metavar="N", min=1, max=15, help="Fraction bits of a leak by multiplication.")
        ] = 8,
        allow_leak_error: Annotated[
            bool, typer.Option("--allow-leak-error", help="Take the nearest leak, however far it is.")
        ] = False,
        clip: Annotated[
            Clips, typer.Option(help="Clip large weights where that rounds the others better (mse).")
        ] = Clips.none,
        board: Annotated[
            str | None, typer.Option(metavar="BOARD", help="Keep to the widths of this board's core.")
        ] = None,
        balance: Annotated[
            str | None,
            typer.Option(metavar="DATA", help="Keep the core's event lanes equally busy on this data: order channels."),
        ] = None,
        balance_samples: Annotated[
            int | None, typer.Option("--balance-samples", metavar="N", min=1, help="The first N of it; 128.")
        ] = None,
        out: Annotated[
            Path | None, typer.Option("-o", "--out", metavar="FILE", help="Model file (.skn) to write.")
        ] = None,
        as_json: Json = False,
    ) -> None:
        """Quantise a float network, and say what that costs."""
        from . import api

        every, chosen = read_bits(bits)
        if calibration_samples is not None and calibration is None:
            raise typer.BadParameter("--calibrate-samples goes with --calibrate")
        if balance_samples is not None and balance is None:
            raise typer.BadParameter("--balance-samples goes with --balance")
        if balance is not None and (board is None or out is None):
            raise typer.BadParameter("--balance goes with --board, whose lanes it is for, and -o")
        finish(
            lambda progress: api.quantise(
                network,
                bits=every,
                layer_bits=chosen,
                data=data,
                samples=samples,
                calibration=calibration,
                calibration_samples=calibration_samples,
                leak=leak.value,
                leak_bits=leak_bits,
                allow_leak_error=allow_leak_error,
                clip=clip.value,
                board=board,
                balance=balance,
                balance_samples=balance_samples,
                out=out,
                progress=progress,
            ),
            view,
            as_json,
        )
