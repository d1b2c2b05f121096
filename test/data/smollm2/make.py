#!/usr/bin/env python3
"""Makes the SmolLM2 goldens: transformers in float32 on the dequantised weights.

    tools/fetch-model
    python test/data/smollm2/make.py

goldens.json: for each prompt its text, ids, 64 greedy tokens (end tokens
ignored), the gap of the two best logits at each step as a share of the row's
range, and the best logits of the prompt's last row; and the summed negative
log-likelihood of perplexity.txt, in one window and in windows of 256 tokens
that advance by 128 (each token scored once, with the longest past it has).
"""

import importlib.metadata
import pathlib
import sys

import gguf
import numpy as np
import torch
import transformers

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT / "models" / "tiny"))

import make_gguf  # noqa: E402
import reference  # noqa: E402
from prompts import PROMPTS  # noqa: E402
from smollm2_tokenizer import load_tokenizer  # noqa: E402

GGUF = ROOT / "build/models/SmolLM2-135M-Instruct.Q4_1.gguf"


def read_config(reader):
    def value(key):
        return reader.get_field(f"llama.{key}").contents()

    heads, hidden = value("attention.head_count"), value("embedding_length")
    return transformers.LlamaConfig(
        vocab_size=value("vocab_size"), hidden_size=hidden,
        intermediate_size=value("feed_forward_length"),
        num_hidden_layers=value("block_count"), num_attention_heads=heads,
        num_key_value_heads=value("attention.head_count_kv"),
        head_dim=hidden // heads, rms_norm_eps=value("attention.layer_norm_rms_epsilon"),
        max_position_embeddings=value("context_length"),
        rope_parameters={"rope_type": "default",
                         "rope_theta": value("rope.freq_base")},
        tie_word_embeddings=True)


def load_model(reader):
    config = read_config(reader)
    stored = {t.name: t for t in reader.tensors}
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(
            config, attn_implementation="eager")
    state = {}
    for name, parameter in model.named_parameters():
        tensor = stored[make_gguf.gguf_name(name)]
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        order = make_gguf.row_order(config, name)
        if order is not None:
            values = values[np.argsort(order)]
        state[name] = torch.from_numpy(
            np.array(values, dtype=np.float32).reshape(tuple(parameter.shape)))
    model = transformers.LlamaForCausalLM._from_config(
        config, attn_implementation="eager", dtype=torch.float32)
    model.load_state_dict(state, strict=False)
    return model.eval()


def golden(model, tokenizer, text):
    tokens = tokenizer.encode(text).ids
    row = reference.all_logits(model, tokens)[-1]
    best = np.argsort(-row)[:8]
    chosen, gaps = reference.greedy(model, tokens)
    print(f"{len(tokens)} tokens: {tokenizer.decode(chosen)[:60]!r} "
          f"smallest gap {min(gaps):.1e}", flush=True)
    return {"text": text, "tokens": tokens, "greedy": chosen, "gaps": gaps,
            "last_row": {"min": float(row.min()), "max": float(row.max()),
                         "best": best.tolist(),
                         "logits": [float(v) for v in row[best]]}}


@torch.no_grad()
def nll(model, tokens, context, stride):
    """Summed negative log-likelihood of tokens[1:] and how many those are."""
    total, scored, begin = 0.0, 1, 0
    while scored < len(tokens):
        end = min(begin + context, len(tokens))
        rows = model(torch.tensor([tokens[begin:end]]), use_cache=False).logits[0]
        logp = torch.log_softmax(rows.double(), dim=-1)
        targets = torch.tensor(tokens[scored:end])
        total -= float(logp[scored - 1 - begin:end - 1 - begin]
                       .gather(1, targets[:, None]).sum())
        scored, begin = end, begin + stride
    return {"context": context, "stride": stride, "tokens": len(tokens) - 1,
            "nll": total, "perplexity": float(np.exp(total / (len(tokens) - 1)))}


def main():
    torch.set_num_threads(1)
    reader = gguf.GGUFReader(GGUF)
    model, tokenizer = load_model(reader), load_tokenizer(reader)
    text = (HERE / "perplexity.txt").read_text(encoding="utf-8")
    tokens = tokenizer.encode(text).ids
    scores = [nll(model, tokens, 2048, 2048), nll(model, tokens, 256, 128)]
    print(len(tokens), scores, flush=True)
    reference.write_json(HERE / "goldens.json", {
        "versions": {**reference.versions(), **{
            p: importlib.metadata.version(p) for p in ("gguf", "tokenizers")}},
        "gguf": GGUF.name,
        "perplexity": scores,
        "prompts": [golden(model, tokenizer, p) for p in PROMPTS],
    })


if __name__ == "__main__":
    main()
