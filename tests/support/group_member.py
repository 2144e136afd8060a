"""`coppice`, as a process whose group of monitors comes together sooner on the mock brokers.

Usage: python -m tests.support.group_member monitor --project FOLDER
"""

from __future__ import annotations

import time

from kafka.coordinator.assignors.range import RangePartitionAssignor

from coppice_cli import main

LEAD_SECONDS = 0.5


def let_the_others_ask_first() -> None:
    """Keep the group's leader from giving out shares at once.

    The mock brokers refuse a member that asks for its share after the leader gave it out, and all
    join anew, for as long as it takes; real ones answer it.
    """
    assign = RangePartitionAssignor.assign.__func__

    def slowly(cls: type, cluster: object, members: object) -> object:
        time.sleep(LEAD_SECONDS)
        return assign(cls, cluster, members)

    RangePartitionAssignor.assign = classmethod(slowly)


if __name__ == "__main__":
    let_the_others_ask_first()
    main.run()
