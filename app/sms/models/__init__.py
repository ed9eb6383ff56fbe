"""Tables of broadcasts, states of a batch, statuses of a message.

broadcasts 1─* chunks     the audience, in batch-sized lists of numbers
           1─* batches    one call to Sinch each: some recipients of a chunk, and its state
                  1─* attempts   one row per POST to Sinch
           1─* messages   one recipient's copy each

broadcast.py, batch.py     the tables above, the gates and the marketing sends
reports.py, daily.py       callbacks, delivery counts, inbounds, outbox; daily counters
delivery.py                curve and countries of a large broadcast
cap.py, price.py           limits on what is sent, what was used of them; prices
template.py, erasure.py, draft.py
states.py                  states of a batch (with the diagram), statuses of a broadcast
statuses.py                statuses of a message, Sinch's statuses and codes
"""
