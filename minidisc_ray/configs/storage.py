"""The storage of a recipe, checked before a folder of its name is made."""

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator

# A folder beside the runs of a storage: teachers and importance that several runs share.
SHARED_FOLDER = "_shared"

_ALLOWED = "give a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"


def _check_storage(storage: str) -> str:
    if not storage.strip():
        raise ValueError(f"empty; {_ALLOWED}")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in storage):
        raise ValueError(f"{storage!r} has control characters or invalid Unicode; {_ALLOWED}")
    scheme, _, rest = storage.partition("://")
    # These messages do not quote the value: it may have credentials in it.
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/(?!/)", storage):
        raise ValueError(f"a URI has two slashes after its colon; {_ALLOWED}")
    if scheme in ("s3", "gs"):
        if "@" in rest.partition("/")[2]:
            raise ValueError("a URI may hold no credentials, and no @; set them in the environment")
        if "#" in rest or "?" in rest:
            raise ValueError(
                "a URI may hold neither # nor ?; give a bucket and a prefix, and set AWS_ENDPOINT_URL and AWS_REGION "
                "for the rest"
            )
    if scheme == "file" and rest in ("", "localhost"):
        raise ValueError("file:// names no folder; give file:///FOLDER, or the folder itself")
    return storage


Storage = Annotated[str, AfterValidator(_check_storage)]
