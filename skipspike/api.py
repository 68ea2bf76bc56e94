"""The verbs of the command line as functions: each returns what ``--json`` prints, a plain dict.

A network is the path of a .skn file, the name of a bundled one, or one of the zoo,
``"zoo:NAME,option=value,..."``; data is the name of a data set,
``"random"`` or the path of a file (:func:`refmodel.datasets.load_data`), by default the data set that the network
names, or digits; random for networks of the zoo.  Whatever is wrong with the input raises a
:class:`refmodel.errors.SkipspikeError` whose text is one line.  ``progress`` is called with what is
being done and how far that is (0 to 1, or None where nobody knows).
"""

from refmodel.errors import SkipspikeError

from .boardwork import boards, build, load, report
from .comparing import compare
from .data_verbs import data
from .demo import demo
from .device import Device, Result
from .doctor import doctor
from .estimating import estimate
from .hardware import generate, generate_component
from .interchange import export_network, import_network
from .models import evaluate, info, networks
from .progress import Progress
from .pruning import prune
from .quantising import quantise
from .running import run
from .simulation import simulate

__all__ = [
    "Device",
    "Progress",
    "Result",
    "SkipspikeError",
    "boards",
    "build",
    "compare",
    "data",
    "demo",
    "doctor",
    "estimate",
    "evaluate",
    "export_network",
    "generate",
    "generate_component",
    "import_network",
    "info",
    "load",
    "networks",
    "prune",
    "quantise",
    "report",
    "run",
    "simulate",
]
