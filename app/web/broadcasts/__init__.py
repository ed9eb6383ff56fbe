"""Pages of broadcasts: the list, one broadcast, its people, decisions.

pages.py        the list, one broadcast; pause, resume, stop
resend.py       sending again to those not reached, with the approval of a second person
people.py       the people of a broadcast by where they are and why; the same as a file
attention.py    an operator's decision about a batch of unknown outcome
accounting.py   lines that add up to everybody who was asked for
delivery.py     the curve of deliveries and the countries; curve.py lays the curve out
history.py      what happened, and by whom
states.py       state, progress and verdict of a broadcast
"""
