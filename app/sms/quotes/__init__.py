"""Quotes: recipients, parts and cost of a broadcast before it is sent.

estimate.py    counts of recipients, parts and exclusions, by the claim's own functions
alike.py       groups of alike people of an audience
quote.py       a quote and its signed token, which a later send is compared with
unmoved.py     whether what a quote rests on has moved since, without a count
warnings.py    senders that carriers do not take
dry_run.py     Sinch's own count of a first batch
"""
