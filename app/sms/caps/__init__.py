"""Caps: limits on what a client, or all clients, may send in an hour or a day.

prices.py  the price of a part by country
"""
