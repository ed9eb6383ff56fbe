"""Caps: limits on what a client, or all clients together, may send in an hour or a day.

budget.py  what the caps leave, counted in the transaction that claims
caps.py    set, remove and list caps; the largest broadcast
past.py    what was sent in an hour or day before its cap was set
prices.py  the price of a part by country
"""
