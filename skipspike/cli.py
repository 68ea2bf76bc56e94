"""The command line: every verb of :mod:`skipspike.api`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from . import (
    bench,
    compare_verb,
    console,
    data_verbs,
    doctor,
    flash_verb,
    interchange_verbs,
    quantising_verb,
    run_verb,
    simulated_verb,
    views,
)
from .command import (
    NET_HELP,
    Bits,
    BoardName,
    BuildOut,
    CoreChoice,
    Data,
    Folder,
    Json,
    Net,
    Simulator,
    Tools,
    app,
    finish,
    verb,
)


@verb
def demo(
    network: Net = "digits-sew-add-8",
    board: BoardName = "icebreaker",
    core: CoreChoice = "auto",
    out: BuildOut = Path("demo"),
    samples: Annotated[int, typer.Option(metavar="N", min=1, help="Test images to simulate.")] = 4,
    as_json: Json = False,
) -> None:
    """Do the whole job on a bundled network."""
    from . import api

    def fine(result: dict[str, Any]) -> str | None:
        if not result["timing_met"]:
            console.note(_late(result))
        return _difference(result)

    finish(
        lambda p: api.demo(board=board, out=out, network=network, core=core, samples=samples, progress=p),
        views.demo,
        as_json,
        fine,
    )


@verb
def boards(as_json: Json = False) -> None:
    """List the boards: device, memories, clock."""
    from . import api

    finish(lambda _: api.boards(), views.boards, as_json)


@verb
def networks(as_json: Json = False) -> None:
    """List the bundled networks and the zoo's."""
    from . import api

    finish(lambda _: api.networks(), views.networks, as_json)


@verb
def info(network: Net, bits: Bits = None, as_json: Json = False) -> None:
    """Show a network: layers, shapes, widths, parameters."""
    from . import api

    finish(lambda _: api.info(network, bits=bits), views.info, as_json)


@verb
def evaluate(
    network: Net,
    data: Data = None,
    samples: Annotated[int | None, typer.Option(metavar="N", min=1, help="The first so many; all by default.")] = None,
    bits: Bits = None,
    board: Annotated[str | None, typer.Option(metavar="BOARD", help="Quantise for this board's core.")] = None,
    as_json: Json = False,
) -> None:
    """Measure accuracy by the golden model."""
    from . import api

    finish(
        lambda p: api.evaluate(network, data=data, samples=samples, bits=bits, board=board, progress=p),
        views.evaluate,
        as_json,
    )


@verb
def estimate(
    network: Net,
    board: BoardName = "icebreaker",
    data: Data = None,
    samples: Annotated[int | None, typer.Option(metavar="N", min=1, help="The first so many; 8 by default.")] = None,
    bits: Bits = None,
    analytic: Annotated[
        bool, typer.Option("--analytic", help="Expect clocks from spike densities, without weights or data.")
    ] = False,
    density: Annotated[
        str | None,
        typer.Option(metavar="RATE", help="Rate of all neurons, or LAYER=RATE,... with patterns; implies --analytic."),
    ] = None,
    core: CoreChoice = "auto",
    bandwidth: Annotated[
        float | None,
        typer.Option(metavar="MB/S", help="Weights come from an external memory this fast; implies --analytic."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Clocks, memories, and whether it fits."""
    from . import api

    finish(
        lambda p: api.estimate(
            network,
            board=board,
            data=data,
            samples=samples,
            bits=bits,
            analytic=analytic,
            density=density,
            core=core,
            bandwidth=bandwidth,
            progress=p,
        ),
        views.estimate,
        as_json,
    )


@verb
def prune(
    network: Net,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="Model file (.skn) to write.")],
    board: BoardName = "ulx3s_85f",
    silence: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER", help="Take this layer's spikes as 0 first, as where a gate stays closed."),
    ] = None,
    data: Data = None,
    samples: Annotated[int | None, typer.Option(metavar="N", min=1, help="The first so many; 8 by default.")] = None,
    bits: Bits = None,
    as_json: Json = False,
) -> None:
    """Remove what cannot matter, and say what that saves."""
    from . import api

    finish(
        lambda p: api.prune(
            network, out=out, board=board, silence=silence or (), data=data, samples=samples, bits=bits, progress=p
        ),
        views.prune,
        as_json,
    )


@verb
def generate(
    network: Annotated[str | None, typer.Argument(metavar="[NET]", help=NET_HELP)] = None,
    board: Annotated[
        str | None, typer.Option("--board", metavar="BOARD", help="The board whose core runs NET.")
    ] = None,
    out: BuildOut = Path("generated"),
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="Take the example input from here, not at random.")
    ] = None,
    component: Annotated[
        str | None, typer.Option(metavar="NAME", help="Instead of a core with NET: this component alone.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="PARAMETER=VALUE", help="A parameter of the component.")
    ] = None,
    bits: Bits = None,
    core: CoreChoice = "auto",
    as_json: Json = False,
) -> None:
    """Write Verilog, program image and example, or the Verilog of one component."""
    from . import api

    if (network is None or board is None) if component is None else (network is not None or board is not None):
        raise typer.BadParameter("generate takes NET and --board, or --component NAME alone")
    pairs: dict[str, str] = {}
    for text in settings or []:
        key, _, value = text.partition("=")
        pairs[key] = value
    if pairs and component is None:
        raise typer.BadParameter("--set goes with --component")
    if core != "auto" and component is not None:
        raise typer.BadParameter("--core goes with NET")
    if component is not None:
        finish(
            lambda p: api.generate_component(component, out=out, settings=pairs, progress=p), views.generate, as_json
        )
        return
    assert network is not None and board is not None
    finish(
        lambda p: api.generate(network, board=board, out=out, data=data, bits=bits, core=core, progress=p),
        views.generate,
        as_json,
    )


@verb
def simulate(
    network: Net,
    board: BoardName = "icebreaker",
    data: Data = None,
    samples: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="The first so many; 4, or 1 in amaranth.")
    ] = None,
    simulator: Annotated[Simulator, typer.Option(help="Which simulator.")] = Simulator.verilator,
    waves: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Record waves: .vcd, or .fst with Verilator.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Random start state of memories and registers.")] = 1,
    jobs: Annotated[int | None, typer.Option(metavar="N", min=1, help="Processes; 2 for more than 16 samples.")] = None,
    bits: Bits = None,
    core: CoreChoice = "auto",
    stream: Annotated[
        str | None, typer.Option(metavar="FRAMES", help="Event frames of a file; membranes go on from call to call.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="Keep the simulation's files here.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Simulate the core, every clock compared."""
    from . import api

    finish(
        lambda p: api.simulate(
            network,
            board=board,
            data=data,
            samples=samples,
            bits=bits,
            core=core,
            simulator=simulator.value,
            waves=waves,
            seed=seed,
            jobs=jobs,
            out=out,
            stream=stream,
            progress=p,
        ),
        views.simulate,
        as_json,
        _difference,
    )


@verb
def build(
    network: Net,
    board: BoardName,
    out: BuildOut,
    bits: Bits = None,
    core: CoreChoice = "auto",
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of placement and routing.")] = 1,
    clock: Annotated[
        float | None, typer.Option(metavar="MHZ", min=0, help="The core's clock, instead of the board's.")
    ] = None,
    tools: Annotated[Tools, typer.Option(help="Wheels, or native tools on PATH.")] = Tools.yowasp,
    as_json: Json = False,
) -> None:
    """Make a bitstream with its reports."""
    from . import api

    def fine(result: dict[str, Any]) -> str | None:
        if not result["timing_met"]:
            console.note(_late(result))
        return None

    finish(
        lambda p: api.build(
            network,
            board=board,
            out=out,
            bits=bits,
            core=core,
            seed=seed,
            clock_hz=None if clock is None else round(clock * 1e6),
            tools=tools.value,
            progress=p,
        ),
        views.build,
        as_json,
        fine,
    )


@verb
def report(folder: Folder, as_json: Json = False) -> None:
    """Show a build's resources, clock, memories."""
    from . import api

    finish(lambda _: api.report(folder), views.report, as_json)


@verb
def load(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="A folder that `build` or `demo` filled.")
    ] = None,
    board: Annotated[
        str | None, typer.Option("--board", metavar="BOARD", help="Instead of a build, this board's own core.")
    ] = None,
    flash: Annotated[bool, typer.Option("--flash", help="Into the board's flash, with its program.")] = False,
    sram: Annotated[bool, typer.Option("--sram", help="Into the device's own memory, until power goes.")] = False,
    programmer: Annotated[
        str | None, typer.Option(metavar="TOOL", help="openfpgaloader, iceprog or icesprog, if the board has a choice.")
    ] = None,
    cable: Annotated[
        str | None, typer.Option(metavar="NAME", help="Cable of openFPGALoader, for boards without a programmer.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the command.")] = False,
    as_json: Json = False,
) -> None:
    """Program a board with a build, or with its own core."""
    from . import api

    if (folder is None) == (board is None):
        raise typer.BadParameter("load takes the folder of a build, or --board BOARD")
    if flash and sram:
        raise typer.BadParameter("load takes --flash or --sram, not both")
    finish(
        lambda p: api.load(
            folder,
            board=board,
            place="flash" if flash else "sram" if sram else None,
            programmer=programmer,
            cable=cable,
            dry_run=dry_run,
            progress=p,
        ),
        views.load,
        as_json,
    )


def _difference(result: dict[str, Any]) -> str | None:
    if result["mismatched_clocks"]:
        return f"the core differs from the model in {result['mismatched_clocks']} clocks: {result['first_mismatch']}"
    if result["predictions"] != result["golden_predictions"]:
        return "the core's predictions differ from the model's"
    return None


def _late(result: dict[str, Any]) -> str:
    return (
        f"warning: the clock is not met: {result['fmax_hz'] / 1e6:.2f} MHz for {result['clock_hz'] / 1e6:.2f} MHz; "
        "try another --seed, or a slower --clock (of `skipspike build`)"
    )


bench.mount(app, finish)
compare_verb.mount(app, finish)
data_verbs.mount(app, finish)
doctor.mount(app, finish)
interchange_verbs.mount(app, finish)
quantising_verb.mount(app, finish)
run_verb.mount(app, finish)
simulated_verb.mount(app, finish)
flash_verb.mount(app, finish)


def main() -> None:
    """Entry point of the ``skipspike`` command."""
    # Ended from outside, it ends its tools and removes temporary files first, as after an interrupt.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    app()


if __name__ == "__main__":
    main()
