"""Where a run's numbers go, besides its own folder and TensorBoard."""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_serializer, field_validator

from minidisc_ray.configs.base import Config

_HIDDEN = "***"
_SECRET_IN_QUERY = re.compile(r"([?&][^=&]*(?:password|passwd|pwd|token|secret|key)[^=&]*=)[^&]*", re.IGNORECASE)
# A config is saved without passwords and read again in the pipeline; this process keeps the full URI by the saved one.
_full_uris: dict[str, str] = {}


class NoTrackingConfig(Config):
    """No other place."""

    kind: Literal["none"] = "none"


class MLflowTrackingConfig(Config):
    """MLflow: one run there for each run here, with params, metrics by epoch, costs and the result.

    A password in the URI is never saved. Only the driver connects to MLflow.
    """

    kind: Literal["mlflow"] = "mlflow"
    uri: str | None = Field(
        None,
        min_length=1,
        repr=False,
        description="URI of a server, a folder or a database; by default MLFLOW_TRACKING_URI.",
    )
    experiment: str = Field(
        "minidisc",
        min_length=1,
        max_length=250,
        description="Name of the MLflow experiment, which is created if missing.",
    )

    @field_validator("uri")
    @classmethod
    def _is_uri(cls, uri: str | None) -> str | None:
        if uri is None:
            return None
        try:
            urlsplit(uri).port  # noqa: B018 - raises if the port is not a number
        except ValueError:
            # Without the value: it may hold a password.
            raise ValueError("not a URI; give a folder, file:///FOLDER, sqlite:///FILE or http://HOST:PORT") from None
        known = _full_uris.get(uri, uri)
        _full_uris[without_password(known)] = known
        return known

    @field_serializer("uri")
    def _written(self, uri: str | None) -> str | None:
        return None if uri is None else without_password(uri)


TrackingConfig = Annotated[NoTrackingConfig | MLflowTrackingConfig, Field(discriminator="kind")]


def without_password(uri: str) -> str:
    """A URI with its password, and the secrets in its query, masked as ``***``."""
    scheme, separator, rest = uri.partition("://")
    # Split at the last @: a password may have an @ or a slash in it, although a URI should quote them.
    user, at, place = rest.rpartition("@")
    name, colon, _ = user.partition(":")
    shown = f"{scheme}://{name}:{_HIDDEN}@{place}" if separator and at and colon else uri
    return _SECRET_IN_QUERY.sub(rf"\g<1>{_HIDDEN}", shown)
