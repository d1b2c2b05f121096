#!/usr/bin/env python3
"""Makes the tiny GGUF files, one for every quantisation the importer reads.

    python models/tiny/make_gguf.py [--only NAME ...] [--out FOLDER]

Names, key/value pairs and the row order of q and k are those that llama.cpp's
converter writes. The `gguf` package quantises and dequantises; K-quants, which
it cannot write, are random valid blocks. Goldens beside each file: some tensors
under their Hugging Face names and row order, dequantised by `gguf`, and what
transformers computes on the dequantised weights.
"""

import argparse
import importlib.metadata
import json
import pathlib
import shutil
import zlib

import gguf
import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as Type

import make
import reference
import train_tokenizer

HERE = pathlib.Path(__file__).resolve().parent

# Rows of 32 blocks for the simple types, of 256 for the K-quants.
SIMPLE = {"vocab_size": 67, "hidden_size": 96, "intermediate_size": 64,
          "num_attention_heads": 3, "num_key_value_heads": 1}
K_SHAPE = {"vocab_size": 67, "hidden_size": 256, "intermediate_size": 64,
           "num_attention_heads": 2, "num_key_value_heads": 1}
COMMON = {"num_hidden_layers": 1, "head_dim": 64, "rms_norm_eps": 1e-5,
          "max_position_embeddings": 512, "bos_token_id": 1, "eos_token_id": 2,
          "tie_word_embeddings": True}
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0,
          "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}
YARN = {"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 4.0,
        "original_max_position_embeddings": 128}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}

# Files that carry a tokenizer: (its kind, vocabulary, pre-tokenizer name).
TOKENIZERS = {
    "llama-q8_0": ("llama2", 350, "default"),
    "llama-q4_0": ("smollm", 307, "smollm"),
    "llama-q5_0": ("llama3", 300, "llama-bpe"),
    "qwen2-q8_0": ("qwen2", 307, "qwen2"),
}

# name: (family, type of the matrices, rope parameters, overrides)
FILES = {
    "llama-f32": ("llama", Type.F32, ROPE, {}),
    "llama-f16": ("llama", Type.F16, LLAMA3, {}),
    "llama-bf16": ("llama", Type.BF16, LINEAR, {}),
    "llama-q8_0": ("llama", Type.Q8_0, ROPE, {"tie_word_embeddings": False}),
    "llama-q4_0": ("llama", Type.Q4_0, ROPE, {}),
    "llama-q4_1": ("llama", Type.Q4_1, ROPE, {}),
    "llama-q5_0": ("llama", Type.Q5_0, ROPE, {}),
    "llama-q5_1": ("llama", Type.Q5_1, ROPE, {}),
    "llama-q4_k": ("llama", Type.Q4_K, ROPE, K_SHAPE),
    "llama-q5_k": ("llama", Type.Q5_K, ROPE, K_SHAPE),
    "llama-q6_k": ("llama", Type.Q6_K, ROPE, K_SHAPE),
    "qwen2-q8_0": ("qwen2", Type.Q8_0, YARN, {}),
    "qwen2-q4_1": ("qwen2", Type.Q4_1, ROPE, {"tie_word_embeddings": False}),
    "qwen3-q5_0": ("qwen3", Type.Q5_0, ROPE, {}),
}

TENSOR_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_name(name):
    stem, suffix = name.rsplit(".", 1)
    if stem.startswith("model.layers."):
        layer, stem = stem.removeprefix("model.layers.").split(".", 1)
        return f"blk.{layer}.{TENSOR_NAMES[stem]}.{suffix}"
    return f"{TENSOR_NAMES[stem]}.{suffix}"


def row_order(config, name):
    """Row r of the GGUF tensor is row order[r] of the Hugging Face tensor.

    llama's converter interleaves the two halves of each q and k head."""
    if config.model_type != "llama" or not ("q_proj" in name or "k_proj" in name):
        return None
    heads = (config.num_attention_heads if "q_proj" in name
             else config.num_key_value_heads)
    rows = np.arange(heads * config.head_dim)
    return rows.reshape(heads, 2, -1).swapaxes(1, 2).reshape(-1)


def k_blocks(name, kind, shape):
    """Random valid K-quant blocks whose values spread like a trained matrix."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    count = shape[0] * shape[1] // 256
    size = gguf.GGML_QUANT_SIZES[kind][1]
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    scale = 2.0 / np.sqrt(shape[1]) * rng.uniform(0.5, 1.5, count)

    def put(at, values):
        blocks[:, at:at + 2] = values.astype("<f2").view(np.uint8).reshape(-1, 2)

    if kind == Type.Q6_K:
        put(size - 2, scale / 1400)
    else:
        levels = 15 if kind == Type.Q4_K else 31
        put(0, scale / (levels * 15))
        put(2, scale / 30)
    return blocks.reshape(shape[0], -1)


def stored(config, name, shape, kind, seed_text):
    """(bytes as the GGUF holds them, their type, values in HF row order)."""
    if len(shape) == 1:
        kind = Type.F32
    elif shape[1] % gguf.GGML_QUANT_SIZES[kind][0]:
        kind = Type.Q8_0
    order = row_order(config, name)
    if kind in (Type.Q4_K, Type.Q5_K, Type.Q6_K):
        data = k_blocks(f"{seed_text}/{name}", kind, shape)
    else:
        values = make.random_tensor(seed_text, name, shape).numpy()
        values = values if order is None else values[order]
        data = values if kind == Type.F32 else gguf.quants.quantize(values, kind)
    values = gguf.quants.dequantize(data, kind).astype(np.float32)
    if order is not None:
        values = values[np.argsort(order)]
    return data, kind, values.reshape(shape)


def rope_frequency_factors(config):
    """Llama 3's scaling as llama.cpp stores it: a divisor a frequency."""
    p = config.rope_parameters
    half = np.arange(0, config.head_dim, 2, dtype=np.float32)
    wave = 2 * np.pi * p["rope_theta"] ** (half / config.head_dim)
    context = p["original_max_position_embeddings"]
    low, high = p["low_freq_factor"], p["high_freq_factor"]
    smooth = (context / wave - low) / (high - low)
    between = 1 / ((1 - smooth) / p["factor"] + smooth)
    factors = np.where(wave < context / high, 1.0,
                       np.where(wave > context / low, p["factor"], between))
    return factors.astype(np.float32)


def write_metadata(writer, config):
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    rope = config.rope_parameters
    writer.add_rope_freq_base(rope["rope_theta"])
    if config.model_type == "llama":
        writer.add_rope_dimension_count(config.head_dim)
    if rope["rope_type"] in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_orig_ctx_len(
            rope["original_max_position_embeddings"])


def write_tokenizer(writer, name, folder):
    """The tokenizer's keys, and beside the file the tokenizer.json they mean."""
    kind, vocabulary, pre = TOKENIZERS[name]
    tokenizer = train_tokenizer.KINDS[kind](vocabulary)
    train_tokenizer.write(tokenizer, folder)
    tokens = [tokenizer.id_to_token(i) for i in range(vocabulary)]
    special = {t.content for t in tokenizer.get_added_tokens_decoder().values()}
    kinds = [token_kind(t, special) for t in tokens]
    sentencepiece = kind == "llama2"
    writer.add_tokenizer_model("llama" if sentencepiece else "gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    if sentencepiece:
        writer.add_token_scores(
            [float(-i) if k == gguf.TokenType.NORMAL else 0.0
             for i, k in enumerate(kinds)])
        writer.add_add_space_prefix(True)
        writer.add_unk_token_id(0)
    else:
        merges = json.loads(tokenizer.to_str())["model"]["merges"]
        writer.add_token_merges([" ".join(m) for m in merges])
        writer.add_add_space_prefix(False)
    starts = kind in ("llama2", "llama3")
    begin = 1 if sentencepiece else 0
    writer.add_add_bos_token(starts)
    if starts:
        writer.add_bos_token_id(begin)
    writer.add_eos_token_id(2)
    template = make.TEMPLATES / "tools_xml.jinja"
    writer.add_chat_template(template.read_text(encoding="utf-8"))


def token_kind(token, special):
    if token == "<unk>":
        return gguf.TokenType.UNKNOWN
    if token in special:
        return gguf.TokenType.CONTROL
    byte = len(token) == 6 and token.startswith("<0x")
    return gguf.TokenType.BYTE if byte else gguf.TokenType.NORMAL


def make_file(name, out, versions):
    family, kind, rope, overrides = FILES[name]
    fields = {**COMMON, **SIMPLE, **overrides, "rope_parameters": dict(rope)}
    if name in TOKENIZERS:
        fields["vocab_size"] = TOKENIZERS[name][1]
    config = transformers.AutoConfig.for_model(family, **fields)
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = transformers.AutoModelForCausalLM.from_config(
        config, attn_implementation="eager").float().eval()
    writer = gguf.GGUFWriter(folder / "model.gguf", family)
    write_metadata(writer, config)
    if name in TOKENIZERS:
        write_tokenizer(writer, name, folder)
    if rope["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", rope_frequency_factors(config))
    state = {}
    for tensor, parameter in model.named_parameters():
        data, kept, values = stored(config, tensor, tuple(parameter.shape),
                                    kind, name)
        writer.add_tensor(gguf_name(tensor), data, raw_dtype=kept)
        state[tensor] = torch.from_numpy(values)
        if "q_proj" in tensor or "down_proj.weight" in tensor:
            np.save(folder / f"{tensor}.npy", values[:6])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model.load_state_dict(state, strict=False)
    make.write_goldens(name, model, folder, (37,), versions)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "gguf")
    args = parser.parse_args()
    torch.set_num_threads(1)
    versions = {**reference.versions(), **{
        p: importlib.metadata.version(p) for p in ("gguf", "tokenizers")}}
    print(json.dumps(versions))
    for name in FILES:
        if not args.only or name in args.only:
            make_file(name, args.out, versions)


if __name__ == "__main__":
    main()
