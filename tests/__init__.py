"""Tests of the service; their helpers beside them."""

import gc

# Look for garbage seldom: it took a tenth of all tests, and a fifth of finding them.
gc.set_threshold(50_000)
