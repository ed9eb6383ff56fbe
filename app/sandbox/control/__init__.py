"""Control of the sandbox by tests: settings, faults, the ledger and the request log.

The URLs under `/control` need no password, so the sandbox listens on loopback only.

routes.py       /control                  settings.py     what a test may set
faults.py       faults that a test orders  rules.py       rules for the fields of both
ledger.py       copies by recipient       request_log.py  what was asked
"""
