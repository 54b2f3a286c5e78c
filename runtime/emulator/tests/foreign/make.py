"""Builds the foreign corpus: `kernels/*.ptx` by NVRTC and Triton, `vectors/*.bin` and `manifest.json` by numpy.

Everything is deterministic: running it again changes no byte. See README.md for the format and for
what has to be installed.
"""

import json
import pathlib

import cases
import nvrtc
from kernels.tiles import VARIANTS

HERE = pathlib.Path(__file__).parent
ARCHITECTURE = "--gpu-architecture=compute_80"


def main() -> None:
    vectors = HERE / "vectors"
    vectors.mkdir(exist_ok=True)
    written = {compiled(source) for source in (HERE / "kernels").glob("*.cu")}
    for name, variant in VARIANTS.items():
        written.add(path := HERE / "kernels" / f"{name}.ptx")
        path.write_text(variant.ptx)
    manifest = [case.entry(vectors, written) for case in cases.all_cases()]
    written.add(HERE / "manifest.json")
    (HERE / "manifest.json").write_text(rows(manifest))
    for stale in {*vectors.glob("*.bin"), *(HERE / "kernels").glob("*.ptx")} - written:
        stale.unlink()
    size = sum(path.stat().st_size for path in written)
    print(f"{len(manifest)} cases, {len(written)} files, {size} bytes")


def compiled(source: pathlib.Path) -> pathlib.Path:
    """Compiles one source file. Its first line may carry more options: `// nvrtc: --fmad=false`."""
    first = source.read_text().split("\n", 1)[0]
    extra = first.removeprefix("// nvrtc:").split() if first.startswith("// nvrtc:") else []
    options = extra if any("gpu-architecture" in option for option in extra) else [ARCHITECTURE, *extra]
    target = source.with_suffix(".ptx")
    target.write_text(nvrtc.compile_to_ptx(source, options))
    return target


def rows(manifest: list[dict]) -> str:
    """JSON with one argument a line, so that a diff of it can be read."""
    out = []
    for case in manifest:
        arguments = ",\n".join("    " + json.dumps(argument) for argument in case["arguments"])
        head = json.dumps({key: value for key, value in case.items() if key != "arguments"})
        out.append(f'{head[:-1]}, "arguments": [\n{arguments}\n]}}')
    return "[\n" + ",\n".join(out) + "\n]\n"


if __name__ == "__main__":
    main()
