"""Compares what two readers got of a compacted topic of flights with the file itself.

`newest`: the last record of each tail number is the last of the file, at its offset, and every record is one of the file.
`exactly`: there is nothing else, either.
"""

import json
import sys

from flights import by_partition, milliseconds, rows_of
from suite import Suite

what, work = sys.argv[1:]
suite = Suite("flights-compacted")

rows = rows_of(f"{work}/flights.csv")
written, truth = {}, {}
for partition, of_partition in by_partition(rows, 6).items():
    for offset, row in enumerate(of_partition):
        record = (row["tailnum"], milliseconds(row["time_hour"]), row)
        written[partition, offset] = record
        truth[row["tailnum"]] = (partition, offset)
assert (len(rows), len(truth)) == (336_776, 4_044)

for reader in ("ottla", "kcat"):
    found, count, newest = {}, 0, {}
    with open(f"{work}/{reader}.json") as file:
        for line in file:
            record = json.loads(line)
            at = (record["partition"], record["offset"])
            timestamp = record.get("timestamp", record.get("ts"))
            value = json.loads(record.get("value", record.get("payload")))
            if written.get(at) != (record["key"], timestamp, value):
                suite.check(f"{reader}, what is at {at}", written.get(at), (record["key"], timestamp, value))
            if newest.get(record["key"], (0, -1))[1] >= record["offset"]:
                suite.check(f"{reader}, order of {record['key']}", "rising", (newest[record["key"]], at))
            newest[record["key"]] = at
            count += 1
    suite.check(f"{reader}: the last event of each of 4,044 tail numbers at its offset, among {count} records", truth, newest)
    if what == "exactly":
        suite.check(f"{reader}: nothing else", len(truth), count)
