"""What a state_dict does not say, as options, and the sentences that say how each was taken."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from ..errors import ImportRefused, NetworkError
from ..layers import InputSpec, Neuron
from .families import Family, Norm

Connect = Literal["ADD", "AND", "IAND", "OR"]
CONNECTS: tuple[Connect, ...] = ("ADD", "AND", "IAND", "OR")
NeuronKind = Literal["if", "lif", "plif"]
KINDS: tuple[NeuronKind, ...] = ("if", "lif", "plif")

#: Bits of an image's pixels, and of event counts a frame.
IMAGE_BITS, EVENT_BITS = 8, 4


@dataclass(frozen=True)
class StateDictOptions:
    """None leaves a choice to the family.

    Attributes
    ----------
    steps: T.  connect: how SEW blocks join.  epsilon: of the batch norms.
    neuron, tau, threshold, decay_input, reset, v_reset, fire: of all neurons; a PLIF's tau is in the file.
    levels: K of MLF units, the lowest thresholds of the family.
    input_shape: (C, H, W).  input_bits, input_scale: an integer's bits, and what its 1 is to the model.
    events: a frame a step instead of the same image at each.
    mean, std: of the model's input normalisation, (x - mean) / std, one value or one a channel.
    stem_stride, stem_pool: of the first convolution, and whether the family's pool follows.
    """

    steps: int | None = None
    connect: Connect | None = None
    epsilon: float | None = None
    neuron: NeuronKind | None = None
    tau: float | None = None
    threshold: float | None = None
    decay_input: bool | None = None
    reset: Literal["hard", "soft"] | None = None
    v_reset: float | None = None
    fire: Literal["ge", "gt"] | None = None
    levels: int | None = None
    input_shape: tuple[int, int, int] | None = None
    input_bits: int | None = None
    input_scale: float | None = None
    events: bool | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    stem_stride: int | None = None
    stem_pool: bool | None = None

    def __post_init__(self) -> None:
        for name, allowed in (
            ("connect", CONNECTS), ("neuron", KINDS), ("reset", ("hard", "soft")), ("fire", ("ge", "gt")),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise ImportRefused(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
        if self.epsilon is not None and not 0 <= self.epsilon < 1:
            raise ImportRefused(f"epsilon must be 0 to 1, not {self.epsilon!r}")
        if self.std is not None and not all(value > 0 for value in self.std):
            raise ImportRefused(f"std must be positive, not {self.std!r}")

    @property
    def given(self) -> dict[str, Any]:
        """The options that are set."""
        return {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name) is not None}


@dataclass
class Choices:
    """A family's defaults with the options over them; ``notes`` collects a sentence on each."""

    family: Family
    options: StateDictOptions
    notes: list[str]

    def value(self, name: str, default: Any, sentence: str) -> Any:
        """An option's value; where it is not given, ``sentence`` ({} is the value) becomes a note."""
        found = getattr(self.options, name)
        if found is not None:
            return found
        self.notes.append(sentence.format(default))
        return default

    def norm(self) -> Norm:
        """The batch norms' constants."""
        norm = self.family.norm
        place = "outside the root" if norm.outside_root else "inside the root"
        epsilon = self.value("epsilon", norm.epsilon, f"Batch norms have epsilon {{}}, {place}, as the family's code.")
        return replace(norm, epsilon=float(epsilon))

    def neuron(self, plif: bool) -> Neuron:
        """All neurons; of PLIFs without their tau."""
        options, base = self.options, self.family.neuron
        changes: dict[str, Any] = {}
        if options.neuron == "plif" and not plif:
            raise ImportRefused("neuron plif: the file has no parameter 'w' of PLIF neurons; use lif with --tau")
        if plif and options.neuron in ("if", "lif"):
            raise ImportRefused(f"neuron {options.neuron}: the file has parameters 'w' of PLIF neurons; leave it out")
        if plif and options.tau is not None:
            raise ImportRefused("tau: the file has each PLIF neuron's own, in its parameter 'w'; leave it out")
        if plif and base.kind != "lif":
            changes.update(kind="lif", tau=2.0, decay_input=True)
        elif options.neuron is not None and options.neuron != "plif" and options.neuron != base.kind:
            changes.update(kind=options.neuron, tau=2.0, decay_input=True)
        for name in ("tau", "threshold", "decay_input", "reset", "v_reset", "fire"):
            value = getattr(options, name)
            if value is not None:
                changes[name] = value
        kind = changes.get("kind", base.kind)
        if kind != "lif" and (options.tau is not None or options.decay_input is not None):
            raise ImportRefused("tau and decay_input are options of lif neurons; give --neuron lif")
        if options.levels is not None:
            changes["levels"] = self._levels(base, options.levels)
        try:
            made = replace(base, **changes)
        except NetworkError as error:
            raise ImportRefused(str(error)) from error
        self.notes.append(f"All neurons are {describe(made, plif)}{'' if changes else ', the default of the family'}.")
        return made

    def _levels(self, base: Neuron, levels: int) -> tuple[float, ...]:
        if not 1 <= levels <= len(base.thresholds) or not base.levels:
            most = len(base.thresholds)
            raise ImportRefused(f"levels must be 1 to {most} for family {self.family.name!r}, not {levels}")
        return base.levels[: levels - 1]

    def input(self, channels: int) -> InputSpec:
        """Shape, bits and scale of the input; the stem has ``channels``."""
        size, events = self.family.size, self.options.events
        default = (channels, size, size)
        shape = self.value(
            "input_shape", default, "The input is {} (C, H, W), the family's size; --input-shape changes it."
        )
        if shape[0] != channels:
            raise ImportRefused(f"input_shape has {shape[0]} channels, but the first convolution reads {channels}")
        if events is None:
            events = self.family.events
            kind = "event frames, one a step" if events else "images, the same at each step"
            self.notes.append(f"Inputs are {kind}.")
        bits = self.value("input_bits", EVENT_BITS if events else IMAGE_BITS, "Inputs are integers of {} bits.")
        scale = 1.0 if events else 1.0 / ((1 << bits) - 1)
        meaning = "a count of 1 is 1.0" if events else "0 to the largest is 0.0 to 1.0"
        scale = self.value("input_scale", scale, f"To the model an input of 1 is {{:.6g}} ({meaning}).")
        try:
            return InputSpec(tuple(shape), int(bits), not events, float(scale))
        except NetworkError as error:
            raise ImportRefused(str(error)) from error

    def normalisation(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """(mean, std) a channel, or None where the model gets its inputs as they are."""
        mean, std = self.options.mean, self.options.std
        if mean is None and std is None:
            self.notes.append("The model's inputs are not normalised; --mean and --std say otherwise.")
            return None

        def spread(name: str, values: tuple[float, ...]) -> tuple[float, ...]:
            if len(values) not in (1, channels):
                raise ImportRefused(f"{name} must have 1 or {channels} values, one a channel, not {len(values)}")
            return values * channels if len(values) == 1 else values

        return spread("mean", mean or (0.0,)), spread("std", std or (1.0,))


def describe(neuron: Neuron, plif: bool = False) -> str:
    """A neuron in words."""
    kind = {"if": "IF", "lif": "LIF", "step": "without memory"}[neuron.kind]
    parts: list[str] = ["PLIF with tau from the file" if plif else kind]
    if neuron.kind == "lif":
        if not plif:
            parts.append(f"tau {neuron.tau:.6g}")
        parts.append("decaying input" if neuron.decay_input else "input not decaying")
    if neuron.levels:
        parts.append("thresholds " + ", ".join(f"{one:g}" for one in neuron.thresholds))
    else:
        parts.append(f"threshold {neuron.threshold:g}")
    parts.append("firing at " + {"ge": "H >= threshold", "gt": "H > threshold"}[neuron.fire])
    parts.append(f"reset to {neuron.v_reset:g}" if neuron.reset == "hard" else f"{neuron.reset} reset")
    return ", ".join(parts)
