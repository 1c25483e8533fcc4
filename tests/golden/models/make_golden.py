#!/usr/bin/env python3
"""Regenerates the golden numbers that models_test compares libtrain with, using PyTorch.

    build/bin/train_gpt must exist; Debian's python3-torch and python3-numpy serve:
    /usr/bin/python3 tests/golden/models/make_golden.py

For one GPT-2 style and one Llama style model, whose weights libtrain draws and trains for a few
steps (so that no bias is zero and no norm is one), PyTorch computes in f32: the logits, loss and
every gradient of one batch, and the losses of 20 AdamW steps on it. Writes, beside this script,
NAME.weights.safetensors (by libtrain) and NAME.golden.safetensors.
"""

import json
import math
import pathlib
import random
import struct
import subprocess
import tempfile

import numpy as np
import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).resolve().parent
TRAIN_GPT = HERE.parents[2] / "build" / "bin" / "train_gpt"
MODELS = {
    "gpt2": "layers=2,heads=4,width=32,context=16",
    "llama": "llama,layers=2,heads=4,kv_heads=2,width=32,hidden=48,context=16",
}
BATCH, CONTEXT, STEPS = 4, 16, 20
ADAMW = dict(lr=1e-2, betas=(0.9, 0.95), eps=1e-8)
WEIGHT_DECAY, CLIP = 0.1, 1.0

DTYPES = {"F32": np.float32, "F64": np.float64, "I32": np.int32}


def read_safetensors(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    body = data[8 + length :]
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        flat = np.frombuffer(body[begin:end], dtype=DTYPES[entry["dtype"]])
        tensors[name] = flat.reshape(entry["shape"])
    return tensors, metadata


def write_safetensors(path, tensors):
    names = {np.dtype(v): k for k, v in DTYPES.items()}
    header, body = {}, b""
    for name, value in sorted(tensors.items(), key=lambda item: -item[1].dtype.itemsize):
        raw = np.ascontiguousarray(value).tobytes()
        header[name] = {
            "dtype": names[value.dtype],
            "shape": list(value.shape),
            "data_offsets": [len(body), len(body) + len(raw)],
        }
        body += raw
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def draw_weights(name, model):
    """Lets libtrain draw a model and train it for five steps."""
    weights = HERE / f"{name}.weights.safetensors"
    with tempfile.TemporaryDirectory() as folder:
        text = pathlib.Path(folder) / "text.txt"
        generator = random.Random(5)
        text.write_text("".join(generator.choices("abcdefghijklmnopqrstuvwxyz .,\n", k=20000)))
        command = [TRAIN_GPT, "--data", text, "--tokenizer", "chars", "--model", model]
        command += ["--steps", "5", "--batch", "8", "--lr", "1e-2", "--progress", "none"]
        command += ["--threads", "1", "--eval-sequences", "1", "--save-weights", weights]
        subprocess.run([str(word) for word in command], check=True)
    return weights


def norm(p, name, x, config):
    if config["norm"] == "rms_norm":
        scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + config["norm_eps"])
        return x * scale * p[f"{name}.weight"]
    bias = p.get(f"{name}.bias")
    return F.layer_norm(x, x.shape[-1:], p[f"{name}.weight"], bias, config["norm_eps"])


def linear(p, name, x):
    return F.linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))


def rotate(x, theta):
    """Hugging Face's Llama: element i pairs with i + width / 2. x is [B, heads, T, width]."""
    half = x.shape[-1] // 2
    frequency = theta ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = torch.arange(x.shape[-2], dtype=torch.float64)[:, None] * frequency[None, :]
    cos, sin = angle.cos().float(), angle.sin().float()
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def attention(p, name, x, config):
    rows, context, _ = x.shape
    heads, kv_heads, width = config["heads"], config["kv_heads"], config["head_width"]
    qkv = linear(p, f"{name}.qkv", x)
    q, k, v = qkv.split([heads * width, kv_heads * width, kv_heads * width], -1)
    q = q.view(rows, context, heads, width).transpose(1, 2)
    k = k.view(rows, context, kv_heads, width).transpose(1, 2)
    v = v.view(rows, context, kv_heads, width).transpose(1, 2)
    if config["positions"] == "rotary":
        q, k = rotate(q, config["rope_theta"]), rotate(k, config["rope_theta"])
    k = k.repeat_interleave(heads // kv_heads, 1)
    v = v.repeat_interleave(heads // kv_heads, 1)
    scores = q @ k.transpose(-1, -2) / math.sqrt(width)
    mask = torch.ones(context, context, dtype=torch.bool).triu(1)
    out = scores.masked_fill(mask, float("-inf")).softmax(-1) @ v
    return linear(p, f"{name}.out", out.transpose(1, 2).reshape(rows, context, heads * width))


def mlp(p, name, x, config):
    if config["mlp"] == "swiglu":
        gate, up = linear(p, f"{name}.gate_up", x).chunk(2, -1)
        return linear(p, f"{name}.down", F.silu(gate) * up)
    return linear(p, f"{name}.down", F.gelu(linear(p, f"{name}.up", x), approximate="tanh"))


def forward(p, tokens, config):
    x = p["token_embedding.weight"][tokens]
    if config["positions"] == "learned":
        x = x + p["position_embedding.weight"][: tokens.shape[1]]
    for i in range(config["layers"]):
        block = f"blocks.{i}"
        x = x + attention(p, f"{block}.attention", norm(p, f"{block}.attention_norm", x, config), config)
        x = x + mlp(p, f"{block}.mlp", norm(p, f"{block}.mlp_norm", x, config), config)
    x = norm(p, "final_norm", x, config)
    return x @ p.get("head.weight", p["token_embedding.weight"]).T


def loss_of(logits, targets):
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))


def train(p, inputs, targets, config):
    matrices = [v for v in p.values() if v.dim() >= 2]
    vectors = [v for v in p.values() if v.dim() < 2]
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}]
    groups += [{"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, **ADAMW)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(forward(p, inputs, config), targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(p.values(), CLIP)
        optimizer.step()
        losses.append(loss.item())
    return losses


def make(name, model):
    tensors, metadata = read_safetensors(draw_weights(name, model))
    config = json.loads(metadata["libtrain.config"])
    p = {key: torch.tensor(value).requires_grad_() for key, value in tensors.items()}
    generator = np.random.default_rng(17)
    tokens = generator.integers(0, config["vocabulary"], (BATCH, CONTEXT + 1), dtype=np.int32)
    inputs = torch.tensor(tokens[:, :-1].copy()).long()
    targets = torch.tensor(tokens[:, 1:].copy()).long()

    logits = forward(p, inputs, config)
    loss = loss_of(logits, targets)
    loss.backward()
    golden = {f"gradient.{key}": value.grad.numpy().copy() for key, value in p.items()}
    golden["logits"] = logits.detach().reshape(-1, logits.shape[-1]).numpy()
    golden["loss"] = np.array([loss.item()], dtype=np.float64)
    golden["inputs"] = tokens[:, :-1].copy()
    golden["targets"] = tokens[:, 1:].copy()
    golden["losses"] = np.array(train(p, inputs, targets, config), dtype=np.float64)
    write_safetensors(HERE / f"{name}.golden.safetensors", golden)
    print(f"{name}: loss {loss.item():.6f}, after {STEPS} steps {golden['losses'][-1]:.6f}")


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for model_name, sizes in MODELS.items():
        make(model_name, sizes)
