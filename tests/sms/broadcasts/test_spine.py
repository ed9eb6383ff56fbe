"""Files that a POST of one recipient goes through: how much a reader has to know."""

import sys
from pathlib import Path
from types import FrameType
from typing import Any

from tests.environ import ROOT
from tests.factories import AUTH

_APP = f"{ROOT / 'app'}/"
_ROUTE = "app/sms/broadcasts/routes.py"
_MAX_FILES, _MAX_SPINE = 38, 6


class _Trace:
    """Files of app/ whose functions were called, and those on the stack when the POST left."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.spine: list[str] = []

    def __enter__(self) -> "_Trace":
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(_APP):
            self.files.add(_name(frame))
        if event == "c_call" and getattr(arg, "__name__", "") == "sendall" and not self.spine:
            self.spine = _list_spine(frame)


def _name(frame: FrameType) -> str:
    return str(Path(frame.f_code.co_filename).relative_to(ROOT))


def _list_spine(frame: FrameType | None) -> list[str]:
    """Return the files on the stack from the route inward; decorators and middleware are outside.

    Returns [] for a call outside of the route.
    """
    stack: list[str] = []
    while frame is not None:
        if frame.f_code.co_filename.startswith(_APP):
            stack.append(_name(frame))
        frame = frame.f_back
    stack.reverse()
    inside = stack[stack.index(_ROUTE) :] if _ROUTE in stack else []
    return list(dict.fromkeys(inside))


def test_a_post_goes_through_few_files(service, sandbox):
    client = service.test_client()
    client.get("/api/broadcasts", headers=AUTH)  # what only the first request of a process does

    with _Trace() as trace:
        answer = client.post(
            "/api/broadcast", headers=AUTH, json={"recipients": ["+46701234567"], "message": "Hi"}
        )

    assert answer.status_code == 202
    assert trace.spine[-1:] == ["app/sinch/session.py"]
    summary = f"{len(trace.files)} files entered, {len(trace.spine)} on the spine"
    listed = "\n".join([summary, *trace.spine, "", *sorted(trace.files)])
    assert len(trace.files) <= _MAX_FILES, listed
    assert len(trace.spine) <= _MAX_SPINE, listed
