"""SynA's equations in float64, transcribed apart from the project, and the script that makes its vectors.

S = SN(C x); MA: a = SN(relu(sigmoid(MLP(mean X) + MLP(max X)) * X)), X = C S; IA: s = relu(LIF(MLP(mean S) +
MLP(max S)) * S);
O = a or s; logits = FC(GAP(mean over t of O)).  MLP(v) = second relu(first v), over steps or over channels.

Run: python -m tests.reference.syna
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parent / "syna"
STEPS, THRESHOLD, TAU, GATE_THRESHOLD = 6, 60.0, 2.0, 1.0
Arrays = dict[str, NDArray[Any]]


def convolve(x: NDArray[Any], weight: NDArray[Any], bias: NDArray[Any]) -> NDArray[Any]:
    """3x3, padding 1; x [T, C, H, W]."""
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    _, _, height, width = x.shape
    out = np.zeros((len(x), len(weight), height, width))
    for t in range(len(x)):
        for i in range(height):
            for j in range(width):
                patch = padded[t, :, i : i + 3, j : j + 3]
                out[t, :, i, j] = bias + (weight * patch).sum(axis=(1, 2, 3))
    return out


def integrate_and_fire(x: NDArray[Any]) -> NDArray[Any]:
    v, out = np.zeros(x.shape[1:]), np.zeros(x.shape)
    for t in range(len(x)):
        h = v + x[t]
        out[t] = h >= THRESHOLD
        v = h * (1 - out[t])
    return out


def scores(x: NDArray[Any], first: NDArray[Any], second: NDArray[Any], axis: str) -> NDArray[Any]:
    rows = x if axis == "time" else x.swapaxes(0, 1)
    mean = np.array([row.sum() / row.size for row in rows])
    largest = np.array([row.max() for row in rows])
    return second @ np.maximum(first @ mean, 0) + second @ np.maximum(first @ largest, 0)


def leaky_gates(values: NDArray[Any], axis: str) -> NDArray[Any]:
    """LIF with decaying input over the steps; each channel's takes one step from rest."""
    v, out = 0.0, np.zeros(len(values))
    for a, score in enumerate(values):
        start = v if axis == "time" else 0.0
        h = start + (score - start) / TAU
        out[a] = h >= GATE_THRESHOLD
        v = 0.0 if out[a] else h
    return out


def along(gate: NDArray[Any], axis: str) -> NDArray[Any]:
    return gate[:, None, None, None] if axis == "time" else gate[None, :, None, None]


def evaluate(p: Arrays, image: NDArray[Any], axis: str) -> Arrays:
    """Gates, spikes and logits of one image [C, H, W]."""
    x = np.repeat(image[None].astype(float), STEPS, axis=0)
    s = integrate_and_fire(convolve(x, p["stem_weight"], p["stem_bias"]))
    current = convolve(s, p["branch_weight"], p["branch_bias"])
    ma = 1 / (1 + np.exp(-scores(current, p["ma_first"], p["ma_second"], axis)))
    ia = leaky_gates(scores(s, p["ia_first"], p["ia_second"], axis), axis)
    a = integrate_and_fire(np.maximum(along(ma, axis) * current, 0))
    gated = np.maximum(along(ia, axis) * s, 0)
    o = np.maximum(a, gated)
    logits = p["fc"] @ o.mean(axis=(0, 2, 3))
    return {"ma": ma, "ia": ia, "stem": s, "gate": gated, "branch": a, "output": o, "logits": logits}


def parameters(axis: str, seed: int) -> Arrays:
    """Integer synapses, real attentions, images."""
    rng = np.random.default_rng(seed)
    size = STEPS if axis == "time" else 4
    return {
        "x": rng.integers(0, 8, (6, 2, 5, 5)),
        "stem_weight": rng.integers(-3, 6, (4, 2, 3, 3)),
        "stem_bias": rng.integers(-3, 4, 4),
        "branch_weight": rng.integers(-6, 10, (4, 4, 3, 3)),
        "branch_bias": rng.integers(-3, 4, 4),
        "ma_first": rng.normal(0, 0.05, (2, size)),
        "ma_second": rng.normal(0, 1.0, (size, 2)),
        "ia_first": rng.normal(0.2, 0.5, (2, size)),
        "ia_second": rng.normal(1.0, 2.0, (size, 2)),
        "fc": rng.integers(-5, 6, (3, 4)),
    }


def main() -> None:
    for axis in ("time", "channel"):
        p = parameters(axis, 4)
        made = [evaluate(p, image, axis) for image in p["x"]]
        results = {f"out_{key}": np.stack([one[key] for one in made]) for key in made[0]}
        for key in ("ia", "stem", "gate", "branch", "output"):
            results[f"out_{key}"] = results[f"out_{key}"].astype(np.uint8)
        np.savez(FOLDER / f"{axis}.npz", **p, **results)  # pyright: ignore[reportArgumentType]
        print(axis, {key: float(np.mean(value)) for key, value in results.items()})


if __name__ == "__main__":
    main()
