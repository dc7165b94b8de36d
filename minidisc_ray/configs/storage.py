"""Where runs are kept, as a recipe gives it; what is no place is refused before a folder of that name is made."""

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator

# Beside the runs in a storage folder: teachers and importance, which several of them use.
SHARED_FOLDER = "_shared"

_ALLOWED = "give a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"


def _place(storage: str) -> str:
    if not storage.strip():
        raise ValueError(f"empty; {_ALLOWED}")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in storage):
        raise ValueError(f"{storage!r} has characters that cannot be written; {_ALLOWED}")
    scheme, _, rest = storage.partition("://")
    # None of these is quoted: what was meant as credentials may be in them.
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/(?!/)", storage):
        raise ValueError(f"a URI has two slashes after its colon; {_ALLOWED}")
    if scheme in ("s3", "gs"):
        if "@" in rest.partition("/")[2]:
            raise ValueError("a URI may hold no credentials, and no @; set them in the environment")
        if "#" in rest or "?" in rest:
            raise ValueError(
                "a URI may hold neither # nor ?; give a bucket and a prefix alone, AWS_ENDPOINT_URL and AWS_REGION say "
                "the rest"
            )
    if scheme == "file" and rest in ("", "localhost"):
        raise ValueError("file:// names no folder; give file:///FOLDER, or the folder itself")
    return storage


Storage = Annotated[str, AfterValidator(_place)]
