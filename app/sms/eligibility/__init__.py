"""Eligibility: may this recipient get this broadcast, and when.

excluded    never: opted out, erased, or for marketing no consent, inactive, over the daily cap
deferred    later: marketing in quiet hours waits for the recipient's window
window      a span of time without quiet hours in every zone that a number may be in

decide.py                     Eligibility of each recipient, asked by claims and quotes
frequency_cap.py              marketing texts per recipient and day
quiet_hours.py                zones of a number, next window
quiet_hours_by_country.py     hours by country; quiet_hours_by_country.toml has their sources
"""
