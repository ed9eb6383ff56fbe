"""Rules that hold over a broadcast's whole life, shared by all packages above.

counts.py     recipients of a broadcast by status, adding up to all of them
finalize.py   the final status of a broadcast, and ending its unsent batches
gates.py      what pauses all sending: back-off, circuit breaker, pace, restore mode
outbox.py     events for clients, written in the transaction that they report
latency.py    latency buckets and percentiles
find.py       find a broadcast by its public id, behind the wall between clients
locks.py      the lock order
"""
