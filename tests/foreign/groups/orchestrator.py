"""Leads a group of three over six partitions through its life, and checks what its members say: see invariants.py.

The members are processes of any client (member.py says what they say). Flights flow in all the while; the group starts, is
scaled out and in, a member is killed, one is stopped past its session, the broker is killed and started again; then the rest
of the flights is poured in and consumed to the end. Or, with `--protocol migration`: its members are replaced one by one by those of
the consumer protocol, and these by classic ones again. Every step is waited for by what the members say, never by time alone.
"""

import argparse
import csv
import json
import math
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "python"))
from flights import by_partition, rows_of
from invariants import Checker, Violation

PARTITIONS = 6
POLL_RECORDS = 50
SESSION_MS = 6000
# How long a step may take: a session, a rebalance and much patience for a busy machine.
STEP_SECONDS = 120


def now_ms():
    return time.time_ns() // 1_000_000


class World:
    """What everybody said, and a way to wait until it fulfils a condition."""

    def __init__(self):
        self.changed = threading.Condition()
        self.events = []
        self.failure = None

    def say(self, time_ms, member, event):
        with self.changed:
            self.events.append((time_ms, len(self.events), member, event))
            self.changed.notify_all()

    def fail(self, why):
        with self.changed:
            self.failure = self.failure or why
            self.changed.notify_all()

    def wait(self, what, holds, state, progress=lambda: None):
        """Until it holds. Fails when it does not for too long, during which there was no progress either."""
        with self.changed:
            before = None
            while not self.changed.wait_for(lambda: self.failure or holds(), STEP_SECONDS):
                if before == (before := progress()):
                    raise Violation(f"{what}: not within {STEP_SECONDS} s; {state()}")
            if self.failure:
                raise Violation(self.failure)


class Member:
    def __init__(self, world, scenario, name, command, protocol):
        self.world, self.name = world, name
        self.owned = set()
        # When each partition was last heard of.
        self.moved_ms = {}
        self.expected_to_end = False
        environment = os.environ | {
            "BOOTSTRAP": scenario.bootstrap,
            "GROUP": scenario.group,
            "TOPIC": scenario.topic,
            "NAME": name,
            "PROTOCOL": protocol,
            "POLL_RECORDS": str(POLL_RECORDS),
            "SESSION_MS": str(SESSION_MS),
            "WORK": str(scenario.work),
        }
        self.log = scenario.work / f"{name}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(shlex.split(command), stdout=subprocess.PIPE, stderr=log, env=environment)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            try:
                event = json.loads(line)
                time_ms, name = event["timestamp"], event["name"]
            except (ValueError, KeyError, TypeError):
                # A killed member may end within a line; and Kafka's VerifiableConsumer says other things, too.
                continue
            with self.world.changed:
                partitions = {one["partition"] for one in event.get("partitions", []) if isinstance(one, dict)}
                if name == "partitions_assigned":
                    self.owned |= partitions
                elif name == "partitions_revoked":
                    self.owned -= partitions
                elif name == "record_data":
                    self.moved_ms[event["partition"]] = now_ms()
            self.world.say(time_ms, self.name, event)
        code = self.process.wait()
        if not self.expected_to_end:
            self.world.fail(f"{self.name} ended with {code} by itself; {self.last_words()}")

    def last_words(self):
        return f"the last words of {self.name}:\n{self.log.read_text(errors='replace')[-2000:]}"

    def signal(self, number, mark=None):
        if mark:
            self.world.say(now_ms(), self.name, {"name": mark})
        self.process.send_signal(number)

    def kill(self):
        self.expected_to_end = True
        self.process.kill()
        self.reader.join()
        self.world.say(now_ms(), self.name, {"name": "ended"})

    def leave(self):
        """As a program that is asked to end does."""
        self.expected_to_end = True
        self.process.terminate()
        try:
            self.process.wait(STEP_SECONDS)
        except subprocess.TimeoutExpired:
            raise Violation(f"{self.name} was asked to end and is still there; {self.last_words()}") from None
        self.reader.join()
        self.world.say(now_ms(), self.name, {"name": "ended"})


class Broker:
    """Our own broker, which can be killed and comes back with its data at the same address."""

    def __init__(self, ottla, work):
        self.ottla, self.work = ottla, work
        self.address = "127.0.0.1:0"
        self.process = None
        self.start()

    def start(self):
        port_file = self.work / "address"
        port_file.unlink(missing_ok=True)
        # Sessions of the consumer protocol are the broker's to set, and 45 s as they come.
        sessions = {"session.timeout.ms": SESSION_MS, "min.session.timeout.ms": SESSION_MS, "heartbeat.interval.ms": 1000, "min.heartbeat.interval.ms": 1000}
        settings = [part for key, value in sessions.items() for part in ("--set", f"group.consumer.{key}={value}")]
        with open(self.work / "broker.log", "ab") as log:
            self.process = subprocess.Popen(
                [self.ottla, "serve", "--quiet", "--data-dir", self.work / "data", "--listen", self.address, "--port-file", port_file, *settings],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + STEP_SECONDS
        while not (port_file.exists() and port_file.read_text().strip()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Violation(f"the broker did not start:\n{(self.work / 'broker.log').read_text()[-2000:]}")
            time.sleep(0.02)
        self.address = port_file.read_text().split()[0]

    def kill(self):
        self.process.kill()
        self.process.wait()


class Feeder(threading.Thread):
    """Produces the flights in the order of the file: a hundredth of what is left each second, so that some flow however long
    the steps take, until it is told to pour."""

    def __init__(self, scenario, rows):
        super().__init__(daemon=True)
        self.scenario, self.rows = scenario, rows
        self.pouring = threading.Event()
        options = ["--format", "csv", "--key-column", "tailnum", "--timestamp-column", "time_hour"]
        self.process = subprocess.Popen(
            [scenario.ottla, "produce", scenario.topic, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=open(scenario.work / "produce.log", "wb"),
            env=os.environ | {"OTTLA_BOOTSTRAP_SERVER": scenario.bootstrap},
            text=True,
        )
        self.fed = 0

    def run(self):
        try:
            self.feed()
        except BrokenPipeError:
            self.scenario.world.fail("the producer ended early: " + (self.scenario.work / "produce.log").read_text()[-2000:])

    def feed(self):
        writer = csv.DictWriter(self.process.stdin, self.rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        began = time.monotonic()
        while self.fed < len(self.rows):
            part = 1 if self.pouring.is_set() else 1 - math.exp((began - time.monotonic()) / 100)
            due = int(len(self.rows) * part)
            writer.writerows(self.rows[self.fed : due])
            self.process.stdin.flush()
            self.fed = max(self.fed, due)
            # It is the pace of the data.
            self.pouring.wait(0.05)
        self.process.stdin.close()

    def pour(self):
        self.pouring.set()
        self.join()
        if self.process.wait(STEP_SECONDS) != 0:
            raise Violation("the producer failed: " + (self.scenario.work / "produce.log").read_text()[-2000:])


class Scenario:
    def __init__(self, options):
        self.name, self.work, self.ottla = options.name, options.work.resolve(), options.ottla
        self.protocol = options.protocol
        self.commands = options.member
        self.work.mkdir(parents=True, exist_ok=True)
        self.world = World()
        self.members: dict[str, Member] = {}
        self.launched = 0
        self.started = time.monotonic()
        self.rows = rows_of(options.flights)
        self.expected = by_partition(self.rows, PARTITIONS)
        self.broker, self.bootstrap = None, options.bootstrap
        self.topic = f"{self.name}-{os.getpid()}-{now_ms()}"
        self.group = f"group-{self.topic}"

    def run(self):
        if not self.bootstrap:
            self.broker = Broker(self.ottla, self.work)
            self.bootstrap = self.broker.address
        self.cli("topic", "create", self.topic, "--partitions", str(PARTITIONS), "--config", "retention.ms=-1")
        feeder = Feeder(self, self.rows)
        feeder.start()
        if self.protocol == "migration":
            self.migrates()
        else:
            self.changes()
        feeder.pour()
        self.consumes_all()
        for name in list(self.members):
            self.members.pop(name).leave()
        self.ok("every flight is consumed and committed, and the group is empty")
        self.has_ended()
        checker = Checker(self.expected, POLL_RECORDS)
        checker.check(self.world.events)
        self.ok("in order, by one owner at a time, nothing lost, repeated at most what was not committed: " + checker.summary())

    def changes(self):
        self.start("a", "b", "c")
        self.settles("three members share six partitions", "a", "b", "c")
        self.start("d")
        self.settles("a fourth takes its share", "a", "b", "c", "d")
        self.members.pop("d").leave()
        self.settles("it leaves, and the others take over", "a", "b", "c")
        self.members.pop("b").kill()
        self.settles("one is killed, and the others take over", "a", "c")
        self.start("e")
        self.settles("one comes in its place", "a", "c", "e")
        self.members["c"].signal(signal.SIGSTOP, "stopped")
        self.settles("one is stopped past its session, and the others take over", "a", "e")
        self.members["c"].signal(signal.SIGCONT, "continued")
        self.settles("it wakes up, hears of it and takes its share again", "a", "c", "e")
        if self.broker:
            self.broker.kill()
            self.broker.start()
            self.settles("the broker is killed and started again, and the group goes on", "a", "c", "e")
        else:
            print(f"-- {self.name}: the broker at {self.bootstrap} is not ours to restart", flush=True)

    def migrates(self):
        """As a program is that is started anew with another setting, instance by instance."""
        self.start("a", "b", "c", protocol="classic")
        self.settles("three classic members share six partitions", "a", "b", "c")
        self.is_of("classic")
        for protocol, other, old, new in [("consumer", "classic", "abc", "def"), ("classic", "consumer", "def", "ghi")]:
            for gone, comes in zip(old, new):
                self.members.pop(gone).leave()
                self.start(comes, protocol=protocol)
                names = list(self.members)
                left = len(set(names) & set(old))
                self.settles(f"a {protocol} member comes for a {other} one, {left} of which are left", *names)
                # A group is one of the consumer protocol for as long as any of its members is.
                self.is_of("classic" if protocol == "classic" and not left else "consumer")

    def start(self, *names, protocol=None):
        for name in names:
            command = self.commands[self.launched % len(self.commands)]
            self.members[name] = Member(self.world, self, name, command, protocol or self.protocol)
            self.launched += 1

    def settles(self, what, *names):
        """Each of the members has its share, nobody has another's, and all of it moves from now on."""
        members = [self.members[name] for name in names]
        share = range(PARTITIONS // len(members), -(-PARTITIONS // len(members)) + 1)
        began = None

        def holds():
            nonlocal began
            owned = [member.owned for member in members]
            if sum(map(len, owned)) != PARTITIONS or set().union(*owned) != set(range(PARTITIONS)):
                began = None
                return False
            began = began or now_ms()
            return all(len(own) in share for own in owned) and all(
                member.moved_ms.get(partition, 0) > began for member in members for partition in member.owned
            )

        state = lambda: ", ".join(f"{name} has {sorted(member.owned)}, moved {member.moved_ms}" for name, member in self.members.items())
        self.world.wait(what, holds, state)
        self.ok(what)

    def consumes_all(self):
        wanted = {partition: len(rows) for partition, rows in self.expected.items()}
        committed = dict.fromkeys(wanted, 0)
        position = 0

        def holds():
            nonlocal position
            for _, _, _, event in self.world.events[position:]:
                if event["name"] == "offsets_committed" and event["success"]:
                    for one in event["offsets"]:
                        committed[one["partition"]] = one["offset"]
            position = len(self.world.events)
            return committed == wanted

        self.world.wait("everything is committed", holds, lambda: f"{committed} of {wanted}", lambda: sum(committed.values()))

    def described(self):
        return json.loads(self.cli("group", "describe", self.group, "--output", "json"))[0]

    def is_of(self, protocol):
        group = self.described()
        if group["type"].lower() != protocol:
            raise Violation(f"the group is one of the {group['type']} protocol, not the {protocol} one: {group['members']}")

    def has_ended(self):
        """What the broker says of the group agrees with what its members said."""
        group = self.described()
        if group["state"] != "Empty" or group["members"]:
            raise Violation(f"all have left, and the group is {group['state']} with {group['members']}")
        committed = {one["partition"]: one["committed_offset"] for one in group["partitions"]}
        wanted = {partition: len(rows) for partition, rows in self.expected.items()}
        if committed != wanted or group["lag"] != 0:
            raise Violation(f"the broker has {committed} as committed, of {wanted}")

    def cli(self, *arguments):
        return subprocess.run(
            [self.ottla, *arguments], env=os.environ | {"OTTLA_BOOTSTRAP_SERVER": self.bootstrap}, check=True, text=True, stdout=subprocess.PIPE
        ).stdout

    def ok(self, what):
        print(f"ok - {self.name} ({time.monotonic() - self.started:.1f}s): {what}", flush=True)

    def last_words(self):
        return "\n".join(member.last_words() for member in self.members.values())

    def end(self):
        for member in self.members.values():
            member.expected_to_end = True
            member.process.kill()
        if self.broker:
            self.broker.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("--work", type=Path, required=True, help="a folder for the data and the logs")
    parser.add_argument("--ottla", required=True, help="the ottla command, which produces, and serves unless --bootstrap is given")
    parser.add_argument("--flights", type=Path, required=True, help="the CSV file")
    parser.add_argument("--bootstrap", help="a broker that runs already, instead of one of our own")
    parser.add_argument("--protocol", choices=["classic", "consumer", "migration"], default="classic")
    parser.add_argument("--member", action="append", required=True, help="the command of a member; several take turns")
    options = parser.parse_args()
    # So that members end with whoever leads them.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    scenario = Scenario(options)
    try:
        scenario.run()
    except Violation as violation:
        sys.exit(f"{options.name}: {violation}\n{scenario.last_words()}")
    finally:
        scenario.end()


main()
