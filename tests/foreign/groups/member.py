"""What a member of a group does and says, whatever its client: it polls, says which records it has, commits them, and says so.

It speaks as Kafka's VerifiableConsumer does, one JSON object a line with the wall clock in milliseconds, so that this is the
Java client's member as it stands: partitions_assigned, partitions_revoked, record_data, offsets_committed, shutdown_complete.
"""

import json
import os
import signal
import sys
import time

# What is consumed between two commits at most, and so what a new owner may see again.
POLL_RECORDS = int(os.environ["POLL_RECORDS"])
POLL_SECONDS = 0.2


class Member:
    def __init__(self):
        self.bootstrap, self.group, self.topic = (os.environ[name] for name in ("BOOTSTRAP", "GROUP", "TOPIC"))
        self.name, self.protocol = os.environ["NAME"], os.environ["PROTOCOL"]
        self.session_ms = int(os.environ["SESSION_MS"])
        self.ending = False
        self.owned = set()
        # What was said to be consumed and is not committed yet.
        self.pending = {}
        signal.signal(signal.SIGTERM, self.end)

    def end(self, *_):
        self.ending = True

    def say(self, name, **what):
        sys.stdout.write(json.dumps({"timestamp": time.time_ns() // 1_000_000, "name": name, **what}) + "\n")

    def assigned(self, partitions):
        self.owned.update(partitions)
        self.say("partitions_assigned", partitions=self.named(partitions))
        sys.stdout.flush()

    def revoked(self, partitions):
        """Commits while the partitions are still its own."""
        self.commit_pending()
        self.lost(partitions)

    def lost(self, partitions):
        """Somebody else may have them already: a commit could take the group back."""
        self.pending.clear()
        self.owned.difference_update(partitions)
        self.say("partitions_revoked", partitions=self.named(partitions))
        sys.stdout.flush()

    def named(self, partitions):
        return [{"topic": topic, "partition": partition} for topic, partition in partitions]

    def run(self):
        self.open()
        while not self.ending:
            for partition, offset, value in self.poll():
                self.say("record_data", topic=self.topic, partition=partition, offset=offset, value=value.decode())
                self.pending[partition] = offset + 1
            sys.stdout.flush()
            self.commit_pending()
        # It has nothing from here on, and not every client says so when it leaves.
        self.revoked(sorted(self.owned))
        self.close()
        self.say("shutdown_complete")
        sys.stdout.flush()

    def commit_pending(self):
        if not self.pending:
            return
        offsets, self.pending = self.pending, {}
        said = [{"topic": self.topic, "partition": partition, "offset": offset} for partition, offset in offsets.items()]
        try:
            self.commit(offsets)
            self.say("offsets_committed", offsets=said, success=True)
        except Exception as error:  # of whatever class the client has: the member goes on, as its group does
            self.say("offsets_committed", offsets=said, success=False, error=f"{type(error).__name__}: {error}")
        sys.stdout.flush()
