"""A backend as the controller sees it: who holds the routing table, and how it is changed.

All implementations pass one conformance suite
(`tests/integration/test_backend_conformance.py`).
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from coppice import clock, errors, routing

Ability: TypeAlias = Literal["weights", "mirror", "outside", "judges"]
"""`weights`: sets any weight that we ask for. `mirror`: sends copies of requests to a shadow.
`outside`: a tool widens the canary and promotes by itself, and asks for our verdict. `judges`:
somebody else names the versions, and nothing is written."""
Steering: TypeAlias = Literal["promote", "pause", "resume"]
"""An operator's word that is passed on to such a tool."""
Phase: TypeAlias = Literal["progressing", "promoted", "aborted"]


class Tool(NamedTuple):
    """What a tool that moves the traffic says of the table that it was given last.

    Attributes
    ----------
    phase
        `promoted` once all traffic is where the table wants it, `aborted` once the tool gave up.
    weight
        Share of the traffic that it sends to the candidate.
    message
        Why it gave up or waits, in its own words.
    """

    phase: Phase
    weight: float
    message: str = ""


class RouteState(NamedTuple):
    """The world as it is: what the backend routes by at this moment."""

    table: routing.RoutingTable | None
    tool: Tool | None = None
    """`None` where nobody but us moves the traffic."""

    @property
    def generation(self) -> int:
        """Generation of the table; 0 where there is none."""
        return 0 if self.table is None else self.table.generation


class Backend(Protocol):
    """Read and move the routes of one model. Nobody else writes them."""

    def observe(self) -> RouteState:
        """Return what is routed by now, read from the world and never remembered.

        Raises
        ------
        EnvironmentProblem
            There is a routing table, but it cannot be read.
        """
        ...

    def apply(self, table: routing.RoutingTable) -> bool:
        """Route by a table.

        The table is observed once everything else that it asks for is done, in one atomic step.

        Returns
        -------
        bool
            Whether it is routed by now. Where pods have to become ready first it is false: apply it
            again, and it goes on from there.

        Raises
        ------
        RolloutError
            The table's generation is not newer than the world's: somebody else wrote in between.
        """
        ...

    def abort(self, reason: str) -> RouteState:
        """Send everything to the champion at once and drop the candidate, without a plan.

        Aborting where no candidate is routed to changes nothing.
        """
        ...

    def steer(self, action: Steering) -> None:
        """Pass an operator's word on to a tool that moves the traffic; twice does what once does.

        Where nobody but us moves it there is nobody to tell.
        """
        ...

    def tend(self) -> int:
        """Tell stragglers what the table says, such as pods that started after a promotion.

        Returns
        -------
        int
            How many had to be told. Where one file is read by everybody there is nobody to tell.
        """
        ...

    def supports(self) -> frozenset[Ability]:
        """Return what this backend can do; a plan leaves out the rest."""
        ...

    def leads(self) -> bool:
        """Say whether we may write now; of several controllers one may."""
        ...

    def wait(self, seconds: float, clock: clock.Clock) -> None:
        """Wait for something to do, at most for `seconds`.

        Returns early once the object changed that somebody else writes, such as the status of a
        tool that moves the traffic. Where there is none it is a sleep by the clock.
        """
        ...

    def close(self) -> None:
        """Let go of connections, and of the lead."""
        ...


def refuse_older(table: routing.RoutingTable, world: RouteState) -> None:
    """Compare before a write.

    Raises
    ------
    RolloutError
        The table is not newer than the world's.
    """
    if table.generation <= world.generation:
        message = (
            f"the routing table is at generation {world.generation} already, so generation "
            f"{table.generation} is refused: somebody else wrote it; observe it and plan again"
        )
        raise errors.RolloutError(message)


def without_candidate(table: routing.RoutingTable) -> routing.RoutingTable:
    """Return the next generation of a table, with the champion alone.

    >>> table = routing.RoutingTable(model="m", champion="m:1", candidate="m:2", weight=0.5)
    >>> without_candidate(table).weight
    0.0
    """
    return msgspec.structs.replace(
        table, generation=table.generation + 1, candidate=None, weight=0.0, mirror=0.0
    )
