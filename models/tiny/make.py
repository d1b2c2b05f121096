#!/usr/bin/env python3
"""Makes the tiny random checkpoints of every family and their goldens.

    python models/tiny/make.py [--only NAME ...] [--out FOLDER]

Weights depend on the recipe's name and the tensor's name only, so a second run
writes the same checkpoints. Expected logits and greedy tokens come from
transformers (see reference.py), whose version each goldens.json records.
Needs torch, transformers, safetensors, tokenizers and numpy.
"""

import argparse
import json
import pathlib
import shutil
import zlib

import numpy as np
import safetensors.torch
import tokenizers
import torch
import transformers

import reference
import train_tokenizer
from recipes import RECIPES

HERE = pathlib.Path(__file__).resolve().parent
TEMPLATES = HERE.parents[1] / "test/data/chat_templates"
STORAGE = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}


def write_config(recipe, folder):
    config = {
        "architectures": [ARCHITECTURES[recipe.family]],
        "model_type": recipe.family,
        "tie_word_embeddings": recipe.tied,
        "torch_dtype": {"F32": "float32", "F16": "float16",
                        "BF16": "bfloat16"}[recipe.storage],
        **recipe.config,
    }
    reference.write_json(folder / "config.json", config)
    if recipe.generation:
        reference.write_json(folder / "generation_config.json",
                             recipe.generation)


def write_tokenizer(recipe, folder):
    """The files that sit beside a real checkpoint's weights.

    The byte-level kinds carry their chat template in tokenizer_config.json, the
    SentencePiece-style ones in chat_template.jinja."""
    vocabulary = recipe.config["vocab_size"]
    tokenizer = train_tokenizer.KINDS[recipe.tokenizer](vocabulary)
    train_tokenizer.write(tokenizer, folder)
    sentencepiece = recipe.tokenizer in ("llama2", "mistral")
    template = "brackets" if sentencepiece else "tools_xml"
    text = (TEMPLATES / f"{template}.jinja").read_text(encoding="utf-8")
    config = {
        "add_bos_token": sentencepiece,
        "add_eos_token": False,
        "bos_token": tokenizer.id_to_token(1) if sentencepiece else None,
        "clean_up_tokenization_spaces": False,
        "eos_token": tokenizer.id_to_token(2),
        "model_max_length": recipe.config["max_position_embeddings"],
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    if sentencepiece:
        (folder / "chat_template.jinja").write_text(text, encoding="utf-8")
    else:
        config["chat_template"] = text
    reference.write_json(folder / "tokenizer_config.json", config)


def random_tensor(seed_text, name, shape):
    """Values with enough spread that logits differ and attention is not flat."""
    rng = np.random.default_rng(zlib.crc32(f"{seed_text}/{name}".encode()))
    values = rng.standard_normal(shape)
    if name.endswith("norm.weight"):
        values = 1.0 + 0.25 * values
    elif name.endswith(".bias"):
        values = 0.3 * values
    elif "embed_tokens" in name:
        # Small beside what the layers add: a tied head would otherwise echo
        # the last token for ever.
        values = 0.3 * values
    else:
        gain = 2.0
        values = values * gain / np.sqrt(shape[-1])
    return torch.tensor(values, dtype=torch.float32)


def tensor_shapes(folder, tied):
    config = transformers.AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    shapes = {n: tuple(p.shape) for n, p in model.named_parameters()}
    if tied:
        shapes.pop("lm_head.weight", None)
    return shapes


def write_weights(folder, tensors, shards):
    """One model.safetensors, or `shards` files and their index."""
    meta = {"format": "pt"}
    if shards == 1:
        safetensors.torch.save_file(tensors, folder / "model.safetensors", meta)
        return
    names = sorted(tensors)
    where = {}
    for i in range(shards):
        file = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
        part = {n: tensors[n] for n in names[i::shards]}
        safetensors.torch.save_file(part, folder / file, meta)
        where.update({n: file for n in part})
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    reference.write_json(folder / "model.safetensors.index.json", {
        "metadata": {"total_size": size},
        "weight_map": {n: where[n] for n in names},
    })


def prompt_tokens(name, vocab, length):
    """Ids above the special ones, the first is the begin token when there is room."""
    rng = np.random.default_rng(zlib.crc32(f"{name}/prompt/{length}".encode()))
    ids = rng.integers(3, vocab, length).tolist()
    if length > 1:
        ids[0] = 1
    return ids


SAMPLERS = [
    {"temperature": 2.0, "top_k": 5},
    {"temperature": 1.5, "top_p": 0.6},
    {"temperature": 1.5, "min_p": 0.2},
    {"temperature": 3.0, "top_k": 12, "top_p": 0.5, "min_p": 0.05},
]


def write_sampling(folder, model, tokens, versions):
    """sampling.json: what penalties and samplers make of one prompt."""
    row = reference.all_logits(model, tokens)[-1]
    reference.write_json(folder / "sampling.json", {
        "versions": versions,
        "tokens": tokens,
        "penalties": [{"penalty": p, "greedy": reference.greedy_penalised(
            model, tokens, p, 32)} for p in (1.02, 1.3)],
        "samplers": [{"settings": s, "allowed": reference.allowed_ids(row, **s)}
                     for s in SAMPLERS],
    })


def write_goldens(name, model, folder, prompts, versions):
    """goldens.json and one logits file a prompt, beside the checkpoint."""
    vocab = model.config.vocab_size
    entries = []
    for length in prompts:
        tokens = prompt_tokens(name, vocab, length)
        logits = reference.all_logits(model, tokens)
        chosen, gaps = reference.greedy(model, tokens)
        file = f"logits-{length}.npy"
        np.save(folder / file, logits.astype("<f4"))
        entries.append({"tokens": tokens, "logits": file, "greedy": chosen,
                        "gaps": gaps})
        spread = float((logits.max(1) - logits.min(1)).mean())
        print(f"  {name}: prompt of {length}, mean range {spread:.2f}, "
              f"{len(set(chosen))} distinct greedy tokens, "
              f"smallest gap {min(gaps):.1e}", flush=True)
    reference.write_json(folder / "goldens.json",
                         {"versions": versions, "prompts": entries})


def make_checkpoint(recipe, out):
    folder = out / recipe.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_config(recipe, folder)
    if recipe.tokenizer:
        write_tokenizer(recipe, folder)
    tensors = {
        name: random_tensor(recipe.name, name, shape).to(STORAGE[recipe.storage])
        for name, shape in tensor_shapes(folder, recipe.tied).items()
    }
    write_weights(folder, tensors, recipe.shards)
    model, versions = reference.load(folder), reference.versions(
        safetensors, tokenizers)
    write_goldens(recipe.name, model, folder, recipe.prompts, versions)
    if recipe.generation:
        tokens = prompt_tokens(recipe.name, model.config.vocab_size, 20)
        write_sampling(folder, model, tokens, versions)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps(reference.versions(safetensors, tokenizers)))
    for recipe in RECIPES:
        if not args.only or recipe.name in args.only:
            make_checkpoint(recipe, args.out)


if __name__ == "__main__":
    main()
