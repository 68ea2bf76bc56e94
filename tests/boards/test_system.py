# amaranth: UnusedElaboratable=no
"""The driver, the link and the real core together, against the golden model."""

from __future__ import annotations

import numpy as np

from refmodel import golden
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.cycles import run_timing
from rtl_gen.core import Core
from tests.random_networks import random_input, random_quantized_network


def test_inference_over_the_link(link_bench, sim_transport, driver_of):
    """The bitstream holds the program; the next input's words come while the core runs."""
    config = CoreConfig(store_depth=2048)
    rng = np.random.default_rng(0)
    net = random_quantized_network(
        rng, steps=4, max_layers=2, sizes=(3, 4), channels_choices=(1, 3, 5), input_bits=(1,)
    )
    program = compile_network(net, config)
    core = Core(config=config, store_init=program.image)
    driver = driver_of(
        sim_transport(link_bench(config, timeout=4096, core=core, image=program.image)), config, timeout=60
    )
    assert not driver.load_program(program)
    inputs = random_input(rng, net, 2)
    expected = golden.run(program.network, inputs, keep=True)
    clocks = run_timing(program, expected.tensors).clocks
    got = list(driver.infer_many(inputs))
    assert [list(one.values) for one in got] == expected.results.tolist()
    assert [one.argmax for one in got] == expected.predictions.tolist()
    assert [one.clocks for one in got] == clocks.tolist()
    assert driver.retries == 0
