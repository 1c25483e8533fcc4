#!/usr/bin/env python3
"""Regenerates what hugging_face_test compares libtrain with, using Hugging Face's transformers.

    build/bin/checkpoint_tool must exist; torch, transformers and safetensors from PyPI serve:
    python3 tests/golden/hugging_face/make_golden.py

Both ways. A small GPT-2 and a small Llama with random weights, as transformers save them, with the
logits that they give (NAME/config.json, NAME/model.safetensors, NAME.golden.safetensors); the
GPT-2 also as llm.c's train_gpt2.py writes it (gpt2.llmc.bin). And libtrain's own models of
tests/golden/models, exported by checkpoint_tool, loaded by transformers, with the logits that they
give there (NAME.exported.safetensors).
"""

import pathlib
import shutil
import struct
import subprocess
import tempfile

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

HERE = pathlib.Path(__file__).resolve().parent
MODELS = HERE.parent / "models"
TOOL = HERE.parents[2] / "build" / "bin" / "checkpoint_tool"
VOCABULARY = 61
SEQUENCES, CONTEXT = 3, 16
CONFIGS = {
    "gpt2": GPT2Config(
        vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=24, n_layer=2, n_head=3,
        bos_token_id=0, eos_token_id=0, initializer_range=0.2,
    ),
    "llama": LlamaConfig(
        vocab_size=VOCABULARY, max_position_embeddings=CONTEXT, hidden_size=24,
        intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        head_dim=8, rms_norm_eps=1e-5, rope_theta=500.0, tie_word_embeddings=False,
        bos_token_id=0, eos_token_id=0, initializer_range=0.2,
    ),
}


def logits_of(model, tokens):
    model.eval()
    with torch.no_grad():
        return model(input_ids=tokens.long()).logits.float().reshape(-1, model.config.vocab_size)


def random_model(config):
    """No bias is zero and no norm is one, so that nothing can be left out or exchanged."""
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def write_llmc(path, model):
    """train_gpt2.py's write_model, in fp32: parameters tensor by tensor, all layers together."""
    config, state = model.config, model.state_dict()
    padded = -(-config.vocab_size // 128) * 128
    header = np.zeros(256, dtype=np.int32)
    header[:8] = [20240326, 3, config.n_positions, config.vocab_size, config.n_layer,
                  config.n_head, config.n_embd, padded]
    wte = torch.zeros(padded, config.n_embd)
    wte[: config.vocab_size] = state["transformer.wte.weight"]
    parts = [wte, state["transformer.wpe.weight"]]
    for name in ["ln_1.weight", "ln_1.bias", "attn.c_attn.weight", "attn.c_attn.bias",
                 "attn.c_proj.weight", "attn.c_proj.bias", "ln_2.weight", "ln_2.bias",
                 "mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias"]:
        for layer in range(config.n_layer):
            value = state[f"transformer.h.{layer}.{name}"]
            parts.append(value.t() if value.dim() == 2 else value)
    parts += [state["transformer.ln_f.weight"], state["transformer.ln_f.bias"]]
    with open(path, "wb") as file:
        file.write(header.tobytes())
        for part in parts:
            file.write(part.contiguous().numpy().astype(np.float32).tobytes())


def written_by_transformers(name, config):
    model = random_model(config)
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    tokens = torch.randint(0, VOCABULARY, (SEQUENCES, CONTEXT), dtype=torch.int32)
    logits = logits_of(model, tokens)
    save_file({"inputs": tokens, "logits": logits}, HERE / f"{name}.golden.safetensors")
    if name == "gpt2":
        write_llmc(HERE / "gpt2.llmc.bin", model)
    print(f"{name}: logits from {logits.min():.3f} to {logits.max():.3f}")


def read_by_transformers(name):
    with safe_open(MODELS / f"{name}.golden.safetensors", "pt") as file:
        tokens, expected = file.get_tensor("inputs"), file.get_tensor("logits")
    tokens = tokens.reshape(-1, CONTEXT)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [TOOL, "export", MODELS / f"{name}.weights.safetensors", "--to", "safetensors",
             "--naming", "hf", "--output", folder], check=True)
        logits = logits_of(AutoModelForCausalLM.from_pretrained(folder), tokens)
    save_file({"inputs": tokens.contiguous(), "logits": logits},
              HERE / f"{name}.exported.safetensors")
    apart = (logits - expected).norm() / expected.norm()
    print(f"{name} exported: transformers is {apart:.2e} away from plain PyTorch")
    assert apart < 1e-5


if __name__ == "__main__":
    torch.manual_seed(17)
    for model_name, model_config in CONFIGS.items():
        written_by_transformers(model_name, model_config)
        read_by_transformers(model_name)
