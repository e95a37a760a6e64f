"""What must hold of everything that the members of a group said, whatever was done to them.

An event is what a member said, with its time on the machine's clock; a mark is what the orchestrator did to a member. Both
are in one list. A member owns a partition from its assignment to its revocation, to its kill or to its stop; one that was
stopped for longer than its session is a zombie from then on until it hears that it lost its partitions: what it consumes
meanwhile, from what it had fetched, is a repetition, and nothing of it may be committed any more.
"""

import json
from collections import defaultdict
from dataclasses import dataclass, field


class Violation(Exception):
    pass


@dataclass
class Ownership:
    """What one member has of one partition: where it is within it, and whether it only believes to have it."""

    next_offset: int | None = None
    zombie: bool = False
    # What it may have asked to commit before it was stopped.
    commits_to: int | None = None


@dataclass
class Partition:
    owner: str | None = None
    # The end of what somebody has consumed, and what is known to be committed.
    consumed: int = 0
    committed: int = 0
    seen: set = field(default_factory=set)
    repeated: int = 0
    by_zombies: int = 0


class Checker:
    def __init__(self, expected: dict[int, list[dict]], commit_records: int):
        self.expected = expected
        # What may be consumed between two commits.
        self.commit_records = commit_records
        self.partitions = {partition: Partition() for partition in expected}
        self.members: dict[str, dict[int, Ownership]] = defaultdict(dict)
        self.handovers = 0

    def check(self, events):
        """`events` are (milliseconds, order of arrival, member, what it said or what was done to it)."""
        for time, _, member, event in sorted(events, key=lambda event: event[:2]):
            handler = getattr(self, event["name"], None)
            if handler:
                try:
                    handler(member, event)
                except Violation as violation:
                    raise Violation(f"{member} at {time}: {violation}") from None
        for number, partition in self.partitions.items():
            lost = set(range(len(self.expected[number]))) - partition.seen
            require(not lost, f"partition {number}: {len(lost)} records were consumed by nobody, the first is {min(lost, default=None)}")

    def partitions_assigned(self, member, event):
        for partition in numbers(event):
            owner = self.partitions[partition].owner
            require(owner in (None, member), f"was assigned partition {partition}, which {owner} has")
            self.partitions[partition].owner = member
            self.members[member][partition] = Ownership()
            self.handovers += 1

    def partitions_revoked(self, member, event):
        for partition in numbers(event):
            if self.members[member].pop(partition, None) and self.partitions[partition].owner == member:
                self.partitions[partition].owner = None

    def record_data(self, member, event):
        number, offset = event["partition"], event["offset"]
        partition, own = self.partitions[number], self.members[member].get(number)
        require(own, f"consumed offset {offset} of partition {number}, which it does not have")
        if own.next_offset is None:
            require(offset <= partition.consumed, f"began at {offset} of partition {number}: {partition.consumed} was next, records are lost")
            require(offset >= partition.committed, f"began at {offset} of partition {number}, before the committed {partition.committed}")
            again = partition.consumed - offset
            require(again <= self.commit_records, f"began at {offset} of partition {number}, {again} before the end of what was consumed")
        else:
            require(offset == own.next_offset, f"consumed offset {offset} of partition {number} after {own.next_offset - 1}")
        own.next_offset = offset + 1
        if own.zombie:
            partition.by_zombies += 1
        elif offset in partition.seen:
            partition.repeated += 1
        row = self.expected[number][offset]
        require(json.loads(event["value"]) == row, f"offset {offset} of partition {number} is not that row of the file")
        partition.seen.add(offset)
        partition.consumed = max(partition.consumed, offset + 1)

    def offsets_committed(self, member, event):
        if not event["success"]:
            return
        for one in event["offsets"]:
            number, offset = one["partition"], one["offset"]
            partition, own = self.partitions[number], self.members[member].get(number)
            require(own, f"committed {offset} in partition {number}, which it does not have")
            require(own.next_offset is not None and offset <= own.next_offset, f"committed {offset} in partition {number} ahead of what it consumed")
            if own.zombie:
                require(own.commits_to is None or offset <= own.commits_to, f"committed {offset} in partition {number}, which it had lost at {own.commits_to}")
            else:
                require(offset >= partition.committed, f"took the group back in partition {number} from {partition.committed} to {offset}")
                partition.committed = offset

    # What the orchestrator does.

    def ended(self, member, _):
        for partition in self.members.pop(member, {}):
            if self.partitions[partition].owner == member:
                self.partitions[partition].owner = None

    def stopped(self, member, _):
        for partition, own in self.members[member].items():
            own.zombie = True
            self.partitions[partition].owner = None

    def continued(self, member, _):
        """Others have its partitions; what it asks from here on it asks in vain."""
        for own in self.members[member].values():
            own.commits_to = own.next_offset or 0

    def summary(self) -> str:
        total = sum(len(rows) for rows in self.expected.values())
        repeated = sum(partition.repeated for partition in self.partitions.values())
        zombies = sum(partition.by_zombies for partition in self.partitions.values())
        return f"{total} records, {self.handovers} hand-overs of a partition, {repeated} records consumed again, {zombies} by members that were given up"


def numbers(event):
    return [one["partition"] for one in event["partitions"]]


def require(holds, otherwise):
    if not holds:
        raise Violation(otherwise)
