"""A Dask scheduler of the user's own: its address, its certificate, and whether its workers can do the batch's work."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipr_core.runs.run import RunError

if TYPE_CHECKING:
    from distributed import Client
    from distributed.security import Security

_log = logging.getLogger(__name__)

_TIMEOUT = 20.0  # seconds until somebody answers
_FORM = re.compile(r"((?P<protocol>tcp|tls)://)?([^/\s:\[\]]+|\[[0-9a-fA-F:.%]+\]):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True)
class Certificate:
    """The files, in PEM format, that a scheduler of the user's own asks its clients for."""

    ca: Path
    """The certificate authority's certificate: whose signature the scheduler's certificate must have."""
    cert: Path
    key: Path


def connect(address: str, certificate: Certificate | None = None) -> Client:
    """Return a client of the scheduler at an address, once it is known what answers there.

    Without a certificate it shows that of Dask's configuration, if any. Warns of an address without TLS.
    raises RunError where no scheduler answers, or its Python or Dask is not that of here
    """
    from distributed import Client

    security = _security(address, certificate)
    kind = _ask(address, security)
    if kind != "Scheduler":
        raise RunError(f"{address} is a Dask {kind.lower()}; --dask must be the address of a scheduler")
    with warnings.catch_warnings(action="ignore"):  # of other versions, which are looked at here
        client = Client(address, timeout=f"{_TIMEOUT}s", security=security)
    try:
        versions: Any = client.get_versions()
        if differences := list(_differences(versions)):
            raise RunError(f"{address} cannot do this batch: {'; '.join(differences)}; install the same there and here")
    except BaseException:
        client.close()
        raise
    if not client.scheduler_info()["workers"]:
        _log.info("%s has no worker yet; cells wait until one comes", address)
    return client


def _security(address: str, certificate: Certificate | None) -> Security:
    """Return what is shown to a scheduler. raises RunError for a wrong address, or files that cannot be used"""
    from distributed.security import Security

    match = _FORM.fullmatch(address)
    if match is None or not 1 <= int(match["port"]) <= 65535:
        raise RunError(f"--dask is {address!r}; it must be tls://HOST:PORT or tcp://HOST:PORT, as its scheduler says")
    if certificate is None:
        security = Security()
    else:
        names = {"tls_ca_file": certificate.ca, "tls_client_cert": certificate.cert, "tls_client_key": certificate.key}
        security = Security(require_encryption=True, **{name: str(path) for name, path in names.items()})
    if match["protocol"] == "tls":
        _check_files(address, security)
    elif security.require_encryption:
        raise RunError(
            f"--dask is {address}, which has no TLS, but a certificate is given; its address must be tls://…"
        )
    else:
        _log.warning(
            "%s has no TLS: whoever reaches it can run programs as the owner of its workers; notebooks/README.md says "
            "how a scheduler is started with a certificate",
            address,
        )
    return security


def _check_files(address: str, security: Security) -> None:
    files = {name: path for name, path in security.get_tls_config_for_role("client").items() if name != "ciphers"}
    if not (files["ca_file"] and files["cert"]):
        raise RunError(
            f"{address} asks for a certificate; give --tls-ca, --tls-cert and --tls-key, or set them for Dask"
        )
    paths = [path for path in files.values() if path is not None]
    for path in paths:
        if "\n" not in path and not (os.path.isfile(path) and os.access(path, os.R_OK)):
            raise RunError(f"{path} cannot be read; it must be a file in PEM format, for the scheduler at {address}")
    try:
        security.get_connection_args("client")
    except (OSError, ValueError) as error:  # SSLError is an OSError
        raise RunError(f"{', '.join(paths)} must be certificates in PEM format, and the key of one: {error}") from None


def _ask(address: str, security: Security) -> str:
    """Ask whoever listens at an address what it is. raises RunError where nobody, or nobody of Dask's, answers"""
    from distributed.core import rpc

    async def identity() -> Mapping[str, Any]:
        arguments = security.get_connection_args("client")
        async with rpc(address, timeout=_TIMEOUT, connection_args=arguments) as remote:
            return await remote.identity()

    async def in_time() -> Mapping[str, Any]:
        return await asyncio.wait_for(identity(), _TIMEOUT + 1)

    try:
        return str(asyncio.run(in_time()).get("type"))
    except Exception as error:  # whatever the bytes of a stranger make Dask raise
        cause = error.__cause__ if isinstance(error, OSError) and error.__cause__ is not None else error
        reason = str(cause) or "whoever listens there does not speak as a scheduler does"
        raise RunError(f"no Dask scheduler answers at {address}: {reason}") from None


def _differences(versions: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for everything that runs another Python or Dask than the batch."""
    members = {"the scheduler": versions["scheduler"]}
    members |= {f"the worker {name}": worker for name, worker in versions["workers"].items()}
    batch = _short(versions["client"])
    for name, version in members.items():
        if _short(version) != batch:
            yield f"{name} has {_short(version)}, the batch {batch}"


def _short(version: Mapping[str, Any]) -> str:
    python = ".".join(version["host"]["python"].split(".")[:2])
    return f"Python {python}, distributed {version['packages']['distributed']}"
