"""Write refmodel/data/digits_test.npz, the 360 test images that travel in the repository.

Run: python -m examples.training.make_digits
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

from .digits import digits_split

SOURCE = (
    "E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, "
    "doi 10.24432/C50P49; the copy in scikit-learn (load_digits); test part of train_test_split(test_size=0.2, "
    "random_state=0, stratify=y)"
)
LICENCE = "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/"
DEFAULT = Path(__file__).parents[2] / "refmodel" / "data" / "digits_test.npz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=DEFAULT, help="file to write")
    out: Path = parser.parse_args().out
    _, test = digits_split()
    scratch = out.with_name(out.name + ".tmp")
    with scratch.open("wb") as stream:
        np.savez_compressed(stream, x=test.x, y=test.y, source=np.array(SOURCE), licence=np.array(LICENCE))
    os.replace(scratch, out)
    print(f"{out.name}: {len(test.y)} images, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
