"""Model cards and pushing: to a folder, and through huggingface_hub to a server on loopback."""

import base64
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import huggingface_hub
import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard import metadata_load
from pipeline_kit import prepared_run, random_teacher
from safetensors.numpy import save_file
from transformers import AutoModelForSequenceClassification

from minidisc_ray import api
from minidisc_ray.configs.base import UserError
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.run_files.clean import clean
from minidisc_ray.run_files.result import load_result

TOKEN = "hf_" + "A" * 34


class Hub(BaseHTTPRequestHandler):
    """The calls of the hub that a push makes: who is it, make a repository, which way each file goes, one commit."""

    files: ClassVar[dict[str, bytes]] = {}
    tokens: ClassVar[set[str]] = set()
    refuses = 0

    def do_GET(self) -> None:
        self._answer({"name": "someone", "type": "user", "orgs": []}, self.refuses or 200)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.tokens.add(self.headers.get("Authorization", ""))
        if self.refuses:
            self._answer({"error": "no"}, self.refuses)
        elif self.path == "/api/repos/create":
            name = json.loads(body)["name"]
            self._answer({"url": f"{self.server_url}/someone/{name}", "name": f"someone/{name}"})
        elif "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            self._answer({"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            oid = "0" * 40
            url = f"{self.server_url}/someone/student/commit/{oid}"
            self._answer({"success": True, "commitOid": oid, "commitUrl": url, "pullRequestUrl": None})
        else:
            self._answer({})

    @property
    def server_url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def _answer(self, value: object, status: int = 200) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch) -> Iterator[type[Hub]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    Hub.files, Hub.tokens, Hub.refuses = {}, set(), 0
    url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr("minidisc_ray.export.push.HfApi", lambda **given: huggingface_hub.HfApi(url, **given))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield Hub
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    storage = tmp_path_factory.mktemp("pushed")
    prepared = prepared_run(storage, "minidisc", random_teacher(tmp_path_factory.mktemp("teacher")))
    run_in_process(prepared)
    return prepared.run_folder


@pytest.fixture(scope="module")
def pushed(run, tmp_path_factory):
    output = tmp_path_factory.mktemp("folders") / "small-reviews"
    overrides = ["teacher.license=apache-2.0", "data.license=cc-by-4.0"]
    assert api.push(run, str(output), overrides, repeats=2) == str(output)
    return output


def test_the_card_holds_what_the_run_measured(run, pushed):
    result, text = load_result(run), (pushed / "README.md").read_text(encoding="utf-8")
    for expected in (
        f"| {100 * result.student.validation_metrics['accuracy']:.1f} (95% interval ",
        f"| {100 * result.teacher.validation_metrics['accuracy']:.1f} |",
        f"commonest class | {100 * result.majority_metrics['accuracy']:.1f} |",
        f"{result.student.encoder_parameters:,} | {result.teacher.encoder_parameters:,}",
        f"{result.student.total_parameters:,} | {result.teacher.total_parameters:,}",
        "licence: apache-2.0",
        "licence: cc-by-4.0",
        "Latency of 32 rows",
        "trust_remote_code=True",
        "64 rows of validation; seed 0",
    ):
        assert expected in text


def test_the_cards_metadata_is_read_by_huggingface_hub(run, pushed):
    data = ModelCard.load(pushed / "README.md").data
    assert data.to_dict() == metadata_load(pushed / "README.md")
    (found,) = data.eval_results
    assert found.metric_value == pytest.approx(load_result(run).student.validation_metrics["accuracy"], abs=1e-6)
    assert (data.pipeline_tag, data.library_name) == ("text-classification", "transformers")
    # A licence of the student itself is for its owner to say, and a local teacher is nothing on the hub.
    assert data.license is None
    assert data.base_model is None


def test_the_pushed_folder_loads(run, pushed):
    model = AutoModelForSequenceClassification.from_pretrained(pushed)
    kept = AutoModelForSequenceClassification.from_pretrained(run / "student")
    assert all(a.equal(b) for a, b in zip(model.parameters(), kept.parameters(), strict=True))
    assert {"modeling_minidisc.py", "model.safetensors", "tokenizer.json"} <= {p.name for p in pushed.iterdir()}


def test_a_licence_that_the_recipe_does_not_give_is_not_stated(run, tmp_path):
    api.push(run, str(tmp_path / "student"), repeats=0)
    text = (tmp_path / "student" / "README.md").read_text(encoding="utf-8")
    assert text.count("licence: not stated") == 2
    assert "Latency" not in text


def test_licences_are_no_part_of_what_a_run_is(tmp_path):
    plain = prepared_run(tmp_path, "minidisc")
    stated = prepared_run(tmp_path, "minidisc", ("data.license=mit",))
    assert plain.identity == stated.identity


def test_a_folder_that_exists(run, pushed):
    with pytest.raises(UserError, match=r"--to: .*small-reviews exists; choose another name"):
        api.push(run, str(pushed), repeats=0)


def test_a_teacher_that_is_gone_leaves_the_students_speed(tmp_path, tmp_path_factory):
    prepared = prepared_run(tmp_path, "conventional", random_teacher(tmp_path_factory.mktemp("teacher")))
    run_in_process(prepared)
    clean(tmp_path)
    shutil.rmtree(tmp_path / "_shared")
    api.push(prepared.run_folder, str(tmp_path / "student"), repeats=1)
    text = (tmp_path / "student" / "README.md").read_text(encoding="utf-8")
    assert "Latency of 1 row" in text


def test_the_hub_gets_every_file_and_no_file_holds_the_token(run, hub, capfd):
    assert api.push(run, "hub:student", repeats=0).endswith("/someone/student")
    assert set(hub.files) >= {"README.md", "config.json", "model.safetensors", "modeling_minidisc.py", "tokenizer.json"}
    assert hub.files["README.md"].startswith(b"---\n")
    assert b'place = "someone/student"' in hub.files["README.md"]
    assert hub.files["model.safetensors"] == (run / "student" / "model.safetensors").read_bytes()
    assert hub.tokens == {f"Bearer {TOKEN}"}
    printed = "".join(capfd.readouterr())
    assert TOKEN not in printed
    assert not any(TOKEN.encode() in content for content in hub.files.values())
    assert not any(TOKEN in p.read_text(errors="ignore") for p in run.rglob("*") if p.is_file())


@pytest.mark.parametrize(("status", "said"), [(401, "log in with"), (403, "403"), (500, "500")])
def test_a_hub_that_refuses(run, hub, status, said):
    hub.refuses = status
    with pytest.raises(UserError, match=said) as refused:
        api.push(run, "hub:student", repeats=0)
    assert TOKEN not in str(refused.value)
    assert hub.files == {}


def test_a_name_that_is_none(run, hub):
    with pytest.raises(UserError, match=r"--to: hub:a/b/c is not a repository's name on the hub; use hub:NAME"):
        api.push(run, "hub:a/b/c", repeats=0)


def test_a_hub_that_is_not_there(run, hub, monkeypatch):
    monkeypatch.setattr(
        "minidisc_ray.export.push.HfApi", lambda **given: huggingface_hub.HfApi("http://127.0.0.1:9", **given)
    )
    with pytest.raises(UserError, match="--to: the hub cannot be reached"):
        api.push(run, "hub:student", repeats=0)


def test_a_run_that_is_not_finished(tmp_path):
    with pytest.raises(UserError, match=r"no result.json there; give the folder of a finished run"):
        api.push(tmp_path, str(tmp_path / "out"))


@pytest.mark.parametrize("override", ["schedule.kind=maxidisc", "teacher.path=/else", "storage=/x", "teacher.license"])
def test_nothing_but_licences_is_set(run, tmp_path, override):
    said = "is not a licence|teacher.license"
    with pytest.raises(UserError, match=said):
        api.push(run, str(tmp_path / "out"), [override], repeats=0)
    assert not (tmp_path / "out").exists()


def test_names_from_elsewhere_are_nothing_but_names_in_a_card(run, tmp_path):
    text = 'teacher.license="x | y\\n---\\n# big <script>alert(1)</script> [a](javascript:b)"'
    api.push(run, str(tmp_path / "out"), [text], repeats=0)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "<script>" not in card
    assert "\n# big" not in card
    assert "[a](" not in card
    assert ModelCard(card).data.pipeline_tag == "text-classification"


def test_a_teacher_on_another_machine_is_no_repository(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    path = yaml.safe_load(config.read_text())["teacher"]["path"]
    config.write_text(config.read_text().replace(path, "/home/alice/private/teacher"))
    api.push(tmp_path / "run", str(tmp_path / "out"), repeats=0)
    assert "alice" not in (tmp_path / "out" / "README.md").read_text()


def test_code_that_a_student_names_is_not_named_in_what_is_pushed(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (folder / "student" / "seal.json").unlink()
    for name, key in (("config.json", "AutoModel"), ("tokenizer_config.json", "AutoTokenizer")):
        path = folder / "student" / name
        path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {key: "someone/else--evil.M"}}))
    api.push(folder, str(tmp_path / "out"), repeats=0)
    assert not any(b"evil" in path.read_bytes() for path in (tmp_path / "out").iterdir())
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["auto_map"]["AutoModel"] == "modeling_minidisc.PrunedBertModel"


@pytest.mark.parametrize("damage", [np.zeros((10, 2)), np.zeros(3), np.zeros((0, 2))])
def test_damaged_answers(run, tmp_path, damage):
    shutil.copytree(run, tmp_path / "run")
    save_file({"validation/validation": damage}, tmp_path / "run" / "predictions" / "main.student.safetensors")
    with pytest.raises(UserError, match="not this run's predictions"):
        api.push(tmp_path / "run", str(tmp_path / "out"), repeats=0)
