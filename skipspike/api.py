"""The verbs of the command line as functions: each returns what ``--json`` prints, a plain dict.

A network is the path of a .skn file or the name of a bundled one; data is ``"digits"`` or the path
of an .npz file with ``x`` and ``y``.  Whatever is wrong with the input raises a
:class:`refmodel.errors.SkipspikeError` whose text is one line.  ``progress`` is called with what is
being done and how far that is (0 to 1, or None where nobody knows).
"""

from refmodel.errors import SkipspikeError

from .boardwork import boards, build, load, report
from .demo import demo
from .hardware import estimate, generate, generate_component
from .models import evaluate, info, networks
from .progress import Progress
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
    "report",
    "simulate",
]
