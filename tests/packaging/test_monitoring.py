"""deploy/: alerts fire when they should, and neither they nor the dashboard ask for what /metrics does not have."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from service.api import faces, generate, health, metrics
from service.engine.engine import Engine, Sampler
from service.engine.watch import Event
from service.later import Later
from service.observability import Metrics
from service.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "emoface.json"

#: What Prometheus itself knows of a target, and the labels that it adds.
ITS_OWN = {"up", "ALERTS"}
ITS_LABELS = {"job", "instance", "alertname", "alertstate"}
#: What Grafana puts into an expression before it sends it.
GRAFANA = {"$__rate_interval": "5m", "$instance": ".+"}

WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "offset", "bool"}


# ---- promtool ----------------------------------------------------------------------------------------------


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    found = shutil.which("promtool") or shutil.which("promtool", path=Path(sys.executable).parent)
    assert found, "the monitoring tests need promtool on the PATH or in .venv/bin (scripts/promtool.sh puts it there)"
    return subprocess.run([found, *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "command", ["check config prometheus.yml", "check rules alerts.yml", "test rules alerts.test.yml"]
)
def test_promtool_finds_nothing_wrong(command: str) -> None:
    *words, name = command.split()
    result = promtool(*words, PROMETHEUS / name)
    assert result.returncode == 0, result.stdout + result.stderr


def test_promtool_notices_a_rule_that_has_changed(tmp_path: Path) -> None:
    rules = (PROMETHEUS / "alerts.yml").read_text()
    assert "[1h]) > 2" in rules
    (tmp_path / "alerts.yml").write_text(rules.replace("[1h]) > 2", "[1h]) > 0"))  # fires at every deployment
    shutil.copy(PROMETHEUS / "alerts.test.yml", tmp_path)
    result = promtool("test", "rules", tmp_path / "alerts.test.yml")
    assert result.returncode != 0
    assert "EmofaceRestarting" in result.stdout + result.stderr


# ---- the rules ---------------------------------------------------------------------------------------------


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.fixture(scope="module")
def rules() -> list[dict[str, Any]]:
    return [rule for group in loaded(PROMETHEUS / "alerts.yml")["groups"] for rule in group["rules"]]


def test_every_alert_says_how_urgent_it_is_and_what_to_do(rules: list[dict[str, Any]]) -> None:
    names = [rule["alert"] for rule in rules]
    assert len(set(names)) == len(names) > 0
    for rule in rules:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert set(rule["annotations"]) == {"summary", "description"}
        assert all(text.endswith(".") for text in rule["annotations"].values())


def test_every_alert_is_seen_to_fire_and_to_keep_silent(rules: list[dict[str, Any]]) -> None:
    seen = {(name, fires) for name in (rule["alert"] for rule in rules) for fires in (True, False)}
    tests = loaded(PROMETHEUS / "alerts.test.yml")["tests"]
    cases = [case for test in tests for case in test.get("alert_rule_test", [])]
    assert {(case["alertname"], bool(case["exp_alerts"])) for case in cases} == seen


def test_the_settings_that_alerts_speak_of_exist() -> None:
    texts = (PROMETHEUS / "alerts.yml").read_text() + DASHBOARD.read_text()
    named = set(re.findall(r"EMOFACE_(\w+)", texts))
    assert named
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_the_scrape_job_is_the_one_that_rules_and_dashboard_ask_for(rules: list[dict[str, Any]]) -> None:
    configuration = loaded(PROMETHEUS / "prometheus.yml")
    (job,) = configuration["scrape_configs"]
    assert configuration["rule_files"] == ["alerts.yml"]
    assert job["metrics_path"] in {route.path for route in metrics.router.routes if hasattr(route, "path")}
    assert job["static_configs"] == [{"targets": [f"127.0.0.1:{Settings.model_fields['port'].default}"]}]
    asked = set(re.findall(r'job="([^"]*)"', " ".join([*(rule["expr"] for rule in rules), *expressions()])))
    assert asked == {job["job_name"]}


# ---- the dashboard -----------------------------------------------------------------------------------------


def panels() -> list[dict[str, Any]]:
    """All panels of the dashboard but its rows."""
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    """Every expression of the dashboard, with Grafana's variables filled in."""
    dashboard = json.loads(DASHBOARD.read_text())
    found = [target["expr"] for panel in panels() for target in panel["targets"]]
    found += [entry["expr"] for entry in dashboard["annotations"]["list"] if "expr" in entry]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":  # label_values(expression, label)
            found.append(variable["query"]["query"].removeprefix("label_values(").rpartition(",")[0])
    for name, value in GRAFANA.items():
        found = [expression.replace(name, value) for expression in found]
    return found


def test_prometheus_can_read_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    assert not [expression for expression in expressions() if "$" in expression]
    rules = [{"record": f"expression:{number}", "expr": text} for number, text in enumerate(expressions())]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    result = promtool("check", "rules", file)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(rules)} rules found" in result.stdout
    file.write_text(file.read_text().replace("sum by (", "sum by ", 1))
    assert promtool("check", "rules", file).returncode != 0


def test_every_panel_has_a_unit_a_description_and_the_data_source_that_is_chosen() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    assert {variable["name"] for variable in dashboard["templating"]["list"]} == {"datasource", "instance"}
    for panel in panels():
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources), panel["title"]


def test_panels_lie_side_by_side() -> None:
    every = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    places = [(at["x"], at["x"] + at["w"], at["y"], at["y"] + at["h"]) for at in (panel["gridPos"] for panel in every)]
    assert all(0 <= left < right <= 24 for left, right, _, _ in places)
    for (left, right, top, bottom), (other_left, other_right, other_top, other_bottom) in combinations(places, 2):
        assert right <= other_left or other_right <= left or bottom <= other_top or other_bottom <= top


# ---- what both ask for is there ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exposed() -> dict[str, set[str]]:
    """Every name that the service exposes once something has happened, and its labels."""
    sampler = cast(Sampler, SimpleNamespace(name="tiny", sha256="0" * 64, device="cpu", gpu_bytes=0))
    figures = Metrics(sampler, Later())
    figures.follow(cast(Engine, SimpleNamespace(unanswered=1, backlog=0.5, cached_bytes=1000, alive=True)), sampler)
    figures.request("/generate", "POST", 200, 0.1)
    figures.batch(1, 0.1, [0.1])
    figures.encoded(0.1)
    text = figures.text().decode()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def metric_names(expression: str) -> set[str]:
    """The metrics that a PromQL expression reads: the words that are no label, function, duration or keyword."""
    text = re.sub(r'"[^"]*"', '""', expression)
    text = re.sub(r"\{[^}]*\}|\[[^]]*\]", " ", text)
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", text)
    return set(re.findall(r"(?<![\w.:])([A-Za-z_:][\w:]*)(?![\w:])(?!\s*\()", text)) - WORDS


def label_names(expression: str) -> set[str]:
    """The labels that a PromQL expression selects or groups by."""
    text = re.sub(r'"[^"]*"', '""', expression)
    groups = re.findall(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)", text)
    return set(re.findall(r"\w+", " ".join(groups))) | set(re.findall(r'(\w+)\s*(?:=|!=|=~|!~)""', text))


def test_names_are_found_in_an_expression() -> None:
    expression = (
        'sum by (job, le) (rate(a_total{b="c_total",d=~"e{2}"}[5m] offset 1h)) / ignoring (f) g:h > 1e3 or vector(0)'
    )
    assert metric_names(expression) == {"a_total", "g:h"}
    assert label_names(expression) == {"job", "le", "b", "d", "f"}


@pytest.fixture(scope="module", params=["rules", "dashboard"])
def asked(request: pytest.FixtureRequest, rules: list[dict[str, Any]]) -> list[str]:
    return [rule["expr"] for rule in rules] if request.param == "rules" else expressions()


def test_what_is_asked_for_is_exposed(asked: list[str], exposed: dict[str, set[str]]) -> None:
    names = set().union(*map(metric_names, asked))
    assert len(names) > 5
    assert names <= exposed.keys() | ITS_OWN
    labels = set().union(*exposed.values()) | ITS_LABELS
    for expression in asked:
        assert label_names(expression) <= labels, expression


def test_outcomes_and_routes_that_are_asked_for_exist(asked: list[str]) -> None:
    outcomes = set(re.findall(r'outcome(?:=|!=|=~|!~)"([^"]*)"', " ".join(asked)))
    assert {name for alternatives in outcomes for name in alternatives.split("|")} <= set(get_args(Event))
    routes = [
        route.path_format
        for router in (faces.router, generate.router, health.router, metrics.router)
        for route in router.routes
        if hasattr(route, "path_format")
    ]
    patterns = {name for text in re.findall(r'route(?:=~|!~)"([^"]*)"', " ".join(asked)) for name in text.split("|")}
    assert patterns
    for pattern in patterns:
        assert any(re.fullmatch(pattern, route) for route in routes), pattern


def test_what_is_exposed_is_on_the_dashboard(exposed: dict[str, set[str]]) -> None:
    shown = set().union(*map(metric_names, expressions()))
    own = {re.sub(r"_(bucket|sum|count|created|total)$", "", name) for name in exposed if name.startswith("emoface_")}
    assert len(own) > 10
    assert own - {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in shown} == set()
