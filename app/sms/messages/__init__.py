"""Messages: one recipient's copy of a broadcast, its status and the reason for it.

list.py       a broadcast's messages, paged
queries.py    its SELECT statements
export.py     the list as CSV
search.py     all messages to one number
"""
