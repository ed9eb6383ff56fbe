"""Dispatch: batches from PENDING to the outcome of their POST to Sinch.

    submit, burst ──> claim ──> POST ──> outcome
                        │                  └── bisect
                        └── payload, withhold

claim.py            PENDING → SENDING in one transaction, with the frozen payload
withhold.py         splits excluded and deferred recipients off a batch that is being claimed
canary.py           the first recipients of a broadcast, by whose outcome the others are sent
payload.py          the batch as Sinch's API takes it, and the attempt to post it
submit.py           one POST per claim; a broadcast, for its request or the command line; leases
outcome.py          SENDING → ACCEPTED, PENDING, REJECTED, HELD or UNKNOWN
refusals.py         whether a refusal concerns all clients, and which held batch tries next
bisect.py           halves a rejected batch until the rejected number is alone
burst.py            submits the most urgent batches, for background workers
one_batch.py        broadcasts of one batch: stored claimed, and completed, in shared transactions
circuit_breaker.py  probes Sinch after it rejected all payloads
"""
