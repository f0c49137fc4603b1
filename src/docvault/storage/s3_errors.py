"""Failures of S3 requests, mapped to the errors of a blob store."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    SSLError,
)

from docvault.circuit_breaker import CircuitBreaker
from docvault.errors import StorageUnavailable
from docvault.storage.base import BlobExists, BlobMissing

TOTAL_SECONDS = 60
# A timeout is an `OSError` too.
FAILURES = (ClientError, BotoCoreError, aiohttp.ClientError, OSError)

_MISSING = {"404", "NoSuchKey", "NotFound"}
_UNKNOWN = {"NotImplemented", "MethodNotAllowed", "405", "501"}
# HEAD has no body, so that only the status of its errors is known.
_HINTS = {
    "404": ": the bucket does not exist",
    "NoSuchBucket": ": the bucket does not exist",
    "403": ": the key is wrong or lacks a permission, or this machine's clock is wrong",
    "AccessDenied": ": the key lacks a permission",
    "InvalidAccessKeyId": ": the key is unknown",
    "SignatureDoesNotMatch": ": the secret of the key is wrong",
    "RequestTimeTooSkewed": ": this machine's clock is wrong",
    "ExpiredToken": ": the credentials have expired",
    "301": ": the bucket is in another region",
    "PermanentRedirect": ": the bucket is in another region",
}
_EXISTS = {"412", "PreconditionFailed", "ConditionalRequestConflict", "409"}


@asynccontextmanager
async def call_store(
    breaker: CircuitBreaker, seconds: float | None = TOTAL_SECONDS
) -> AsyncIterator[None]:
    """Map failures as `map_failures` does; fail fast while the circuit breaker is open."""
    breaker.check()
    try:
        async with map_failures(seconds):
            yield
    except StorageUnavailable as error:
        breaker.record_failure(error.cause)
        raise
    except (BlobMissing, BlobExists):
        breaker.record_success()
        raise
    breaker.record_success()


@asynccontextmanager
async def map_failures(seconds: float | None = TOTAL_SECONDS) -> AsyncIterator[None]:
    """Raise `StorageUnavailable` for every failure of the store, timeouts included."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except ExceptionGroup as group:
        if all(isinstance(error, FAILURES) for error in group.exceptions):
            raise StorageUnavailable(cause=describe(group.exceptions[0])) from group
        raise
    except FAILURES as error:
        raise StorageUnavailable(cause=describe(error)) from error


@contextmanager
def map_missing(key: str) -> Iterator[None]:
    """Raise `BlobMissing` if the store has no such object."""
    try:
        yield
    except ClientError as error:
        if _get_code(error) in _MISSING:
            raise BlobMissing(key) from error
        raise


@contextmanager
def map_exists(key: str) -> Iterator[None]:
    """Raise `BlobExists` if the store refuses to replace an object."""
    try:
        yield
    except ClientError as error:
        if _get_code(error) in _EXISTS:
            raise BlobExists(key) from error
        raise


@contextmanager
def ignore_missing_upload() -> Iterator[None]:
    """Continue if another process has ended an upload in parts; some stores also say so of none."""
    try:
        yield
    except ClientError as error:
        if _get_code(error) != "NoSuchUpload":
            raise


def is_refusal(error: BaseException | None) -> bool:
    """Return whether the store works, but does not allow or does not know the operation."""
    return isinstance(error, ClientError) and (
        _get_code(error) == "AccessDenied" or is_unknown_operation(error)
    )


def is_unknown_operation(error: ClientError) -> bool:
    """Return whether the store does not have the operation."""
    return _get_code(error) in _UNKNOWN


def describe(error: Exception) -> str:
    """Return the cause without the names that messages contain, such as the bucket's."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        code = _get_code(error)
        return f"S3 responded {code} ({status})" + _HINTS.get(code, "")
    if isinstance(error, (TimeoutError, ConnectTimeoutError, ReadTimeoutError)):
        return "it did not respond in time"
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return "there are no credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
    if isinstance(error, SSLError):
        return "TLS failed, or its certificate is not signed by a trusted authority"
    if isinstance(error, EndpointConnectionError):
        return _describe_connection(error.kwargs.get("error"))
    return type(error).__name__


def _describe_connection(error: object) -> str:
    """Return why no connection to the endpoint could be opened."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its host name is unknown"
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(
        error.os_error, ConnectionRefusedError
    ):
        return "nothing listens at its address"
    return "it cannot be reached"


def _get_code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
