"""Settings: environment variables `HOMEOSTAT_…`, each with a default that needs no server.

An unknown `HOMEOSTAT_…` variable is refused, because a misspelt one would silently do nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import tempfile
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from homeostat.errors import SettingsError, StateFolderError

PREFIX = "HOMEOSTAT_"
_CONFIDENTIAL = ("_URL", "_URLS", "_KEY", "_SECRET")

#: A unix socket's path may be 107 bytes long on Linux (`man 7 unix`).
LONGEST_SOCKET_PATH = 107


#: What the Celery broker may be, by the scheme of its URL, and the Redis server.
BROKERS = ("redis", "rediss", "redis+socket", "sentinel", "valkey", "amqp", "amqps", "pyamqp")
REDIS_SERVERS = ("redis", "rediss", "unix")


class Mode(StrEnum):
    """How far governance lets the system act by itself."""

    OFF = "OFF"
    OBSERVE = "OBSERVE"
    ADVISORY = "ADVISORY"
    ENFORCED = "ENFORCED"


class UniverseProfile(StrEnum):
    """How careful the filters of the universe are."""

    SAFE = "SAFE"
    AGGRESSIVE = "AGGRESSIVE"
    EXPERIMENTAL = "EXPERIMENTAL"


class VenueName(StrEnum):
    """Where orders go: our own book, the loopback server, or the real exchange."""

    PAPER = "paper"
    LOOPBACK = "loopback"
    BINANCE = "binance"


class Settings(BaseSettings):
    """Everything that a process of Homeostat is told from outside."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    state_dir: Path = Field(Path("var"), description="The one folder that holds all state.")
    database_url: str = Field("", description="SQLAlchemy URL; empty: SQLite in the state folder.")
    broker_url: str = Field("", description="Celery broker; empty: the embedded Redis.")
    redis_url: str = Field("", description="Redis for bus and limits; empty: the embedded one.")
    mode: Mode = Field(Mode.ENFORCED, description="Governance mode.")
    repository: Path | None = Field(None, description="Git checkout the coding agent may mend.")
    market_data: Path | None = Field(None, description="Recorded candles; empty: the generator.")
    market_seed: int = Field(20251123, description="Seed of the market generator.")
    market_live: bool = Field(False, description="Prices polled from the venue instead of either.")
    universe_profile: UniverseProfile = Field(
        UniverseProfile.AGGRESSIVE, description="How careful the universe's filters are."
    )
    venue: VenueName = Field(VenueName.PAPER, description="Where orders go.")
    venue_url: str = Field("", description="Address of the loopback venue.")
    venue_key: SecretStr = Field(SecretStr(""), description="API key of the venue: secret://NAME.")
    venue_secret: SecretStr = Field(
        SecretStr(""), description="API secret of the venue: secret://NAME."
    )
    secrets_key: SecretStr = Field(
        SecretStr(""), description="Fernet keys of the secrets, newest first; empty: a key file."
    )
    policy_file: Path | None = Field(None, description="Governance policy; empty: the shipped one.")
    recovery: bool = Field(True, description="False only in control runs: sweeper and heals off.")
    api_port: int = Field(0, ge=0, le=65535, description="API port; 0: any free port.")
    flower_port: int = Field(0, ge=0, le=65535, description="Flower port; 0: any free port.")
    worker_concurrency: int = Field(4, ge=1, le=64, description="Pool children of the main worker.")
    notify_urls: str = Field("", description="Apprise URLs, separated by spaces.")
    llm_url: str = Field("", description="OpenAI-compatible address that is asked for patches.")
    llm_model: str = Field("", description="Model that is asked there.")
    llm_key: SecretStr = Field(SecretStr(""), description="Its API key, or secret://NAME.")
    llm_timeout_s: float = Field(60.0, gt=0, le=600, description="Seconds for one answer.")
    llm_calls_per_incident: int = Field(2, ge=0, description="Questions about one failure.")
    llm_calls_per_day: int = Field(50, ge=0, description="Questions of a UTC day.")
    llm_tokens_per_incident: int = Field(40_000, ge=0, description="Tokens for one failure.")
    llm_tokens_per_day: int = Field(400_000, ge=0, description="Tokens of a UTC day.")
    log_level: str = Field("INFO", description="Level of the structured logs.")

    @field_validator("state_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("broker_url")
    @classmethod
    def _a_broker(cls, value: str) -> str:
        return _of_scheme(value, BROKERS)

    @field_validator("redis_url")
    @classmethod
    def _a_redis_server(cls, value: str) -> str:
        return _of_scheme(value, REDIS_SERVERS)

    @field_validator("log_level")
    @classmethod
    def _a_level(cls, value: str) -> str:
        levels = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
        if value.upper() not in levels:
            raise ValueError(f"give one of {', '.join(levels)}")
        return value.upper()

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in force; a bare `postgresql://` is given the psycopg driver."""
        if not self.database_url:
            return f"sqlite:///{self.state_dir / 'homeostat.sqlite3'}"
        for bare in ("postgres://", "postgresql://"):
            if self.database_url.startswith(bare):
                return "postgresql+psycopg://" + self.database_url[len(bare) :]
        return self.database_url

    @property
    def redis_socket(self) -> Path:
        """The embedded Redis server's socket: in the state folder, or a short stand-in path."""
        path = self.state_dir / "redis.sock"
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            return path
        digest = hashlib.sha256(os.fsencode(self.state_dir)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"homeostat-{os.getuid()}-{digest}" / "redis.sock"

    @property
    def broker(self) -> str:
        """The Celery broker URL in force."""
        return self.broker_url or f"redis+socket://{self.redis_socket}"

    @property
    def redis(self) -> str:
        """The redis-py URL of the server for the bus, the limits and the leases of the beat."""
        if self.redis_url:
            return self.redis_url
        if self.broker_url.startswith(("redis://", "rediss://", "valkey://")):
            return self.broker_url.replace("valkey://", "redis://", 1)
        return f"unix://{self.redis_socket}"

    @property
    def trades_outside(self) -> bool:
        """Whether orders leave this system."""
        return self.venue is not VenueName.PAPER

    @property
    def embeds_redis(self) -> bool:
        """Whether `homeostat up` has to start a Redis server of its own."""
        return not self.broker_url or self.redis == f"unix://{self.redis_socket}"

    def secret_key(self) -> bytes:
        """Return the stack's HMAC key from the state folder's 0600 file, made at first use."""
        path = self.ensure_state_dir() / "secret.key"
        if not path.exists():
            # Written aside and linked into place, so that a second process never reads half a key.
            with tempfile.NamedTemporaryFile(dir=self.state_dir) as file:
                file.write(secrets.token_hex(32).encode())
                file.flush()
                with contextlib.suppress(FileExistsError):
                    os.link(file.name, path)
        return path.read_bytes()

    def ensure_state_dir(self) -> Path:
        """Make the state folder (0700) where it is missing; raises StateFolderError."""
        try:
            self.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.state_dir):
                pass
        except OSError as error:
            raise StateFolderError(
                f"The state folder {self.state_dir} cannot be written ({error.strerror}); "
                "make it writable or set HOMEOSTAT_STATE_DIR to a folder that is."
            ) from error
        return self.state_dir


def _of_scheme(url: str, schemes: tuple[str, ...]) -> str:
    """Return a URL, or one of several hosts, as it is; raises ValueError where it cannot be one."""
    for part in filter(None, url.split(";")):
        parts = urlsplit(part)
        if "://" not in part or parts.scheme not in schemes:
            raise ValueError(f"give a URL that begins with one of {', '.join(schemes)}, and ://")
        # A port that is no number shows only when it is asked for.
        _ = parts.port
    return url


def load_settings() -> Settings:
    """Read the settings from the environment; raises SettingsError with one clear sentence."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
    if unknown:
        raise SettingsError(
            f"Unknown setting {unknown[0]}; remove it or correct its name "
            f"(known: {', '.join(sorted(known))})."
        )
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        variable = PREFIX + str(first["loc"][0]).upper()
        said = str(first["msg"]).removeprefix("Value error, ")
        # An address or a key may hold a password, so it is not told back.
        was = "" if variable.endswith(_CONFIDENTIAL) else f" (was {first['input']!r})"
        raise SettingsError(f"{variable} is not usable: {said}{was}.") from None


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return this process's settings, read once."""
    return load_settings()
