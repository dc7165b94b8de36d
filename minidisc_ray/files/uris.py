"""Storages by URI: s3://BUCKET/PREFIX and gs://BUCKET/PREFIX, and nothing else in them."""

import os
import re
from urllib.parse import urlsplit

SCHEMES = ("s3", "gs")


class PlaceError(ValueError):
    """A URI that is no storage: one sentence with what is allowed."""


def check_uri(uri: str) -> tuple[str, str, str]:
    """A storage's scheme, bucket and prefix.

    Raises:
        PlaceError: if it is not one.
    """
    scheme, _, rest = uri.partition("://")
    authority = rest.partition("/")[0]
    if "@" in authority:
        raise PlaceError(
            f"{scheme}://...@{authority.rpartition('@')[2]}: a URI may hold no credentials; set them in the environment"
        )
    if "@" in rest:
        raise PlaceError(f"{scheme}://...: a URI may hold no credentials, and no @; set them in the environment")
    if scheme not in SCHEMES:
        raise PlaceError(f"{uri[:80]}: {scheme}:// is not supported; give a folder, file:///, s3:// or gs://")
    found = urlsplit(uri)
    if found.query or found.fragment or "?" in uri or "#" in uri:
        place = f"{scheme}://{found.netloc}{found.path}"[:80]
        raise PlaceError(f"{place}: give a bucket and a prefix alone; AWS_ENDPOINT_URL and AWS_REGION say the rest")
    parts = [part for part in found.path.split("/") if part]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]+", found.netloc) or any(part in (".", "..") for part in parts):
        raise PlaceError(f"{uri[:80]}: not a bucket and a prefix; give {scheme}://BUCKET/PREFIX")
    return scheme, found.netloc, "/".join(parts)


def endpoint_of(scheme: str) -> str | None:
    """The address of a store that is not the cloud's own, from the environment."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") if scheme == "s3" else ("STORAGE_EMULATOR_HOST",)
    return next((value for name in names if (value := os.environ.get(name))), None)
