#!/usr/bin/env python3
"""Trains a small Llama from scratch on the King James Bible: a checkpoint that
was never quantised, for the table of docs/quantisation.md.

    python tools/bench/quality/train_tiny.py OUT [--steps 1500] [--seed 0]
        [--threads 1]

Long enough, and at a rate high enough, for the weights of norms to leave 1: only
then do some columns of a linear meet larger activations than others, as they do in
any model that is used. The same seed, threads and version of torch make the same
checkpoint on the same kind of CPU. OUT gets the checkpoint (f32) and three texts that share nothing: what it was not
trained on, cut into calibrate.txt and report.txt, and train.txt. The text comes
from Debian's bible-kjv-text (public domain), whose archive is unpacked by gzip.
Needs torch, transformers and tokenizers.
"""

import argparse
import json
import math
import pathlib
import subprocess

import numpy as np
import tokenizers
import torch
import transformers

ARCHIVE = pathlib.Path("/usr/lib/bible.data")
VOCABULARY = 512
SEQUENCE = 256
BATCH = 8
RATE = 6e-3
WARM_UP = 100  # steps


def read_text():
    """The verses without their references ("Ge1:1 ")."""
    data = ARCHIVE.read_bytes()
    packed = data[data.index(b"\x1f\x9d"):]
    text = subprocess.run(["gzip", "-dc"], input=packed, capture_output=True,
                          check=True).stdout.decode("ascii")
    lines = [line.split(" ", 1)[1] for line in text.splitlines()[1:]
             if " " in line]
    return "\n".join(lines)


def split(text, folder):
    parts = {"train": (0, 0.94), "calibrate": (0.94, 0.97), "report": (0.97, 1)}
    texts = {}
    for name, (begin, end) in parts.items():
        texts[name] = text[int(begin * len(text)):int(end * len(text))]
        (folder / f"{name}.txt").write_text(texts[name])
    return texts


def write_tokenizer(text, folder):
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
        add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.train_from_iterator(
        text.splitlines(keepends=True),
        tokenizers.trainers.BpeTrainer(
            vocab_size=VOCABULARY, show_progress=False,
            special_tokens=["<|endoftext|>"],
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|endoftext|>", "model_max_length": 1024}))
    return tokenizer


def make_model(seed):
    torch.manual_seed(seed)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=128, intermediate_size=384,
        num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=1024, rms_norm_eps=1e-5,
        tie_word_embeddings=True, bos_token_id=0, eos_token_id=0))


def train(model, tokens, steps, seed):
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, fused=True,
                                  betas=(0.9, 0.95), weight_decay=0.01)
    rng = np.random.default_rng(seed)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / WARM_UP) * (
                0.05 + 0.95 * (1 + math.cos(math.pi * step / steps)) / 2)
        begins = rng.integers(0, len(tokens) - SEQUENCE, BATCH)
        batch = torch.stack([tokens[b:b + SEQUENCE] for b in begins])
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(batch, labels=batch).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if step % 50 == 49:
            print(f"step {step + 1}: loss {loss.item():.3f}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    flags = parser.parse_args()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(flags.threads)
    flags.out.mkdir(parents=True, exist_ok=True)
    texts = split(read_text(), flags.out)
    tokenizer = write_tokenizer(texts["train"], flags.out)
    tokens = torch.tensor(tokenizer.encode(texts["train"]).ids)
    model = make_model(flags.seed)
    train(model, tokens, flags.steps, flags.seed)
    model.save_pretrained(flags.out)


if __name__ == "__main__":
    main()
