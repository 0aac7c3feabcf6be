"""What a GPU adds: a training step against plain cuDNN, CUDA graphs, origins/s by lanes beside the CPU's, equality.

    PYTHONPATH=. python benchmarks/gpu.py [--json FILE]

Needs torch with CUDA, pytorch-lightning, numpy and what `forecast.train` imports (pandas 3, pydantic, scipy,
scikit-learn, safetensors). Prints one table; a part that cannot run says why and the others go on.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_step import Job
from common import daily, hourly, machine, panel
from torch import nn

from forecast.data import Bundle
from forecast.module import ForecastModule, WeightAverage
from forecast.nn.cores import detach_state
from forecast.nn.network import Network
from forecast.tensors import device_chunks, tensors_of
from pipelines.batches import Batch, gather
from pipelines.plans import plan_streams

GPU = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def clock(run: Callable[[], object], repeats: int = 9, inner: int = 1) -> list[float]:
    """Seconds per call, synchronised around ``inner`` calls."""
    out = []
    for i in range(repeats + 2):
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(inner):
            run()
        torch.cuda.synchronize()
        if i > 1:
            out.append((time.perf_counter() - began) / inner)
    return out


def on_device(
    lanes: int, hidden: int, device: torch.device, points: int, **settings: Any
) -> tuple[Job, Network, Any, Any]:
    job = Job(panel(daily(points)), horizon=24, hidden=hidden, lanes=lanes, k1=64, head="point", skip=0, **settings)
    source = tensors_of(job.prepared, job.span.target_ok, device)
    chunks = device_chunks(plan_streams(job.span.pieces, lanes, 64), device)
    return job, job.network().to(device), source, chunks


def optimizer_of(net: nn.Module, capturable: bool = False) -> torch.optim.AdamW:
    return torch.optim.AdamW(net.parameters(), lr=2e-3, fused=True, capturable=capturable)


def plain_epoch(
    net: Network, batches: list[Batch], optimizer: torch.optim.Optimizer, means: list[torch.Tensor]
) -> None:
    """A hand-written cuDNN loop over batches that lie ready on the device."""
    weights = list(net.parameters())
    state = net.initial(len(batches[0].reset))
    for batch in batches:
        features, state = net.run(batch.x, batch.static, state)
        loss = net.loss(net.params(features, batch), batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        torch._foreach_lerp_(means, [weight.detach() for weight in weights], 0.01)
        state = detach_state(state)


def toolkit_epoch(module: ForecastModule, source: Any, chunks: Any) -> None:
    """The same through the toolkit: cut on the device, state carried and reset by the module."""
    module._state = None
    module.training_step(Bundle(source, chunks), 0)


def step_ratio(lanes: int, hidden: int) -> dict[str, Any]:
    job, net, source, chunks = on_device(lanes, hidden, GPU, points=max(40_000, lanes * 64 * 14), layers=2)
    batches = [gather(source, chunk) for chunk in chunks]
    weights = [weight.detach().clone() for weight in net.parameters()]
    plain = optimizer_of(net)
    theirs = clock(lambda: plain_epoch(net, batches, plain, weights), repeats=7)
    twin = job.network().to(GPU)
    module = ForecastModule(twin, job.config, WeightAverage(twin, 0.99))
    mine_optimizer = optimizer_of(twin)
    module.optimizers = lambda: mine_optimizer  # type: ignore[method-assign, assignment, return-value]
    module.manual_backward = lambda loss: loss.backward()  # type: ignore[method-assign, assignment]
    ours = clock(lambda: toolkit_epoch(module, source, chunks), repeats=7)
    pairs = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    each = statistics.median(theirs) / len(batches)
    return {
        "lanes": lanes, "hidden": hidden, "ratio": statistics.median(pairs), "low": pairs[0], "high": pairs[-1],
        "plain_ms": 1e3 * each, "toolkit_ms": 1e3 * statistics.median(ours) / len(chunks),
        "origins_per_s": lanes * sum(chunk.size for chunk in chunks) / statistics.median(ours),
    }  # fmt: skip


def graph_step(lanes: int, hidden: int) -> dict[str, Any]:
    """One whole step (forward, backward, clip, AdamW) captured as a CUDA graph and replayed on static inputs."""
    _, net, source, chunks = on_device(lanes, hidden, GPU, points=max(20_000, lanes * 64 * 5), layers=2, dropout=0.0)
    batches = [gather(source, chunk) for chunk in chunks if chunk.size == 64]
    static = {name: getattr(batches[0], name).contiguous().clone() for name in FIELDS}
    batch = Batch(**static, stride=64)
    state = tuple(part.contiguous() for part in net.initial(lanes))
    optimizer = optimizer_of(net, capturable=True)
    weights = list(net.parameters())

    def step() -> None:
        features, after = net.run(batch.x, batch.static, state)
        loss = net.loss(net.params(features, batch), batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0, foreach=True)
        optimizer.step()
        for kept, new in zip(state, after, strict=True):
            kept.copy_(new.detach())

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    turn = iter(())

    def replay() -> None:
        nonlocal turn
        fresh = next(turn, None)
        if fresh is None:
            turn = iter(batches)
            fresh = next(turn)
        for name in FIELDS:
            static[name].copy_(getattr(fresh, name))
        graph.replay()

    captured, eager = clock(replay, 7, 50), clock(step, 7, 20)
    return {
        "lanes": lanes, "hidden": hidden, "graph_ms": 1e3 * statistics.median(captured),
        "eager_ms": 1e3 * statistics.median(eager), "gain": statistics.median(eager) / statistics.median(captured),
    }  # fmt: skip


FIELDS = ("x", "future", "static", "level", "y", "anchor", "scale", "mask", "reset")


def cpu_speed(lanes: int, hidden: int) -> dict[str, Any]:
    _, net, source, chunks = on_device(lanes, hidden, torch.device("cpu"), points=max(20_000, lanes * 64 * 3), layers=2)
    batches = [gather(source, chunk) for chunk in chunks[:3]]
    weights = [weight.detach().clone() for weight in net.parameters()]
    optimizer = optimizer_of(net)
    plain_epoch(net, batches, optimizer, weights)
    began = time.perf_counter()
    plain_epoch(net, batches, optimizer, weights)
    took = time.perf_counter() - began
    return {
        "lanes": lanes,
        "hidden": hidden,
        "origins_per_s": lanes * sum(chunk.size for chunk in chunks[:3]) / took,
        "threads": torch.get_num_threads(),
    }


def equality() -> dict[str, Any]:
    """The same tiny fit on both devices: forecasts in natural units, dropout off; and a saved model on the CPU."""
    import tempfile

    from forecast.model import Model
    from forecast.train import fit

    data = panel(hourly(4, 1500), "h")
    torch.set_float32_matmul_precision("highest")
    out = {}
    for accelerator in ("cpu", "gpu"):
        model = fit(data, horizon=12, hidden=32, epochs=3, dropout=0.0, seed=1, accelerator=accelerator)
        out[accelerator] = model.predict()[model.name].to_numpy()
    found = {"largest_relative_gap": float(np.abs(out["cpu"] - out["gpu"]).max() / np.abs(out["cpu"]).mean())}
    if importlib.util.find_spec("pyarrow") is None:
        return {**found, "loaded_on_cpu_equal": "not run: no pyarrow here"}
    with tempfile.TemporaryDirectory() as folder:
        again = Model.load(model.save(Path(folder) / "run")).predict()[model.name].to_numpy()
    return {**found, "loaded_on_cpu_equal": bool(np.array_equal(again, out["gpu"]))}


def gradients() -> dict[str, Any]:
    """Loss and gradients of one chunk, CPU against GPU, TF32 off."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    gaps = {}
    for core in ("rnn", "lstm", "gru"):
        for head in ("point", "quantile"):
            job = Job(
                panel(daily(3000)), horizon=8, hidden=32, lanes=8, k1=64, core=core, head=head, skip=40, dropout=0.0
            )
            found = []
            for device in (torch.device("cpu"), GPU):
                net = job.network().to(device)
                source = tensors_of(job.prepared, job.span.target_ok, device)
                batch = gather(source, device_chunks(plan_streams(job.span.pieces, 8, 64), device)[1])
                features, _ = net.run(batch.x, batch.static, net.initial(8))
                net.loss(net.params(features, batch), batch).backward()
                found.append([weight.grad.cpu() for weight in net.parameters()])
            gaps[f"{core}/{head}"] = max(
                float((a - b).abs().max() / a.abs().max().clamp(min=1e-12)) for a, b in zip(*found, strict=True)
            )
    return gaps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("torch sees no CUDA device; nothing was run.")
    results: dict[str, Any] = {"device": torch.cuda.get_device_name(), "machine": machine()}
    print(results["device"], results["machine"]["versions"])
    parts: dict[str, Callable[[], Any]] = {
        "gradients": gradients,
        "steps": lambda: [step_ratio(lanes, 64) for lanes in (16, 64, 256, 1024, 4096)],
        "steps, hidden 256": lambda: [step_ratio(lanes, 256) for lanes in (64, 1024)],
        "CUDA graphs": lambda: [graph_step(lanes, 64) for lanes in (16, 64, 256, 1024)],
        "CPU": lambda: [cpu_speed(lanes, 64) for lanes in (16, 64, 256, 1024, 4096)],
        "fit on both devices": equality,
    }
    for name, run in parts.items():
        try:
            results[name] = run()
        except Exception as error:  # noqa: BLE001 - one part must not cost the device time of the others
            traceback.print_exc()
            results[name] = {"failed": repr(error)}
        found = results[name] if isinstance(results[name], list) else [results[name]]
        for line in found:
            print(
                f"{name}: "
                + ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in line.items()),
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
