"""What every verb of the command line shares: the app, its options' types, results and errors.

Results go to stdout (with ``--json`` exactly one JSON object), everything else to stderr.  Exit codes: 0 done;
1 an error in the input or a tool, or a core that differs from the model; 2 wrong usage; 130 interrupted.
"""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from refmodel.errors import SkipspikeError

from . import __version__, console
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


NET_HELP = "A .skn file, a bundled network, or zoo:NAME,option=value,...; `skipspike networks` lists the names."
Net = Annotated[str, typer.Argument(metavar="NET", help=NET_HELP)]
BoardName = Annotated[str, typer.Option("--board", metavar="BOARD", help="A board; `skipspike boards` lists them.")]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="DATA",
        help="A data set by name (`skipspike data` lists them; by default the network's, or digits), 'random' "
        "(default of zoo:), an .npz file with x and y, an IDX or .npy file, or IMAGES,LABELS.",
    ),
]
Bits = Annotated[
    int | None, typer.Option("--bits", metavar="N", min=2, max=16, help="Weight bits, instead of the network's own.")
]
CoreChoice = Annotated[
    str,
    typer.Option(
        "--core",
        metavar="CORE",
        help="'board': its own core; 'search': the fastest found for NET; 'auto': its own if it runs NET, else a "
        "search; or a JSON file with a core.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on stdout.")]
Cached = Annotated[bool, typer.Option("--cached", help="Make nothing: show what is known.")]
Cache = Annotated[Path | None, typer.Option(metavar="DIR", help="Keep results here instead of in the user's cache.")]
Docs = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write the page, the table and the plots of this folder anew.")
]
Jobs = Annotated[int, typer.Option(metavar="N", min=1, help="Tools at the same time.")]
Timeout = Annotated[float, typer.Option(metavar="S", min=1, help="Seconds a tool may take.")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `build` or `demo` filled.")]
BuildOut = Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for the results.")]


def finish(
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


def verb(function: Callable[..., None]) -> Callable[..., None]:
    """Register a function as the verb of its name."""

    @functools.wraps(function)
    def run(*args: Any, **options: Any) -> None:
        function(*args, **options)

    app.command(function.__name__)(run)
    return function
