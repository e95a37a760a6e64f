"""Holds what Kafka's DumpLogSegments prints against the JSON lines of `ottla log dump`, field by field.

dump_log.py KAFKA_TEXT OTTLA_JSON
"""

import json
import re
import sys
from collections import Counter

FIELD = re.compile(r"(\w+): (OptionalLong\[-?\d+\]|OptionalLong\.empty|\[\]|\S+)")
COMPLAINTS = ("mismatch", "Mismatch", "Non-consecutive", "not found", "truncated")


def number(text):
    """What Kafka prints for an optional number."""
    inner = re.fullmatch(r"OptionalLong\[(-?\d+)\]", text)
    if inner:
        return int(inner[1])
    return None if text == "OptionalLong.empty" else int(text)


def kafka_items(path):
    """(file name, kind, fields) of each line."""
    kind = name = None
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            line = line.rstrip("\n")
            if line.startswith("Dumping "):
                name = line.removeprefix("Dumping ").rsplit("/", 1)[-1]
                kind = name.rsplit(".", 1)[-1]
                continue
            if any(complaint in line for complaint in COMPLAINTS):
                sys.exit(f"Kafka complains about {name}: {line}")
            if line.startswith("Log starting offset") or not line:
                continue
            if line.startswith("| ") or line.startswith("|-"):
                head, _, payload = line.partition(" payload: ")
                head, _, key = head.partition(" key: ")
                fields = dict(FIELD.findall(head))
                yield name, "record", {
                    "offset": int(fields["offset"]),
                    "timestamp": int(fields["CreateTime"]),
                    "keySize": int(fields["keySize"]),
                    "valueSize": int(fields["valueSize"]),
                    "sequence": int(fields["sequence"]),
                    "key": key or None,
                    "value": payload,
                }
                continue
            fields = dict(FIELD.findall(line))
            if not fields:
                sys.exit(f"a line that is not understood in {name}: {line!r}")
            yield name, {"log": "batch", "index": "offset_index_entry", "timeindex": "time_index_entry", "snapshot": "producer"}[kind], fields


def kafka_view(kind, fields):
    if kind == "batch":
        return {
            "base_offset": int(fields["baseOffset"]),
            "last_offset": int(fields["lastOffset"]),
            "record_count": int(fields["count"]),
            "base_sequence": int(fields["baseSequence"]),
            "last_sequence": int(fields["lastSequence"]),
            "producer_id": int(fields["producerId"]),
            "producer_epoch": int(fields["producerEpoch"]),
            "leader_epoch": int(fields["partitionLeaderEpoch"]),
            "transactional": fields["isTransactional"] == "true",
            "control": fields["isControl"] == "true",
            "delete_horizon": number(fields["deleteHorizonMs"]),
            "position": int(fields["position"]),
            "max_timestamp": int(fields["CreateTime"]),
            "timestamp_type": "CreateTime",
            "size_bytes": int(fields["size"]),
            "magic": int(fields["magic"]),
            "codec": fields["compresscodec"].lower(),
            "crc": int(fields["crc"]),
            "crc_matches": fields["isvalid"] == "true",
            "sound": True,
        }
    if kind == "offset_index_entry":
        return {"offset": int(fields["offset"]), "position": int(fields["position"])}
    if kind == "time_index_entry":
        return {"timestamp": int(fields["timestamp"]), "offset": int(fields["offset"])}
    if kind == "producer":
        return {
            "producer_id": int(fields["producerId"]),
            "producer_epoch": int(fields["producerEpoch"]),
            "coordinator_epoch": int(fields["coordinatorEpoch"]),
            "current_txn_first_offset": number(fields["currentTxnFirstOffset"]),
            "last_timestamp": int(fields["lastTimestamp"]),
            "newest": {
                "first_sequence": int(fields["firstSequence"]),
                "last_sequence": int(fields["lastSequence"]),
                "first_offset": int(fields["lastOffset"]) - int(fields["offsetDelta"]),
                "last_offset": int(fields["lastOffset"]),
                "timestamp": int(fields["timestamp"]),
            },
        }
    return fields


def ottla_items(path):
    batch = None
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            item = json.loads(line)
            name, kind = item.pop("file").rsplit("/", 1)[-1], item.pop("type")
            if kind == "batch":
                batch = dict(item)
                # Kafka's tool does not show it.
                del item["base_timestamp"]
            elif kind == "record":
                sequence = batch["base_sequence"]
                if sequence >= 0:
                    sequence = (sequence + item["offset"] - batch["base_offset"]) % 2**31
                key, value = item["key"], item["value"]
                item = {
                    "offset": item["offset"],
                    "timestamp": item["timestamp"],
                    "keySize": -1 if key is None else len(key.encode()),
                    "valueSize": -1 if value is None else len(value.encode()),
                    "sequence": sequence,
                    "key": key,
                    "value": value,
                }
            elif kind == "producer":
                # Kafka's format has the newest batch of the five.
                item["newest"] = item.pop("batches")[-1]
            elif kind == "leader_epoch":
                continue
            yield name, kind, item


def main():
    kafka = [(name, kind, kafka_view(kind, fields)) for name, kind, fields in kafka_items(sys.argv[1])]
    ottla = list(ottla_items(sys.argv[2]))
    order = lambda item: item[0]
    kafka.sort(key=order)
    ottla.sort(key=order)
    for index, (theirs, ours) in enumerate(zip(kafka, ottla)):
        if theirs != ours:
            sys.exit(f"item {index} differs\n  kafka: {theirs}\n  ottla: {ours}")
    if len(kafka) != len(ottla):
        sys.exit(f"{len(kafka)} items by Kafka, {len(ottla)} by ottla")
    kinds = Counter(kind for _, kind, _ in ottla)
    segments = {name for name, kind, _ in ottla if kind == "batch"}
    codecs = {item["codec"] for _, kind, item in ottla if kind == "batch"}
    assert kinds["record"] == 55000, kinds
    assert min(kinds[kind] for kind in ("batch", "offset_index_entry", "time_index_entry", "producer")) > 5, kinds
    assert len(segments) > 2, segments
    assert codecs == {"none", "gzip", "snappy", "lz4", "zstd"}, codecs
    print(", ".join(f"{count} of {kind}" for kind, count in sorted(kinds.items())), f"in {len(segments)} segments: all equal")


if __name__ == "__main__":
    main()
