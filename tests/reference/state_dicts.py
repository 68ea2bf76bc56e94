"""Reference state_dicts: trained-looking parameters under a family's names, and what the family's model computes.

``state_dicts/<name>.safetensors`` has the parameters, ``<name>.npz`` a run of the model in float64:

- ``options``: JSON of the import's options, ``family`` included;
- ``x``: the inputs, integers, [N, C, H, W] or for event frames [N, T, C, H, W];
- ``logits``: [N, classes], averaged over the steps;
- ``spikes/<layer>``: spikes or counts of a layer of the imported network, [N, T, C, H, W];
- ``stream/<layer>``: its membrane stream, float32.

``make_state_dicts.py`` makes those of SpikingJelly, ``make_twins.py`` those of models published elsewhere.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import nn

FOLDER = Path(__file__).parent / "state_dicts"
#: Share of non-zero values that every spiking layer must have.
LIVELY = (0.04, 0.9)


@dataclass(frozen=True, eq=False)
class Reference:
    """A model's run: import options, inputs, results and tensors by kind/layer."""

    options: dict[str, Any]
    x: NDArray[Any]
    logits: NDArray[np.float64]
    tensors: dict[str, NDArray[Any]]


def names() -> list[str]:
    """All references."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def parameters(name: str) -> Path:
    """The file of the parameters."""
    return FOLDER / f"{name}.safetensors"


def read(name: str) -> Reference:
    """A model's run."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    options = json.loads(str(arrays.pop("options")))
    return Reference(options, arrays.pop("x"), arrays.pop("logits"), arrays)


def make(
    name: str,
    net: nn.Module,
    norms: dict[nn.Module, nn.Module],
    spiking: dict[nn.Module, str],
    streams: dict[nn.Module, str],
    options: dict[str, Any],
    x: NDArray[Any],
    run: Callable[[nn.Module, torch.Tensor], torch.Tensor],
) -> None:
    """Draw parameters until every layer lives, run, and write both files.

    norms: modules that normalise, with the module that holds their parameters; spiking, streams: modules whose
    output, [T, N, C, H, W], is that of a layer; run: logits [N, classes] of inputs as the model sees them, with the
    axes of x.
    """
    import torch
    from safetensors.numpy import save

    for seed in range(200):
        _draw(net, norms, torch.as_tensor(_seen(options, x)), run, seed)
        net.half()  # small files; what is run has exactly these values
        state = {key: value.detach().numpy().copy() for key, value in net.state_dict().items()}
        net.double().eval()
        kept: dict[str, NDArray[Any]] = {}

        def keep(module: nn.Module, _: Any, output: torch.Tensor, kept: dict[str, NDArray[Any]] = kept) -> None:
            kind = "spikes" if module in spiking else "stream"
            layer = spiking[module] if module in spiking else streams[module]
            kept[f"{kind}/{layer}"] = output.detach().transpose(0, 1).numpy().copy()

        hooks = [module.register_forward_hook(keep) for module in (*spiking, *streams)]
        with torch.no_grad():
            logits = run(net, torch.as_tensor(_seen(options, x))).numpy()
        for hook in hooks:
            hook.remove()
        rates = {key: float((value != 0).mean()) for key, value in kept.items() if key.startswith("spikes")}
        if all(LIVELY[0] < rate < LIVELY[1] for rate in rates.values()):
            break
    else:
        raise ValueError(f"{name}: a layer is silent or always on: {rates}")
    whole = {
        key: value.astype(np.float32 if key.startswith("stream") else np.uint8) for key, value in kept.items()
    }  # fmt: skip
    FOLDER.mkdir(exist_ok=True)
    parameters(name).write_bytes(save(state))
    described = {"options": np.array(json.dumps(options)), "x": x, "logits": logits}
    np.savez_compressed(FOLDER / f"{name}.npz", **described, **whole)
    print(name, f"seed {seed}", ", ".join(f"{rate:.2f}" for rate in rates.values()))


def _seen(options: dict[str, Any], x: NDArray[Any]) -> NDArray[np.float64]:
    """Inputs as the model gets them: scaled and normalised."""
    seen = x * float(options["input_scale"])
    for key, place in (("mean", np.subtract), ("std", np.divide)):
        if key in options:
            seen = place(seen, np.array(options[key])[:, None, None])
    return seen


def _draw(
    net: nn.Module,
    norms: dict[nn.Module, nn.Module],
    x: torch.Tensor,
    run: Callable[[nn.Module, torch.Tensor], torch.Tensor],
    seed: int,
) -> None:
    """Random weights, and batch norms whose statistics are near those of their inputs."""
    import torch
    from torch import nn

    rng = np.random.default_rng(seed)
    net.double().eval()

    def fill(tensor: torch.Tensor, values: NDArray[Any]) -> None:
        with torch.no_grad():
            tensor.copy_(torch.as_tensor(values))

    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            fill(module.weight, rng.normal(0.0, 1.2 / np.sqrt(fan_in), tuple(module.weight.shape)))
            if module.bias is not None:
                fill(module.bias, rng.normal(0.0, 0.3, tuple(module.bias.shape)))
        if hasattr(module, "w"):
            fill(module.w, rng.normal(0.3, 0.8, tuple(module.w.shape)))

    def statistics(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        holder, given = norms[module], inputs[0].detach()
        values = given.movedim(given.ndim - 3, 0).reshape(given.shape[-3], -1)
        channels = len(values)
        mean, deviation = values.mean(1).numpy(), values.std(1).numpy() + 0.05
        fill(holder.running_mean, mean + deviation * rng.normal(0.0, 0.2, channels))
        fill(holder.running_var, deviation**2 * rng.uniform(0.4, 2.0, channels))
        if holder.weight is not None:
            fill(holder.weight, rng.uniform(0.5, 1.6, channels) * rng.choice([1.0, 1.0, -1.0], channels))
            fill(holder.bias, rng.normal(0.35, 0.3, channels))

    hooks = [module.register_forward_pre_hook(statistics) for module in norms]
    with torch.no_grad():
        run(net, x)
    for hook in hooks:
        hook.remove()
