"""Networks beside other processors: the checked-in table, FireFly v2's formula, operations."""

from __future__ import annotations

from pathlib import Path

import pytest

from refmodel import zoo
from refmodel.errors import BoardError, ConfigError
from refmodel.outline import outline
from refmodel.outlook import operations
from skipspike import anchors, bench_anchors
from tests.cli.test_verbs import run_json


def test_the_page_is_made_of_the_table() -> None:
    table = run_json("bench", "anchors", "--cached")
    assert table["files"] == [] and len(table["networks"]) == 2 and len(table["small"]) == 2
    page = bench_anchors.TABLE.with_name(bench_anchors.PAGE).read_text()
    assert bench_anchors.markdown(table) in page
    for network in table["networks"]:
        assert sum(layer["operations"] for layer in network["layers"]) == network["operations"]
        assert sum(layer["firefly_clocks"] or 0 for layer in network["layers"]) == network["firefly"]["clocks"]
        for core, at in (("1,024 lanes", 0), ("fastest found", 1)):
            row = next(row for row in network["cores"] if row["core"] == core)
            clocks = sum(layer["cores"][at]["clocks"] for layer in network["layers"])
            assert clocks == pytest.approx(row["clocks"], rel=1e-5)
            assert row["frames_per_second"] == pytest.approx(row["clock_hz"] / row["clocks"], rel=1e-5)


def test_a_small_residual_network_beats_its_rival() -> None:
    """0.69 million parameters, T = 1, in under 3.98 ms an image."""
    small = bench_anchors.read_table()["small"][0]
    assert 685_000 < small["parameters"] < 695_000
    assert min(row["milliseconds"] for row in small["cores"]) < anchors.RIVAL_MS


def test_fireflys_formula() -> None:
    """Within 1.1 % of what its authors say of SEW-ResNet-18, and never above one operation a lane and clock."""
    name, options = zoo.read("zoo:sew-resnet18,size=32")
    net = outline(zoo.sketch(name, **options), 8)
    clocks = sum(anchors.firefly_clocks(net, layer) for layer in net.layers if layer.weight is not None)
    assert anchors.FIREFLY_HZ / clocks == pytest.approx(anchors.FIREFLY_PUBLISHED, rel=0.011)
    assert operations(net) < clocks * 8192


def test_operations_of_spikes() -> None:
    """Everything firing costs every tap inside the image, nothing firing only the input's."""
    name, options = zoo.read("zoo:sew-resnet18,size=8,width=1/16,combine=iand")
    net = outline(zoo.sketch(name, **options), 8)
    dense = {layer.name: anchors.dense_operations(net, layer.name) for layer in net.layers}
    assert sum(dense.values()) == operations(net) and anchors.dense_operations(net, "nothing") == 0
    none, half = (anchors.spike_operations(net, {"*": rate}) for rate in (0.0, 0.5))
    assert none["conv1"] > 0 and none["stage1.block1.conv2"] == 0
    assert half["stage1.block1.conv2"] == pytest.approx(0.5 * dense["stage1.block1.conv2"] * (22 / 24) ** 2)


def test_the_table_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = bench_anchors.read_table()
    monkeypatch.setattr(anchors, "anchors", lambda progress: {k: v for k, v in table.items() if k != "format"})
    with pytest.raises(BoardError, match="cannot be read"):
        bench_anchors.anchors(docs=tmp_path)
    (tmp_path / bench_anchors.PAGE).write_text("before\n<!-- anchors: begin -->\nold\n<!-- anchors: end -->\nafter\n")
    made = bench_anchors.anchors(docs=tmp_path)
    assert bench_anchors.read_table(tmp_path / bench_anchors.DATA) == table and len(made["files"]) == 2
    text = (tmp_path / bench_anchors.PAGE).read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    with pytest.raises(ConfigError, match="leave out cached"):
        bench_anchors.anchors(docs=tmp_path, cached=True)
    (tmp_path / bench_anchors.DATA).write_text("{}")
    with pytest.raises(BoardError, match="write it again"):
        bench_anchors.read_table(tmp_path / bench_anchors.DATA)
