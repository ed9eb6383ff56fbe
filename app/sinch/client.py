"""Sinch's SMS REST API, one method per call.

Reference: https://developers.sinch.com/docs/sms/api-reference/
"""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote, urlencode

import requests
from loguru import logger
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout

from app.deadline import read_retry_after
from app.sinch import schemas
from app.sinch.errors import (
    SinchAnswerUnusable,
    SinchBusy,
    SinchMisconfigured,
    SinchNotSent,
    SinchOutcomeUnknown,
    SinchRejected,
    SinchUnreachable,
)
from app.sinch.session import (
    GET_RETRY,
    POST_RETRY,
    Answer,
    current_exchange,
    exchange,
    make_headers,
    make_session,
)

T = TypeVar("T")
# Gets the call, its outcome and its seconds: ok, busy, refused, failed, unknown, unsent, no answer.
OnCalled = Callable[[str, str, float], None]

PAGE_SIZE = 100
MAX_PAGES = 1_000
MAX_RETRY_AFTER_S = 900.0

_REJECTED = frozenset((400, 413, 415, 422))
_MISCONFIGURED = frozenset((401, 402, 403, 404, 405))
# The codes of a 403 that concern one batch; all others concern the account.
_REJECTED_CODES = frozenset(
    ("illegal_number_type", "llegal_number_type", "unknown_group", "missing_callback_url")
)


class SinchClient:
    """One service plan at Sinch.  Threads may share it.

    Every method may raise SinchBusy, SinchRejected or SinchMisconfigured.  POST and DELETE may
    also raise SinchUnreachable or SinchOutcomeUnknown, GET SinchAnswerUnusable.
    """

    def __init__(
        self,
        *,
        url: str,
        service_plan_id: str,
        api_token: str,
        connect_timeout_s: float = 3.0,
        read_timeout_s: float = 20.0,
        pool_size: int = 32,
        ca_file: Path | None = None,
        on_written: Callable[[], None] | None = None,
        on_called: OnCalled | None = None,
    ) -> None:
        """`ca_file` holds the certificates to trust instead of certifi's.

        `on_written` is called when a POST or DELETE has left, before its answer; `on_called` after
        each call.
        """
        self._base = f"{url}/xms/v1/{service_plan_id}"
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._headers = make_headers(api_token)
        self._on_written, self._on_called = on_written, on_called
        self._post_session = make_session(POST_RETRY, pool_size=pool_size, ca_file=ca_file)
        self._get_session = make_session(GET_RETRY, pool_size=pool_size, ca_file=ca_file)

    def close(self) -> None:
        self._post_session.close()
        self._get_session.close()

    def send_batch(
        self,
        batch: schemas.PreparedBatch,
        *,
        within_s: float | None = None,
        begin_within_s: float | None = None,
    ) -> schemas.SentBatch:
        """Send a batch in one POST and wait `within_s` seconds for its answer.

        SinchNotSent proves that no phone gets it; after SinchOutcomeUnknown some may.  Raises
        SinchUnreachable when no byte could leave `begin_within_s`.
        """
        fields = {"client_reference": batch.client_reference, "recipients": batch.recipients}
        answer = self._send(
            "POST",
            "/batches",
            batch.body,
            fields=fields,
            within_s=within_s,
            begin_within_s=begin_within_s,
        )
        body = answer.body if answer.whole else b""
        return schemas.read_sent_batch(body, client_reference=batch.client_reference)

    def fetch_batch(self, batch_id: str, *, within_s: float = 10.0) -> schemas.SinchBatch:
        """Fetch one batch.  Right after creation it may still be SinchMisconfigured with 404."""
        return self._get("/batches/{id}", schemas.read_batch, within_s=within_s, id=batch_id)

    def list_batches(
        self, *, client_reference: str, created_after: datetime, within_s: float = 10.0
    ) -> list[schemas.SinchBatch]:
        """List the batches with exactly this reference, at most 14 days old, from all pages.

        Raises SinchAnswerUnusable unless every page is valid, so [] proves their absence.
        """
        items = self._read_pages(
            "/batches",
            {
                "client_reference": client_reference,
                "start_date": schemas.format_time(created_after),
            },
            within_s=within_s,
        )
        batches = [_read_cleanly(schemas.read_batch, item) for item in items]
        # By id: when pages shift while they are read, one batch appears on two of them.
        by_id = {batch.id: batch for batch in batches if batch.client_reference == client_reference}
        return list(by_id.values())

    def cancel_batch(self, batch_id: str, *, within_s: float | None = None) -> schemas.SinchBatch:
        """Cancel the messages that have not left Sinch.  Returns the batch as it then is."""
        path, fields = "/batches/{id}", {"id": batch_id}
        answer = self._send("DELETE", path, None, fields=fields, within_s=within_s)
        try:
            return schemas.read_batch(answer.body)
        except schemas.UnreadableAnswer as e:
            raise SinchOutcomeUnknown("cancelled, but the answer is unreadable") from e

    def dry_run_batch(
        self, batch: schemas.OutgoingBatch, *, within_s: float | None = None
    ) -> schemas.DryRun:
        body = schemas.write_batch(batch)
        answer = self._send("POST", "/batches/dry_run", body, fields={}, within_s=within_s)
        return _read_cleanly(schemas.read_dry_run, answer.body)

    def fetch_full_report(self, batch_id: str) -> schemas.BatchReport:
        """Fetch the counts by status and code, each with its recipients."""
        path = "/batches/{id}/delivery_report"
        return self._get(path, schemas.read_report, {"type": "full"}, id=batch_id)

    def list_inbounds(
        self, *, received_after: datetime, within_s: float = 30.0
    ) -> list[schemas.SinchInbound]:
        """List the messages received since then, newest first."""
        items = self._read_pages(
            "/inbounds", {"start_date": schemas.format_time(received_after)}, within_s=within_s
        )
        return [_read_cleanly(schemas.read_inbound, item) for item in items]

    def check(self, *, within_s: float = 3.0) -> None:
        """Return if Sinch answers for this plan and token, else raise."""
        query = {"page_size": "1", "start_date": schemas.format_time(_now() - timedelta(hours=1))}
        self._get(
            "/batches", lambda body: schemas.read_page(body, list_name="batches"), query, within_s
        )

    def _read_pages(
        self, path: str, query: Mapping[str, str], *, within_s: float
    ) -> Iterator[Mapping[str, Any]]:
        """Yield every item of a list, until a page is empty or the counted number is reached."""
        deadline = time.monotonic() + within_s
        seen = 0
        for number in range(MAX_PAGES):
            items, total = self._get(
                path,
                lambda body: schemas.read_page(body, list_name=path.removeprefix("/")),
                {**query, "page": str(number), "page_size": str(PAGE_SIZE)},
                max(0.1, deadline - time.monotonic()),
            )
            yield from items
            seen += len(items)
            if not items or seen >= total:
                return
            if time.monotonic() > deadline:
                break
        raise SinchAnswerUnusable("the list did not end in time")

    def _send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        *,
        fields: Mapping[str, Any],
        within_s: float | None = None,
        begin_within_s: float | None = None,
    ) -> Answer:
        """Send a POST or DELETE once.  Returns its 2xx answer."""
        within_s = self._read_timeout_s if within_s is None else within_s
        if within_s <= 0:
            raise SinchUnreachable("no time left to begin")
        request = self._prepare(method, _fill(path, fields), body)
        timeout = Timeout(
            connect=min(self._connect_timeout_s, within_s / 3),  # tried three times
            read=min(self._read_timeout_s, within_s),
        )
        started = time.monotonic()
        try:
            answer = exchange(
                self._post_session,
                request,
                timeout=timeout,
                within_s=within_s,
                begin_within_s=begin_within_s,
                on_written=self._on_written,
            )
        except Exception as e:  # for any error, only the written bytes decide its meaning
            touched = current_exchange.touched
            self._note_call(
                method, path, started, fields, outcome="unknown" if touched else "unsent"
            )
            if touched:
                raise SinchOutcomeUnknown("no usable answer came") from e
            raise SinchUnreachable("no connection to Sinch") from e
        self._note_call(method, path, started, fields, status=answer.status)
        if not 200 <= answer.status < 300:
            _raise_refusal(answer)
        return answer

    def _get(
        self,
        path: str,
        read: Callable[[bytes], T],
        query: Mapping[str, str] | None = None,
        within_s: float = 10.0,
        **fields: str,
    ) -> T:
        """Send a GET, at most twice.  Returns the result of `read` for a whole 200 answer."""
        url = _fill(path, fields) + (f"?{urlencode(query)}" if query else "")
        request = self._prepare("GET", url, None)
        timeout = Timeout(connect=min(self._connect_timeout_s, within_s / 2), total=within_s / 2)
        started = time.monotonic()
        try:
            answer = exchange(self._get_session, request, timeout=timeout, within_s=within_s)
        except (requests.RequestException, HTTPError, OSError) as e:
            self._note_call("GET", path, started, fields, outcome="no answer")
            raise SinchAnswerUnusable("no answer from Sinch") from e
        self._note_call("GET", path, started, fields, status=answer.status)
        if answer.status != 200:
            _raise_get_refusal(answer)
        if not answer.whole:
            raise SinchAnswerUnusable("the answer was cut")
        return _read_cleanly(read, answer.body)

    def _note_call(
        self,
        method: str,
        path: str,
        started: float,
        fields: Mapping[str, Any],
        *,
        status: int | None = None,
        outcome: str | None = None,
    ) -> None:
        """Log a call and count it; `path` has the names of its fields in place of the values."""
        call, duration_s = f"{method} {path}", time.monotonic() - started
        facts = {"status": status} if outcome is None else {"outcome": outcome}
        bound = logger.bind(call=call, duration_ms=round(duration_s * 1000, 1), **fields, **facts)
        bound.info("sinch called")
        if self._on_called is not None:
            self._on_called(call, outcome or _name_outcome(status), duration_s)

    def _prepare(self, method: str, path: str, body: bytes | None) -> requests.PreparedRequest:
        request = requests.PreparedRequest()
        request.method = method
        request.url = self._base + path
        request.headers = self._headers.copy()
        request.body = body
        if body is not None:
            request.headers["Content-Type"] = "application/json"
            request.headers["Content-Length"] = str(len(body))
        return request


def _name_outcome(status: int | None) -> str:
    """Return how a call with this status is counted.

    >>> [_name_outcome(status) for status in (201, 429, 403, 503)]
    ['ok', 'busy', 'refused', 'failed']
    """
    if status is None or status >= 500:
        return "failed"
    if 200 <= status < 300:
        return "ok"
    return "busy" if status == 429 else "refused"


def _raise_refusal(answer: Answer) -> NoReturn:
    """Raise the error for a POST or DELETE with another status than 2xx."""
    status, (code, text) = answer.status, schemas.read_problem(answer.body)
    if status == 429:
        raise SinchBusy(code, text, retry_after_s=_read_retry_after(answer))
    if status in _REJECTED or (status == 403 and code in _REJECTED_CODES):
        raise SinchRejected(status, code, text)
    if status in _MISCONFIGURED or 300 <= status < 400:
        raise SinchMisconfigured(status, code, text)
    raise SinchOutcomeUnknown(f"HTTP {status}")


def _raise_get_refusal(answer: Answer) -> NoReturn:
    """Raise the error for a GET with another status than 200; an unclear one proves nothing."""
    try:
        _raise_refusal(answer)
    except SinchNotSent:
        raise
    except SinchOutcomeUnknown as e:
        raise SinchAnswerUnusable(f"HTTP {answer.status}") from e


def _read_cleanly(read: Callable[[Any], T], source: Any) -> T:
    try:
        return read(source)
    except schemas.UnreadableAnswer as e:
        raise SinchAnswerUnusable("the answer is not what the reference documents") from e


def _read_retry_after(answer: Answer) -> float | None:
    retry_after_s = read_retry_after(answer.headers.get("Retry-After"), now=_now())
    return None if retry_after_s is None else min(retry_after_s, MAX_RETRY_AFTER_S)


def _fill(path: str, fields: Mapping[str, Any]) -> str:
    return path.format_map({name: quote(str(value), safe="") for name, value in fields.items()})


def _now() -> datetime:
    return datetime.now(UTC)
