"""The command line: every verb of :mod:`skipspike.api`.

Results go to stdout (with ``--json`` exactly one JSON object), everything else to stderr.  Exit codes: 0 done;
1 an error in the input or a tool, or a core that differs from the model; 2 wrong usage; 130 interrupted.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from refmodel.errors import SkipspikeError

from . import __version__, bench, console, views
from .progress import Progress

#: Set to anything to see the traceback of an internal error.
DEBUG = "SKIPSPIKE_DEBUG"


class _Group(TyperGroup):
    """Usage errors in one line."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        if not standalone_mode:
            return super().main(*args, standalone_mode=False, **extra)
        try:
            code = super().main(*args, standalone_mode=False, **extra)
        except typer.Abort:
            code = 130
        except typer.TyperException as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                console.note(error.format_message())
            else:
                console.note(f"error: {_one_line(error.format_message())}; `skipspike --help` lists verbs and options")
            code = error.exit_code
        sys.exit(code if isinstance(code, int) else 0)


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


app = typer.Typer(
    cls=_Group,
    name="skipspike",
    help="Compiles trained deep residual spiking networks into FPGA cores, checked clock by clock.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"skipspike {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    del version


class Simulator(StrEnum):
    """Simulators of ``simulate``."""

    verilator = "verilator"
    icarus = "icarus"
    amaranth = "amaranth"


class Tools(StrEnum):
    """Where the FPGA tools come from."""

    yowasp = "yowasp"
    native = "native"


_NET = "A .skn file, a bundled network, or zoo:NAME,option=value,...; `skipspike networks` lists the names."
Net = Annotated[str, typer.Argument(metavar="NET", help=_NET)]
BoardName = Annotated[str, typer.Option("--board", metavar="BOARD", help="A board; `skipspike boards` lists them.")]
Data = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="DATA", help="'digits' (default), 'random' (default of zoo:), or an .npz file with x and y."
    ),
]
Bits = Annotated[
    int | None, typer.Option("--bits", metavar="N", min=2, max=16, help="Weight bits, instead of the network's own.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on stdout.")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `build` or `demo` filled.")]
BuildOut = Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for the results.")]


def _finish(
    work: Callable[[Progress], dict[str, Any]],
    view: Callable[[dict[str, Any]], None],
    as_json: bool,
    fine: Callable[[dict[str, Any]], str | None] = lambda result: None,
) -> None:
    """Do a verb's work and print its result; ``fine`` gives the reason why the result is a failure, or None."""
    try:
        with console.working() as progress:
            result = work(progress)
        console.print_json(result) if as_json else view(result)
        problem = fine(result)
    except BrokenPipeError:
        # Whoever read the output has seen enough; nothing may complain at exit either.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.note("interrupted")
        raise typer.Exit(130) from None
    except SkipspikeError as error:
        problem = _one_line(str(error))
    except OSError as error:
        problem = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except MemoryError:
        problem = "out of memory; use fewer samples (--samples) or a smaller network"
    except Exception as error:
        if os.environ.get(DEBUG):
            traceback.print_exc()
        problem = f"internal error, {type(error).__name__}: {_one_line(str(error))}; set {DEBUG}=1 for its traceback"
    if problem is not None:
        console.note(f"error: {problem}")
        raise typer.Exit(1)


def _verb(function: Callable[..., None]) -> Callable[..., None]:
    """Register a function as the verb of its name."""

    @functools.wraps(function)
    def run(*args: Any, **options: Any) -> None:
        function(*args, **options)

    app.command(function.__name__)(run)
    return function


@_verb
def demo(
    board: BoardName = "icebreaker",
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

    _finish(lambda p: api.demo(board=board, out=out, samples=samples, progress=p), views.demo, as_json, fine)


@_verb
def boards(as_json: Json = False) -> None:
    """List the boards: device, memories, clock."""
    from . import api

    _finish(lambda _: api.boards(), views.boards, as_json)


@_verb
def networks(as_json: Json = False) -> None:
    """List the bundled networks and the zoo's."""
    from . import api

    _finish(lambda _: api.networks(), views.networks, as_json)


@_verb
def info(network: Net, bits: Bits = None, as_json: Json = False) -> None:
    """Show a network: layers, shapes, widths, parameters."""
    from . import api

    _finish(lambda _: api.info(network, bits=bits), views.info, as_json)


@_verb
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

    _finish(
        lambda p: api.evaluate(network, data=data, samples=samples, bits=bits, board=board, progress=p),
        views.evaluate,
        as_json,
    )


@_verb
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
    as_json: Json = False,
) -> None:
    """Clocks, memories, and whether it fits."""
    from . import api

    _finish(
        lambda p: api.estimate(
            network, board=board, data=data, samples=samples, bits=bits, analytic=analytic, density=density, progress=p
        ),
        views.estimate,
        as_json,
    )


@_verb
def generate(
    network: Annotated[
        str | None, typer.Argument(metavar="[NET]", help=_NET)
    ] = None,
    board: Annotated[
        str | None, typer.Option("--board", metavar="BOARD", help="The board whose core runs NET.")
    ] = None,
    out: BuildOut = Path("generated"),
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="Take the example input from here ('digits' or .npz).")
    ] = None,
    component: Annotated[
        str | None, typer.Option(metavar="NAME", help="Instead of a core with NET: this component alone.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="PARAMETER=VALUE", help="A parameter of the component.")
    ] = None,
    bits: Bits = None,
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
    if component is not None:
        _finish(
            lambda p: api.generate_component(component, out=out, settings=pairs, progress=p), views.generate, as_json
        )
        return
    assert network is not None and board is not None
    _finish(
        lambda p: api.generate(network, board=board, out=out, data=data, bits=bits, progress=p),
        views.generate,
        as_json,
    )


@_verb
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
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="Keep the simulation's files here.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Simulate the core, every clock compared."""
    from . import api

    _finish(
        lambda p: api.simulate(
            network,
            board=board,
            data=data,
            samples=samples,
            bits=bits,
            simulator=simulator.value,
            waves=waves,
            seed=seed,
            jobs=jobs,
            out=out,
            progress=p,
        ),
        views.simulate,
        as_json,
        _difference,
    )


@_verb
def build(
    network: Net,
    board: BoardName,
    out: BuildOut,
    bits: Bits = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of placement and routing.")] = 1,
    tools: Annotated[Tools, typer.Option(help="Wheels, or native tools on PATH.")] = Tools.yowasp,
    as_json: Json = False,
) -> None:
    """Make a bitstream with its reports."""
    from . import api

    def fine(result: dict[str, Any]) -> str | None:
        if not result["timing_met"]:
            console.note(_late(result))
        return None

    _finish(
        lambda p: api.build(network, board=board, out=out, bits=bits, seed=seed, tools=tools.value, progress=p),
        views.build,
        as_json,
        fine,
    )


@_verb
def report(folder: Folder, as_json: Json = False) -> None:
    """Show a build's resources, clock, memories."""
    from . import api

    _finish(lambda _: api.report(folder), views.report, as_json)


@_verb
def load(
    folder: Folder,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the command.")] = False,
    as_json: Json = False,
) -> None:
    """Program the board with a build."""
    from . import api

    _finish(lambda p: api.load(folder, dry_run=dry_run, progress=p), views.load, as_json)


def _difference(result: dict[str, Any]) -> str | None:
    if result["mismatched_clocks"]:
        return f"the core differs from the model in {result['mismatched_clocks']} clocks: {result['first_mismatch']}"
    if result["predictions"] != result["golden_predictions"]:
        return "the core's predictions differ from the model's"
    return None


def _late(result: dict[str, Any]) -> str:
    return (
        f"warning: the clock is not met: {result['fmax_hz'] / 1e6:.2f} MHz for {result['clock_hz'] / 1e6:.2f} MHz; "
        "try another --seed"
    )


bench.mount(app, _finish)


def main() -> None:
    """Entry point of the ``skipspike`` command."""
    # Ended from outside, it ends its tools and removes temporary files first, as after an interrupt.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    app()


if __name__ == "__main__":
    main()
