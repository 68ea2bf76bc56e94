"""Digits that pass before a small window, one column a call, on a device that keeps its membranes.

    python examples/streaming/moving_digits.py --device golden
    python examples/streaming/moving_digits.py --device sim --board ulx3s_85f --calls 4

A strip of bundled digits moves to the left, and each call of T steps sees 8x8 pixels of it.  Where a digit fills the
window its class should win; between two of them, membranes that go on remember what was seen before.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from boards.registry import get_board, keeping_state
from refmodel.compiler import compile_network
from refmodel.datasets import load_data
from refmodel.quantized import QuantizedNetwork
from skipspike.api import Device
from skipspike.cores import usual_core
from skipspike.models import open_network, quantised

#: Columns of a digit, and of the window.
WIDTH = 8


def window(digits: NDArray[np.integer], calls: int) -> Iterator[NDArray[np.integer]]:
    """What the window sees of a strip of ``digits`` ``[N, 1, 8, 8]``, ``[1, 8, 8]`` for each call."""
    strip = np.concatenate(list(digits), axis=2)
    for first in range(min(calls, strip.shape[2] - WIDTH + 1)):
        yield strip[:, :, first : first + WIDTH]


def watch(network: str, device: str, board: str, digits: int, calls: int) -> list[tuple[int | None, int, int]]:
    """For each call: the digit that fills the window (None between two), the winner, and the winner if begun anew."""
    found = keeping_state(get_board(board))
    net = quantised(open_network(network), None, found.core)
    assert isinstance(net, QuantizedNetwork)
    program = compile_network(net, usual_core(found, net))
    x, y = load_data("digits")
    x, y = x[:digits], y[:digits]
    seen = list(window(x, calls))
    with Device.open(device, board=found, config=program.config) as opened:
        opened.load(program)
        going_on = [result.argmax for result in opened.stream(iter(seen))]
        opened.reset_state()
        anew = [result.argmax for result in opened.infer_many(seen)]
    labels = [int(y[first // WIDTH]) if first % WIDTH == 0 else None for first in range(len(seen))]
    return list(zip(labels, going_on, anew, strict=True))


def main(arguments: list[str] | None = None) -> None:
    """Print a line for each call."""
    parser = argparse.ArgumentParser(description="Digits that pass before a small window.")
    parser.add_argument("--network", default="digits-ms-8")
    parser.add_argument("--device", default="golden", help="golden, sim or a serial port")
    parser.add_argument("--board", default="ulx3s_85f")
    parser.add_argument("--digits", type=int, default=4)
    parser.add_argument("--calls", type=int, default=1000)
    options = parser.parse_args(arguments)
    rows = watch(options.network, options.device, options.board, options.digits, options.calls)
    print("call  shown  going on  anew")
    for number, (label, going_on, anew) in enumerate(rows):
        print(f"{number:4}  {'-' if label is None else label:>5}  {going_on:8}  {anew:4}")


if __name__ == "__main__":
    main()
