"""pyarrow, where it is installed, and its file systems: disks, `s3://`, `gs://`, and all that fsspec has."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from importlib import import_module
from typing import Any
from urllib.parse import unquote

from fo1agent.errors import InputError, MissingExtraError
from fo1agent.extras import install_line


def arrow(module: str = "") -> Any:
    """pyarrow, or a module of it.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module(f"pyarrow.{module}" if module else "pyarrow")
    except ImportError as exc:
        raise MissingExtraError(f"annotate needs pyarrow: {install_line('annotate')}") from exc


def is_remote(place: str) -> bool:
    """Whether a place is an address such as `s3://bucket/photos`."""
    return "://" in place


def file_system(place: str) -> tuple[Any, str]:
    """A file system of pyarrow, and the path of a place in it.

    Raises:
        InputError: there is none for such an address, or it cannot be reached.
        MissingExtraError: the package that fsspec takes for it is not installed.
    """
    if not is_remote(place):
        return arrow("fs").LocalFileSystem(), place
    scheme, _, rest = place.partition("://")
    if scheme not in _OF_ARROW:
        return _of_fsspec(place)
    host, _, path = rest.partition("/")
    system, root = _of_arrow(scheme, host)
    return system, f"{root.rstrip('/')}/{path}"


# Schemes of pyarrow itself, and what follows an address. It tries Google's storage again for a quarter of an hour
# unless told otherwise.
_OF_ARROW = {"s3": "", "gs": "?retry_limit_seconds=20", "gcs": "?retry_limit_seconds=20", "hdfs": ""}
# Of S3: a server that takes calls and never answers is given up after a quarter of a minute.
_ATTEMPTS = 4


@lru_cache(maxsize=16)
def _of_arrow(scheme: str, host: str) -> tuple[Any, str]:
    if scheme != "hdfs" and ":" in host and "@" not in host:
        advice = "Write / as %2F, or better set the variables that the cloud has for it"
        raise InputError(f"{scheme}://…: a secret in the address is not percent-encoded. {advice}.")
    try:
        if scheme == "s3":
            return _s3(host)
        return arrow("fs").FileSystem.from_uri(f"{scheme}://{host}{_OF_ARROW[scheme]}")
    except (OSError, ValueError) as exc:
        raise InputError(f"{shown(f'{scheme}://{host}')} cannot be reached: {first_line(exc)}") from exc


def _s3(host: str) -> tuple[Any, str]:
    """S3, or what speaks as it does at `AWS_ENDPOINT_URL`, and the bucket.

    pyarrow reads that variable only where it also tries each call thirty times.
    """
    who, _, bucket = host.rpartition("@")
    key, _, secret = map(unquote, who.partition(":"))
    keys = {"anonymous": True} if who == "anonymous" else {"access_key": key, "secret_key": secret} if who else {}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    fs = arrow("fs")
    region = None if endpoint else fs.resolve_s3_region(bucket)
    tries = fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS)
    return fs.S3FileSystem(**keys, region=region, endpoint_override=endpoint, retry_strategy=tries), bucket


def _of_fsspec(place: str) -> tuple[Any, str]:
    fs = arrow("fs")
    try:
        from fsspec.core import url_to_fs

        system, path = url_to_fs(place)  # of one place it makes one file system, however often it is asked
        return fs.PyFileSystem(fs.FSSpecHandler(system)), path
    except ImportError as exc:
        raise MissingExtraError(f"{shown(place)} needs one more package: {first_line(exc)}") from exc
    except (OSError, ValueError) as exc:
        raise InputError(f"There are no files at {shown(place)}: {first_line(exc)}") from exc


def shown(place: str) -> str:
    """A place for people and files to read: without the key and the secret that stand in an address."""
    return _SECRET.sub(r"\1", place, count=1)


def first_line(exc: Exception) -> str:
    """What an error says, without what its libraries add: lines, numbers of requests, times, what they did just then.

    It is the same for the same cause, as rows are; and says what to do where the cause is known.
    """
    said = str(exc).strip().partition("\n")[0]
    for noise, kept in _NOISE:
        said = noise.sub(kept, said)
    said = said.strip().rstrip(".;,:")
    advice = next((advice for sign, advice in _ADVICE.items() if sign in said), "")
    return f"{said}. {advice}" if advice else said


_SECRET = re.compile(r"^([\w+.-]+://)[^/@:]*:[^/@]*@")
_NOISE = [
    (re.compile(pattern), kept)
    for pattern, kept in {
        r" error_info=.*": "",
        r"[;.] Details?: .*": "",
        r" \(Request ID: [^)]*\)": "",
        r" \(HTTP status \d+\)": "",
        r"^\[Errno \d+\] ": "",
        # S3's
        r"^When .*?: (?=AWS Error)": "",
        r" during \w+ operation": "",
        r"(Unable to parse ExceptionName: \w+ Message: |curlCode: \d+, |: No response body\.?$)": "",
        # Google's
        r"google::cloud::Status\((\w+): .*last message of ": r"\1: ",
        r"PerformWork\(\) - CURL error \[\d+\]=": "",
        r"(?<=to authenticate the request)\. .*": "",
    }.items()
]
_ADVICE = {
    "NO_SUCH_BUCKET": "Check its name.",
    "ACCESS_DENIED": "Check the key, and what it may do.",
    "INVALID_ACCESS_KEY_ID": "Check the key.",
    "SIGNATURE_DOES_NOT_MATCH": "Check the secret.",
    "NETWORK_CONNECTION": "Check the network, and AWS_ENDPOINT_URL if it is set.",
    "OAuth2": "Set GOOGLE_APPLICATION_CREDENTIALS, or write gs://anonymous@ before the name of a public bucket.",
    "NOT_FOUND": "Check the names of bucket and file.",
}
