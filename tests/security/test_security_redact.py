"""Secrets: recognised, left out of everything that a run writes, and without them a run is still known again."""

import json
import logging
import pickle
import sys

import pytest
import yaml
from storage_kit import LOCAL
from tiny_teacher import TINY_TEACHER

from minidisc_ray.configs import UserError, resolve
from minidisc_ray.configs.redact import SecretsFilter, is_redacted_form, is_secret_name, redact, redacted
from minidisc_ray.pipeline.run_directory import open_run
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.run_files.failures import read_failure, write_failure

# Put together here, so that no scanner of this repository takes them for real.
HF = "hf_" + "aBcDeFgHiJkLmNoPqRsTuVwX"
OPENAI = "sk-" + "proj-aBcDeFgHiJkLmNoPqRsT"
AWS = "AKIA" + "IOSFODNN7EXAMPLE"
GITHUB = "ghp_" + "aBcDeFgHiJkLmNoPqRsTuVwX1234"
SIGNED = "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxIn0abc." + "c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ray://me:hunter2@head:10001", "ray://***@head:10001"),
        ("no file https:/me:hunter2@host/train.csv; check", "no file https:/***@host/train.csv; check"),
        ("s3://KEY:a/b+c=@bucket/runs", "s3://***@bucket/runs"),
        (f"https://{GITHUB}@github.com/x", "https://***@github.com/x"),
        ("https://h/d?version=2&token=abc.def&x=1", "https://h/d?version=2&token=***&x=1"),
        ("https://h/d?X-Amz-Signature=0a1b2c", "https://h/d?X-Amz-Signature=***"),
        ("AccountKey=abcdefgh==;rest", "AccountKey=***;rest"),
        ("password: correct-horse", "password: ***"),
        ("Authorization: Bearer abcdef0123456789", "Authorization: Bearer ***"),
        (f"got {HF}, {OPENAI} and {AWS}", "got ***, *** and ***"),
        (f"jwt {SIGNED}.", "jwt ***."),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nrest", "***\nrest"),
    ],
)
def test_secrets_are_known_by_their_look(text, shown):
    assert redact(text, {}) == shown


@pytest.mark.parametrize(
    "text",
    [
        "/shared/data/mrpc", "nyu-mll/glue", "hf://datasets/nyu-mll/glue@main", "http://127.0.0.1:8265",
        "sst2-conventional-10pc-seed0-db2d8fd5", "teacher-0123456789abcdef", "a task-specific mask-token-classifier",
        "bert-base-uncased, 22.7M parameters: 84.5", "the tokenizer has no pad_token; set pad_token", "ssh://git@host/x",
        "write --set compute.address=auto", "user@example.org", "distil.num_epochs: 'none' is not allowed",
        "data.train: there is no file /a/b.csv; check the path",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays(text):
    assert redact(text, {}) == text


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("HF_TOKEN", True), ("AWS_SECRET_ACCESS_KEY", True), ("OPENAI_API_KEY", True), ("PGPASSWORD", True),
        ("DB_PASS", True), ("MY_CREDENTIALS", True), ("RAY_AUTH_TOKEN", True), ("RAY_AUTH_TOKEN_PATH", False),
        ("TOKENIZERS_PARALLELISM", False), ("MINIDISC_DATA", False), ("HOME", False), ("KEY_DIR", False),
        ("PATH", False), ("PWD", False), ("MONKEYS_HOME", False),
    ],
)  # fmt: skip
def test_names_that_say_secret(name, is_secret):
    assert is_secret_name(name) == is_secret


def test_values_of_the_environment():
    environment = {
        "MY_TOKEN": "Geheim-123456",
        "LONGER_KEY": "Geheim-1234567890",
        "SHORT_KEY": "yes",
        "WORD_KEY": "held_out",
    }
    assert redact("a Geheim-1234567890, Geheim-123456, yes, held_out", environment) == "a ***, ***, yes, held_out"
    assert redacted({"a": [f"x {HF}"], "b": 0.1, "c": ("d", None)}) == {"a": ["x ***"], "b": 0.1, "c": ["d", None]}


def test_what_was_written_without_its_secrets_is_known_again():
    value = {"a": [f"https://me:{HF}@h/x", 1, None], "b": {"c": f"{HF} and {OPENAI}"}}
    assert is_redacted_form(redacted(value), value)
    assert is_redacted_form(value, value)
    assert not is_redacted_form(redacted(value), value | {"a": [f"https://me:{HF}@h/y", 1, None]})
    assert not is_redacted_form({"a": 1}, {"a": 2})
    assert not is_redacted_form({"a": 1}, {"a": 1, "b": 2})


def test_a_mistake_never_quotes_a_secret():
    assert str(UserError(f"storage: s3://a:{HF}@b is not a folder")) == "storage: s3://***@b is not a folder"
    with pytest.raises(UserError, match=r"schedule\.kind: \*\*\* is not a kind"):
        resolve({"schedule": {"kind": HF}})


def test_a_secret_of_the_environment_is_not_expanded(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "Geheim-123456")
    with pytest.raises(UserError) as caught:
        resolve({"task": "mrpc", "data": {"kind": "files", "folder": "/x/${HF_TOKEN}"}})
    assert str(caught.value).startswith("data.folder: the name of the variable HF_TOKEN says that it is a secret")


def test_log_lines_and_their_tracebacks(caplog):
    logger = logging.getLogger("minidisc_ray")
    assert any(isinstance(one, SecretsFilter) for one in logger.filters)
    with caplog.at_level(logging.INFO, logger="minidisc_ray"):
        logger.info("from %s in %d", f"https://me:{HF}@h", 3)
        try:
            raise RuntimeError(f"refused {HF}")
        except RuntimeError:
            logger.exception("failed")
    assert "from https://***@h in 3" in caplog.text
    assert "refused ***" in caplog.text
    assert HF not in caplog.text


SECRET = "Sehr-Geheim-77"
TINY = {
    "data": {"kind": "builtin", "train_rows": 128, "validation_rows": 64, "test_rows": 32},
    "teacher": TINY_TEACHER,
    "schedule": {"kind": "conventional"},
}


def test_a_run_with_a_secret_in_an_address_is_written_without_it_and_resumes(tmp_path, monkeypatch):
    raw = TINY | {"storage": str(tmp_path), "compute": {"address": f"ray://me:{SECRET}@head:10001"}}
    run = prepare(resolve(raw))
    plain = prepare(resolve(TINY | {"storage": str(tmp_path)}))
    assert run.name == plain.name
    folder = open_run(run)
    written = "".join(path.read_text() for path in folder.iterdir())
    assert SECRET not in written
    assert yaml.safe_load((folder / "config.yaml").read_text())["compute"]["address"] == "ray://***@head:10001"
    # With and without the secret at hand it is the same run.
    assert open_run(prepare(resolve(raw))) == folder
    monkeypatch.setenv("MY_TOKEN", SECRET)
    assert open_run(prepare(resolve(raw))) == folder


def test_an_identity_without_its_secret_is_still_the_same_run(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "tokenvalue-of-9")
    raw = TINY | {"storage": str(tmp_path), "name": "mine", "task": {"kind": "builtin"}}
    run = prepare(resolve(raw))
    identity = run.identity | {"note": "tokenvalue-of-9"}
    from dataclasses import replace

    folder = open_run(replace(run, identity=identity))
    assert json.loads((folder / "identity.json").read_text())["note"] == "***"
    monkeypatch.delenv("MY_TOKEN")
    assert open_run(replace(run, identity=identity)) == folder
    with pytest.raises(UserError, match=r"another config \(different: note\)"):
        open_run(replace(run, identity=identity | {"note": [1]}))


def test_a_failure_is_kept_without_secrets(tmp_path):
    write_failure(LOCAL, tmp_path, "main", f"HTTPError: 401 for https://me:{HF}@h/x?token=abcdef")
    assert read_failure(tmp_path, "main") == "HTTPError: 401 for https://***@h/x?token=***"


def test_a_name_is_no_secret(tmp_path):
    with pytest.raises(UserError, match=r"name: '\*\*\*' holds a secret"):
        prepare(resolve(TINY | {"storage": str(tmp_path), "name": HF}))


def test_what_workers_get_has_no_address(tmp_path):
    from minidisc_ray.ray_backend.worker import for_workers

    run = prepare(resolve(TINY | {"storage": str(tmp_path), "compute": {"address": f"ray://me:{SECRET}@head:10001"}}))
    sent = for_workers(run)
    assert SECRET.encode() not in pickle.dumps(sent)
    assert (sent.name, sent.identity, sent.teacher_key) == (run.name, run.identity, run.teacher_key)


def test_the_command_line_tells_no_secret(capsys, monkeypatch, tmp_path):
    from minidisc_ray import api
    from minidisc_ray.cli import main

    def broken(*_: object) -> None:
        raise RuntimeError(f"a wheel\ncame off {HF}")

    monkeypatch.setattr(api, "describe_plan", broken)
    for traceback_wanted in (False, True):
        monkeypatch.setenv("MINIDISC_TRACEBACK", "1") if traceback_wanted else monkeypatch.delenv(
            "MINIDISC_TRACEBACK", False
        )
        with pytest.raises(SystemExit) as ended:
            main(["plan", "x.yaml"])
        message = capsys.readouterr().err
        assert (ended.value.code, HF in message, "***" in message) == (1, False, True)
        assert ("Traceback" in message) == traceback_wanted
    assert "minidisc_ray" in sys.modules


def test_masked_keys_are_compared_with_the_keys_that_they_can_stand_for():
    # Masked, the key sorts before "b"; in full after it.
    value = {"b": 1, f"https://me:{HF}@h": 2}
    assert is_redacted_form(redacted(value), value)
    assert not is_redacted_form(redacted(value), {"b": 1, f"https://me:{HF}@h": 3})
    assert not is_redacted_form(redacted(value), {"b": 2, f"https://me:{HF}@h": 1})
    assert not is_redacted_form({"a": 1}, {"b": 1})
    assert not is_redacted_form({"a": 1}, {"a": 1, "b": 1})
