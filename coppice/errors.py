"""Every error that Coppice raises on purpose, in one tree.

Why an own tree: each error carries what a person needs (what was wrong, what to do) and what a
machine needs (the exit code of the command line, the HTTP status of a door). A library's exception
is wrapped where the library is at home and chained as the cause; bugs are never wrapped.

::

    CoppiceError                    exit 1   HTTP 500
    ├── SettingsError               exit 2            coppice.toml or a COPPICE_ variable
    ├── ProjectError                exit 2            the user's own module or data
    ├── InputError                  exit 2            a file of rows that cannot be scored
    ├── ArtifactError               exit 3   HTTP 503
    │   ├── ArtifactCorrupt                           a digest does not match
    │   └── EngineMissing           exit 8            what runs the graph is not installed
    ├── UnknownVersion              exit 3   HTTP 404
    ├── EventLogError               exit 5   HTTP 503
    │   ├── LogFull                          HTTP 507
    │   ├── EventTooLarge                             for Kafka, never for a local log
    │   ├── RelayStuck              exit 9            Kafka missed the deadline
    │   ├── FollowerStuck           exit 9            Kafka's client gets nowhere
    │   ├── MemberStuck             exit 9            Kafka's client gets nowhere
    │   └── UndecodableEvent
    ├── RequestError                         HTTP 400 what a client sent
    │   ├── Unauthorized                     HTTP 401
    │   ├── Forbidden                        HTTP 403
    │   ├── UnknownModel                     HTTP 404
    │   ├── UnknownRequest                   HTTP 404
    │   ├── RepeatedFeedback                 HTTP 409
    │   ├── BodyTooLarge                     HTTP 413
    │   ├── Overloaded                       HTTP 429
    │   └── NotReady                         HTTP 503
    ├── PruningError                exit 6            a recipe that cannot be carried out
    ├── GateRefused                 exit 4            a candidate that failed its gates
    │   └── BudgetMissed                              no width does what a search was asked for
    ├── RolloutError                exit 7            a step that the state does not allow
    │   └── ClusterConflict                           somebody else wrote the object in between
    └── EnvironmentProblem          exit 8            port taken, disk full, package shadowed
        ├── RegistryProblem              HTTP 503     the store of versions refuses, or is not there
        └── ClusterProblem               HTTP 503     the Kubernetes API refuses, or is not there
            ├── NotInCluster                          no such object
            └── ClusterExpired                        a watch's version is forgotten
"""

from __future__ import annotations

import inspect
from typing import ClassVar


class CoppiceError(Exception):
    """Something went wrong in Coppice."""

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str | None = None) -> None:
        """Say what was wrong and what to do; without a message the class's docstring says it."""
        super().__init__(message or inspect.getdoc(type(self)) or type(self).__name__)


class SettingsError(CoppiceError):
    """The settings are not valid. Run `coppice doctor` to see each finding with its remedy."""

    exit_code = 2


class ProjectError(CoppiceError):
    """The project's own code or data cannot be used. Run `coppice doctor` to see why."""

    exit_code = 2


class InputError(CoppiceError):
    """The file of rows cannot be scored. Mend it, or pass over its wrong rows with --on-error."""

    exit_code = 2


class ArtifactError(CoppiceError):
    """The artifact cannot be used. Pack it again with `coppice prune`."""

    exit_code = 3
    http_status = 503


class ArtifactCorrupt(ArtifactError):
    """The artifact's files do not match its manifest. Restore it, or pack it again."""


class EngineMissing(ArtifactError):
    """The library that runs this graph is not installed."""

    exit_code = 8


class UnknownVersion(CoppiceError):
    """There is no such version in the registry. `coppice status` lists the known ones."""

    exit_code = 3
    http_status = 404


class EventLogError(CoppiceError):
    """The event log cannot be used."""

    exit_code = 5
    http_status = 503


class LogFull(EventLogError):
    """The event log's disk is full, so nothing was stored. Free space, then send it again."""

    http_status = 507


class EventTooLarge(EventLogError):
    """An event is larger than Kafka takes. Send fewer rows per request, or store fewer inputs."""


class RelayStuck(EventLogError):
    """Kafka did not acknowledge in time. Start the relay again: it repeats what it must."""

    exit_code = 9


class FollowerStuck(EventLogError):
    """Kafka's client gets nowhere. Start the follower again: it goes on where the log ends."""

    exit_code = 9


class MemberStuck(EventLogError):
    """Kafka's client gets nowhere. Start the monitor again: it tells again what it must."""

    exit_code = 9


class UndecodableEvent(EventLogError):
    """An event in the log could not be decoded."""


class RequestError(CoppiceError):
    """The request is not valid."""

    http_status = 400


class Unauthorized(RequestError):
    """The token is missing or wrong. Send it as `Authorization: Bearer TOKEN`."""

    http_status = 401


class Forbidden(RequestError):
    """That may not be asked for from here."""

    http_status = 403


class UnknownModel(RequestError):
    """This server does not serve that model."""

    http_status = 404


class UnknownRequest(RequestError):
    """No prediction is stored under that request id, so the feedback has nothing to join."""

    http_status = 404


class RepeatedFeedback(RequestError):
    """That request has feedback already. The first label stands."""

    http_status = 409


class BodyTooLarge(RequestError):
    """The body is larger than `serve.max_body_bytes`. Send fewer rows per request."""

    http_status = 413


class Overloaded(RequestError):
    """The server's queue is full. Try again after the time in `Retry-After`."""

    http_status = 429


class NotReady(RequestError):
    """The model is not ready to answer. Ask `/v2/health/ready` before sending requests."""

    http_status = 503


class PruningError(CoppiceError):
    """The recipe cannot be carried out on this model."""

    exit_code = 6


class GateRefused(CoppiceError):
    """The candidate failed a gate. `--force` registers it all the same, and says so in its card."""

    exit_code = 4


class BudgetMissed(GateRefused):
    """No width meets the budget. Allow a larger loss, or ask for less."""


class RolloutError(CoppiceError):
    """The rollout's state does not allow that step. `coppice rollout status` shows the state."""

    exit_code = 7
    http_status = 409


class EnvironmentProblem(CoppiceError):
    """This machine's environment stands in the way."""

    exit_code = 8


class RegistryProblem(EnvironmentProblem):
    """The store of versions cannot be used."""

    http_status = 503


class ClusterConflict(RolloutError):
    """Somebody else wrote the cluster's object in between. Observe it, and plan again."""


class ClusterProblem(EnvironmentProblem):
    """The Kubernetes API cannot be used."""

    http_status = 503


class NotInCluster(ClusterProblem):
    """The cluster has no such object."""


class ClusterExpired(ClusterProblem):
    """The cluster has forgotten the version that a watch began at. Begin the watch anew."""
