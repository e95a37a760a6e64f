"""The table of flights as records: which partition each row goes to, and in which order, known from the file alone."""

import csv
import datetime


def milliseconds(text: str) -> int:
    return int(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def murmur2(data: bytes) -> int:
    """The hash of Kafka's default partitioner."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(data)) & mask
    for start in range(0, len(data) // 4 * 4, 4):
        k = int.from_bytes(data[start : start + 4], "little") * m & mask
        h = h * m & mask ^ (k ^ k >> 24) * m & mask
    tail = data[len(data) // 4 * 4 :]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def rows_of(path) -> list[dict]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def by_partition(rows: list[dict], partitions: int) -> dict[int, list[dict]]:
    """The rows of each partition in order, keyed by tail number."""
    expected = {partition: [] for partition in range(partitions)}
    for row in rows:
        expected[(murmur2(row["tailnum"].encode()) & 0x7FFFFFFF) % partitions].append(row)
    return expected
