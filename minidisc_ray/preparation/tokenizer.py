"""Checks that the teacher can read the rows: its tokenizer against its embeddings, and against the texts."""

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from minidisc_ray.configs.base import UserError
from minidisc_ray.data import unknown_share
from minidisc_ray.data.tokenizer import has_bpe_dropout, largest_id, largest_token_type, own_limit
from minidisc_ray.models.families import num_token_types
from minidisc_ray.preparation.prepared_run import PreparedRun

_MAX_UNKNOWN_SHARE = 0.05


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> None:
    """Refuse a tokenizer that does not fit the teacher, or that this package cannot use.

    Raises:
        UserError: if it is not a fast one, cannot pad, is random, or gives token ids or types without an embedding.
    """
    if tokenizer.pad_token_id is None:
        raise UserError("teacher.path: the tokenizer has no padding token; use a teacher whose tokenizer has one")
    if not tokenizer.is_fast:
        raise UserError("teacher.path: the tokenizer has no fast (tokenizer.json) version; use a teacher that has one")
    if has_bpe_dropout(tokenizer):
        raise UserError(
            "teacher.path: the tokenizer has BPE dropout, so it encodes a text differently each time; set dropout "
            "to null in tokenizer.json"
        )
    own_limit(tokenizer)
    embeddings = int(model.config.vocab_size)
    if (largest := largest_id(tokenizer)) >= embeddings:
        raise UserError(
            f"teacher.path: the tokenizer's largest token id is {largest}, but the model embeds {embeddings} tokens, "
            "from 0; use the tokenizer that belongs to the model"
        )
    embedded, given = num_token_types(model.config), largest_token_type(tokenizer) + 1
    if 1 < embedded < given:
        raise UserError(
            f"teacher.path: the tokenizer gives {given} token types, but the model embeds {embedded}; use the "
            "tokenizer that belongs to the model"
        )


def unknown_token_warnings(prepared: PreparedRun) -> list[str]:
    """A warning for each split with many unknown tokens, as from wrong casing or another language."""
    splits = {"train": prepared.train, "selection": prepared.selection, **prepared.validation}
    shares = {name: unknown_share(encoded, prepared.tokenizer) for name, encoded in splits.items()}
    return [
        f"{share:.1%} of the tokens of {name} are unknown to the teacher's tokenizer; check its casing and language"
        for name, share in shares.items()
        if share > _MAX_UNKNOWN_SHARE
    ]
