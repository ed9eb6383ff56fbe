"""Background work: the jobs of `app.worker.jobs`, run by threads or by Celery.

    jobs.py             what runs when
    threads.py          threads of the web process (one machine, the default)
    webhook_workers.py  threads that post events to clients, in both sizes
    queue.py            the Celery application for `celery --app app.worker.queue`
    celery_tasks.py     the Celery tasks and the wake-ups
    broker.py           Celery's configuration for each broker
    consumer.py         the consumer of a Celery worker, which outlives its broker
    start.py            starts the background work of a web process
    loops.py            threads that work when woken, and log failures

wake-up: a message without content that there may be work.  The work itself is in the database.
sweep: a search for all work that is due, every SWEEP_EVERY_S seconds.  It replaces lost wake-ups.
"""
