#!/usr/bin/env python3
"""Training speed on a GPU beside PyTorch, in turn in the same run.

    python3 tests/bench/gpu/train_peer.py [--models gpt2-124m …] [--rounds 3] [--steps 20]
                                          [--passes 1] [--sum-orders fixed any]

bf16, context 1024; a step has one pass of the model's batch, or --passes of them, whose gradients
are summed. libtrain trains with each of --sum-orders in turn (train_gpt --sum-order). PyTorch has
scaled_dot_product_attention, fused AdamW and torch.compile. All its models compile first, beside
each other; then each side has the GPU in turn. Prints one line per model and order: tokens/s and
MFU of each (FLOPs per token as train_gpt counts them) and the ratio. Needs build/bin/train_gpt
built with CUDA. Exits with 77 and the reason without PyTorch or a GPU.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

from models import CONTEXT, MODELS, WARM

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def check_gpu():
    probe = subprocess.run([ROOT / "build/bin/gpu_probe"], capture_output=True, text=True)
    if probe.returncode != 0:
        skip(probe.stdout.removeprefix("skipped: ").strip())
    torch = subprocess.run([sys.executable, HERE / "torch_models.py"], stdin=subprocess.DEVNULL,
                           capture_output=True, text=True)
    if torch.returncode != 0:
        skip(torch.stdout.strip() or "PyTorch is not installed for this python3")
    return torch.stdout.strip()


class Peer:
    """PyTorch with one model, in a process of its own that waits for its turns."""

    def __init__(self, name):
        self.name = name
        self.process = subprocess.Popen([sys.executable, HERE / "torch_models.py", name], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"PyTorch gave up {self.name}: the lines above say why")
        return line

    def tokens_per_s(self, steps, passes):
        print(steps, passes, file=self.process.stdin, flush=True)
        return float(self.answer())


def libtrain(folder, name, model, steps, passes, order):
    """tokens/s and MFU, the medians of the steps after the first ones."""
    metrics = folder / "metrics.jsonl"
    command = [ROOT / "build/bin/train_gpt", "--device", "cuda", "--data", folder / "text.txt"]
    command += ["--model", name, "--vocab", model.vocabulary, "--context", CONTEXT]
    command += ["--dtype", "bf16", "--batch", passes * model.micro_batch, "--micro-batch",
                model.micro_batch, "--steps", steps, "--sum-order", order]
    command += ["--progress", "none", "--eval-sequences", 1, "--metrics", metrics]
    subprocess.run([str(word) for word in command], check=True)
    lines = [json.loads(line) for line in metrics.read_text().splitlines()][WARM:]
    return tuple(statistics.median(line[key] for line in lines) for key in ("tokens_per_s", "mfu"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--passes", type=int, default=1)
    parser.add_argument("--sum-orders", nargs="+", default=["fixed"], choices=["fixed", "any"])
    arguments = parser.parse_args()
    print(f"{check_gpu()}, bf16, context {CONTEXT}, medians of {arguments.rounds} rounds in turn",
          flush=True)
    peers = [Peer(name) for name in arguments.models]
    for peer in peers:
        peer.answer()  # ready
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog " * 20000)
        for peer in peers:
            model = MODELS[peer.name]
            ours, theirs = {order: [] for order in arguments.sum_orders}, []
            for _ in range(arguments.rounds):
                for order, speeds in ours.items():
                    speeds.append(libtrain(folder, peer.name, model, arguments.steps,
                                           arguments.passes, order))
                theirs.append(peer.tokens_per_s(arguments.steps, arguments.passes))
            b = statistics.median(theirs)
            for order, speeds in ours.items():
                a, mfu = (statistics.median(side) for side in zip(*speeds))
                print(f"{peer.name:12} batch {arguments.passes} x {model.micro_batch:2} "
                      f"sum order {order:5} libtrain {a:8.0f} tokens/s MFU {100 * mfu:4.1f} %  "
                      f"PyTorch {b:8.0f} tokens/s MFU {100 * mfu * b / a:4.1f} %  "
                      f"ratio {a / b:.2f}", flush=True)


if __name__ == "__main__":
    main()
