"""What of a tokenizer changes what it makes of a text, and what a model must have room for."""

import hashlib
import json
from typing import Any

from transformers import PreTrainedTokenizerBase

from minidisc_ray.configs.base import UserError

SANE_MAX_LENGTH = 1_000_000  # tokenizers without a limit of their own say 1e30


def tokenizer_state(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Everything that changes an encoding, as JSON: vocabulary, merges, normalizer, special and added tokens, settings.

    Read from the tokenizer as it was loaded, so that it does not matter which of its files said what.
    """
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    # The last call's leavings, not the tokenizer's nature.
    for leftover in ("truncation", "padding"):
        backend.pop(leftover, None)
    return {
        "backend": backend,
        "max_length": own_limit(tokenizer),
        "truncation_side": tokenizer.truncation_side,
        "token_types": gives_token_types(tokenizer),
        "split_special_tokens": bool(getattr(tokenizer, "split_special_tokens", False)),
        "pad_token_id": tokenizer.pad_token_id,
    }


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """Equal for tokenizers that encode every text alike."""
    state = json.dumps(tokenizer_state(tokenizer), sort_keys=True)
    return hashlib.sha256(state.encode()).hexdigest()[:16]


def own_limit(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The longest row, in tokens, by the tokenizer's own settings; None where they set none.

    Raises:
        UserError: if they set no number.
    """
    limit = tokenizer.model_max_length
    if not isinstance(limit, int | float):
        raise UserError(
            f"teacher.path: model_max_length of tokenizer_config.json is {limit!r}, which is no number; correct it"
        )
    return int(limit) if 0 < limit < SANE_MAX_LENGTH else None


def drops_merges(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether it encodes one text differently each time (BPE dropout)."""
    return bool(json.loads(tokenizer.backend_tokenizer.to_str())["model"].get("dropout"))


def gives_token_types(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether it marks which of two texts a token is of."""
    return "token_type_ids" in tokenizer.model_input_names


def largest_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The largest token id that it can give; ids may have gaps, so their number does not tell."""
    return max(tokenizer.get_vocab().values(), default=-1)


def largest_token_type(tokenizer: PreTrainedTokenizerBase) -> int:
    """The largest mark that it gives to a token of two texts."""
    if not gives_token_types(tokenizer):
        return 0
    return max(tokenizer("a", "a", return_token_type_ids=True, verbose=False)["token_type_ids"], default=0)
