"""The service as its pods run it: a user without rights, who can write to nothing but a small /tmp."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from redis_servers import free_port
from shops import ROOT

from core.releases import ReleaseStore
from tandem.client import AsyncSearchClient, SearchRequest
from tandem.v1 import catalog_pb2, catalog_pb2_grpc

# In a mount namespace of its own: what it reads is bound below /mnt, so that another user gets there.
POD = """
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/releases /mnt/tandem /mnt/venv /mnt/python
mount --bind "$RELEASES" /mnt/releases && mount -o remount,bind,ro /mnt/releases
mount --bind "$TREE" /mnt/tandem && mount --bind "$VENV" /mnt/venv && mount --bind "$PYTHON" /mnt/python
if [[ "$PYTHON" == /root/* ]]; then
  mount -t tmpfs -o mode=755 tmpfs /root && mkdir -p "$PYTHON" && mount --bind /mnt/python "$PYTHON"
fi
mount -t tmpfs -o size=64m,mode=1777 tmpfs /tmp
mount -o remount,bind,ro /mnt && mount -o remount,bind,ro /
cd /
exec setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --bounding-set -all --inh-caps -all \\
  env -i PATH=/usr/bin:/bin HOME=/tmp PYTHONPATH=/mnt/tandem:/mnt/tandem/protos "$@"
"""


def pod(store: ReleaseStore, *words: object) -> "subprocess.Popen[str]":
    """Runs Python with these words as a pod does. Skips the test where that cannot be had."""
    if os.geteuid() or subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("mount namespaces are not allowed here")
    places = {"RELEASES": store.root, "TREE": ROOT, "VENV": sys.prefix, "PYTHON": sys.base_prefix}
    return subprocess.Popen(
        ["unshare", "--mount", "bash", "-c", POD, "pod", "/mnt/venv/bin/python", *map(str, words)],
        env=os.environ | {name: str(path) for name, path in places.items()},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


TRY = """
import os, sys
for place in ("/etc", "/var/tmp", "/mnt/releases", "/mnt/tandem", "/mnt/venv"):
    try:
        open(place + "/written", "w")
    except OSError:
        continue
    sys.exit(place + " can be written")
open("/tmp/written", "w")
print(os.getuid(), open("/proc/self/status").read().split("CapEff:")[1].split()[0])
"""


@contextmanager
def serving(store: ReleaseStore) -> Iterator[tuple[str, str]]:
    """The addresses of calls and of health."""
    address, health = (f"127.0.0.1:{free_port()}" for _ in range(2))
    config = store.root / "serve.toml"
    config.write_text(
        f'address = "{address}"\nhealth_address = "{health}"\nreleases = "/mnt/releases"\nprofiles = "off"\n'
    )
    with pod(store, "-m", "lifecycle.cli", "serve", "--config", "/mnt/releases/serve.toml") as process:
        try:
            assert process.stdout is not None
            output = ""
            while "tandem: serving release" not in output:
                line = process.stdout.readline()
                assert line, output
                output += line
            yield address, health
            process.terminate()
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_a_pod_can_write_to_its_scratch_alone(indexed: ReleaseStore) -> None:
    with pod(indexed, "-c", TRY) as process:
        output, _ = process.communicate(timeout=60)
    assert (process.returncode, output.split()) == (0, ["10001", "0" * 16]), output


async def test_it_serves_and_refuses_changes_in_clear_words(store: ReleaseStore) -> None:
    with serving(store) as (address, health):
        async with AsyncSearchClient(address, timeout=20) as client:
            answer = await client.search(SearchRequest(query="red kettle"))
            assert answer.hits[0].product.title == "red kettle" and not answer.degraded
        async with grpc.aio.insecure_channel(health) as channel:
            status = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
            assert status.status == health_pb2.HealthCheckResponse.SERVING
        async with grpc.aio.insecure_channel(address) as channel:
            change = catalog_pb2.DeleteRequest(products=[catalog_pb2.ProductDelete(product_id="a-1")])
            with pytest.raises(grpc.aio.AioRpcError, match="the change log could not be written") as error:
                await catalog_pb2_grpc.CatalogServiceStub(channel).Delete(change, timeout=20)
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE
