"""`tandem keys`, a service with TLS, and the commands that call it, as processes."""

import json
import subprocess
from pathlib import Path

import pytest
from credentials import Authority
from services import Service
from shops import command, environment, process

from core.releases import ReleaseStore


def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    whole = {**environment(), **variables}
    return subprocess.run(command(*arguments), env=whole, capture_output=True, text=True, timeout=120)


def test_a_shop_behind_tls_and_keys(indexed: ReleaseStore, tmp_path: Path) -> None:
    authority = Authority()
    chain, key = authority.issue("localhost")
    for name, data in {"cert.pem": chain, "key.pem": key, "ca.pem": authority.pem}.items():
        (tmp_path / name).write_bytes(data)
    keys, log = tmp_path / "keys.json", tmp_path / "audit.jsonl"
    where = ("--keys", keys, "--audit-log", log)
    config = tmp_path / "serve.toml"
    config.write_text(
        f'keys = "{keys}"\naudit_log = "{log}"\ntls_certificate = "{tmp_path}/cert.pem"\n'
        f'tls_key = "{tmp_path}/key.pem"\nprofile_folder = "{tmp_path}/profiles"\n'
    )
    refused = run("serve", "--releases", indexed.root, "--address", "0.0.0.0:0", "--config", config)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and "tandem keys add" in refused.stderr
    made = run("keys", "add", "--tenant", "acme", "--scopes", "search", *where)
    assert made.returncode == 0 and made.stdout.startswith("tdm_") and made.stdout.count("\n") == 1
    text = made.stdout.strip()
    (tmp_path / "key").write_text(made.stdout)
    with process("serve", "--releases", indexed.root, "--address", "localhost:0", "--config", config) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1]
        trusted = ("--address", address, "--ca", tmp_path / "ca.pem", "--json")
        found = run("search", "red kettle", *trusted, "--api-key-file", tmp_path / "key")
        assert found.returncode == 0 and json.loads(found.stdout)["hits"], found.stderr
        cases = {
            "UNAUTHENTICATED: send a key": run("search", "red kettle", *trusted),
            "UNAUTHENTICATED: this credential is not valid": run("search", "x", *trusted, TANDEM_API_KEY=text[:-1]),
            "scope write": run("delete", "p1", *trusted[:-1], TANDEM_API_KEY=text),
            "it wants TLS": run("search", "x", "--address", address, "--timeout", 2, TANDEM_API_KEY=text),
            "no TLS connection": run("search", "x", "--address", address, "--tls", "--timeout", 2, TANDEM_API_KEY=text),
        }
        for message, done in cases.items():
            assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1, done.stderr
            assert text not in done.stderr
    listed = run("keys", "list", *where)
    assert "acme" in listed.stdout and text not in listed.stdout + listed.stderr
    audited = run("audit", "--log", log)
    assert "add a key" in audited.stdout and text not in audited.stdout


async def test_forgetting_a_shopper_is_in_the_audit_log_first_and_refused_without(tmp_path: Path) -> None:
    from grpc import StatusCode

    from core.audit import AuditLog
    from tandem.client import AsyncSearchClient, SearchError

    log = AuditLog(tmp_path / "audit.jsonl")
    async with Service(tmp_path).serve(audit_log=log.path) as (_, server), AsyncSearchClient(server.address) as client:
        await client.forget_user("ann@example.com", request_id="request-1")
        [entry] = log.check()
        assert (entry.action, entry.who) == ("forget a shopper", "a caller without a credential")
        assert entry.facts == {"request": "request-1"} and "ann" not in log.path.read_text()
        log.path.write_bytes(b"{}\n")
        with pytest.raises(SearchError, match="nothing was deleted") as error:
            await client.forget_user("ann@example.com")
        assert error.value.code is StatusCode.UNAVAILABLE
