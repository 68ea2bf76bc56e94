"""prepare: pixels folded into channels and bits dropped, against loops and PyTorch; files and legality of both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from refmodel import floatmodel, golden, modelfile
from refmodel.builder import NetworkBuilder
from refmodel.errors import DataError, ModelFileError, NetworkError
from refmodel.layers import InputSpec
from refmodel.legality import validate
from refmodel.network import Network
from refmodel.outline import outline
from refmodel.preparation import prepare, raw_bits, raw_shape
from refmodel.pruning import prune
from refmodel.quantize import quantize


def slowly(x: NDArray[np.integer], size: int, drop: int) -> NDArray[np.integer]:
    """Fold and shift frames ``[N, C, H, W]``, one value at a time."""
    n, channels, height, width = x.shape
    out = np.zeros((n, channels * size * size, height // size, width // size), x.dtype)
    for index, c, row, column in np.ndindex(x.shape):
        dy, dx = row % size, column % size
        out[index, c * size * size + dy * size + dx, row // size, column // size] = x[index, c, row, column] >> drop
    return out


@given(
    size=st.integers(1, 4),
    channels=st.integers(1, 3),
    height=st.integers(1, 3),
    width=st.integers(1, 3),
    drop=st.integers(0, 7),
    frames=st.integers(0, 3),
    seed=st.integers(0, 1 << 16),
)
def test_against_a_loop(size: int, channels: int, height: int, width: int, drop: int, frames: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec = InputSpec((channels * size * size, height, width), 9, not frames, fold=size, drop_bits=drop)
    shape = (2, *((frames,) if frames else ()), *raw_shape(spec))
    x = rng.integers(0, 1 << raw_bits(spec), shape, dtype=np.uint16)
    got = prepare(spec, x, frames or None)
    flat = slowly(x.reshape(-1, *raw_shape(spec)), size, drop)
    assert got.dtype == x.dtype and got.shape == (*shape[:-3], *spec.shape)
    assert np.array_equal(got, flat.reshape(got.shape))
    assert int(got.max()) <= spec.tensor.max_value
    if size > 1:
        assert prepare(spec, got) is got


def test_against_pixel_unshuffle() -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).integers(0, 256, (3, 2, 12, 6), dtype=np.uint8)
    for size in (2, 3):
        spec = InputSpec((2 * size * size, 12 // size, 6 // size), 8, fold=size)
        assert np.array_equal(prepare(spec, x), torch.nn.PixelUnshuffle(size)(torch.from_numpy(x)).numpy())


def test_signed_values_shift_as_twos_complement() -> None:
    spec = InputSpec((1, 1, 3), 4, signed=True, drop_bits=2)
    assert prepare(spec, np.array([[[[-3, -4, 7]]]])).tolist() == [[[[-1, -1, 1]]]]


def test_without_either_nothing_happens() -> None:
    x = np.zeros((2, 1, 8, 8), np.uint8)
    assert prepare(InputSpec((1, 8, 8), 5), x) is x


FOLDED = InputSpec((4, 3, 3), 4, fold=2, drop_bits=4)
FRAMES = replace(FOLDED, static=False)


@pytest.mark.parametrize(
    ("spec", "shape", "expected"),
    [
        (FOLDED, (5, 1, 6, 5), "(1, 6, 5), but the network takes (C, H, W) = (1, 6, 6), or folded 2x2 (4, 3, 3)"),
        (FOLDED, (5, 2, 1, 6, 6), "(2, 1, 6, 6), but the network takes (C, H, W) = (1, 6, 6)"),
        (FOLDED, (1, 6, 6), "(6, 6), but"),
        (FRAMES, (5, 1, 6, 6), "(T, C, H, W) = (7, 1, 6, 6), or folded 2x2 (7, 4, 3, 3)"),
        (FRAMES, (5, 8, 1, 6, 6), "(8, 1, 6, 6), but the network takes (T, C, H, W) = (7, 1, 6, 6)"),
        (InputSpec((1, 6, 6), 4, drop_bits=4), (5, 1, 6, 5), "(C, H, W) = (1, 6, 6)"),
    ],
)
def test_wrong_shapes(spec: InputSpec, shape: tuple[int, ...], expected: str) -> None:
    with pytest.raises(DataError) as caught:
        prepare(spec, np.zeros(shape, np.uint8), 7)
    assert expected in str(caught.value)


def test_wrong_type() -> None:
    with pytest.raises(DataError, match="integers, not float64; scale them to 0..255"):
        prepare(FOLDED, np.zeros((1, 1, 6, 6)))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"fold": 0}, "fold must be 1 to 8, not 0"),
        ({"fold": 9}, "fold must be 1 to 8, not 9"),
        ({"fold": 3}, "fold=3 makes a multiple of 9 channels, but the shape (4, 3, 3) has 4"),
        ({"drop_bits": -1}, "drop_bits must be 0 to 12 (16 less the 4 bits that stay), not -1"),
        ({"drop_bits": 13}, "drop_bits must be 0 to 12"),
    ],
)
def test_illegal_preparations(changes: dict[str, int], expected: str) -> None:
    with pytest.raises(NetworkError) as caught:
        replace(FOLDED, **changes)
    assert expected in str(caught.value)
    whole = quantize(folded_network())
    with pytest.raises(NetworkError) as caught:
        validate(replace(whole, input=replace(whole.input, **changes)))
    assert expected in str(caught.value)


def folded_network() -> Network:
    """Two layers on 6x6 pixels of 8 bits, folded into 4 channels of 4 bits."""
    rng = np.random.default_rng(3)
    builder = NetworkBuilder("folded", 2, replace(FOLDED, scale=1 / 15))
    x = builder.conv("input", rng.normal(0, 0.6, (5, 4, 3, 3)), padding=1)
    builder.readout(x, rng.normal(0, 0.5, (3, 5)))
    return builder.build()


def test_every_form_of_a_network_keeps_them() -> None:
    net = folded_network()
    whole = quantize(net)
    made = [net, whole, prune(whole)[0], outline(net)]
    made += [modelfile.loads(modelfile.dumps(net)), modelfile.loads(modelfile.dumps(whole))]
    assert [(one.input.fold, one.input.drop_bits) for one in made] == [(2, 4)] * len(made)


def test_files_of_networks_without_them_stay_as_they_were() -> None:
    net = replace(folded_network(), input=replace(FOLDED, fold=1, drop_bits=0))
    assert b"drop_bits" not in modelfile.dumps(net) and b"drop_bits" in modelfile.dumps(folded_network())


def test_a_file_with_an_illegal_fold_is_refused() -> None:
    from refmodel.description import RECORDS

    arrays: dict[str, NDArray] = {}
    described = RECORDS["quantized"].encode(quantize(folded_network()), arrays, "")
    described["input"]["fold"] = "2"
    with pytest.raises(ModelFileError, match="input.fold must be an integer"):
        RECORDS["quantized"].decode(described, arrays, "network")


def test_a_prepared_input_is_a_network_input_of_the_wide_kernel() -> None:
    """A stride-2 convolution of raw pixels is a convolution of folded ones with its kernel rearranged alike."""
    rng = np.random.default_rng(4)
    x = rng.integers(0, 256, (4, 1, 6, 6), dtype=np.uint8)
    kernel = rng.normal(0, 0.5, (5, 1, 2, 2))
    readout = rng.normal(0, 0.5, (3, 5))

    def net(spec: InputSpec, weight: NDArray, stride: int) -> Network:
        builder = NetworkBuilder("one", 2, spec)
        builder.readout(builder.conv("input", weight, stride=stride, padding=0), readout)
        return builder.build()

    raw = net(InputSpec((1, 6, 6), 8, scale=1 / 255), kernel, 2)
    folded = net(InputSpec((4, 3, 3), 8, scale=1 / 255, fold=2), kernel.reshape(5, 4, 1, 1), 1)
    expected, got = floatmodel.run(raw, x), floatmodel.run(folded, prepare(folded.input, x))
    assert np.allclose(expected.logits, got.logits) and expected.logits.std() > 0
    whole = quantize(folded)
    assert np.array_equal(golden.run(whole, prepare(whole.input, x)).results, golden.run(quantize(raw), x).results)
