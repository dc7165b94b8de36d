"""A finished run's student with its card, in a folder or on the Hugging Face hub."""

import tempfile
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

from minidisc_ray.configs.base import UserError, first_line
from minidisc_ray.configs.model import PretrainedTeacherConfig
from minidisc_ray.export.card import CardFacts, model_card
from minidisc_ray.export.folder import check_output, write_output
from minidisc_ray.models.checkpoint import fill_folder, load_model
from minidisc_ray.models.loading import load_tokenizer

HUB = "hub:"


def push_to_folder(facts: CardFacts, output: Path) -> None:
    """Write the student with its card into a folder that is not there yet, whole or not at all.

    Raises:
        UserError: if it is there, or cannot be written.
    """
    check_output(output, "--to")
    write_output(output, lambda folder: _fill(folder, facts, output.name), "--to")


def push_to_hub(facts: CardFacts, name: str, is_private: bool) -> str:
    """Make the repository if it is not there, and upload the student with its card as one commit; returns its URL.

    The token is the one that huggingface_hub finds: HF_TOKEN, or that of ``hf auth login``.

    Raises:
        UserError: if there is no token, the name is none, or the hub refuses or cannot be reached.
    """
    try:
        api = HfApi(library_name="minidisc_ray")
        with tempfile.TemporaryDirectory(prefix="minidisc-push-") as temporary:
            folder = Path(temporary) / "student"
            folder.mkdir()
            # First, since the card says how to load it by its whole name, the owner's in front.
            repository = api.create_repo(name, private=is_private or None, exist_ok=True)
            _fill(folder, facts, repository.repo_id)
            commit = api.upload_folder(
                repo_id=repository.repo_id, folder_path=folder, commit_message="Student and model card"
            )
        return str(commit.repo_url)
    except LocalTokenNotFoundError as error:
        raise UserError("--to: the hub asks for a token; set HF_TOKEN, or log in with `hf auth login`") from error
    except HFValidationError as error:
        raise UserError(f"--to: {HUB}{name} is not a repository's name on the hub ({first_line(error)})") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no answer"
        hint = "; set HF_TOKEN, or log in with `hf auth login`" if status == 401 else ""
        raise UserError(f"--to: the hub refuses {name} ({status}: {first_line(error)}){hint}") from error
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"--to: the hub cannot be reached ({first_line(error)})") from error


def _fill(folder: Path, facts: CardFacts, name: str) -> None:
    student = facts.run_folder / "student"
    # Saved once more, not copied: students of older releases have no modelling file beside their weights.
    tokenizer = load_tokenizer(PretrainedTeacherConfig(path=str(student)))
    fill_folder(load_model(student), tokenizer, folder, {"README.md": str(model_card(facts, name))})
