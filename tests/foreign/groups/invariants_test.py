"""Each invariant is violated by the least that violates it, and by nothing less: run by `tests/foreign/run groups` ahead of the clients."""

import json
import unittest

from invariants import Checker, Violation

ROWS = {0: [{"row": str(index)} for index in range(200)]}


class Said:
    """Events of members, a millisecond apart."""

    def __init__(self):
        self.events = []

    def add(self, member, name, **what):
        self.events.append((len(self.events), len(self.events), member, {"name": name, **what}))
        return self

    def assigned(self, member):
        return self.add(member, "partitions_assigned", partitions=[{"partition": 0}])

    def revoked(self, member):
        return self.add(member, "partitions_revoked", partitions=[{"partition": 0}])

    def consumed(self, member, begin, end):
        for offset in range(begin, end):
            self.add(member, "record_data", partition=0, offset=offset, value=json.dumps(ROWS[0][offset]))
        return self

    def committed(self, member, offset, success=True):
        return self.add(member, "offsets_committed", success=success, offsets=[{"partition": 0, "offset": offset}])

    def check(self):
        checker = Checker(ROWS, 50)
        checker.check(self.events)
        return checker.partitions[0]


def half():
    """One member has consumed and committed half of it."""
    return Said().assigned("a").consumed("a", 0, 100).committed("a", 100)


class Invariants(unittest.TestCase):
    def violates(self, said, words):
        with self.assertRaisesRegex(Violation, words):
            said.check()

    def test_a_hand_over_is_no_violation(self):
        partition = half().revoked("a").assigned("b").consumed("b", 100, 200).committed("b", 200).check()
        self.assertEqual((partition.repeated, partition.by_zombies), (0, 0))

    def test_what_was_not_committed_is_repeated(self):
        killed = half().consumed("a", 100, 150).add("a", "ended").assigned("b").consumed("b", 100, 200)
        self.assertEqual(killed.check().repeated, 50)
        self.violates(half().consumed("a", 100, 151).add("a", "ended").assigned("b").consumed("b", 100, 200), "51 before the end")

    def test_nothing_is_lost(self):
        self.violates(half().revoked("a").assigned("b").consumed("b", 101, 200), "records are lost")
        self.violates(half(), "100 records were consumed by nobody, the first is 100")
        self.violates(half().consumed("a", 101, 200), "consumed offset 101 of partition 0 after 99")

    def test_a_partition_has_one_owner(self):
        self.violates(half().assigned("b"), "which a has")
        self.violates(half().revoked("a").consumed("a", 100, 101), "which it does not have")
        self.violates(half().revoked("a").assigned("b").committed("a", 100), "which it does not have")

    def test_the_group_never_goes_back_nor_ahead(self):
        self.violates(half().committed("a", 99), "took the group back in partition 0 from 100 to 99")
        self.violates(half().committed("a", 101), "ahead of what it consumed")
        self.violates(half().revoked("a").assigned("b").consumed("b", 99, 200), "before the committed 100")
        half().committed("a", 99, success=False).consumed("a", 100, 200).check()

    def test_the_records_are_those_of_the_file(self):
        said = half()
        said.add("a", "record_data", partition=0, offset=100, value='{"row": "0"}')
        self.violates(said, "is not that row of the file")

    def test_a_member_that_was_stopped_repeats_what_it_has_in_hand(self):
        stopped = half().add("a", "stopped").assigned("b").consumed("b", 100, 200).committed("b", 200)
        # What it had asked for before it was stopped.
        stopped.add("a", "continued").committed("a", 100)
        partition = stopped.consumed("a", 100, 150).committed("a", 150, success=False).revoked("a").check()
        self.assertEqual((partition.by_zombies, partition.committed), (50, 200))
        self.violates(half().add("a", "stopped").assigned("b").consumed("b", 100, 200).consumed("a", 100, 200).consumed("a", 199, 200), "after 199")

    def test_a_member_that_was_stopped_commits_nothing_that_it_does_later(self):
        stopped = half().add("a", "stopped").assigned("b").consumed("b", 100, 200).committed("b", 200)
        self.violates(stopped.add("a", "continued").consumed("a", 100, 150).committed("a", 150), "committed 150 in partition 0, which it had lost at 100")


if __name__ == "__main__":
    unittest.main()
