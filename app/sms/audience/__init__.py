"""Audiences: from recipients or a lookup to chunks, batches and messages.

chunk       stored recipients of a broadcast with equal language and exclusion reason, in order
lookup      reading the subscribers of an audience by tags and fields, when the send starts
planning    making a batch of each chunk, and a message of each recipient

chunks.py                     a request's recipients -> chunks; those of a batch; references
expand.py                     a request's audience -> chunks, if it is small
lookup.py                     a stored broadcast's audience -> chunks, a page at a time
grown.py                      an audience with more people than were approved -> a pause
columns.py                    all people of an audience: their columns and a hash, for quotes
plan.py                       chunks -> batches and messages
split.py                      recipients of a batch -> a batch of their own
broadcasts_by_recipient.py    the broadcasts that contain a number
"""
