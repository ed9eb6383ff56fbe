"""GET /metrics for Prometheus, in two layers, and errors for Sentry.

What the database knows is read from it when Prometheus asks: it is right for any number of
processes, also for those that have died.  Each process counts only its requests and its calls to
Sinch.  No label comes from a caller.

database.py   gauges from the database, kept for some seconds
queries.py    their queries: daily counters, what is open, the oldest of what waits
process.py    requests by route, calls to Sinch by outcome, and their time
files.py      the folder in which the processes of one machine count together
routes.py     GET /metrics
port.py       GET /metrics of a worker of Celery
sentry.py     errors to Sentry, with nothing personal in them
"""
