"""Writes a finished run's student with its model card to a folder or to the Hugging Face hub."""

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
    """Write the student with its card to a new folder, which appears whole or not at all.

    Raises:
        UserError: if the folder exists, or cannot be written.
    """
    check_output(output, "--to")
    write_output(output, lambda folder: _fill(folder, facts, output.name), "--to")


def push_to_hub(facts: CardFacts, name: str, is_private: bool) -> str:
    """Upload the student with its card in one commit, and create the repository if needed; returns its URL.

    The token is HF_TOKEN or that of ``hf auth login``, as huggingface_hub finds it.

    Raises:
        UserError: if there is no token, the name is invalid, or the hub refuses or cannot be reached.
    """
    try:
        api = HfApi(library_name="minidisc_ray")
        with tempfile.TemporaryDirectory(prefix="minidisc-push-") as temporary:
            folder = Path(temporary) / "student"
            folder.mkdir()
            # Before the files, as the card needs the full name, with the owner.
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
    # Loaded and saved instead of copied: students of older releases lack the modelling file.
    tokenizer = load_tokenizer(PretrainedTeacherConfig(path=str(student)))
    fill_folder(load_model(student), tokenizer, folder, {"README.md": str(model_card(facts, name))})
