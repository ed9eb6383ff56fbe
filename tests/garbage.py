"""Garbage, in processes of tests."""

import gc


def collect_seldom() -> None:
    """Look for garbage seldom, and not among what was imported: each took a tenth of all tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)
