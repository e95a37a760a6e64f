"""Compares what three readers got of the year of flights with the file itself."""

import json
import sys
from collections import defaultdict

from kafka import KafkaConsumer, TopicPartition

from flights import by_partition, milliseconds, rows_of
from suite import Suite

bootstrap, topic, work = sys.argv[1:]
suite = Suite(topic)
PARTITIONS = 6

rows = rows_of(f"{work}/flights.csv")
suite.check("flights in the file", 336_776, len(rows))
of_partition = by_partition(rows, PARTITIONS)
expected = {partition: [(row["tailnum"], milliseconds(row["time_hour"]), row) for row in rows] for partition, rows in of_partition.items()}


def compare(reader, records, start=lambda partition: 0):
    """`records` yields partition, offset, key, timestamp and value (JSON text)."""
    found = defaultdict(list)
    for partition, offset, key, timestamp, value in records:
        found[partition].append((offset, key, timestamp, json.loads(value)))
    for partition in range(PARTITIONS):
        first = start(partition)
        want = [(first + i, *flight) for i, flight in enumerate(expected[partition][first:])]
        suite.check(f"{reader}, partition {partition}: {len(want)} flights, equal to the file", True, want == found[partition])


def lines(name):
    with open(f"{work}/{name}") as file:
        for line in file:
            record = json.loads(line)
            yield record["partition"], record["offset"], record["key"], record.get("timestamp", record.get("ts")), record.get("value", record.get("payload"))


compare("ottla consume", lines("ottla.json"))
compare("kcat", lines("kcat.json"))

july = milliseconds("2013-07-01T00:00:00Z")
first_of_july = {p: next(i for i, flight in enumerate(expected[p]) if flight[1] >= july) for p in range(PARTITIONS)}
compare("replay from 1 July", lines("july.json"), first_of_july.get)

consumer = KafkaConsumer(bootstrap_servers=bootstrap)
partitions = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
consumer.assign(partitions)
consumer.seek_to_beginning()
records = []
while len(records) < len(rows):
    batch = consumer.poll(timeout_ms=30_000)
    if not batch:
        sys.exit(f"{topic}: no more records after {len(records)} of {len(rows)}")
    for messages in batch.values():
        records.extend((m.partition, m.offset, m.key.decode(), m.timestamp, m.value) for m in messages)
compare("kafka-python", records)
found = consumer.offsets_for_times({partition: july for partition in partitions})
suite.check("kafka-python finds 1 July", first_of_july, {p.partition: at.offset for p, at in found.items()})
consumer.close()
