"""What the Python suites share: one line a check, and an end at the first that fails."""

import os
import sys
import time


class Suite:
    def __init__(self, name: str) -> None:
        self.name = name

    def check(self, what: str, expected, actual) -> None:
        if expected != actual:
            sys.exit(f"{self.name}: {what}\n  expected: {str(expected)[:500]}\n  actual:   {str(actual)[:500]}")
        print(f"ok - {self.name}: {what}", flush=True)


def unique(prefix: str) -> str:
    return f"{prefix}-{os.getpid()}-{time.monotonic_ns()}"


def records(count: int):
    """Keys, values, timestamps (ms) and headers that differ in length and in what is null."""
    start = int(time.time() * 1000) - 3_600_000
    for index in range(count):
        key = None if index % 10 == 9 else f"key {index}".encode()
        value = None if index % 17 == 16 else f"value {index} ".encode() * (1 + index % 50)
        yield key, value, start + index, [("index", str(index).encode()), ("empty", b"")]
