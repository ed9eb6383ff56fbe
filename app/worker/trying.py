"""Work in the background that must not end its thread."""

import threading
from collections.abc import Callable

from loguru import logger

from app.db.schema import WrongDatabase

# After an error; the database may be away.
_BREATH_S = 2.0


def run_guarded(work: Callable[[], object], *, stopping: threading.Event) -> object:
    """What `work` gives; False after an error, which is logged and waited out unless `stopping`."""
    try:
        return work()
    except WrongDatabase as e:
        logger.bind(reason=str(e)).critical("nothing is sent from this database")
    except Exception as e:
        logger.opt(exception=e).error("background work failed: trying again")
    stopping.wait(_BREATH_S)
    return False
