"""The settings of the online service."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from catalog.change_log.open import change_log_setting
from core.address import listening_address, optional_address, tcp_address, trace_url
from core.audit import AUDIT_LOG
from core.cores import available_cores
from core.logs import LogFormat
from core.plan import Plan
from engine.device import Device
from retrieval.profiles.settings import MOST_KEPT, ProfileSettings
from retrieval.server.identity.key_file import KEY_FILE

TRITON_FOLDER, PROFILES_FOLDER = "triton", "profiles"  # among the releases, unless others are set
# Seconds. Connections are shared out anew by age: with several processes soon, since each stays with the one it met.
_CONNECTION_AGE, _SHARED_CONNECTION_AGE = 600.0, 60.0
# With 12 admitted, two cores that rescore 32 of Home Depot keep a p99 of 600 ms at twice the load that they can answer.
# How much a GPU or a Triton server answers does not depend on the cores here.
_PLACES_A_CORE, _PLACES_ELSEWHERE = 6, 64
# Two a core keep the cores busy: fewer places would cost answers, and make none of them sooner.
_FLOOR_SHARE = 3


def _address_or_none(text: str) -> str:
    return listening_address(text) if text else ""


class ServeSettings(BaseSettings):
    """Settings of `tandem serve`: a TOML file, `TANDEM_SERVE_*` variables, or options of the command."""

    model_config = SettingsConfigDict(
        env_prefix="TANDEM_SERVE_", env_nested_delimiter="__", extra="forbid", frozen=True, allow_inf_nan=False
    )

    releases: Path = Field(default=Path("releases"), description="Folder of the releases.")
    verify_key: Path | None = Field(
        default=None,
        description="PEM file of Ed25519 public keys; with it only releases that one of them signed are served.",
    )
    address: Annotated[str, AfterValidator(listening_address)] = Field(
        default="127.0.0.1:50051", description="Host and port to listen on, or unix:PATH for one process."
    )
    health_address: Annotated[str, AfterValidator(_address_or_none)] = Field(
        default="",
        description="Host and port for health alone, without TLS and keys, for probes of orchestrators; empty: none.",
    )
    insecure: bool = Field(
        default=False,
        description="Listen on an address that other machines reach without TLS or without keys: everybody may do all.",
    )
    tls_certificate: Path | None = Field(
        default=None,
        description="PEM file of the service's certificate, with those that lead to its CA; read again once changed.",
    )
    tls_key: Path | None = Field(default=None, description="PEM file of the certificate's private key.")
    tls_client_ca: Path | None = Field(
        default=None, description="PEM file of the CAs that sign clients' certificates; with it every client needs one."
    )
    keys: Path | None = Field(
        default=None,
        description="File of keys, as `tandem keys` makes it; none: `keys.json` among the releases, once it is there.",
    )
    jwt_jwks: str = Field(
        default="", description="Public keys (JWKS) of the issuer of tokens: a file, or an https:// address."
    )
    jwt_issuer: str = Field(default="", description="The `iss` of tokens.")
    jwt_audience: str = Field(default="", description="The `aud` of tokens.")
    jwt_skew_seconds: float = Field(
        default=30.0, ge=0, le=300, description="Seconds by which the clocks of issuer and service may differ."
    )
    audit_log: Path | None = Field(
        default=None, description="File of what administrators did; none: `audit.jsonl` among the releases."
    )
    reflection: bool | None = Field(
        default=None,
        description="Answer gRPC reflection, to callers with a credential; none: where only this machine reaches the "
        "address.",
    )
    processes: int = Field(default=1, ge=1, le=256, description="Serving processes that share the address.")
    lanes: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Worker threads that run models in each process; none: its share of the cores.",
    )
    max_connection_age: float | None = Field(
        default=None,
        ge=1,
        le=86_400,
        description="Seconds after which a client has to connect anew; none: 600, and 60 with several processes.",
    )
    max_in_flight: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description=(
            "Requests in flight of all processes, at most; more are refused at once. None: 6 for each core, and at "
            "least 64 with Triton or device cuda."
        ),
    )
    least_in_flight: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description=(
            "Requests in flight of all processes that are let in however long answers take; max_in_flight or more: "
            "the limit does not move. None: a third of max_in_flight."
        ),
    )
    latency_objective: float = Field(
        default=0.6,
        ge=0.01,
        le=60,
        description=(
            "Seconds that 99 of 100 answers to searches are to be made in: while they take longer under load, fewer "
            "are let in."
        ),
    )
    hang_seconds: float = Field(
        default=30.0, ge=2, le=3600, description="Seconds of silence after which one of several processes is restarted."
    )
    load_seconds: float = Field(
        default=600.0,
        ge=2,
        le=86_400,
        description="Seconds after which one of several processes that still loads a release is restarted.",
    )
    default_deadline: float = Field(
        default=1.0, gt=0, le=60, description="Deadline of calls that have none, in seconds."
    )
    longest_deadline: float = Field(
        default=60.0, gt=0, le=3600, description="Longest deadline of a call, in seconds; a later one is cut to it."
    )
    sending_seconds: float = Field(
        default=5.0,
        gt=0,
        le=600,
        description="Seconds after which an answer is dropped when its caller takes no bytes of it.",
    )
    poll_seconds: float = Field(
        default=1.0, gt=0, le=600, description="Seconds between two looks at the release pointers."
    )
    change_log: Annotated[str, AfterValidator(change_log_setting)] = Field(
        default="",
        repr=False,  # it may hold a password
        description=(
            "Where changes of products are kept: files beside the releases (empty), or redis://HOST:PORT/DATABASE for "
            "several machines."
        ),
    )
    max_fresh: int = Field(
        default=100_000,
        ge=0,
        le=10_000_000,
        description="Products of a catalog that may be added or rewritten between two runs of `tandem index`.",
    )
    grace_seconds: float = Field(
        default=10.0, ge=0, le=600, description="Seconds that calls in flight may take when the service stops."
    )
    query_cache_bytes: int = Field(
        default=16 << 20, ge=0, description="Memory for cached query vectors, in bytes; 0 turns the cache off."
    )
    candidate_cache_bytes: int = Field(
        default=32 << 20, ge=0, description="Memory for cached candidates, in bytes; 0 turns the cache off."
    )
    score_cache_bytes: int = Field(
        default=64 << 20, ge=0, description="Memory for cached cross-encoder scores, in bytes; 0 turns the cache off."
    )
    engine: Literal["embedded", "triton"] = Field(
        default="embedded", description="What runs the models: this process, or a Triton server."
    )
    device: Device = Field(
        default="auto",
        description=(
            "Where the embedded engine runs: a processor (cpu), a GPU (cuda), or a GPU if there is one and "
            "the release has half-precision weights (auto)."
        ),
    )
    gpus: int = Field(default=1, ge=1, le=64, description="Number of GPUs that search the index.")
    gpu_spread: Literal["replica", "shard"] = Field(
        default="replica", description="Whether each GPU holds the whole index (replica) or a part of it (shard)."
    )
    gpu_search: Literal["auto", "faiss", "torch"] = Field(
        default="auto",
        description=(
            "What searches on a GPU: FAISS, torch (exact indexes alone), or FAISS where it is built for GPUs, "
            "else torch (auto)."
        ),
    )
    triton_url: Annotated[str, AfterValidator(tcp_address)] = Field(
        default="127.0.0.1:8001", description="Host and port of Triton's gRPC service."
    )
    triton_repository: Path | None = Field(
        default=None, description="Model repository, the folder that Triton reads; none: `triton` among the releases."
    )
    fallback: Literal["lexical", "embedded"] = Field(
        default="lexical",
        description="What answers while Triton does not: lexical retrieval alone, or the models in this process.",
    )
    profiles: str = Field(
        default="embedded",
        repr=False,
        description="Where profiles of shoppers are kept: in a file among the releases (embedded), nowhere (off), or "
        "in a Redis, by its URL.",
    )
    profile_folder: Path | None = Field(
        default=None, description="Folder of embedded profiles and of their key; none: `profiles` among the releases."
    )
    profile_key: SecretStr = Field(
        default=SecretStr(""),
        description="Secret key of the hashes that stand for shoppers' ids, 16 characters or more; empty: that of "
        "the key file.",
    )
    profile_key_file: Path | None = Field(
        default=None, description="File of the key, made at the first start; none: `key` in the folder of profiles."
    )
    profile_days: float = Field(
        default=90.0, gt=0, le=3650, description="Days after which what a shopper did is deleted from the profile."
    )
    profile_products: int = Field(
        default=200, ge=1, le=MOST_KEPT, description="Latest products of a profile that are kept."
    )
    metrics_address: Annotated[str, AfterValidator(optional_address)] = Field(
        default="",
        description="Host and port where Prometheus finds the metrics of all processes, such as 127.0.0.1:9464; empty: "
        "nowhere.",
    )
    log_format: LogFormat = Field(
        default="text", description="Lines of the log: for people (text), or one JSON object each (json)."
    )
    request_log: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of requests that get a line in the request log; those of an experiment get one always.",
    )
    trace_endpoint: Annotated[str, AfterValidator(trace_url)] = Field(
        default="",
        description="Receiver of traces, OTLP over gRPC, such as http://127.0.0.1:4317; empty: no traces.",
    )
    trace_share: float = Field(
        default=0.0, ge=0, le=1, description="Share of calls traced among those whose callers send no trace."
    )
    probe_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of searches searched again exactly, in the background, to measure recall; needs metrics.",
    )
    plan: Plan = Plan()

    def for_process(self) -> dict[str, Any]:
        """These settings as JSON for another process, secrets among them, which every other text of them hides."""
        values = self.model_dump(mode="json")
        secrets = {name: value.get_secret_value() for name, value in self if isinstance(value, SecretStr)}
        return values | secrets

    @property
    def key_file(self) -> Path:
        """The file of keys, which need not be there."""
        return self.keys or self.releases / KEY_FILE

    @property
    def audit_file(self) -> Path:
        """The file of what administrators did."""
        return self.audit_log or self.releases / AUDIT_LOG

    @property
    def profile_settings(self) -> ProfileSettings:
        """Where profiles are kept, and how long."""
        folder = self.profile_folder or self.releases / PROFILES_FOLDER
        key = self.profile_key.get_secret_value()
        return ProfileSettings(
            self.profiles, folder, self.profile_key_file, key, self.profile_days, self.profile_products
        )

    @property
    def lanes_each(self) -> int:
        """Worker threads of the embedded engine in each process: as set, or the cores divided, at least 1."""
        return self.lanes or max(1, available_cores() // self.processes)

    @property
    def places(self) -> int:
        """Requests in flight at most, of all processes: as set, or as many as answer in good time."""
        by_cores = _PLACES_A_CORE * available_cores()
        elsewhere = self.engine == "triton" or self.device == "cuda"
        return self.max_in_flight or (max(by_cores, _PLACES_ELSEWHERE) if elsewhere else by_cores)

    @property
    def least_places(self) -> int:
        """Requests in flight that the limit never falls below: as set, or a third of `places`."""
        return min(self.places, self.least_in_flight or -(-self.places // _FLOOR_SHARE))

    @property
    def connection_age(self) -> float:
        """Seconds after which a client has to connect anew."""
        return self.max_connection_age or (_CONNECTION_AGE if self.processes == 1 else _SHARED_CONNECTION_AGE)

    def share(self, number: int) -> "ServeSettings":
        """The share of the process of this number, from 0, in what is bounded for the whole service.

        Requests in flight add up to `places`, but each process takes one at least; cache bytes are divided.
        """
        places, more = divmod(self.places, self.processes)
        caches = {
            name: getattr(self, name) // self.processes
            for name in ("query_cache_bytes", "candidate_cache_bytes", "score_cache_bytes")
        }
        own = max(1, places + (number < more))
        least = self.least_in_flight and max(1, round(self.least_in_flight * own / self.places))
        return self.model_copy(update={"max_in_flight": own, "least_in_flight": least, **caches})
