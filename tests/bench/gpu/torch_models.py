"""GPT-2 and Llama style models in PyTorch, as fast as PyTorch goes: train_peer's other side.

    python3 torch_models.py         says what it runs on
    python3 torch_models.py MODEL   compiles, says "ready", and for each line of standard input, a
                                    number of steps and of passes in each, takes them and prints the
                                    median tokens/s
"""

import gc
import statistics
import sys
import time

from models import CONTEXT, MODELS, WARM

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError:
    print("PyTorch is not installed for this python3")
    sys.exit(1)

DEVICE = "cuda"


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class Block(nn.Module):
    def __init__(self, m):
        super().__init__()
        self.m = m
        head = m.width // m.heads
        norm = nn.RMSNorm if m.llama else nn.LayerNorm
        self.norm1, self.norm2 = norm(m.width), norm(m.width)
        self.qkv = nn.Linear(m.width, (m.heads + 2 * m.kv_heads) * head, bias=not m.llama)
        self.out = nn.Linear(m.width, m.width, bias=not m.llama)
        self.up = nn.Linear(m.width, (2 if m.llama else 1) * m.hidden, bias=not m.llama)
        self.down = nn.Linear(m.hidden, m.width, bias=not m.llama)

    def forward(self, x, cos, sin):
        m, (batch, context, width) = self.m, x.shape
        head = width // m.heads
        q, k, v = self.qkv(self.norm1(x)).split(
            [m.heads * head, m.kv_heads * head, m.kv_heads * head], dim=-1)
        q, k, v = (t.view(batch, context, -1, head).transpose(1, 2) for t in (q, k, v))
        if m.llama:
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
            k, v = (t.repeat_interleave(m.heads // m.kv_heads, dim=1) for t in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, context, width))
        h = self.up(self.norm2(x))
        if m.llama:
            gate, up = h.chunk(2, dim=-1)
            h = F.silu(gate) * up
        else:
            h = F.gelu(h, approximate="tanh")
        return x + self.down(h)


class Gpt(nn.Module):
    def __init__(self, m, context):
        super().__init__()
        self.m = m
        self.tokens = nn.Embedding(m.vocabulary, m.width)
        self.positions = None if m.llama else nn.Embedding(context, m.width)
        self.blocks = nn.ModuleList(Block(m) for _ in range(m.layers))
        self.norm = (nn.RMSNorm if m.llama else nn.LayerNorm)(m.width)
        self.head = nn.Linear(m.width, m.vocabulary, bias=False)
        self.head.weight = self.tokens.weight
        half = m.width // m.heads // 2
        angles = torch.outer(torch.arange(context), 500000.0 ** (-torch.arange(half) / half))
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, inputs, targets):
        x = self.tokens(inputs)
        if self.positions is not None:
            x = x + self.positions.weight
        for block in self.blocks:
            x = block(x, self.cos.to(x.dtype), self.sin.to(x.dtype))
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.float().view(-1, self.m.vocabulary), targets.view(-1))


class Training:
    """Steps of forward, backward, clipping and AdamW; f32 parameters, bf16 autocast."""

    def __init__(self, m):
        torch.manual_seed(1)
        torch.set_float32_matmul_precision("high")
        self.m = m
        self.model = Gpt(m, CONTEXT).to(DEVICE)
        nn.init.normal_(self.model.tokens.weight, std=0.02)
        self.compiled = torch.compile(self.model)

    def steps(self, count, passes):
        """tokens/s of each step, whose gradients are summed over its passes."""
        m, model = self.m, self.model.to(DEVICE)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        tokens = torch.randint(0, m.vocabulary, (m.micro_batch, CONTEXT + 1), device=DEVICE)
        speeds = []
        for _ in range(count):
            torch.cuda.synchronize()
            start = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            for _ in range(passes):
                with torch.autocast(DEVICE, dtype=torch.bfloat16):
                    loss = self.compiled(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())
                (loss / passes).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            torch.cuda.synchronize()
            speeds.append(passes * m.micro_batch * CONTEXT / (time.perf_counter() - start))
        return speeds

    def leave_gpu(self):
        """Whoever is next has all of the memory."""
        self.model.zero_grad(set_to_none=True)
        self.model.cpu()
        gc.collect()
        torch.cuda.empty_cache()


def main():
    if not torch.cuda.is_available():
        print("this PyTorch sees no GPU")
        sys.exit(1)
    if len(sys.argv) == 1:
        return print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}")
    training = Training(MODELS[sys.argv[1]])
    training.steps(2, 1)
    training.leave_gpu()
    print("ready", flush=True)
    for line in sys.stdin:
        speeds = training.steps(*(int(word) for word in line.split()))
        training.leave_gpu()
        print(statistics.median(speeds[WARM:]), flush=True)


if __name__ == "__main__":
    main()
