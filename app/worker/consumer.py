"""Celery's consumer of tasks, for a worker that outlives its broker."""

from celery.worker.consumer import Consumer
from loguru import logger


class PatientConsumer(Consumer):
    """A consumer that connects anew even if closing the lost connection fails.

    Kombu's channel to Redis asks its connection for the host once more while it is closed, after
    the connection has forgotten it: the AttributeError ended the worker.
    """

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Close the lost connection; Celery then connects anew."""
        try:
            super().on_connection_error_after_connected(exc)
        except AttributeError as e:
            logger.bind(reason=str(e)).warning("the lost connection to the broker was closed twice")
