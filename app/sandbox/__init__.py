"""Sandbox: a local server that speaks Sinch's SMS REST API and sends no SMS.

It shares no code with `app.sinch`: two readings of one contract check each other.

```
  client ──> api/wire (faults) ──> api/routes ──────> engine/service_plan ──> control/ledger
  test   ──> api/wire ───────────> control/routes ───────┘      └──> engine/callbacks ──> webhook
```

| word | meaning |
|---|---|
| service plan | the one Sinch account that this process plays, in memory |
| batch | an accepted `POST /batches` |
| outcome | last status of a message, decided when its batch is accepted |
| timeline | the dated statuses of a message, worked out when a client asks |
| fault | an answer that a test ordered to go wrong |
| ledger | every accepted batch, written before the answer leaves |

Numbers `+1 NPA 555 01XX` have a fixed outcome (`engine/outcomes.py`, docs/sandbox.md).  All other
numbers are delivered, unless `outcome_probabilities` says otherwise.
"""
