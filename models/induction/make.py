#!/usr/bin/env python3
"""Makes the induction checkpoint: a model whose right answer is known at any length.

    python models/induction/make.py OUT_FOLDER

Nothing is trained. Two of its 30 layers do the work of an induction head
(Olsson et al. 2022, arXiv:2209.11895), with weights set by hand:

    layer 0    each token attends to the one before it and writes down its code
    layer 15   a token looks for its own code among those written down, and copies
               the token that came after

so that after `... A B ... A` it says B, however far back that was. The other
layers add exactly nothing, but they keep keys and values of their own, which are
written, compressed, moved, selected and read as any other's: the cache has
SmolLM2-135M's shape (30 layers, 3 heads of 64).

How it is built, in the coordinates of the residual stream:

    one | code of this token, balance | code of the token before, balance | answer

A code is a random vector of -1 and 1, 36 numbers for each key head. Ordinary
tokens have it once, the RESERVED last tokens of the vocabulary STRENGTH times:
like a trained model's rare words they have large keys, which show through the
mean of a block. `balance` makes every token equally long, so that the norms
multiply by known constants. Codes use the slow rotary dimensions, which at
theta 1e15 turn by less than 0.4 radians in 1.3 million tokens; the step to the
token before uses the fast ones.

Needs numpy and tokenizers.
"""

import argparse
import json
import pathlib
import struct
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tiny"))
import train_tokenizer  # noqa: E402

LAYERS, HEADS, GROUPS, HEAD_DIM, HIDDEN, FFN = 30, 9, 3, 64, 576, 8
COPY_LAYER = 15
ORDINARY, RESERVED = 4093, 1024  # tokens
STRENGTH = 16.0
THETA = 1e15
CONTEXT = 2 << 20

PAIRS = HEAD_DIM // 2
FAST = 14  # rotary pairs below it turn visibly within the context
CODE = 2 * (PAIRS - FAST)  # numbers of a code in one key head
SLOW_DIMS = [*range(FAST, PAIRS), *range(PAIRS + FAST, HEAD_DIM)]

# Coordinates of the residual stream.
ONE = 0
TOKEN = 1
TOKEN_BALANCE = TOKEN + GROUPS * CODE
BEFORE = TOKEN_BALANCE + GROUPS
BEFORE_BALANCE = BEFORE + GROUPS * CODE
ANSWER = BEFORE_BALANCE + GROUPS
assert ANSWER + GROUPS * CODE <= HIDDEN

ONE_VALUE = 16.0
LENGTH2 = GROUPS * CODE * STRENGTH**2  # of a token's code and balance
RMS_FIRST = np.sqrt((ONE_VALUE**2 + LENGTH2) / HIDDEN)
RMS_LATER = np.sqrt((ONE_VALUE**2 + 2 * LENGTH2) / HIDDEN)

# Logits of attention. One position off costs at least a 27th of STEP_SCORE; a
# reserved token's match stands MATCH_SCORE above what ordinary tokens reach.
STEP_SCORE, MATCH_SCORE = 800.0, 120.0
# How the query heads of a group share their equal results: exact in BF16.
SHARES = [0.5, 0.25, 0.25]


def codes(rng):
    """[vocabulary, GROUPS * CODE] of -1 and 1."""
    return rng.choice([-1.0, 1.0], (ORDINARY + RESERVED, GROUPS * CODE))


def embedding(code):
    strength = np.ones((len(code), 1))
    strength[ORDINARY:] = STRENGTH
    table = np.zeros((len(code), HIDDEN))
    table[:, ONE] = ONE_VALUE
    table[:, TOKEN:TOKEN_BALANCE] = strength * code
    missing = LENGTH2 - GROUPS * CODE * strength**2
    table[:, TOKEN_BALANCE:BEFORE] = np.sqrt(missing / GROUPS)
    return table


def unembedding(code):
    table = np.zeros((len(code), HIDDEN))
    table[:, ANSWER:ANSWER + GROUPS * CODE] = code
    return table


def group_codes(start, group):
    """Where the residual stream holds a key head's part of a code."""
    return np.arange(CODE) + start + group * CODE


def step_back():
    """Layer 0: q, k, v, o of the head that copies the token before."""
    q, k, v, o = (np.zeros(s) for s in shapes())
    angles = THETA ** (-np.arange(FAST) / PAIRS)
    size = np.sqrt(STEP_SCORE * np.sqrt(HEAD_DIM) / FAST) * RMS_FIRST / ONE_VALUE
    for head in range(HEADS):
        at = head * HEAD_DIM + np.arange(FAST)
        # q turned by p meets k turned by p - 1 at angle zero.
        q[at, ONE] = size * np.cos(angles)
        q[at + PAIRS, ONE] = -size * np.sin(angles)
    for group in range(GROUPS):
        k[group * HEAD_DIM + np.arange(FAST), ONE] = size
        at = group * HEAD_DIM + np.arange(CODE)
        v[at, group_codes(TOKEN, group)] = RMS_FIRST
        v[at[-1] + 1, TOKEN_BALANCE + group] = RMS_FIRST
    for head in range(HEADS):
        group, share = divmod(head, HEADS // GROUPS)
        at = head * HEAD_DIM + np.arange(CODE)
        o[group_codes(BEFORE, group), at] = SHARES[share]
        o[BEFORE_BALANCE + group, at[-1] + 1] = SHARES[share]
    return q, k, v, o


def match(copies):
    """A layer that looks for this token's code among the codes before tokens; it
    copies what it finds if `copies`, and else writes nothing."""
    q, k, v, o = (np.zeros(s) for s in shapes())
    score = MATCH_SCORE * np.sqrt(HEAD_DIM) / (CODE * STRENGTH**2)
    for head in range(HEADS):
        group, share = divmod(head, HEADS // GROUPS)
        slow = head * HEAD_DIM + np.array(SLOW_DIMS)
        q[slow, group_codes(TOKEN, group)] = np.sqrt(score) * RMS_LATER
        if copies:
            at = head * HEAD_DIM + np.arange(CODE)
            o[group_codes(ANSWER, group), at] = SHARES[share]
    for group in range(GROUPS):
        slow = group * HEAD_DIM + np.array(SLOW_DIMS)
        k[slow, group_codes(BEFORE, group)] = np.sqrt(score) * RMS_LATER
        at = group * HEAD_DIM + np.arange(CODE)
        v[at, group_codes(TOKEN, group)] = RMS_LATER
    return q, k, v, o


def shapes():
    """Of q, k, v, o."""
    queries, keys = HEADS * HEAD_DIM, GROUPS * HEAD_DIM
    return (queries, HIDDEN), (keys, HIDDEN), (keys, HIDDEN), (HIDDEN, queries)


def tensors():
    """(name, values) of the whole checkpoint."""
    code = codes(np.random.default_rng(0))
    yield "model.embed_tokens.weight", embedding(code)
    for layer in range(LAYERS):
        weights = step_back() if layer == 0 else match(layer == COPY_LAYER)
        prefix = f"model.layers.{layer}"
        for name, values in zip("qkvo", weights):
            yield f"{prefix}.self_attn.{name}_proj.weight", values
        yield f"{prefix}.mlp.gate_proj.weight", np.zeros((FFN, HIDDEN))
        yield f"{prefix}.mlp.up_proj.weight", np.zeros((FFN, HIDDEN))
        yield f"{prefix}.mlp.down_proj.weight", np.zeros((HIDDEN, FFN))
        yield f"{prefix}.input_layernorm.weight", np.ones(HIDDEN)
        yield f"{prefix}.post_attention_layernorm.weight", np.ones(HIDDEN)
    yield "model.norm.weight", np.ones(HIDDEN)
    yield "lm_head.weight", unembedding(code)


def bf16(values):
    """Bits of the nearest BF16 numbers, ties to even."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")


def write_safetensors(path, named):
    """One file of BF16 tensors; bytes are written one tensor at a time."""
    header, at = {}, 0
    blobs = []
    for name, values in named:
        blob = bf16(values)
        header[name] = {"dtype": "BF16", "shape": list(blob.shape),
                        "data_offsets": [at, at + blob.nbytes]}
        at += blob.nbytes
        blobs.append(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for blob in blobs:
            file.write(blob.tobytes())


def write_config(folder):
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama",
        "vocab_size": ORDINARY + RESERVED, "hidden_size": HIDDEN,
        "intermediate_size": FFN, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": GROUPS,
        "head_dim": HEAD_DIM, "hidden_act": "silu", "rms_norm_eps": 1e-5,
        "rope_theta": THETA, "max_position_embeddings": CONTEXT,
        "bos_token_id": 0, "eos_token_id": 0, "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def write_tokenizer(folder):
    """Byte-level BPE for the ordinary tokens; <|r0|>, <|r1|>, ... are reserved."""
    tokenizer = train_tokenizer.smollm(ORDINARY)
    assert tokenizer.get_vocab_size() == ORDINARY
    tokenizer.add_special_tokens([f"<|r{i}|>" for i in range(RESERVED)])
    train_tokenizer.write(tokenizer, folder)


def make(folder):
    folder.mkdir(parents=True, exist_ok=True)
    write_config(folder)
    write_tokenizer(folder)
    write_safetensors(folder / "model.safetensors", tensors())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=pathlib.Path)
    make(parser.parse_args().out)


if __name__ == "__main__":
    main()
