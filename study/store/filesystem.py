"""From a store's URI to its filesystem: how often a request is tried, where credentials come from, what errors mean.

Credentials come from the environment, a profile or the machine's role alone: a URI is part of the config, which is
written to the store and printed.
"""

from __future__ import annotations

import os
import re
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
from pyarrow import fs as pafs

from study.errors import ConfigError, StoreRefused, why

GS_SECONDS = (
    30  # that a request to Google's is tried again for, as it is to S3; the library's own is a quarter of an hour
)
ATTEMPTS = 8  # of one request to S3, waiting longer each time (about half a minute in all): throttling passes
_S3_KEYS = {"region", "endpoint_override", "scheme", "tls_ca_file_path"}
_SCHEMES = ("file", "s3", "gs", "gcs", "abfs", "abfss")
_SECRET = re.compile(r"secret|key|token|sig|password", re.IGNORECASE)

_NO_BUCKET = "NO_SUCH_BUCKET|Bucket '.*' not found|BucketNotFound|ContainerNotFound"
_WRONG_CREDENTIALS = (
    "INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|UNRECOGNIZED_CLIENT|INVALID_CLIENT_TOKEN|ExpiredToken|InvalidToken"
    "|REQUEST_EXPIRED"
)
_FORBIDDEN = "ACCESS_DENIED|HTTP status 40[13]|UNAUTHENTICATED"
_CLOCK = "REQUEST_TIME_TOO_SKEWED"
_FULL = "HTTP status 507|StorageFull|QuotaExceeded"
_REFUSED = re.compile("|".join((_NO_BUCKET, _WRONG_CREDENTIALS, _FORBIDDEN, _CLOCK, _FULL)))

_MEANINGS = (  # what an error says, what it means, what to do; the first that fits
    (
        _NO_BUCKET,
        "there is no such bucket",
        "create it first, or check the name, and the endpoint in AWS_ENDPOINT_URL where it is not Amazon's",
    ),
    (
        _WRONG_CREDENTIALS,
        "the credentials are wrong or out of date",
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN with temporary ones) or AWS_PROFILE anew",
    ),
    (
        "HTTP status 301|PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraint",
        "the bucket is in another region",
        "name its region: s3://bucket/path?region=eu-west-1",
    ),
    (
        f"{_FORBIDDEN}|[Pp]ermission|[Cc]redential",
        "there are no credentials, or they do not allow this",
        "s3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role that may "
        "list, get, put and delete objects; gs: `gcloud auth application-default login`, or a service account",
    ),
    (_CLOCK, "this machine's clock is wrong", "set it"),
    (_FULL, "it is full, or a quota is", "make space there, or have the quota raised"),
    (
        "NETWORK_CONNECTION|resolve host|[Cc]onnection|UNAVAILABLE",
        "it cannot be reached",
        "check the network, and AWS_ENDPOINT_URL where the bucket is not Amazon's",
    ),
    ("SLOW_DOWN|HTTP status 5|SERVICE_UNAVAILABLE|INTERNAL", "it is overloaded or down", "try again later"),
)


def open_uri(uri: str, attempts: int = ATTEMPTS, in_parts: bool = False) -> tuple[pafs.FileSystem, str]:
    """Open the filesystem of a local path or of a file://, s3://, gs:// or abfss:// URI. Raises ConfigError.

    On S3 a file of less than 10 MiB is one put when it is closed; `in_parts` it is an upload that opening it begins.
    """
    if "://" not in uri:
        return pafs.LocalFileSystem(), uri
    parts = urlsplit(uri)
    keys = parse_qs(parts.query, keep_blank_values=True)
    if parts.password is not None or any(_SECRET.search(key) for key in keys):
        raise ConfigError(
            "store",
            f"{parts.scheme}://{parts.hostname}{parts.path}",
            "its URI holds credentials, which would be written to the store and printed",
            "give them in the environment, e.g. AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    if parts.scheme not in _SCHEMES:
        raise ConfigError("store", uri, "is of no kind we know", "use a folder, s3://…, gs://… or abfss://…")
    try:
        if parts.scheme == "s3":
            return _open_s3(uri, {name: values[-1] for name, values in keys.items()}, attempts, in_parts)
        given = uri
        if parts.scheme in ("gs", "gcs") and "retry_limit_seconds" not in keys:
            given = f"{uri}{'&' if parts.query else '?'}retry_limit_seconds={GS_SECONDS}"
        filesystem, path = pafs.FileSystem.from_uri(given)
        return filesystem, str(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise trouble(uri, error) from error


def _open_s3(uri: str, given: dict[str, str], attempts: int, in_parts: bool) -> tuple[pafs.FileSystem, str]:
    """pyarrow's own reading of an s3:// URI tries a throttled request again at once, for six seconds, then fails."""
    parts = urlsplit(uri)
    if not parts.hostname:
        raise ConfigError("store", uri, "names no bucket", "write s3://bucket/path")
    for key in given.keys() - _S3_KEYS:
        raise ConfigError("store", uri, f"has an unknown parameter {key!r}", f"use {', '.join(sorted(_S3_KEYS))}")
    endpoint = (
        given.pop("endpoint_override", None)
        or os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
    )
    region = given.pop("region", None)
    if region is None and endpoint is None:
        region = pafs.resolve_s3_region(parts.hostname)  # the bucket's own, whatever the machine's is
    filesystem = pafs.S3FileSystem(
        endpoint_override=endpoint,
        region=region,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=attempts),
        allow_delayed_open=not in_parts,
        **given,
    )
    return filesystem, f"{parts.hostname}{parts.path}"


def is_cut_short(error: OSError) -> bool:
    """Whether an answer broke off in its middle: the AWS library does not ask for it again."""
    return "Failed to flush response stream" in str(error)


def is_refused(error: OSError) -> bool:
    """Whether a bucket refuses what is asked of it, and will go on to before a person has mended it."""
    return bool(_REFUSED.search(str(error)))


def is_full(error: OSError) -> bool:
    """Whether a bucket has no room left, or its owner's quota is used up."""
    return bool(re.search(_FULL, str(error)))


def trouble(uri: str, error: Exception) -> ConfigError:
    """Say what is wrong with a store, and what to do, by what its filesystem raised."""
    refused = isinstance(error, StoreRefused) and error.__cause__
    text = " ".join(why(refused or error).split())
    for pattern, meaning, fix in _MEANINGS if "://" in uri else ():
        if re.search(pattern, text):
            return ConfigError("store", uri, f"{meaning} ({text})", fix)
    return ConfigError(
        "store", uri, f"cannot be read or written ({text})", "name a folder or bucket you may use, with space left"
    )
