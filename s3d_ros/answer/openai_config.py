"""Where an OpenAI-compatible server is, and how it is talked to. Free of the ``openai`` package."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from s3d_ros.keys import ConfigError, choice, number, plain

MISSING_URL = "name the server, such as http://127.0.0.1:8000/v1"


@dataclass(frozen=True)
class OpenAIConfig:
    """A server of vLLM, SGLang, llama.cpp, `transformers serve`, or somebody's service."""

    url: str = plain("", "the server, such as http://127.0.0.1:8000/v1; plain http to this machine only")
    model: str = plain("", "name of the model there; empty: the only one that the server offers")
    key_variable: str = plain("OPENAI_API_KEY", "environment variable that holds the key; the key itself goes nowhere")
    allow_http: bool = plain(False, "plain http to other machines: whoever listens sees pictures and key")
    timeout_s: float = number(120.0, 0.1, 3600, "a reply must be complete by then, retries included")
    connect_s: float = number(5.0, 0.1, 300, "a connection must be there by then")
    retries: int = number(2, 0, 10, "after a lost connection, 429 or 5xx, each after a longer pause")
    context_tokens: int = number(0, 0, 10_000_000, "what the model can read; 0: as the server tells, else 32768")
    image_format: str = choice("jpeg", ("jpeg", "png"), "how pictures are sent; png loses nothing and takes 5x")
    jpeg_quality: int = number(95, 50, 100, "of the pictures sent")
    image_cache_mb: int = number(64, 1, 4096, "encoded pictures kept at most")
    logprobs: bool = plain(True, "ask for the tokens' probabilities, which give the confidence")
    warm: bool = plain(False, "have the server read the scene ahead of questions, where it keeps prefixes")


def checked_url(config: OpenAIConfig) -> str:
    """Return the base URL, with /v1 where it has no path. Raises ConfigError."""
    url = config.url.strip().rstrip("/")
    if not url:
        raise ConfigError(f"url is empty: {MISSING_URL}")
    parts = urlsplit(url)
    try:
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise ConfigError(f"url has a bad port ({error}): {MISSING_URL}") from None
    if "@" in parts.netloc:
        raise ConfigError(f"url holds a name or password: put the key into ${config.key_variable} instead")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise ConfigError(f"url {url!r} is none: {MISSING_URL}")
    if parts.scheme == "http" and not is_loopback(url) and not config.allow_http:
        raise ConfigError(
            f"url {url!r} is plain http to another machine, where anybody on the way sees the pictures and the key: "
            "use https, or set allow_http"
        )
    return url if parts.path else f"{url}/v1"


def is_loopback(url: str) -> bool:
    """Say whether a URL is of this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
