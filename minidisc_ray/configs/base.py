"""The base of every config: frozen, closed to unknown keys, values that are finite."""

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A part of a recipe; unknown keys are errors, so that a typo is never a silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class UserError(ValueError):
    """A user's mistake, told in one sentence: the key, the value, what is allowed, the next step."""
