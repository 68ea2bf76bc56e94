"""The verbs of the command line as functions: each returns what ``--json`` prints, a plain dict.

A network is the path of a .skn file, the name of a bundled one, or one of the zoo,
``"zoo:NAME,option=value,..."``; data is ``"digits"``, ``"random"`` or the path of an .npz file with ``x`` and ``y``, by
default digits, or random for networks of the zoo.  Whatever is wrong with the input raises a
:class:`refmodel.errors.SkipspikeError` whose text is one line.  ``progress`` is called with what is
being done and how far that is (0 to 1, or None where nobody knows).
"""

from refmodel.errors import SkipspikeError

from .boardwork import boards, build, load, report
from .demo import demo
from .estimating import estimate
from .hardware import generate, generate_component
from .models import evaluate, info, networks
from .progress import Progress
from .pruning import prune
from .simulation import simulate

__all__ = [
    "Progress",
    "SkipspikeError",
    "boards",
    "build",
    "demo",
    "estimate",
    "evaluate",
    "generate",
    "generate_component",
    "info",
    "load",
    "networks",
    "prune",
    "report",
    "simulate",
]
