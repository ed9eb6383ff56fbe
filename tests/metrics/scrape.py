"""A scrape as Prometheus reads it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.environ import ROOT

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "clarion.json"


class Scrape:
    """The samples of one answer of /metrics."""

    def __init__(self, text: str) -> None:
        self.families = list(text_string_to_metric_families(text))
        self.samples = [sample for family in self.families for sample in family.samples]

    def __getitem__(self, name: str) -> float:
        """The one sample of a name."""
        (value,) = self.values(name).values()
        return value

    def values(self, name: str, **labels: str) -> dict[tuple[str, ...], float]:
        """The samples of a name with these labels, by the values of its other labels."""
        return {
            tuple(value for label, value in sample.labels.items() if label not in labels): float(
                sample.value
            )
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        }

    def sum(self, name: str, **labels: str) -> float:
        return sum(self.values(name, **labels).values())


def scrape(client: Any, **headers: str) -> Scrape:
    """Scrape a service by its test client."""
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    return Scrape(answer.text)


def read_rules(path: Path = ALERTS) -> Iterator[Mapping[str, Any]]:
    """Yield the alert rules."""
    for group in yaml.safe_load(path.read_text("utf-8"))["groups"]:
        yield from group["rules"]
