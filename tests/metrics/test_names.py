"""Alerts, dashboard and runbook name what a real scrape answers."""

import json
import re

import pytest

from app.sms.caps.caps import CapName, set_cap
from app.sms.models.cap import ALL, CapPeriod, CapUnit
from app.worker.jobs import run_polls, sweep
from tests.environ import ROOT
from tests.factories import AUTH, broadcast_to
from tests.metrics.scrape import ALERTS, DASHBOARD, Scrape, read_rules, scrape

_NAME = re.compile(r"\bclarion_[a-z_]+\b")
_MATCHER = re.compile(r"\b(clarion_[a-z_]+)\{([^}]*)\}")
_LABEL = re.compile(r'(\w+)(=~|!~|=|!=)"([^"]*)"')


@pytest.fixture
def scraped(make_service, sandbox) -> Scrape:
    """A scrape of a service with a pace and a cap, after a request and a call to Sinch."""
    service = make_service(SINCH_MESSAGES_PER_SECOND="30")
    client, ctx = service.test_client(), service.extensions["clarion"]
    set_cap(ctx, CapName(ALL, CapPeriod.DAY, CapUnit.PARTS), 1_000, actor="test")
    client.post("/api/broadcast", headers=AUTH, json=broadcast_to("+46701234567"))
    sweep(ctx)
    run_polls(ctx)
    return scrape(client)


def read_expressions() -> str:
    rules = [rule["expr"] for rule in read_rules()]
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return "\n".join(rules + [target["expr"] for panel in panels for target in panel["targets"]])


def test_every_metric_of_an_alert_or_a_panel_is_exported(scraped):
    exported = {sample.name for sample in scraped.samples}
    exported |= {family.name for family in scraped.families}

    assert set(_NAME.findall(read_expressions())) - exported == set()


def test_every_exported_metric_is_on_the_dashboard_or_in_an_alert(scraped):
    shown = set(_NAME.findall(read_expressions()))
    names = {name: {name, f"{name}_total", f"{name}_bucket"} for name in list_families(scraped)}

    assert [name for name, forms in names.items() if not forms & shown] == []


def list_families(scraped):
    return [family.name for family in scraped.families if family.name.startswith("clarion_")]


def test_every_label_of_an_alert_or_a_panel_is_exported_and_fixed_values_are_too(scraped):
    wrong = []
    for name, matchers in _MATCHER.findall(read_expressions()):
        samples = [sample for sample in scraped.samples if sample.name == name]
        for label, operator, value in _LABEL.findall(matchers):
            values = {sample.labels.get(label) for sample in samples}
            # Outcomes and statuses of requests that have not happened are not there yet.
            is_complete = name not in ("clarion_sinch_calls_total", "clarion_http_requests_total")
            wanted = set(value.split("|")) if operator == "=~" else {value}
            if None in values or (is_complete and not wanted <= values):
                wrong.append((name, label, value))

    assert wrong == []


def test_the_outcomes_of_the_alert_are_those_of_the_client():
    source = (ROOT / "app" / "sinch" / "client.py").read_text("utf-8")
    (outcomes,) = re.findall(r'outcome=~"([^"]+)"', ALERTS.read_text("utf-8"))

    assert [outcome for outcome in outcomes.split("|") if f'"{outcome}"' not in source] == []


def test_each_alert_has_a_section_of_the_runbook_and_leads_to_it():
    sections = re.findall(r"^## (.+)$", (ROOT / "docs" / "runbook.md").read_text("utf-8"), re.M)
    leads = {rule["alert"]: rule["annotations"]["runbook"] for rule in read_rules()}

    assert list(leads) == sections
    assert leads == {name: f"docs/runbook.md#{name.lower()}" for name in sections}


def test_each_section_says_what_it_means_what_to_look_at_and_what_to_do():
    _, *sections = re.split(r"^## ", (ROOT / "docs" / "runbook.md").read_text("utf-8"), flags=re.M)

    heads = [re.findall(r"^\*\*(.+?):\*\*", section, re.M) for section in sections]
    assert heads == [["It means", "See", "Do"]] * len(sections)
