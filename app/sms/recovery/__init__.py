"""Recovery: batches of unknown outcome, resolved without sending anything.

unknown_outcome.py  reads Sinch's list for UNKNOWN batches and moves them by what it shows
list_result.py      what a list proves: ABSENT, FOUND, MULTIPLE or MISMATCH (pure)
confirm.py          a delivery report proves that Sinch accepted the batch
attention.py        an operator's decision: mark sent, resend or give up
routes.py           batches that need attention, over HTTP
"""
