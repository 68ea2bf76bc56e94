"""Train a spiking network on images and save it as a Skipspike model file.

Run, from the repository: python -m examples.training.train --network sew-add --blocks 8 --channels 16 --out net.skn
Needs torch and scikit-learn. Deterministic for a seed, a torch version and a machine.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path

import torch

from refmodel import modelfile
from refmodel.bundled import load_network
from refmodel.errors import NetworkError, SkipspikeError
from refmodel.network import InputSpec, Network

from .convert import from_network, to_network
from .data import CLASSES, NAMES, Augmentation, training_data
from .digits import hold_out
from .loop import Recipe, accuracy, fit, settle
from .networks import FAMILIES, SpikingNetwork, Stages, dense_network, residual_network
from .neurons import NEURONS


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.training.train", description=__doc__)
    add = parser.add_argument
    add("--data", choices=NAMES, default="digits", help="images to train on; all but the digits are fetched")
    add("--fold", type=int, default=1, help="blocks of so many by so many pixels become channels")
    add("--drop-bits", type=int, default=0, help="leave out the pixels' lowest bits")
    add("--mirror", action="store_true", help="mirror half of the training images")
    add("--shift", type=int, default=0, help="move training images by up to so many pixels")
    add("--network", choices=("dense", *FAMILIES), default="sew-add", help="family of network")
    add("--blocks", type=int, default=8, help="residual blocks, two convolutions each")
    add("--channels", type=int, default=16, help="channels, or neurons a dense layer")
    add("--stages", type=read_stages, metavar="CxN,...", help="instead of both: channels and blocks of each stage")
    add("--pool", action="store_true", help="maximum pool of 2x2 after the stem")
    add("--layers", type=int, default=2, help="dense only: spiking layers")
    add("--neuron", choices=tuple(NEURONS), help="default: if; lif for ms, mlf for ds")
    add("--no-norm", dest="norm", action="store_false", help="train without batch norm")
    add("--settle", action="store_true", help="at the end, take BN's statistics over all training images")
    add("--steps", type=int, default=4, help="T, time steps")
    add("--epochs", type=int, default=30)
    add("--rate", type=float, default=5e-3, help="peak learning rate")
    add("--readout-rate", type=float, default=1.0, help="so many times the rate for the classifier")
    add("--decay", type=float, default=1e-2, help="weight decay")
    add("--batch", type=int, default=64)
    add("--seed", type=int, default=0)
    add("--half", action="store_true", help="train with convolutions in bfloat16")
    add("--threads", type=int, default=1)
    add("--validation", type=float, default=0.1, help="part of the training images to hold out")
    add("--finetune-bits", type=int, help="fine-tune --start with weights of so many bits")
    add("--start", help="network to fine-tune: a bundled name or a model file")
    add("--out", type=Path, required=True, help="model file to write; its stem is the network's name")
    return parser


def read_stages(text: str) -> Stages:
    """``16x1,24x3``: a stage of one block of 16 channels, then one of three of 24."""
    pairs = (one.partition("x") for one in text.split(","))
    stages = tuple((int(channels), int(blocks)) for channels, _, blocks in pairs)
    if any(channels < 1 or blocks < 1 for channels, blocks in stages):
        raise argparse.ArgumentTypeError(f"{text!r}: channels and blocks must be positive")
    return stages


def make_model(options: argparse.Namespace, spec: InputSpec) -> SpikingNetwork:
    """The untrained model the options ask for."""
    if options.network == "dense":
        return dense_network(
            size=spec.shape[1], width=options.channels, layers=options.layers, steps=options.steps,
            classes=CLASSES, input_scale=spec.scale, neuron=options.neuron or "if",
        )  # fmt: skip
    return residual_network(
        family=options.network, stages=options.stages or ((options.channels, options.blocks),), inputs=spec.shape[0],
        steps=options.steps, classes=CLASSES, input_scale=spec.scale, neuron=options.neuron, norm=options.norm,
        pool=options.pool,
    )  # fmt: skip


def read_start(name: str) -> Network:
    """The float network to fine-tune: a model file or a bundled name."""
    start = modelfile.load(name) if Path(name).is_file() else load_network(name)
    if not isinstance(start, Network):
        raise NetworkError(f"{name}: is quantised; fine-tuning starts from a float network")
    return start


def main() -> None:
    parser = arguments()
    options = parser.parse_args()
    if (options.finetune_bits is None) != (options.start is None):
        parser.error("--finetune-bits and --start go together")
    if options.out.suffix != modelfile.SUFFIX or not options.out.parent.is_dir():
        parser.error(f"--out {options.out}: must end in {modelfile.SUFFIX}, in a directory that exists")
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    torch.use_deterministic_algorithms(True)
    data = training_data(options.data, options.fold, options.drop_bits)
    train, validation = hold_out(data.train, options.validation)
    model = make_model(options, data.spec)
    if options.start is not None:
        from_network(read_start(options.start), model)
        model.quantise(options.finetune_bits)
    recipe = Recipe(
        options.epochs, options.rate, options.readout_rate, options.decay, options.batch, options.seed, options.half,
        Augmentation(options.mirror, options.shift),
    )  # fmt: skip
    started = time.process_time()
    fit(model, train, validation, data.spec, recipe)
    if options.settle:
        settle(model, train, data.spec)
    seconds = time.process_time() - started
    float_accuracy = accuracy(model, data.test, data.spec)
    chosen_by = accuracy(model, validation, data.spec) if len(validation.y) else None
    meta: dict[str, object] = {
        "data": options.data,
        "family": options.network.upper(),
        "steps": options.steps,
        "command": shlex.join(["python", "-m", "examples.training.train", *sys.argv[1:]]),
        "seed": options.seed,
        "accuracy_float": round(float_accuracy, 2),
        "accuracy_validation": None if chosen_by is None else round(chosen_by, 2),
        "torch": torch.__version__,
        "weight_bits": options.finetune_bits or 8,
    }
    network = to_network(model, data.spec, options.out.stem, options.network.upper(), meta)
    modelfile.save(network, options.out)
    print(f"{options.out.name}: test {float_accuracy:.2f} %, {network.parameters} parameters, {seconds:.0f} s CPU")


if __name__ == "__main__":
    try:
        main()
    except SkipspikeError as error:
        sys.exit(f"error: {error}")
