"""Who works off what the requests leave: the timetable of `app.worker.jobs`, in two sizes.

    threads   of the web process, the default
    queue     Celery workers and beat, where one machine is not enough

Either is only a clock and a nudge.  What is to be done stands in the database.
"""
