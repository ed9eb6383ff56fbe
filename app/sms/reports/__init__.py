"""Delivery reports: recorded in messages, batches and counters, each message once.

record.py            messages and counters, by Sinch's or our own reports
batch_reports.py     a report on a whole batch → reports on its messages
reconcile.py         fetches missing reports from Sinch; ends unreported messages as unknown
carrier_opt_outs.py  code 257 → suppression
notify.py            events for clients whose messages got a final status
"""
