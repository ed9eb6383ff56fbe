"""A local stand-in for Sinch's SMS REST API: same URLs, same answers, no SMS.

It shares no code with the client beside it: two readings of one contract check each other.

| word | meaning |
|---|---|
| plan | the one Sinch service plan this process plays, all of it in memory |
| batch | one accepted ``POST /batches`` |
| fate | what is decided for one recipient when the batch is accepted |
| course | the dated statuses one message goes through, worked out when somebody asks |
| feed | what makes a batch's callbacks come out when they are due |
| fault | an answer gone wrong, ordered beforehand through ``/control`` |
| ledger | every batch ever accepted: the test's witness of what would have been sent |

```
  client ──HTTP──> wire (faults) ──> api ──> plan ──> ledger
  tester ──HTTP──> wire ──────────> control     └──> feed ──> callbacks ──HTTP──> webhook
```

The number decides the end.  In the fictitious North American range ``+1 NPA 555 01XX``, any area
code, XX stands for:

| XX | ends as |
|---|---|
| 00 | Delivered, 0 |
| 01 | Failed, 150: unknown subscriber |
| 02 | Expired, 153: absent |
| 03 | Rejected, 15: blocked |
| 04 | Delivered, 0, but only after ``late_after_s`` |
| 05 | Failed, 257: the recipient opted out |
| 06 | Aborted, 402: unroutable |
| 07 | never: stays Dispatched |
| 08 | Unknown, 0 |
| 09 | Deleted, 0 |
| 10 | Aborted, 404: temporary, may be sent again |
| 11 | Aborted, 413: account blocked |
| 12 | Aborted, 412: region not provisioned |
| 13 | Rejected, 62: content screened |
| 14 | Failed, 203: busy, temporary |
| 20 | Delivered, 0, then the person answers STOP |
| 21 | Delivered, 0, then the person answers START |
| 22 | Delivered, 0, then the person says thank you |

Every other number in the world is delivered, unless ``outcome_probabilities`` says otherwise.
"""
