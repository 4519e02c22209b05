"""What can be set of the online service."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.address import listening_address, tcp_address
from core.plan import Plan
from engine.device import Device

TRITON_FOLDER = "triton"  # among the releases, unless another is set
# Seconds. Connections are shared out anew by age: with several processes soon, since each stays with the one it met.
_CONNECTION_AGE, _SHARED_CONNECTION_AGE = 600.0, 60.0
# With 12 let in, two cores that rescore 32 of Home Depot keep a p99 of 600 ms at twice the load that they can answer.
# What a GPU or a Triton server answers, cores here do not tell.
_PLACES_A_CORE, _PLACES_ELSEWHERE = 6, 64


class ServeSettings(BaseSettings):
    """Settings of `tandem serve`: a TOML file, `TANDEM_SERVE_*` variables, or options of the command."""

    model_config = SettingsConfigDict(
        env_prefix="TANDEM_SERVE_", env_nested_delimiter="__", extra="forbid", frozen=True, allow_inf_nan=False
    )

    releases: Path = Field(default=Path("releases"), description="folder of the releases")
    address: Annotated[str, AfterValidator(listening_address)] = Field(
        default="127.0.0.1:50051", description="host and port to listen on, or unix:PATH"
    )
    processes: int = Field(default=1, ge=1, le=256, description="serving processes that share the address")
    lanes: int | None = Field(
        default=None, ge=1, le=1024, description="worker threads of each process's models; default: its share of cores"
    )
    max_connection_age: float | None = Field(
        default=None, ge=1, le=86_400, description="seconds until a client connects anew; default: 600, of several 60"
    )
    max_in_flight: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="requests beyond this are refused at once; default: 6 a core; with Triton or cuda at least 64",
    )
    hang_seconds: float = Field(
        default=30.0, ge=2, le=3600, description="one of several processes that is silent so long is started again"
    )
    load_seconds: float = Field(
        default=600.0, ge=2, le=86_400, description="one of several processes that loads longer is started again"
    )
    default_deadline: float = Field(default=1.0, gt=0, le=60, description="seconds, for calls without a deadline")
    longest_deadline: float = Field(
        default=60.0, gt=0, le=3600, description="seconds that a call takes at most, whatever its deadline"
    )
    sending_seconds: float = Field(
        default=5.0, gt=0, le=600, description="an answer that its caller takes no bytes of is given up after that"
    )
    poll_seconds: float = Field(default=1.0, gt=0, le=600, description="how often release pointers are read")
    grace_seconds: float = Field(default=10.0, ge=0, le=600, description="how long calls in flight may take to drain")
    query_cache_bytes: int = Field(default=16 << 20, ge=0, description="for query vectors; 0 keeps none")
    candidate_cache_bytes: int = Field(default=32 << 20, ge=0, description="for products found; 0 keeps none")
    score_cache_bytes: int = Field(default=64 << 20, ge=0, description="for rerank scores; 0 keeps none")
    engine: Literal["embedded", "triton"] = Field(default="embedded", description="what runs the models")
    device: Device = Field(
        default="auto",
        description="where the embedded engine runs: cpu, cuda, or cuda if a GPU and its weights are there",
    )
    gpus: int = Field(default=1, ge=1, le=64, description="GPUs that the index is searched on")
    gpu_spread: Literal["replica", "shard"] = Field(
        default="replica", description="whether each of them has the whole index or a part of it"
    )
    gpu_search: Literal["auto", "faiss", "torch"] = Field(
        default="auto", description="what searches there: FAISS, torch (exact indexes alone), or FAISS if built for it"
    )
    triton_url: Annotated[str, AfterValidator(tcp_address)] = Field(
        default="127.0.0.1:8001", description="host and port of Triton's gRPC service"
    )
    triton_repository: Path | None = Field(
        default=None, description="folder of models that Triton reads; default: `triton` among the releases"
    )
    fallback: Literal["lexical", "embedded"] = Field(
        default="lexical", description="what answers while Triton does not: words, or its models in this process"
    )
    plan: Plan = Plan()

    @property
    def lanes_each(self) -> int:
        """Worker threads of the embedded engine in each process: as set, or the cores divided, at least 1."""
        return self.lanes or max(1, len(os.sched_getaffinity(0)) // self.processes)

    @property
    def places(self) -> int:
        """Requests in flight at most, of all processes: as set, or as many as answer in good time."""
        by_cores = _PLACES_A_CORE * len(os.sched_getaffinity(0))
        elsewhere = self.engine == "triton" or self.device == "cuda"
        return self.max_in_flight or (max(by_cores, _PLACES_ELSEWHERE) if elsewhere else by_cores)

    @property
    def connection_age(self) -> float:
        """Seconds after which a client is asked to connect anew."""
        return self.max_connection_age or (_CONNECTION_AGE if self.processes == 1 else _SHARED_CONNECTION_AGE)

    def share(self, number: int) -> "ServeSettings":
        """What the process of this number, from 0, gets of what is bounded for the whole service.

        Requests in flight add up to `places`, but each process takes one at least; cache bytes are divided.
        """
        places, more = divmod(self.places, self.processes)
        caches = {
            name: getattr(self, name) // self.processes
            for name in ("query_cache_bytes", "candidate_cache_bytes", "score_cache_bytes")
        }
        return self.model_copy(update={"max_in_flight": max(1, places + (number < more)), **caches})
