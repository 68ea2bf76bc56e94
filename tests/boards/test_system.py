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
from tests.refmodel.test_state_plan import one_layer


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


def test_runs_resume_over_the_link(link_bench, sim_transport, driver_of):
    """The flag of RUN, and the state bit that says that membranes have drifted."""
    config = CoreConfig(store_depth=512, spike_depth=256, acc_width=9, membrane_width=11, state_depth=4)
    net = one_layer((50, -70), 100)
    program = compile_network(net, config)
    driver = driver_of(sim_transport(link_bench(config, timeout=4096, core=Core(config=config))), config, timeout=60)
    driver.load_program(program)
    down, up = (np.array([[one, 1 - one]] * 4)[:, :, None, None] for one in (0, 1))
    state, drifts = None, []
    for x, resume in ((up, False), (up, True), (down, True), (down, True), (down, True), (up, False)):
        made = golden.run(program.network, x[None], state=state if resume else None, keep_state=True)
        state = made.state
        got = driver.infer(x, resume=resume)
        assert list(got.values) == made.results[0].tolist()
        drifts.append(got.drifted)
    assert drifts == [False, False, False, True, True, False]
