"""CUDA C++ to PTX through NVRTC, which needs no GPU."""

import ctypes
import importlib.util
import pathlib


def _package() -> pathlib.Path:
    spec = importlib.util.find_spec("nvidia")
    for root in spec.submodule_search_locations if spec else []:
        if (found := pathlib.Path(root) / "cu13").is_dir():
            return found
    raise SystemExit("NVRTC is missing; see README.md for the two commands that install it")


_ROOT = _package()
ctypes.CDLL(str(next((_ROOT / "lib").glob("libnvrtc-builtins.so.*"))))  # NVRTC finds it only once loaded
_LIBRARY = ctypes.CDLL(str(_ROOT / "lib" / "libnvrtc.so.13"))


def _checked(name: str, *arguments) -> None:
    if code := getattr(_LIBRARY, name)(*arguments):
        raise RuntimeError(f"{name} failed with code {code}")


def compile_to_ptx(path: pathlib.Path, options: list[str]) -> str:
    """The PTX of one source file. Raises with the compiler's log if it does not compile."""
    program = ctypes.c_void_p()
    source = path.read_bytes()
    _checked("nvrtcCreateProgram", ctypes.byref(program), source, path.name.encode(), 0, None, None)
    options = [*options, f"--include-path={_ROOT / 'include'}"]
    encoded = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    failed = _LIBRARY.nvrtcCompileProgram(program, len(options), encoded)
    log = _text("nvrtcGetProgramLogSize", "nvrtcGetProgramLog", program)
    if failed:
        raise RuntimeError(f"{path.name} does not compile:\n{log}")
    if log.strip():
        print(log)
    ptx = _text("nvrtcGetPTXSize", "nvrtcGetPTX", program)
    _checked("nvrtcDestroyProgram", ctypes.byref(program))
    return ptx


def _text(size_of: str, get: str, program: ctypes.c_void_p) -> str:
    size = ctypes.c_size_t()
    _checked(size_of, program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    _checked(get, program, buffer)
    return buffer.value.decode()
