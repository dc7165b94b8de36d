"""URIs of storages, s3://BUCKET/PREFIX and gs://BUCKET/PREFIX, and where this node keeps its copy of each.

The copy lies in ``${MINIDISC_CACHE}/mirrors/s3/BUCKET/PREFIX/...``, so the URI follows from its path.
"""

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from minidisc_ray.files.cache import cache_folder

SCHEMES = ("s3", "gs")


class PlaceError(ValueError):
    """A URI is not one of a storage; the message says in one sentence what is allowed."""


def check_uri(uri: str) -> tuple[str, str, str]:
    """Split a bucket's URI into scheme, bucket and prefix.

    Raises:
        PlaceError: if it is not a bucket's URI, or holds credentials.
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
    if not uri.isprintable():
        # urlsplit drops tabs and line breaks.
        raise PlaceError(f"{uri[:80]!r}: not a bucket and a prefix; give {scheme}://BUCKET/PREFIX")
    found = urlsplit(uri)
    if found.query or found.fragment or "?" in uri or "#" in uri:
        place = f"{scheme}://{found.netloc}{found.path}"[:80]
        raise PlaceError(f"{place}: give a bucket and a prefix alone; set AWS_ENDPOINT_URL and AWS_REGION for the rest")
    parts = [part for part in found.path.split("/") if part]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]+", found.netloc) or any(part in (".", "..") for part in parts):
        raise PlaceError(f"{uri[:80]}: not a bucket and a prefix; give {scheme}://BUCKET/PREFIX")
    return scheme, found.netloc, "/".join(parts)


def endpoint_of(scheme: str) -> str | None:
    """The address of a server other than the cloud's own, from the environment; None where none is set.

    Raises:
        PlaceError: if the environment's value is not a server's address.
    """
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") if scheme == "s3" else ("STORAGE_EMULATOR_HOST",)
    name, value = next(((name, value) for name in names if (value := os.environ.get(name))), ("", None))
    if value is not None and not _is_address(value):
        shown = "...@" + value.rpartition("@")[2] if "@" in value else value
        raise PlaceError(f"{name}: {shown[:80]!r} is no server's address; give http://HOST:PORT, without credentials")
    return value


def _is_address(value: str) -> bool:
    try:
        found = urlsplit(value if "://" in value else f"https://{value}")
        # Reading `port` raises ValueError for one above 65535.
        is_of_a_port = found.port is None or found.port > 0
    except ValueError:
        return False
    has_more = found.username is not None or found.path.strip("/") or found.query or found.fragment
    return is_of_a_port and found.scheme in ("http", "https") and bool(found.hostname) and not has_more


def is_uri(place: str | Path) -> bool:
    """Whether a storage is given by a URI; as a :class:`Path` it has only one slash after the scheme."""
    return bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/" if isinstance(place, Path) else r"[^/]*://", str(place)))


def place_text(place: str | Path) -> str:
    """A place as a user types it: as a :class:`Path` a URI has lost a slash."""
    if isinstance(place, str) or not is_uri(place):
        return str(place)
    scheme, rest = str(place).split(":/", 1)
    return f"{scheme}://{'/' if scheme == 'file' else ''}{rest}"


def local_path(place: str | Path) -> Path:
    """The local path of a storage: a folder's own, or that of this node's copy of a bucket.

    Raises:
        PlaceError: if it is a URI that is not supported.
    """
    if isinstance(place, str) and (found := re.match(r"(s3|gs|file):/(?!/)", place)):
        raise PlaceError(f"{place[:80]}: a URI begins with {found[1]}://")
    if not is_uri(place):
        return Path(place).expanduser().resolve()
    uri = place_text(place)
    if uri.startswith("file://"):
        rest = urlsplit(uri)
        if rest.netloc not in ("", "localhost"):
            raise PlaceError(f"{uri[:80]}: a file is on this machine; give file:///FOLDER")
        return Path(unquote(rest.path)).resolve()
    scheme, bucket, prefix = check_uri(uri)
    endpoint = endpoint_of(scheme)
    site = scheme if endpoint is None else f"{scheme}@{urlsplit(endpoint).netloc or endpoint}"
    return _mirrors() / site / bucket / prefix


def place_of(path: Path) -> str:
    """The URI of a path in a copy of a bucket, else the path itself; valid on every node, for messages."""
    return str(path) if (uri := uri_of(path)) is None else uri


def uri_of(path: Path) -> str | None:
    """The URI of a path that lies in this node's copy of a bucket; None for every other path."""
    mirrors = _mirrors()
    if not path.is_relative_to(mirrors):
        return None
    site, *rest = path.relative_to(mirrors).parts
    return f"{site.partition('@')[0]}://{'/'.join(rest)}" if rest else None


def _mirrors() -> Path:
    return cache_folder() / "mirrors"
