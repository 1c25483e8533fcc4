#!/usr/bin/env python3
"""Training speed on a GPU beside PyTorch, in turn in the same run.

    python3 tests/bench/gpu/train_peer.py [--models gpt2-124m …] [--rounds 3] [--steps 20]

bf16, context 1024. PyTorch has scaled_dot_product_attention, fused AdamW and torch.compile. Prints
one line per model: tokens/s and MFU of each (FLOPs per token as train_gpt counts them) and the
ratio. Needs build/bin/train_gpt built with CUDA. Exits with 77 and the reason without PyTorch or a
GPU.
"""

import argparse
import dataclasses
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
CONTEXT, WARM = 1024, 5


@dataclasses.dataclass
class Model:
    layers: int
    heads: int
    kv_heads: int
    width: int
    hidden: int
    vocabulary: int
    llama: bool
    micro_batch: int


MODELS = {
    "gpt2-124m": Model(12, 12, 12, 768, 3072, 50257, False, 16),
    "gpt2-1558m": Model(48, 25, 25, 1600, 6400, 50257, False, 4),
    "llama-1b": Model(16, 32, 8, 2048, 8192, 128256, True, 4),
}


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def libtrain(folder, name, model, steps):
    """tokens/s and MFU, the medians of the steps after the first ones."""
    metrics = folder / "metrics.jsonl"
    command = [ROOT / "build/bin/train_gpt", "--device", "cuda", "--data", folder / "text.txt"]
    command += ["--model", name, "--vocab", model.vocabulary, "--context", CONTEXT]
    command += ["--dtype", "bf16", "--batch", model.micro_batch, "--steps", steps]
    command += ["--progress", "none", "--eval-sequences", 1, "--metrics", metrics]
    subprocess.run([str(word) for word in command], check=True)
    lines = [json.loads(line) for line in metrics.read_text().splitlines()][WARM:]
    return tuple(statistics.median(line[key] for line in lines) for key in ("tokens_per_s", "mfu"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    probe = subprocess.run([ROOT / "build/bin/gpu_probe"], capture_output=True, text=True)
    if probe.returncode != 0:
        skip(probe.stdout.removeprefix("skipped: ").strip())
    try:
        import torch
    except ImportError:
        skip("PyTorch is not installed for this python3")
    if not torch.cuda.is_available():
        skip("this PyTorch sees no GPU")
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    import torch_models

    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, bf16, context {CONTEXT}, "
          f"medians of {arguments.rounds} rounds in turn")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog " * 20000)
        for title in arguments.models:
            model = MODELS[title]
            ours, utilisation, theirs = [], [], []
            for _ in range(arguments.rounds):
                speed, mfu = libtrain(folder, title, model, arguments.steps)
                ours.append(speed)
                utilisation.append(mfu)
                theirs.append(torch_models.speed(model, CONTEXT, arguments.steps, WARM))
                time.sleep(1)  # for the clocks
            a, b = statistics.median(ours), statistics.median(theirs)
            mfu = statistics.median(utilisation)
            print(f"{title:12} libtrain {a:9.0f} tokens/s MFU {100 * mfu:4.1f} %  "
                  f"PyTorch {b:9.0f} tokens/s MFU {100 * mfu * b / a:4.1f} %  ratio {a / b:.2f}",
                  flush=True)


if __name__ == "__main__":
    main()
