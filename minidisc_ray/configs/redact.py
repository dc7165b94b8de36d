"""Mask secrets as ``***`` in everything that is written or shown.

Secrets are passwords and tokens in URLs, keys of a known format (Hugging Face, OpenAI, GitHub, GitLab, Slack, Google,
AWS, signed tokens, private keys), and values of environment variables whose names say that they are secret.
"""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

MASK = "***"
_MIN_CHARACTERS = 8  # of a variable's value; a shorter one may be part of ordinary words
_NAMED_SECRET = re.compile(r"(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|KEY)S?$")
_PLACES = frozenset({"DIR", "DIRECTORY", "FILE", "FOLDER", "HOME", "PATH"})
# A value such as "disabled" or "held_out" is not a secret, and masking it would spoil other text.
_PLAIN_WORD = re.compile(r"[a-z_-]{1,19}")

_ADDRESS = re.compile(
    r"(?i)\b([a-z][a-z0-9+.-]{0,30}:/{1,3})(?:[^\s/@:'\"<>]{0,200}:[^\s@'\"<>]{1,400}|[^\s/@'\"<>]{16,400})@"
)
_QUERY = re.compile(
    r"(?i)([?&;#][\w.-]{0,60}(?:token|secret|password|passwd|passphrase|signature|sig|credential|key|keyid|auth)=)"
    r"[^&\s'\"<>#]+"
)
_ASSIGNED = re.compile(
    r"(?i)(?<![\w.-])((?:\w{1,40}_)?(?:password|passwd|passphrase|secret|api_?key|access_?key|secret_?key|account_?key|"
    r"(?:access|auth|bearer|refresh|session|security)_token)\s?[=:]\s?['\"]?)[^\s&'\"<>,;]{6,}"
)
_AUTHORIZATION = re.compile(r"(?i)\b((?:bearer|basic)\s+)[a-z0-9._~+/=-]{12,}")
_SHAPES = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|gh[opsru]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|"
    r"xox[abeprs]-[\w-]{10,}|AIza[\w-]{30,}|(?:AKIA|ASIA)[A-Z0-9]{16}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{4,}"
    r")"
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----"
    r"(?:[^-]{0,20000}-----END [A-Z ]{0,40}PRIVATE KEY-----|[\w+/=\\\s]{0,20000})"
)


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether an environment variable's name says that its value is a secret, rather than the path of one."""
    parts = name.upper().split("_")
    return parts[-1] not in _PLACES and any(part == "PASS" or _NAMED_SECRET.search(part) for part in parts)


def redact(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Replace every secret in a text by ``***``.

    Args:
        text: to be written or shown.
        environment: variables whose secrets are masked; by default the process's own.
    """
    if len(text) < _MIN_CHARACTERS:
        return text
    return _masked(text, _secret_values(os.environ if environment is None else environment))


def redacted(value: Any) -> Any:
    """Redact every text in nested mappings and lists, keys too; other values stay as they are."""
    return _redacted(value, _secret_values(os.environ))


def _redacted(value: Any, secrets: Sequence[str]) -> Any:
    if isinstance(value, str):
        return value if len(value) < _MIN_CHARACTERS else _masked(value, secrets)
    if isinstance(value, Mapping):
        return {_redacted(key, secrets): _redacted(item, secrets) for key, item in value.items()}
    return [_redacted(item, secrets) for item in value] if isinstance(value, list | tuple) else value


def _masked(text: str, secrets: Sequence[str]) -> str:
    for value in secrets:
        text = text.replace(value, MASK)
    text = _PRIVATE_KEY.sub(MASK, text)
    text = _ADDRESS.sub(rf"\1{MASK}@", text)
    for named in (_QUERY, _ASSIGNED, _AUTHORIZATION):
        text = named.sub(rf"\1{MASK}", text)
    return _SHAPES.sub(MASK, text)


def is_redacted_form(written: Any, value: Any) -> bool:
    """Whether ``written`` equals ``value`` except for secrets that were masked when it was written."""
    if isinstance(written, Mapping) and isinstance(value, Mapping):
        return _is_redacted_mapping(written, value)
    if isinstance(written, list | tuple) and isinstance(value, list | tuple):
        return len(written) == len(value) and all(map(is_redacted_form, written, value))
    if isinstance(written, str) and isinstance(value, str) and MASK in written:
        return _has_in_order(value, written.split(MASK))
    return bool(written == value)


def _is_redacted_mapping(written: Mapping[Any, Any], value: Mapping[Any, Any]) -> bool:
    """As :func:`is_redacted_form`: equal keys are compared with each other, then masked ones with what is left."""
    shared = [key for key in written if key in value]
    if len(written) != len(value) or not all(is_redacted_form(written[key], value[key]) for key in shared):
        return False
    left = [item for item in value.items() if item[0] not in written]
    for item in written.items():
        if item[0] in value:
            continue
        match = next((other for other in left if is_redacted_form(item, other)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _has_in_order(text: str, parts: Sequence[str]) -> bool:
    """Whether a text starts with the first part, ends with the last, and has the others in order between them.

    Taking the earliest match of each part leaves the most text for the next ones, so one pass is enough.
    """
    first, *middle, last = parts
    if len(first) + len(last) > len(text) or not text.startswith(first) or not text.endswith(last):
        return False
    place, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True


class SecretsFilter(logging.Filter):
    """Masks secrets in log records, in arguments and tracebacks too."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask the record in place, and let it pass."""
        record.msg, record.args = redact(record.getMessage()), ()
        if record.exc_info:
            record.exc_text = redact(record.exc_text or logging.Formatter().formatException(record.exc_info))
        return True


# Set here because every process that logs has imported the configs.
logging.getLogger("minidisc_ray").addFilter(SecretsFilter())


def _secret_values(environment: Mapping[str, str]) -> list[str]:
    """The environment's secrets, longest first, so that one that is part of another leaves no rest of it."""
    found = {value.strip() for name, value in environment.items() if is_secret_name(name)}
    secrets = [value for value in found if len(value) >= _MIN_CHARACTERS and not _PLAIN_WORD.fullmatch(value)]
    return sorted(secrets, key=len, reverse=True)
