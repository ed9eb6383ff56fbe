"""Analytics: daily counters of messages, latencies and inbound texts; delivery of a broadcast.

counter         messages by day, client, tag, sender, country, status and code
contribution    what one batch has added to the counters, kept with the batch
roll-up         adding the changes of batches and new inbound texts to the counters
slot            a span of time since a broadcast's start, with the messages delivered in it

contribution.py      count one batch
delivery_counts.py   count one batch by country and slot, for its broadcast
rollup.py            changed batches -> counters
inbound_rollup.py    inbound texts -> counters
query.py             counters -> figures by group
delivery.py          counters -> curve and countries of one broadcast
"""
