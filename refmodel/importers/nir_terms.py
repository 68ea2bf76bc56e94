"""What a NIR graph adds up: which signals are spikes, which are currents, and the sums each node reads.

Spike sums become tensors (SEW's ADD), current sums membrane streams; a sum of both is a current sum with the
spikes as one of its terms, the shortcut current.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

from ..errors import ImportRefused
from .nir_graph import Flat
from .nir_nodes import Node, Pass, Pooling, Port, Reshape, Scaling, Spiking
from .nir_sums import Conflict, Sums, factor

K = TypeVar("K", str, "Term")

#: Most members of all sums together, once nodes that only hand on are looked through.
MEMBERS_LIMIT = 10_000_000


@dataclass(frozen=True)
class Term:
    """A term of a current sum: a node's own current, or the values of tensors as they are.

    ``node``: a node with weights, Scale or pool.  ``identity``: the real-valued tensor of one node.
    ``spikes``: a sum of spikes.
    """

    kind: Literal["node", "identity", "spikes"]
    members: frozenset[str]

    @property
    def name(self) -> str:
        return min(self.members)


@dataclass(frozen=True, eq=False)
class Signals:
    """``sources``: the nodes that make what each node reads, without those that only hand on; ``readers``: the reverse.

    ``classes``: of each node, whether it makes spikes, real values that a tensor holds, or currents.
    ``current_of`` and ``tensor_of``: the sum each node reads, one of the two.  ``currents`` and ``spikes``: all sums.
    """

    sources: dict[str, frozenset[str]]
    readers: dict[str, list[str]]
    classes: dict[str, Literal["spikes", "real", "current"]]
    current_of: dict[str, frozenset[Term]]
    tensor_of: dict[str, frozenset[str]]
    currents: Sums[Term]
    spikes: Sums[str]


def is_transparent(node: Node) -> bool:
    return isinstance(node, Pass | Reshape)


def signals(flat: Flat, *, unsigned_input: bool, into_readout: str | None) -> Signals:
    """Sort the signals of ``flat`` into sums.  ``into_readout``: the weights that the readout takes over, if any."""
    sources = _resolved(flat)
    readers: dict[str, list[str]] = {name: [] for name, node in flat.nodes.items() if not is_transparent(node)}
    for name, members in sources.items():
        if not is_transparent(flat.nodes[name]):
            for member in members:
                readers[member].append(name)
    classes: dict[str, Literal["spikes", "real", "current"]] = {}
    for name in readers:
        classes[name] = _class(flat.nodes[name], sources.get(name, frozenset()), classes, flat, unsigned_input)
    order = {name: rank for rank, name in enumerate(flat.nodes)}
    depths = _depths(flat, sources)
    current_of: dict[str, frozenset[Term]] = {}
    tensor_of: dict[str, frozenset[str]] = {}
    wanted_spikes: list[tuple[str, frozenset[str]]] = []
    for name in readers:
        if isinstance(flat.nodes[name], Port) and (not sources.get(name) or into_readout is not None):
            continue
        members = sources[name]
        spikes = frozenset(member for member in members if classes[member] == "spikes")
        alone = len(members) == 1 and classes[next(iter(members))] == "real"
        if not isinstance(flat.nodes[name], Spiking) and (alone or spikes == members):
            tensor_of[name] = members
        else:
            current_of[name] = frozenset(_terms(members - spikes, classes)) | (
                {Term("spikes", spikes)} if spikes else frozenset()
            )
        if spikes:
            wanted_spikes.append((name, spikes))
    terms = {term for members in current_of.values() for term in members}
    first = sorted(terms, key=lambda term: _term_key(term, flat, depths, order))
    currents = _factored(list(current_of.items()), {term: rank for rank, term in enumerate(first)})
    ranks = {name: rank for rank, name in enumerate(sorted(order, key=lambda name: (depths[name], order[name])))}
    return Signals(sources, readers, classes, current_of, tensor_of, currents, _factored(wanted_spikes, ranks))


def _resolved(flat: Flat) -> dict[str, frozenset[str]]:
    """The nodes behind each node's edges; nodes that hand on share their set with the only reader they have."""
    sets: dict[str, frozenset[str]] = {}
    single: dict[str, frozenset[str]] = {}
    total = 0
    for name, befores in flat.before.items():
        if not befores:
            continue
        parts: list[frozenset[str]] = []
        for before in befores:
            if is_transparent(flat.nodes[before]):
                parts.append(sets[before])
            else:
                parts.append(single.setdefault(before, frozenset((before,))))
        count = sum(map(len, parts))
        total += count
        if total > MEMBERS_LIMIT:
            raise ImportRefused(f"node {name!r}: sums of sums with more than {MEMBERS_LIMIT} members in all")
        sets[name] = parts[0] if len(parts) == 1 else frozenset().union(*parts)
        if len(sets[name]) < count:
            raise ImportRefused(
                f"node {name!r}: a signal reaches it twice, directly and through a node that hands it on; "
                "use a Scale node if it is to count twice"
            )
    return sets


def _class(
    node: Node,
    members: frozenset[str],
    classes: dict[str, Literal["spikes", "real", "current"]],
    flat: Flat,
    unsigned_input: bool,
) -> Literal["spikes", "real", "current"]:
    if isinstance(node, Spiking):
        return "spikes"
    if isinstance(node, Port):
        return "real"
    if isinstance(node, Pooling):
        kinds = {classes[member] for member in members}
        inputs = len(members) == 1 and isinstance(flat.nodes[next(iter(members))], Port)
        if kinds == {"spikes"} or (inputs and unsigned_input):
            return "real"
    return "current"


def _depths(flat: Flat, sources: dict[str, frozenset[str]]) -> dict[str, int]:
    depths: dict[str, int] = {}
    for name in flat.nodes:
        depths[name] = 1 + max((depths[member] for member in sources.get(name, ())), default=-1)
    return depths


def _terms(members: frozenset[str], classes: dict[str, Literal["spikes", "real", "current"]]) -> list[Term]:
    return [Term("node" if classes[member] == "current" else "identity", frozenset((member,))) for member in members]


def _term_key(term: Term, flat: Flat, depths: dict[str, int], order: dict[str, int]) -> tuple[object, ...]:
    """Spikes first, so that a node with weights follows which may take them along as its shortcut."""
    last = max(term.members, key=lambda name: (depths[name], order[name]))
    first = term.kind == "spikes" or (term.kind == "node" and isinstance(flat.nodes[last], Scaling))
    return (0 if first else 1, depths[last], order[last], term.kind, sorted(map(order.__getitem__, term.members)))


def _factored(wanted: list[tuple[str, frozenset[K]]], ranks: dict[K, int]) -> Sums[K]:
    try:
        return factor(wanted, ranks)
    except Conflict as conflict:
        member = conflict.member
        name = member.name if isinstance(member, Term) else member
        raise ImportRefused(
            f"node {name!r}: its signal goes into two different sums, for {conflict.readers[0]!r} and "
            f"{conflict.readers[1]!r}, of which neither continues the other; residual sums here grow block by block"
        ) from None
