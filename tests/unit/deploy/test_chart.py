"""The chart, rendered by helm: valid for Kubernetes, restricted, sized, drained, with settings that are accepted."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from charts import CHART, ROOT, SHOP, VARIANTS, Manifest, helm, one, pods, render
from typed_commands import tandem_faults

from core.config import load_settings
from retrieval.server import main
from retrieval.server.settings import ServeSettings
from retrieval.telemetry.names import exposed_names

VERSIONS = ("1.30", "1.37")  # the oldest that the chart asks for, and the newest that there is a schema of
CUSTOM = {"ScaledObject", "PodMonitor"}  # of others, which those schemas do not have
MIB, GIB = 1 << 20, 1 << 30
CACHES = sum(ServeSettings.model_fields[f"{name}_cache_bytes"].default for name in ("query", "candidate", "score"))
each_variant = pytest.mark.parametrize("variant", VARIANTS)


@pytest.fixture
def manifests(variant: str) -> list[Manifest]:
    return render(*VARIANTS[variant])


def amount(text: str) -> float:
    """The number that a quantity stands for."""
    number, unit = re.fullmatch(r"([0-9.]+)(Ki|Mi|Gi|)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"": 1, "Ki": 1 << 10, "Mi": MIB, "Gi": GIB}[unit]


def settings_of(manifests: list[Manifest], scratch: Path) -> ServeSettings:
    file = scratch / "serve.toml"
    file.write_text(one(manifests, "ConfigMap")["data"]["serve.toml"])
    return load_settings(ServeSettings, file, {})


@each_variant
def test_the_linter_has_no_complaint(variant: str) -> None:
    assert "WARNING" not in helm("lint", "--strict", CHART, *VARIANTS[variant]).stdout


@each_variant
@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_are_what_kubernetes_reads(manifests: list[Manifest], version: str) -> None:
    kinds = [each["kind"] for each in manifests]
    assert {"Deployment", "Service", "ConfigMap", "PodDisruptionBudget", "ServiceAccount"} < set(kinds)
    for each in manifests:
        if each["kind"] not in CUSTOM:
            kubernetes_validate.validate(each, version, strict=True)


def test_every_template_is_rendered_by_some_variant() -> None:
    texts = [helm("template", "tandem", CHART, *arguments).stdout for arguments in VARIANTS.values()]
    for path in (CHART / "templates").glob("*.yaml"):
        assert any(f"# Source: tandem/templates/{path.name}" in text for text in texts), path.name


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ("insecure=false", "name secrets in tls.secret and keys.secret, or set insecure=true"),
        ("tls.secret=one", "name secrets in tls.secret and keys.secret, or set insecure=true"),
        ("insecure=true,tls.clientCa=true", "tls.clientCa needs tls.secret"),
        ("insecure=true,replicaCount=3", "'replicaCount' not allowed"),
        ("insecure=true,image.tag=latest", "/image/tag"),
        ("insecure=true,replicas=0", "/replicas"),
        ("insecure=true,cores=0", "/cores"),
        ("insecure=true,drain.balancers=0", "/drain/balancers"),
        ("insecure=true,metrics.port=50052", "/metrics/port"),
        ("insecure=true,spread.nodes=Never", "/spread/nodes"),
        ("insecure=true,network.clients=null", "missing property 'clients'"),
        ("insecure=true,scaling.kind=load", "scaling.prometheus"),
        ("insecure=true,scaling.kind=load,scaling.prometheus=http://p,metrics.port=0", "metrics.port"),
        ("insecure=true,scaling.kind=cpu,scaling.least=9", "scaling.least is over scaling.most"),
    ],
)
def test_values_that_cannot_be_meant_are_refused_with_their_reason(values: str, reason: str) -> None:
    result = helm("template", "tandem", CHART, "--set", values, check=False)
    assert result.returncode and reason in result.stderr


@each_variant
def test_the_settings_are_accepted_by_the_service(manifests: list[Manifest], tmp_path: Path) -> None:
    settings = settings_of(manifests, tmp_path)
    container = one(manifests, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == ["serve", "--config", "/etc/tandem/serve.toml"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert settings.address.endswith(f":{ports['grpc']}") and settings.health_address.endswith(f":{ports['health']}")
    if "metrics" in ports:
        assert settings.metrics_address.endswith(f":{ports['metrics']}")
    for entry in container.get("env", []):
        name = entry["name"].removeprefix("TANDEM_SERVE_").lower()
        assert name in ServeSettings.model_fields and "secretKeyRef" in entry["valueFrom"]
    mounted = [Path(each["mountPath"]) for each in container["volumeMounts"]]
    for path in (settings.releases, settings.tls_certificate, settings.tls_key, settings.tls_client_ca, settings.keys):
        assert path is None or set(mounted) & {path, *path.parents}
    assert settings.insecure == (settings.tls_certificate is None or settings.keys is None)


def test_settings_of_the_values_come_last_and_make_new_pods(tmp_path: Path) -> None:
    few, many = (render("--set", f"insecure=true,settings.plan.candidates={n}") for n in (50, 60))
    assert settings_of(few, tmp_path).plan.candidates == 50
    sums = [one(each, "Deployment")["spec"]["template"]["metadata"]["annotations"] for each in (few, many)]
    assert sums[0]["checksum/settings"] != sums[1]["checksum/settings"]


@each_variant
def test_pods_are_restricted(manifests: list[Manifest]) -> None:
    """As the Pod Security Standard `restricted` asks, and more: nothing is written but to the volumes for it."""
    accounts = {each["metadata"]["name"]: each for each in manifests if each["kind"] == "ServiceAccount"}
    for name, pod in pods(manifests):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False, name
        assert accounts[spec["serviceAccountName"]]["automountServiceAccountToken"] is False
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True and security["runAsUser"] >= 10_000 and security["runAsGroup"]
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        for volume in spec["volumes"]:
            assert volume.keys() & {"configMap", "secret", "emptyDir", "persistentVolumeClaim"}, name
            assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": ""})
            assert volume.get("secret", {"defaultMode": 0o440})["defaultMode"] == 0o440
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert not re.search(r":latest$|:?$(?<!.)", container["image"])
            assert ":" in container["image"] or "@" in container["image"]


@each_variant
def test_serving_pods_cannot_change_releases(manifests: list[Manifest]) -> None:
    spec = one(manifests, "Deployment")["spec"]["template"]["spec"]
    [mount] = [each for each in spec["containers"][0]["volumeMounts"] if each["mountPath"] == "/releases"]
    [volume] = [each for each in spec["volumes"] if each["name"] == mount["name"]]
    assert mount["readOnly"] is True and volume["persistentVolumeClaim"]["readOnly"] is True


@each_variant
def test_a_pod_ends_after_its_calls_have(manifests: list[Manifest], tmp_path: Path) -> None:
    spec = one(manifests, "Deployment")["spec"]["template"]["spec"]
    waits = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    calls = settings_of(manifests, tmp_path).grace_seconds
    assert waits >= 2 * spec["containers"][0]["readinessProbe"]["periodSeconds"]
    assert spec["terminationGracePeriodSeconds"] >= waits + main._NOTICE + calls + 10


@each_variant
def test_health_is_asked_on_its_port(manifests: list[Manifest]) -> None:
    [container] = one(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    probes = [container[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")]
    [port] = [each["containerPort"] for each in container["ports"] if each["name"] == "health"]
    assert [probe["grpc"] for probe in probes] == [{"port": port}] * 3
    startup, _, liveness = probes
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 600
    # Longer than a supervisor takes to see and kill a process that hangs.
    hang = ServeSettings.model_fields["hang_seconds"].default
    assert liveness["periodSeconds"] * liveness["failureThreshold"] > hang


@each_variant
def test_replicas_are_spread_and_go_one_by_one(manifests: list[Manifest]) -> None:
    deployment = one(manifests, "Deployment")
    labels = deployment["spec"]["selector"]["matchLabels"]
    assert labels.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    spread = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert {each["topologyKey"] for each in spread} == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    assert all(each["labelSelector"]["matchLabels"] == labels and each["maxSkew"] == 1 for each in spread)
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    budget = one(manifests, "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1 and budget["selector"]["matchLabels"] == labels
    assert one(manifests, "Service")["spec"]["selector"] == labels


@each_variant
def test_requests_are_limits(manifests: list[Manifest]) -> None:
    for name, pod in pods(manifests):
        for container in pod["spec"]["containers"]:
            resources = container["resources"]
            assert resources["requests"] == resources["limits"], name
            assert {"cpu", "memory", "ephemeral-storage"} <= resources["limits"].keys()


@pytest.mark.parametrize("products", [250_000, 1_000_000])
def test_memory_is_that_of_the_benchmark(products: int) -> None:
    """Two releases while one takes the other's place, with all pages of their files; the index job with its peak."""
    sizes = json.loads((ROOT / "benchmarks/results/memory.json").read_text())["results"]["sizes"][str(products)]
    used = sizes["service"]["after_queries_mib"]
    arguments = (
        "--set",
        f"insecure=true,products={products}",
        "--set-json",
        'jobs=[{"name":"index","schedule":"@daily","args":["releases"]}]',
    )
    (_, serve), (_, job) = pods(render(*arguments))
    of_serving, of_index = (
        amount(pod["spec"]["containers"][0]["resources"]["limits"]["memory"]) / MIB for pod in (serve, job)
    )
    least = used["anon"] + CACHES / MIB + 2 * used["file"]
    assert least < of_serving < 3 * least
    assert sizes["index_job"]["peak_rss_mib"] < of_index < 3 * sizes["index_job"]["peak_rss_mib"]


@pytest.mark.parametrize("variant", ["plain", "shop", "claims"])
def test_each_pod_has_a_policy_that_names_who_may_come(manifests: list[Manifest]) -> None:
    policies = [each["spec"] for each in manifests if each["kind"] == "NetworkPolicy"]
    assert all(set(policy["policyTypes"]) == {"Ingress", "Egress"} for policy in policies)
    for name, pod in pods(manifests):
        labels = pod["metadata"]["labels"].items()
        [policy] = [each for each in policies if each["podSelector"]["matchLabels"].items() <= labels]
        assert all(rule["from"] and rule["ports"] for rule in policy["ingress"]), name
        assert all(rule["to"] and rule["ports"] for rule in policy["egress"]), name
        named = {port["name"] for container in pod["spec"]["containers"] for port in container.get("ports", [])}
        assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} <= named - {"health"}


@pytest.mark.parametrize("variant", ["cpu", "shop"])
def test_scaling_leaves_the_number_of_pods_alone(manifests: list[Manifest], variant: str) -> None:
    kind, least = {"cpu": ("HorizontalPodAutoscaler", "minReplicas"), "shop": ("ScaledObject", "minReplicaCount")}[
        variant
    ]
    scaler = one(manifests, kind)["spec"]
    assert "replicas" not in one(manifests, "Deployment")["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "tandem"}
    assert scaler[least] >= 2
    behavior = scaler.get("behavior") or scaler["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0 < behavior["scaleDown"]["stabilizationWindowSeconds"]


def queries() -> list[str]:
    triggers = one(render(*VARIANTS["shop"]), "ScaledObject")["spec"]["triggers"]
    return [trigger["metadata"]["query"] for trigger in triggers]


def test_scaling_asks_for_metrics_that_the_service_has() -> None:
    named = {name for query in queries() for name in re.findall(r"tandem_\w+", query)}
    assert (
        {"tandem_in_flight", "tandem_in_flight_limit", "tandem_engine_queue_seconds_bucket"} == named <= exposed_names()
    )


def test_prometheus_reads_the_queries_of_scaling(tmp_path: Path) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    rules = [{"record": f"scaling:{number}", "expr": query} for number, query in enumerate(queries())]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "scaling", "rules": rules}]}))
    result = subprocess.run([program, "check", "rules", file], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_jobs_run_commands_that_there_are() -> None:
    jobs = yaml.safe_load(SHOP.read_text())["jobs"]
    assert {job["name"]: tandem_faults(list(job["args"])) for job in jobs} == {"index": None, "improve": None}
    made = {name: pod["spec"]["containers"][0]["image"] for name, pod in pods(render(*VARIANTS["shop"]))}
    assert made["tandem-index"].startswith("tandem:") and made["tandem-improve"].startswith("tandem-jobs:")


def test_the_chart_is_of_this_version() -> None:
    chart: dict[str, Any] = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
