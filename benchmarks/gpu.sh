#!/usr/bin/env bash
# Checks and times the package on a GPU: at most 8 minutes, one process, no Ray, no network; gpu.json has all numbers.
# Copy these to the GPU machine, in folders that git ignores (52 MB; without gpu-carry the built-in task replaces MRPC):
#   mkdir -p gpu-carry wheels && cp -rL $MINIDISC_DATA/mrpc $MINIDISC_MODELS/minilm-l6 gpu-carry/
#   pip download --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux2014_x86_64 -d wheels \
#     pydantic==2.14.3 pydantic-core==2.50.4 annotated-types typing-inspection typing-extensions tenacity tensorboardX
# Without tensorboardX the MRPC run uses the training loop instead of the pipeline; without POT (33 MB more) two
# objectives are left out. Without a git checkout of the project there, set MINIDISC_COMMIT to the output of `git rev-parse HEAD` here.
#   benchmarks/gpu.sh                          # on a GPU; writes $OUT/gpu.json, or ./gpu.json
#   benchmarks/gpu.sh --device cpu --small     # all of it in tiny sizes, under a minute on 2 cores
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}

missing=$("$python" - <<'PYTHON'
from importlib.util import find_spec
names = {"pydantic": "pydantic", "ot": "POT", "tensorboardX": "tensorboardX", "tenacity": "tenacity", "wrapt": "wrapt", "yaml": "pyyaml"}
print(*(name for module, name in names.items() if find_spec(module) is None))
PYTHON
)
if [[ -n $missing ]]; then
  echo "not installed: $missing"
  if compgen -G "wheels/*.whl" > /dev/null; then
    site=$(mktemp -d)
    "$python" -m pip install -q --no-index --no-deps --no-compile --find-links wheels --target "$site" wheels/*.whl
    export PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH}
  fi
fi

if [[ -d gpu-carry ]]; then
  export MINIDISC_DATA=${MINIDISC_DATA:-$PWD/gpu-carry} MINIDISC_MODELS=${MINIDISC_MODELS:-$PWD/gpu-carry}
fi
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
exec "$python" benchmarks/gpu_check.py "$@"
