"""The compose file, read by Docker Compose: for one machine, restricted, with settings and commands that there are."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typed_commands import tandem_faults

from retrieval.server.settings import ServeSettings

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    program = Path(sys.executable).with_name("docker-compose")
    if not program.is_file():
        pytest.skip("docker-compose is not installed; the extra `deploy` has it")
    command = [program, "-f", ROOT / "deploy/compose.yaml", "--profile", "*", "config", "--format", "json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)["services"]


def test_only_this_machine_reaches_it(services: dict[str, Any]) -> None:
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert {"serve", "prometheus"} <= ports.keys()
    assert {port["host_ip"] for each in ports.values() for port in each} == {"127.0.0.1"}


def test_containers_are_restricted(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert int(service["user"].partition(":")[0]) > 0
        assert {"cpus", "memory"} <= service["deploy"]["resources"]["limits"].keys()
        assert not service["image"].endswith(":latest") and ":" in service["image"]


def test_the_service_accepts_its_command_and_settings(services: dict[str, Any]) -> None:
    serve = services["serve"]
    assert tandem_faults(serve["command"]) is None and "--insecure" in serve["command"]
    names = {name.removeprefix("TANDEM_SERVE_").lower() for name in serve["environment"]}
    assert names <= ServeSettings.model_fields.keys()
    ServeSettings(**{name.removeprefix("TANDEM_SERVE_").lower(): value for name, value in serve["environment"].items()})
    [releases] = [each for each in serve["volumes"] if each["target"] == "/releases"]
    assert releases["read_only"] is True
    address = serve["command"][serve["command"].index("--address") + 1]
    assert {port["target"] for port in serve["ports"]} == {int(address.rpartition(":")[2])}


def test_it_is_not_killed_before_its_calls_have_ended(services: dict[str, Any]) -> None:
    assert services["serve"]["stop_grace_period"] == "30s"
    assert ServeSettings.model_fields["grace_seconds"].default + 10 < 30


def test_the_index_job_folds_the_same_changes(services: dict[str, Any]) -> None:
    job, serve = services["index"], services["serve"]
    assert tandem_faults([*job["entrypoint"][1:], "--catalog", "/feeds/feed.csv"]) is None
    assert job["environment"]["TANDEM_SERVE_CHANGE_LOG"] == serve["environment"]["TANDEM_SERVE_CHANGE_LOG"]


def test_metrics_are_scraped_where_they_are(services: dict[str, Any]) -> None:
    port = services["serve"]["environment"]["TANDEM_SERVE_METRICS_ADDRESS"].rpartition(":")[2]
    text = (ROOT / "deploy/compose.yaml").read_text()
    assert f'"serve:{port}"' in text
    [rules] = [each for each in services["prometheus"]["configs"] if each["source"] == "rules"]
    assert f"rule_files: [{rules['target']}]" in text
