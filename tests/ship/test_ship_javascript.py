"""The export in JavaScript: Transformers.js in node, and its wasm build in a headless Chromium."""

import functools
import json
import os
import shutil
import subprocess
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright
from ship_kit import printed, result_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm to install Transformers.js with")
DTYPES = ("fp32", "q8")
_TYPES = {".mjs": "text/javascript", ".wasm": "application/wasm"}

_NODE = """
import { readFileSync } from "node:fs";
import { env, pipeline } from "@huggingface/transformers";
const [models, name, rows] = process.argv.slice(2);
env.localModelPath = models;
env.allowRemoteModels = false;
const found = {};
for (const dtype of ["fp32", "q8"]) {
  const classify = await pipeline("text-classification", name, { dtype });
  found[dtype] = [];
  for (const text of JSON.parse(readFileSync(rows, "utf-8"))) found[dtype].push((await classify(text))[0].label);
}
console.log("RESULT " + JSON.stringify(found));
"""

_PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<script type="importmap">{"imports": {
  "onnxruntime-web/webgpu": "/node_modules/onnxruntime-web/dist/ort.webgpu.bundle.min.mjs",
  "onnxruntime-common": "/node_modules/onnxruntime-common/dist/esm/index.js"}}</script>
<script type="module">
import { env, pipeline } from "/node_modules/@huggingface/transformers/dist/transformers.web.js";
env.allowRemoteModels = false;
env.allowLocalModels = true;
env.localModelPath = "/models/";
env.useBrowserCache = false;
env.backends.onnx.wasm.wasmPaths = "/node_modules/onnxruntime-web/dist/";
window.classify = async (name, texts, dtype) => {
  const model = await pipeline("text-classification", name, { dtype, device: "wasm" });
  const labels = [];
  for (const text of texts) labels.push((await model(text))[0].label);
  return labels;
};
window.isReady = true;
</script>
"""


class Files(SimpleHTTPRequestHandler):
    def guess_type(self, path: str) -> str:
        """Browsers take modules and wasm under their own types alone."""
        return {".mjs": "text/javascript", ".wasm": "application/wasm"}.get(Path(path).suffix) or super().guess_type(
            path
        )

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def project(tmp_path_factory, shipped):
    """A folder with Transformers.js from npm, and the export beside it."""
    folder = tmp_path_factory.mktemp("javascript")
    # Its own download of ONNX Runtime for GPUs goes to a host that a build machine may not reach.
    environment = os.environ | {"ONNXRUNTIME_NODE_INSTALL": "skip"}
    command = ["npm", "install", "--no-audit", "--no-fund", "@huggingface/transformers"]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    (folder / "models").symlink_to(shipped.export.parent)
    (folder / "index.html").write_text(_PAGE)
    (folder / "classify.mjs").write_text(_NODE)
    return folder


@pytest.fixture(scope="module")
def address(project):
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=str(project)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def check(shipped, found, where, capsys):
    """float32 answers as PyTorch; int8 within the drop that was allowed."""
    rows = len(found["fp32"])
    assert found["fp32"] == list(shipped.answers[:rows])
    same = sum(a == b for a, b in zip(found["q8"], shipped.answers, strict=False))
    # As many rows as the drop allows, and one that lies on the edge.
    assert shipped.points(shipped.answers[:rows]) - shipped.points(found["q8"]) <= shipped.max_drop + 100 / rows
    with capsys.disabled():
        print(f"\n{where}: fp32 labels equal on {rows} of {rows} rows, q8 on {same}")


def test_node(shipped, project, capsys):
    (project / "rows.json").write_text(json.dumps(shipped.texts[:100]))
    lines = printed(["node", "classify.mjs", shipped.export.parent, "student", "rows.json"], project)
    check(shipped, result_of(lines), "Transformers.js in node", capsys)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")
def test_a_browser(shipped, address, capsys):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page()
        requests, errors = [], []
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{address}/index.html")
        page.wait_for_function("window.isReady", timeout=120_000)
        texts = list(shipped.texts[:20])
        call = "([name, texts, dtype]) => window.classify(name, texts, dtype)"
        found = {dtype: page.evaluate(call, ["student", texts, dtype]) for dtype in DTYPES}
        browser.close()
    assert not errors
    assert all(url.startswith((address, "data:", "blob:")) for url in requests)
    check(shipped, found, "Chromium with wasm", capsys)
