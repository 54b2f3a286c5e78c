"""PyTorch's copy, softmax and products, for the step `peers`: `peers.py COPIED ROWS WEIGHTS SQUARE LARGE`.

Random normal numbers; more tensors in turn than the L2 cache holds; launches in CUDA graphs of about 10 ms, timed by events; medians.
One JSON object a line: {"operator": …, "seconds": …}, or {"absent": why} where there is nothing to measure with."""
import json, sys

try:
    import torch
except Exception as error:
    print(json.dumps({"absent": f"no PyTorch: {error}"}))
    sys.exit(0)
if not torch.cuda.is_available():
    print(json.dumps({"absent": "PyTorch sees no GPU"}))
    sys.exit(0)


def elapsed(run):
    """Seconds by the GPU's clock."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    run()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3


def measure(operator, make, launch, bytes):
    """`make()` gives a set of tensors, which `launch` takes."""
    try:
        l2 = getattr(properties, "L2_cache_size", 64 << 20)
        sets = [make() for _ in range(max(1, min(64, -(-3 * l2 // bytes))))]
        each = lambda: [launch(*tensors) for tensors in sets]
        # Handles, workspaces and kernels are made at the first launches, which a capture must not meet.
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            each(), each()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        rounds = max(1, min(1000 // len(sets), round(0.01 / max(elapsed(each), 1e-6))))
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(rounds):
                each()
        graph.replay()
        torch.cuda.synchronize()
        seconds = sorted(elapsed(graph.replay) / (rounds * len(sets)) for _ in range(9))
        result = {"operator": operator, "seconds": seconds[4], "least": seconds[0], "most": seconds[-1]}
        print(json.dumps(result | {"launches": rounds * len(sets), "sets": len(sets)}), flush=True)
    except Exception as error:
        print(json.dumps({"operator": operator, "error": f"{type(error).__name__}: {error}"}), flush=True)
        return False
    return True


def normal(*shape, dtype=torch.float32):
    return torch.randn(*shape, device="cuda", dtype=torch.float32).to(dtype)


def product(m, n, k, dtype):
    make = lambda: (normal(m, k, dtype=dtype), normal(n, k, dtype=dtype), torch.empty(m, n, device="cuda", dtype=dtype))
    return make, lambda a, b, y: torch.mm(a, b.t(), out=y), 2 * (m * k + n * k + m * n)


copied, rows, weights, square, large = map(int, sys.argv[1:])
torch.manual_seed(1)
properties = torch.cuda.get_device_properties(0)
print(json.dumps({"torch": torch.__version__, "cuda": torch.version.cuda, "device": properties.name}), flush=True)
with torch.no_grad():
    like = lambda *shape: lambda: (normal(*shape), torch.empty(*shape, device="cuda"))
    well = [
        measure("copy", like(copied), lambda x, y: y.copy_(x), 8 * copied),
        measure("softmax", like(rows, rows), lambda x, y: torch.softmax(x, 1), 8 * rows * rows),
        measure("decode", *product(1, weights, weights, torch.float16)),
        measure("product", *product(square, square, square, torch.float16)),
        measure("large_product", *product(large, large, large, torch.bfloat16)),
    ]
sys.exit(0 if all(well) else 1)
