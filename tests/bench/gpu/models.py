"""The models that train_peer trains, their batches of a step, and steps that do not count."""

import dataclasses

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
    "gpt2-1558m": Model(48, 25, 25, 1600, 6400, 50257, False, 8),
    "llama-1b": Model(16, 32, 8, 2048, 8192, 128256, True, 4),
}
