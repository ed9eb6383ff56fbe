"""Validation of a million numbers against `json.loads` of the body they came in.

Goal: at most 4 times.
"""

import json
import time
from collections.abc import Callable

from app.http.body import JsonBounds, parse_json_object
from app.phone.e164 import inspect_number, remove_duplicates, sort_entries
from bench.measure import show_ratio, show_time, time_in_turn

COUNT = 1_000_000
BOUNDS = JsonBounds(10**9, 10, 2 * COUNT)
INSPECTED = 2_000
ROUNDS = 7


def main() -> None:
    """Measure valid numbers, one invalid number, and libphonenumber."""
    body = json.dumps({"recipients": [f"+4670{n:07d}" for n in range(COUNT)], "message": "x"})
    raw = body.encode()
    entries = json.loads(raw)["recipients"]
    invalid: list[object] = [*entries[:-1], "not a number"]
    taken = time_in_turn(
        {
            "json.loads": lambda: _time(lambda: json.loads(raw)),
            "strict": lambda: _time(lambda: parse_json_object(raw, BOUNDS)),
            "valid": lambda: _time(lambda: remove_duplicates(sort_entries(entries).numbers)),
            "invalid": lambda: _time(lambda: sort_entries(invalid)),
            "inspected": lambda: _time(lambda: [inspect_number(n) for n in entries[:INSPECTED]]),
        },
        rounds=ROUNDS,
    )
    print(f"{COUNT} numbers:")
    show_time("json.loads of the body", taken["json.loads"], each_of=1)
    show_time("strict parse of the body", taken["strict"], each_of=1)
    show_time("pattern and duplicates, all valid", taken["valid"], each_of=1)
    show_time("pattern, the last one invalid", taken["invalid"], each_of=1)
    show_ratio("strict parse / json.loads", taken["strict"], taken["json.loads"], goal=None)
    show_ratio("validation / json.loads", taken["valid"], taken["json.loads"], goal=4)
    show_ratio(
        "validation, one invalid / json.loads", taken["invalid"], taken["json.loads"], goal=None
    )
    show_time("libphonenumber, for each thousand", taken["inspected"], each_of=INSPECTED // 1000)


def _time(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
