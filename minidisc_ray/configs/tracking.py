"""Where a run's numbers go besides its own folder and TensorBoard."""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_serializer, field_validator

from minidisc_ray.configs.base import Config

_HIDDEN = "***"
_SECRET_IN_QUERY = re.compile(r"([?&][^=&]*(?:password|passwd|pwd|token|secret|key)[^=&]*=)[^&]*", re.IGNORECASE)
# A config is written down and read again on its way through the pipeline, without its passwords: what they were is
# known to this process alone.
_with_password: dict[str, str] = {}


class NoTrackingConfig(Config):
    """Nowhere else."""

    kind: Literal["none"] = "none"


class MLflowTrackingConfig(Config):
    """To MLflow: one run there for each run here, with params, metrics by epoch, costs and the result.

    A password in the URI is never written down. The driver alone talks to MLflow.
    """

    kind: Literal["mlflow"] = "mlflow"
    uri: str | None = Field(
        None,
        min_length=1,
        repr=False,
        description="Of a server, a folder or a database; by default MLFLOW_TRACKING_URI.",
    )
    experiment: str = Field("minidisc", min_length=1, max_length=250, description="Made if it is not there.")

    @field_validator("uri")
    @classmethod
    def _is_uri(cls, uri: str | None) -> str | None:
        if uri is None:
            return None
        try:
            urlsplit(uri).port  # noqa: B018 - a port that is no number raises here
        except ValueError:
            # Without the value: it may hold a password.
            raise ValueError("not a URI; give a folder, file:///FOLDER, sqlite:///FILE or http://HOST:PORT") from None
        known = _with_password.get(uri, uri)
        _with_password[without_password(known)] = known
        return known

    @field_serializer("uri")
    def _written(self, uri: str | None) -> str | None:
        return None if uri is None else without_password(uri)


TrackingConfig = Annotated[NoTrackingConfig | MLflowTrackingConfig, Field(discriminator="kind")]


def without_password(uri: str) -> str:
    """A URI as it may be read by anybody: without what follows its user's colon, and without secrets in its query."""
    scheme, separator, rest = uri.partition("://")
    # The last @: a password may hold another one, or a slash, though it should be quoted there.
    user, at, place = rest.rpartition("@")
    name, colon, _ = user.partition(":")
    shown = f"{scheme}://{name}:{_HIDDEN}@{place}" if separator and at and colon else uri
    return _SECRET_IN_QUERY.sub(rf"\g<1>{_HIDDEN}", shown)
