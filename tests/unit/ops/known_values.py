#!/usr/bin/env python3
"""Prints known_values.hpp: what PyTorch (1.13 or newer) answers in f64 on inputs that
known_values_test.cpp makes for itself. Run: python3 known_values.py > known_values.hpp"""
import math

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)


def wave(*shape, start=0.0):
    """Numbers that C++ makes too: sin(start + 0.7 i), rounded to f32."""
    i = torch.arange(math.prod(shape), dtype=torch.float64)
    return torch.sin(start + 0.7 * i).to(torch.float32).to(torch.float64).reshape(shape)


def emit(name, tensor):
    numbers = ", ".join(f"{value:.10g}" for value in tensor.detach().flatten().tolist())
    print(f"inline const std::vector<double> {name}{{{numbers}}};")


def attention(qkv, heads, kv_heads, width):
    """qkv [T, (heads + 2 kv_heads) width] of one sequence."""
    T = qkv.shape[0]
    q, k, v = qkv.reshape(T, -1, width).split([heads, kv_heads, kv_heads], dim=1)
    k = k.repeat_interleave(heads // kv_heads, dim=1)
    v = v.repeat_interleave(heads // kv_heads, dim=1)
    scores = torch.einsum("ihc,jhc->hij", q, k) / math.sqrt(width)
    scores = scores.masked_fill(torch.ones(T, T).triu(1).bool(), -math.inf)
    out = torch.einsum("hij,jhc->ihc", scores.softmax(-1), v)
    return out.reshape(T, -1), scores.logsumexp(-1)


def rotary(x, first, theta, width):
    """x [T, heads, width], the way of Hugging Face's Llama."""
    inverse = 1.0 / theta ** (torch.arange(0, width, 2) / width)
    angles = torch.outer(first + torch.arange(x.shape[0]).double(), inverse)
    angles = torch.cat([angles, angles], dim=-1)[:, None, :]
    turned = torch.cat([-x[..., width // 2 :], x[..., : width // 2]], dim=-1)
    return x * angles.cos() + turned * angles.sin()


def adamw():
    parameter = torch.nn.Parameter(wave(4))
    optimizer = torch.optim.AdamW([parameter], lr=0.01, betas=(0.9, 0.95), weight_decay=0.1)
    for step in range(3):
        parameter.grad = wave(4, start=1.0 + step)
        optimizer.step()
        emit(f"adamw_{step + 1}", parameter)


print("#pragma once\n\n#include <vector>\n")
print("// Printed by known_values.py.\nnamespace train::test::known {\n")
emit("gelu_tanh", F.gelu(4 * wave(8), approximate="tanh"))
emit("silu", F.silu(4 * wave(8)))
x, w, b = wave(2, 3), wave(4, 3, start=1.0), wave(4, start=2.0)
emit("linear", F.linear(x, w, b))
emit("layer_norm", F.layer_norm(wave(2, 4), (4,), wave(4, start=1.0), wave(4, start=2.0), 1e-5))
x = wave(2, 4)
emit("rms_norm", x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * wave(4, start=1.0))
x = wave(2, 6)
emit("swiglu", F.silu(x[:, :3]) * x[:, 3:])
out, lse = attention(wave(3, 16), 4, 2, 2)
emit("attention", out)
emit("attention_lse", lse)
x = wave(2, 16).reshape(2, 4, 4)  # 2 query heads, a key head, a value head
emit("rotary", torch.cat([rotary(x[:, :3], 5, 10000.0, 4), x[:, 3:]], dim=1))
logits = wave(3, 5).requires_grad_()
losses = F.cross_entropy(logits, torch.tensor([4, -1, 0]), ignore_index=-1, reduction="none")
(0.5 * losses.sum()).backward()
emit("cross_entropy", losses)
emit("cross_entropy_gradient", logits.grad)
table, positions = wave(3, 2), wave(3, 2, start=1.0)
emit("embedding", F.embedding(torch.tensor([2, 0, 1, 2]), table) + positions[1:].repeat(2, 1))
adamw()
print("\n}  // namespace train::test::known")
