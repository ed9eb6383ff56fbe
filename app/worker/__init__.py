"""Who works off what the requests leave: the timetable of `app.sms.timetable`, in two sizes.

    threads   of the web process, the default
    queue     Celery workers and beat, where one machine is not enough

Either is only a clock and a nudge.  What is to be done stands in the database.
"""
