"""Analytics: daily counters of messages, latencies and inbound texts.

counter         messages by day, client, tag, sender, country, status and code
contribution    what one batch has added to the counters, kept with the batch
roll-up         adding the changes of batches and new inbound texts to the counters

contribution.py      count one batch
rollup.py            changed batches -> counters
inbound_rollup.py    inbound texts -> counters
query.py             counters -> figures by group
"""
