"""The verb ``run``: a network on a device, compared with the golden model image by image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from .command import Bits, CoreChoice, Data, Json, Net
from .console import show


def mount(group: typer.Typer, finish: Callable[..., None]) -> None:
    """Adds the verb."""

    @group.command("run")
    def _run(
        network: Net,
        port: Annotated[
            str,
            typer.Option(
                metavar="PORT",
                help="A serial port, a board (its port is found by its USB chip), 'sim' (a simulated board), 'golden', "
                "or replay:FILE.",
            ),
        ],
        board: Annotated[
            str | None, typer.Option("--board", metavar="BOARD", help="The board at PORT; icebreaker by default.")
        ] = None,
        data: Data = None,
        samples: Annotated[
            int | None, typer.Option(metavar="N", min=1, help="The first so many; 100 by default, 4 on 'sim'.")
        ] = None,
        bits: Bits = None,
        core: CoreChoice = "auto",
        baud: Annotated[int | None, typer.Option(metavar="N", min=1, help="Instead of the board's speed.")] = None,
        record: Annotated[
            Path | None, typer.Option(metavar="FILE", help="Write every frame here, for --port replay:FILE.")
        ] = None,
        stream: Annotated[
            str | None, typer.Option(metavar="FRAMES", help="Event frames of a file; membranes go on call by call.")
        ] = None,
        as_json: Json = False,
    ) -> None:
        """Run a network on a device, image by image as the model."""
        from . import api

        def work(progress: Any) -> dict[str, Any]:
            return api.run(
                network,
                port=port,
                board=board,
                data=data,
                samples=samples,
                bits=bits,
                core=core,
                baud=baud,
                record=record,
                stream=stream,
                progress=progress,
            )

        finish(work, _view, as_json, _fine)


def _fine(result: dict[str, Any]) -> str | None:
    wrong = len(result["differing"])
    return f"{wrong} of {result['samples']} differ from the model: {result['first_difference']}" if wrong else None


def _view(result: dict[str, Any]) -> None:
    accuracy = "no labels" if result["accuracy"] is None else f"accuracy {result['accuracy']:.2f} %"
    same = result["samples"] - len(result["differing"])
    clocks = sum(result["clocks"]) / len(result["clocks"])
    core = "" if result["core_ms"] is None else f" = {result['core_ms']:.3f} ms at {result['clock_hz'] / 1e6:g} MHz"
    show(
        f"{result['network']} on {result['board']} at {result['port']}: {result['samples']} images, {accuracy}",
        f"exactly as the golden model, clocks included: {same} of {result['samples']}",
        f"core: {clocks:.0f} clocks an image{core}",
        f"host: {result['host_ms']:.2f} ms an image alone, {result['images_per_second']:.1f} images/s together"
        + (" (of the simulation)" if result["simulated"] else ""),
        f"program: {'sent' if result['program_sent'] else 'was there already'}, {result['load_seconds']:.2f} s; "
        f"link out of step {result['retries']} times",
    )
