"""Control of the sandbox by tests: settings, faults, the ledger and the request log.

The URLs under `/control` need no password, so the sandbox listens on loopback only.
"""
