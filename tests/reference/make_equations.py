"""Makes tests/reference/equations/*.npz: ``python -m tests.reference.make_equations [name ...]``."""

from __future__ import annotations

import sys

from tests.reference.cases import EQUATIONS
from tests.reference.equations import evaluate
from tests.reference.vectors import lively, write


def main() -> None:
    for network in EQUATIONS:
        if not sys.argv[1:] or network["name"] in sys.argv[1:]:
            arrays = lively(network)
            write("equations", network, arrays, evaluate(network, arrays))
            print(network["name"])


if __name__ == "__main__":
    main()
