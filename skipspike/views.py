"""Results as tables, for people."""

from __future__ import annotations

import shlex
from typing import Any

from .console import show, table


def _mhz(hertz: float) -> str:
    return f"{hertz / 1e6:.2f} MHz"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} %"


def boards(result: dict[str, Any]) -> None:
    rows = table("board", "device", ">clock", ">lanes", ">LUTs", ">block RAM", ">SPRAM", "program in", "title")
    for b in result["boards"]:
        memory = b["memory"]
        rows.add_row(
            b["name"],
            b["device"],
            _mhz(b["clock_hz"]),
            str(b["lanes"]),
            str(b["luts"]),
            f"{memory['bram_bits'] // 1024} kbit",
            f"{memory['spram_bits'] // 1024} kbit",
            ", ".join([b["store"], *(f"+{one}" for one in b["additions"] if one != "state")]),
            b["title"],
        )
    show(rows)


def networks(result: dict[str, Any]) -> None:
    rows = table("network", "family", "data", ">T", ">parameters", ">float", ">integer", ">bits")
    for n in result["networks"]:
        rows.add_row(
            n["name"],
            n["family"],
            str(n["data"]),
            str(n["steps"]),
            str(n["parameters"]),
            _percent(n["accuracy_float"]),
            _percent(n["accuracy_int"]),
            str(n["weight_bits"]),
        )
    names = table("zoo", "family", "options and defaults")
    for n in result["zoo"]:
        options = ",".join(f"{key}={_short(value)}" for key, value in n["options"].items())
        names.add_row(n["name"], n["family"], options)
    show(rows, "", names)


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def info(result: dict[str, Any]) -> None:
    columns = ("layer", "kind", "source", "shape", "kernel", "shortcut", ">planes", ">sum", ">membrane", ">parameters")
    rows = table(*columns)
    for layer in result["layers"]:
        shortcut = "-" if layer["shortcut"] is None else f"{layer['combine']} {layer['shortcut']}"
        rows.add_row(
            layer["name"],
            layer["kind"],
            layer["source"],
            "x".join(map(str, layer["shape"])),
            "x".join(map(str, layer["kernel"])),
            shortcut,
            str(layer["planes"]),
            "-" if layer["sum_bits"] is None else f"{layer['sum_bits']} bits",
            "-" if layer["membrane_bits"] is None else f"{layer['membrane_bits']} bits",
            str(layer["parameters"]),
        )
    taken = result["input"]
    shape = "x".join(map(str, taken["shape"]))
    made = [f"folded {taken['fold']}x{taken['fold']}"] if taken["fold"] > 1 else []
    made += [f"{taken['drop_bits']} bits dropped"] if taken["drop_bits"] else []
    show(
        rows,
        "",
        f"{result['name']} ({result['form']}): input {shape} of {taken['bits']} bits"
        f"{' (' + ', '.join(made) + ')' if made else ''}, T = {result['steps']}, "
        f"{result['weight_bits']}-bit weights, {result['parameters']} parameters",
    )


def evaluate(result: dict[str, Any]) -> None:
    rows = table("network", "data", ">samples", ">float", ">integer", ">bits")
    rows.add_row(
        result["network"],
        result["data"],
        str(result["samples"]),
        _percent(result["accuracy_float"]),
        _percent(result["accuracy"]),
        str(result["weight_bits"]),
    )
    show(rows)


def _way_out(result: dict[str, Any]) -> list[str]:
    """A store outside the FPGA, where the one inside is too small and the board has another."""
    from boards.registry import get_board

    stores = get_board(result["board"]).stores  # none if it lies there already
    if "+" in result["board"] or all(limit["setting"] != "store_depth" for limit in result["limits"]):
        return []
    return [f"the program can lie in the board's {store}: --board {result['board']}+{store}" for store in stores]


def estimate(result: dict[str, Any]) -> None:
    missing = [f"  {limit['text']}" for limit in result["limits"]]
    if result["clocks_per_inference"] is None:
        show(f"{result['network']} does not fit {result['board']}: {result['reason']}")
        if len(missing) > 1:
            show("all that its core lacks (--analytic tells the clocks of one that has it):", *missing)
        show(*_way_out(result))
        return
    exact = result["exact"]
    streamed = result["bandwidth"] is not None
    more = [*([] if exact else [">density"]), *([">waits for memory"] if streamed else [])]
    rows = table("layer", ">clocks", ">events", ">lane use", *more)
    for layer in result["layers"]:
        columns = [f"{layer['clocks']:.0f}", f"{layer['events']:.0f}", f"{100 * layer['lane_use']:.1f} %"]
        columns += [] if exact else [f"{layer['density']:.3f}"]
        if streamed:
            columns.append(f"{layer['wait']:.0f}{' BOUND' if layer['bound'] else ''}")
        rows.add_row(layer["name"], *columns)
    memory = result["memory"]
    source = f"mean of {result['samples']} samples" if exact else "EXPECTED of the densities above, not exact"
    lacks = (
        [f"{result['network']} does not fit {result['board']}; its core lacks:", *missing, *_way_out(result)]
        if missing
        else []
    )
    core = "a larger core of the same shape, at the same clock:" if missing else f"{result['board']}:"
    show(
        rows,
        "",
        *lacks,
        f"{result['network']} on {core} {result['lanes']} lanes, {source}:",
        f"  {result['clocks_per_inference']:.0f} clocks an inference, "
        f"{_rate(result['frames_per_second'])} frames/s at {_mhz(result['clock_hz'])}",
        *_barriers(result),
        *(
            f"  {name} memory: {memory[name + '_words']} of {memory[name + '_depth']} words"
            for name in ("store", "spike", "stream", "bank")
            if memory[name + "_words"]
        ),
        *_stalls(result),
        *_outside(result),
        *_mapping(result),
    )


def _barriers(result: dict[str, Any]) -> list[str]:
    """How far the clocks are from what the slowest event lanes alone would take."""
    bound = result["barrier_clocks"]
    if not bound:
        return []
    return [f"  {result['clocks_per_inference'] / bound:.2f} times the {bound:.0f} clocks of the slowest event lanes"]


def _stalls(result: dict[str, Any]) -> list[str]:
    """How long the sequencer waited for words from outside the FPGA."""
    stalls = result["stall_clocks"]
    return [f"  {stalls:.0f} clocks of waiting for words of the program"] if stalls else []


def _outside(result: dict[str, Any]) -> list[str]:
    """What an external memory holds."""
    if result["bandwidth"] is None:
        return []
    held = "weights and spikes" if result["spikes_outside"] else "weights"
    return [f"  {held} in an external memory of {result['bandwidth']:g} MB/s; BOUND: layers that wait for it"]


def _mapping(result: dict[str, Any]) -> list[str]:
    """Which core it is, why, and what is next."""
    mapping = result["mapping"]
    lines = [f"  core: {_shape(result['core'])}: {mapping['why']}"]
    found = mapping["search"]
    if found is None:
        return lines
    if mapping["choice"] == "search":
        others = [("runner-up", found["runner_up"])]
    elif found["best"]["frames_per_second"] <= result["frames_per_second"]:
        others = []  # the board's own core is as fast as any that the area model expects to fit
    else:
        others = [("--core search finds", found["best"]), ("and then", found["runner_up"])]
    for title, one in others:
        if one is not None:
            bound = one["clocks"] is None
            lines.append(
                f"  {title}: {_shape(one['shape'])}, {one['bound_clocks'] if bound else one['clocks']:.0f} clocks"
                f"{' at least' if bound else ''}, {_rate(one['frames_per_second'])} frames/s"
                f"{' at most' if bound else ''}, about {one['cells']} logic cells and {one['brams']} block RAMs"
            )
    return lines


def _shape(core: dict[str, Any]) -> str:
    names = {"event_lanes": "K", "output_lanes": "P", "time_lanes": "Tp", "neuron_units": "NU", "bank_lanes": "Q"}
    return ", ".join(f"{short}={core[name]}" for name, short in names.items())


def _rate(frames: float) -> str:
    return f"{frames:.0f}" if frames >= 10 else f"{frames:.3g}"


def generate(result: dict[str, Any]) -> None:
    show(*result["files"])


def simulate(result: dict[str, Any]) -> None:
    rows = table(">sample", ">label", ">core", ">model", ">clocks")
    columns = zip(result["labels"], result["predictions"], result["golden_predictions"], result["clocks"], strict=True)
    shown = list(columns)
    for number, row in enumerate(shown[:16]):
        rows.add_row(str(number), *map(str, row))
    rest = [f"... and {len(shown) - 16} more samples"] if len(shown) > 16 else []
    show(
        rows,
        *rest,
        "",
        f"{result['network']} on {result['board']} in {result['simulator']}: {result['samples']} samples, "
        f"accuracy {_percent(result['accuracy'])}",
        f"{result['compared_clocks']} clocks compared, {result['mismatched_clocks']} differ",
    )


def utilisation(result: dict[str, Any]) -> Any:
    rows = table("resource", ">used", ">of", ">share")
    for name, entry in _used(result):
        share = f"{100 * entry['used'] / entry['available']:.1f} %"
        rows.add_row(name, str(entry["used"]), str(entry["available"]), share)
    return rows


def _used(result: dict[str, Any]) -> list[tuple[str, dict[str, int]]]:
    """What the device has, with what is used of it."""
    kinds = ("lut", "ff", "bram", "dsp", "spram")
    entries = [(kind, result["utilisation"][kind]) for kind in kinds if kind in result["utilisation"]]
    return [(kind, entry) for kind, entry in entries if entry["available"]]


def _timing(result: dict[str, Any]) -> str:
    met = "met" if result["timing_met"] else "NOT MET"
    return f"{_mhz(result['fmax_hz'])}, asked for {_mhz(result['clock_hz'])}: {met}"


def build(result: dict[str, Any]) -> None:
    show(utilisation(result), "", f"clock: {_timing(result)}", f"bitstream: {result['bitstream']}")
    if result["flash"] is not None:
        show(f"flash image: {result['flash']}")


def report(result: dict[str, Any]) -> None:
    show(result["text"].rstrip("\n"))


def load(result: dict[str, Any]) -> None:
    place = "flash" if result["place"] == "flash" else "device"
    done = "loaded" if result["loaded"] else "would load"
    show(f"{done} {result['bitstream']} into the {place} of {result['board']}: {shlex.join(result['command'])}")


def demo(result: dict[str, Any]) -> None:
    rows = table("", "")
    rows.show_header = False
    used = ", ".join(f"{entry['used']} of {entry['available']} {name}" for name, entry in _used(result))
    equal = result["predictions"] == result["golden_predictions"]
    for name, value in (
        ("network", f"{result['network']} on {result['board']}"),
        ("accuracy, float", f"{_percent(result['accuracy_float'])} of {result['images']} test images"),
        ("accuracy, integer", f"{_percent(result['accuracy_int'])} with {result['weight_bits']}-bit weights"),
        ("core", f"{result['lanes']} synaptic operations a clock"),
        ("simulated", f"{result['samples']} images, predictions {'equal' if equal else 'DIFFERENT'}"),
        ("clocks compared", f"{result['compared_clocks']}, of which {result['mismatched_clocks']} differ"),
        ("clocks an inference", f"{result['clocks_per_inference']:.0f}"),
        ("frames a second", f"{result['frames_per_second']:.0f} at {_mhz(result['clock_hz'])}"),
        ("fmax", _timing(result)),
        ("used", used),
        ("bitstream", result["bitstream"]),
        ("seconds", ", ".join(f"{step} {value:g}" for step, value in result["seconds"].items())),
    ):
        rows.add_row(name, value)
    show(rows)


def prune(result: dict[str, Any]) -> None:
    before, after = result["before"], result["after"]
    rows = table("", ">before", ">after", ">saved")
    for key in before:
        saved = before[key] - after[key]
        rows.add_row(key.replace("_", " "), f"{before[key]:.0f}", f"{after[key]:.0f}", f"{saved:.0f}")
    removed = f"{len(result['layers'])} layers ({len(result['bypassed'])} replaced by their shortcut), "
    removed += f"{len(result['shortcuts'])} shortcuts, {sum(result['channels'].values())} channels of others"
    same = "equal" if result["equal"] else "changed by what was silenced"
    show(
        f"removed from {result['network']}: {removed}",
        f"results on {result['samples']} samples: {same}",
        "",
        rows,
        "",
        f"written: {result['file']}",
    )
