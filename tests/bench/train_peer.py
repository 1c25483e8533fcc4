#!/usr/bin/env python3
"""Training speed beside PyTorch: forward, backward and AdamW of the same model, in turn.

    /usr/bin/python3 tests/bench/train_peer.py [THREADS]

Needs build/bin/train_gpt, Debian's python3-torch and a fast BLAS (libopenblas0-pthread). Prints the
median tokens/s of each over several rounds, and their ratio.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "golden" / "models"))
import make_golden  # noqa: E402  (its forward pass serves here too)

# name, layers, heads, width, vocabulary, sequences, context
MODELS = [
    ("0.8M B12 T64", 4, 4, 128, 256, 12, 64),
    ("10M B8 T256", 6, 6, 384, 256, 8, 256),
    ("124M B4 T64", 12, 12, 768, 50257, 4, 64),
    ("124M B4 T256", 12, 12, 768, 50257, 4, 256),
]
ROUNDS, STEPS, WARM = 3, 6, 2


def libtrain(folder, threads, layers, heads, width, vocabulary, batch, context):
    metrics = folder / "metrics.jsonl"
    command = [ROOT / "build/bin/train_gpt", "--data", folder / "text.txt", "--threads", threads]
    command += ["--model", f"layers={layers},heads={heads},width={width}", "--context", context]
    command += ["--vocab", vocabulary, "--batch", batch, "--steps", STEPS, "--progress", "none"]
    command += ["--eval-sequences", 1, "--metrics", metrics]
    subprocess.run([str(word) for word in command], check=True)
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    return statistics.median(line["tokens_per_s"] for line in lines[WARM:])


def torch_parameters(layers, width, vocabulary, context):
    shapes = {
        "token_embedding.weight": (vocabulary, width),
        "position_embedding.weight": (context, width),
    }
    for i in range(layers):
        block = f"blocks.{i}"
        for name, out, inner in [
            ("attention.qkv", 3 * width, width),
            ("attention.out", width, width),
            ("mlp.up", 4 * width, width),
            ("mlp.down", width, 4 * width),
        ]:
            shapes[f"{block}.{name}.weight"] = (out, inner)
            shapes[f"{block}.{name}.bias"] = (out,)
        for name in ("attention_norm", "mlp_norm"):
            shapes[f"{block}.{name}.weight"] = (width,)
            shapes[f"{block}.{name}.bias"] = (width,)
    shapes["final_norm.weight"] = shapes["final_norm.bias"] = (width,)
    return {name: (0.02 * torch.randn(shape)).requires_grad_() for name, shape in shapes.items()}


def pytorch(p, layers, heads, width, vocabulary, batch, context):
    config = dict(layers=layers, heads=heads, kv_heads=heads, head_width=width // heads)
    config.update(norm="layer_norm", norm_eps=1e-5, positions="learned", mlp="gelu")
    optimizer = torch.optim.AdamW(p.values(), lr=1e-4, foreach=True)
    tokens = torch.randint(0, vocabulary, (batch, context + 1))
    speeds = []
    for _ in range(STEPS):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        logits = make_golden.forward(p, tokens[:, :-1], config)
        make_golden.loss_of(logits, tokens[:, 1:]).backward()
        torch.nn.utils.clip_grad_norm_(p.values(), 1.0)
        optimizer.step()
        speeds.append(batch * context / (time.perf_counter() - start))
    return statistics.median(speeds[WARM:])


def main():
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    torch.set_num_threads(threads)
    print(f"tokens/s, f32, {threads} threads, median of {ROUNDS} rounds in turn")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog " * 5000)
        for title, layers, heads, width, vocabulary, batch, context in MODELS:
            p = torch_parameters(layers, width, vocabulary, context)
            ours, theirs = [], []
            for _ in range(ROUNDS):
                sizes = (layers, heads, width, vocabulary, batch, context)
                ours.append(libtrain(folder, threads, *sizes))
                theirs.append(pytorch(p, *sizes))
            a, b = statistics.median(ours), statistics.median(theirs)
            print(f"{title:14}  libtrain {a:8.0f}  PyTorch {b:8.0f}  ratio {a / b:.2f}", flush=True)


if __name__ == "__main__":
    main()
