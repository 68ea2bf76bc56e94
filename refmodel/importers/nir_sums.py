"""Sums that share parts: which earlier sum each member is added to.

In NIR a sum is only a set of edges, so a chain s0, s0+s1, s0+s1+s2, ... of n blocks has O(n^2) edges.  Here every
member m makes one sum, m + the sum of another member, or m alone; a set of edges is then the sum that its last
member makes.  This is possible when the sets that share a member contain one another.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, eq=False)
class Sums(Generic[K]):
    """``base``: the member to whose sum each member is added, None: it stands alone.

    ``last``: the member whose sum a set is; ``following``: the members added to each member's sum.
    """

    base: dict[K, K | None]
    last: dict[frozenset[K], K]
    following: dict[K, list[K]]

    def chain(self, member: K | None) -> list[K]:
        """The members of the sum that ``member`` makes, last first."""
        chain: list[K] = []
        while member is not None:
            chain.append(member)
            member = self.base[member]
        return chain


class Conflict(Exception):
    """``member`` is needed in two sums of which neither contains the other; ``readers`` read them."""

    def __init__(self, member: Hashable, readers: tuple[str, str]) -> None:
        super().__init__(str(member))
        self.member, self.readers = member, readers


def factor(wanted: Sequence[tuple[str, frozenset[K]]], rank: Mapping[K, int]) -> Sums[K]:
    """Sums for the sets ``wanted``, each with the name of its reader, in time linear in their sizes.

    A member is added after all members of the smaller sets that contain those; among equals the lower ``rank`` first.
    Raises Conflict.
    """
    smallest: dict[K, int] = {}
    sets = {members: reader for reader, members in reversed(wanted)}
    for members in sets:
        for member in members:
            smallest[member] = min(smallest.get(member, len(members)), len(members))
    base: dict[K, K | None] = {}
    reader_of: dict[K, str] = {}
    last: dict[frozenset[K], K] = {}
    following: dict[K, list[K]] = {}
    for members, reader in sets.items():
        previous: K | None = None
        for member in sorted(members, key=lambda m: (smallest[m], rank[m])):
            if member not in base:
                base[member], reader_of[member] = previous, reader
                following[member] = []
                if previous is not None:
                    following[previous].append(member)
            elif base[member] != previous:
                raise Conflict(member, (reader_of[member], reader))
            previous = member
        assert previous is not None
        last[members] = previous
    return Sums(base, last, following)
