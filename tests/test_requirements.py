"""The locked requirements: the versions of constraints.txt, with a hash of each file."""

import re

from tests.environ import ROOT

_PINNED = re.compile(r"(?m)^([a-z0-9._-]+)==([^\s;\\]+)")


def test_the_lock_has_the_versions_that_are_tested_and_their_hashes():
    lock = (ROOT / "requirements.lock").read_text()
    tested = dict(_PINNED.findall((ROOT / "constraints.txt").read_text()))
    entries = re.split(r"(?m)^(?=[a-z])", lock)[1:]

    locked = dict(_PINNED.findall(lock))
    assert locked == {name: tested.get(name) for name in locked}, "run: make lock"
    assert len(entries) > 40
    assert all("--hash=sha256:" in entry for entry in entries)


def test_every_requirement_is_locked():
    lock = dict(_PINNED.findall((ROOT / "requirements.lock").read_text()))
    named = re.findall(r"(?m)^([a-z0-9][a-z0-9_-]*)", (ROOT / "requirements.txt").read_text())

    assert [name for name in named if name not in lock] == [], "run: make lock"
