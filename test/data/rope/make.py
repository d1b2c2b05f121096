#!/usr/bin/env python3
"""Rotary goldens from transformers: frequencies, attention factor, cos and sin.

    python test/data/rope/make.py

For the position preparation of the compiler (inv_freq, attention_factor) and the
runtime's rotary table (cos and sin at a few positions, far ones included; the
attention factor is multiplied in, as transformers does). float32 values are
written in full, so they compare exactly where the arithmetic is the same.
"""

import pathlib
import sys

import torch
import transformers

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "models" / "tiny"))

import reference  # noqa: E402

POSITIONS = [0, 1, 2, 17, 127, 4095, 65537, 131071, 1000003]
LLAMA31 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
           "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
CASES = [
    # head_dim, context, parameters
    (64, 2048, {"rope_type": "default", "rope_theta": 10000.0}),
    (34, 2048, {"rope_type": "default", "rope_theta": 10000.0}),
    (128, 131072, {"rope_type": "default", "rope_theta": 1000000.0}),
    (80, 2048, {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}),
    (128, 131072, {**LLAMA31, "rope_theta": 500000.0}),
    (64, 131072, {**LLAMA31, "rope_theta": 500000.0, "factor": 32.0}),
    (128, 131072, {"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 4.0,
                   "original_max_position_embeddings": 32768}),
    (96, 8192, {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 2.0,
                "original_max_position_embeddings": 4096, "beta_fast": 16.0,
                "beta_slow": 2.0}),
    (64, 8192, {"rope_type": "yarn", "rope_theta": 20000.0, "factor": 8.0,
                "original_max_position_embeddings": 1024,
                "attention_factor": 1.25}),
    (64, 8192, {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 40.0,
                "original_max_position_embeddings": 4096, "mscale": 0.707,
                "mscale_all_dim": 1.0}),
    (64, 8192, {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0,
                "original_max_position_embeddings": 2048, "truncate": False}),
]


def golden(head_dim, context, parameters):
    config = transformers.LlamaConfig(
        hidden_size=2 * head_dim, num_attention_heads=2, head_dim=head_dim,
        max_position_embeddings=context, rope_parameters=dict(parameters))
    rotary = transformers.models.llama.modeling_llama.LlamaRotaryEmbedding(config)
    cos, sin = rotary(torch.zeros(1, dtype=torch.float32),
                      torch.tensor([POSITIONS]))
    half = head_dim // 2
    return {"head_dim": head_dim, "context": context, "parameters": parameters,
            "attention_factor": rotary.attention_scaling,
            "inv_freq": rotary.inv_freq.tolist(),
            "cos": cos[0, :, :half].tolist(), "sin": sin[0, :, :half].tolist()}


def main():
    torch.set_num_threads(1)
    reference.write_json(HERE / "goldens.json", {
        "versions": reference.versions(),
        "positions": POSITIONS,
        "cases": [golden(*case) for case in CASES],
    })


if __name__ == "__main__":
    main()
