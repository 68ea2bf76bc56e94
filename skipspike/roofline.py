"""What bundled networks get out of a core shape: lane use and synaptic operations for each weight read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from boards.core_shapes import SHAPES
from refmodel.errors import SkipspikeError
from refmodel.features import with_features
from refmodel.lowering import lower
from refmodel.needs import plan

from .models import chosen_bits, open_network, quantised, samples_of
from .progress import Progress
from .workload import exact_workload

#: Bundled networks whose data travels here, one of each way to add a shortcut, and how many images of each.
NETWORKS = ("digits-sew-add-8", "digits-sew-iand-8", "digits-spiking-24")
SAMPLES = 2


def achieved(rows: Iterable[Mapping[str, Any]], progress: Progress) -> list[dict[str, Any]]:
    """For each measured core (a row of ``bench cores``) and network: what the cycle model says on real spikes.

    The core gets memories deep enough for the network, whatever its device has: this is about its lanes; a core of
    narrow weights gets the network in them.
    ``lane_use``; ``spikes_a_weight``: additions that the spikes ask for, for each weight read (0 to Tp);
    ``gsops_spikes``, ``gsops_dense``: of the core at its ``fmax_hz``, actual and dense-equivalent; null, with a
    ``reason``, where no core of the shape runs the network.
    """
    found = []
    for row in rows:
        for name in NETWORKS:
            progress(f"{name} on {row['shape']}", None)
            point: dict[str, Any] = {"shape": row["shape"], "network": name}
            figures = dict.fromkeys(("lane_use", "spikes_a_weight", "gsops_spikes", "gsops_dense", "reason"))
            try:
                figures |= _figures(name, row)
            except SkipspikeError as error:
                figures["reason"] = str(error)
            found.append(point | figures)
    return found


def _figures(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    config = SHAPES[row["shape"]].config
    drawn = open_network(name)
    net = quantised(drawn, min(chosen_bits(drawn, None), config.weight_bits), config)
    roomy = plan(lower(net), with_features(config, net)).config
    x, _ = samples_of(net, None, SAMPLES)
    made = exact_workload(net, roomy, x)
    runs = row["fmax_hz"] / made.clocks / 1e9
    return {
        "lane_use": round(made.lane_use, 4),
        "spikes_a_weight": round(made.operations_a_weight, 4),
        "gsops_spikes": round(made.spike_operations * runs, 4),
        "gsops_dense": round(made.operations * runs, 4),
    }
