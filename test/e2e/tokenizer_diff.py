#!/usr/bin/env python3
"""`stele tokenize` against Hugging Face `tokenizers`: zero differences on 5 MB.

Every kind of test/data/tokenizers and the tokenizers inside the tiny GGUF files
(merges, and scores for the SentencePiece-style one). Ids are compared, and what
they decode to. SmolLM2's real tokenizer is compared by smollm2_test.py.
"""

import json
import struct

import numpy as np
import tokenizers

import harness
import mixed_text

KINDS = harness.DATA / "tokenizers"
# Where real checkpoints of the kind say it here too, not in tokenizer.json alone.
TOKENIZER_CONFIG = {"llama2": {"add_bos_token": True, "bos_token": "<s>"}}
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama",
    "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 1, "num_key_value_heads": 1, "hidden_act": "silu",
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 64,
    "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2,
}


def write_safetensors(path, shapes):
    """All-zero float32 tensors: a model that only lends its tokenizer."""
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape,
                        "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(at))


def model_around(kind, folder):
    """The smallest checkpoint that carries the tokenizer of this kind."""
    folder.mkdir(parents=True, exist_ok=True)
    text = (KINDS / kind / "tokenizer.json").read_text(encoding="utf-8")
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    size = tokenizers.Tokenizer.from_str(text).get_vocab_size()
    (folder / "config.json").write_text(json.dumps({**CONFIG, "vocab_size": size}))
    config = TOKENIZER_CONFIG.get(kind, {})
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    layer = "model.layers.0."
    shapes = {"model.embed_tokens.weight": [size, 8], "model.norm.weight": [8],
              f"{layer}input_layernorm.weight": [8],
              f"{layer}post_attention_layernorm.weight": [8]}
    for part in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                 "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj",
                 "mlp.down_proj"):
        shapes[f"{layer}{part}.weight"] = [8, 8]
    write_safetensors(folder / "model.safetensors", shapes)
    return folder


def first_difference(reference, found, expected):
    at = next((i for i, (a, b) in enumerate(zip(found, expected)) if a != b),
              min(len(found), len(expected)))
    around = slice(max(0, at - 4), at + 8)
    return (f"{len(found)} ids, expected {len(expected)}; at id {at}: "
            f"{[reference.id_to_token(i) for i in found[around]]}, expected "
            f"{[reference.id_to_token(i) for i in expected[around]]}")


def compare(report, programs, name, artifact, reference, documents):
    wrong = tokens = 0
    file = programs.work / "text.txt"
    for raw in documents:
        file.write_bytes(raw)
        found = programs.tokenize(artifact, file)
        expected = reference.encode(raw.decode("utf-8", "replace")).ids
        tokens += len(expected)
        if found != expected:
            wrong += 1
            if wrong <= 3:
                print(f"{name}: {first_difference(reference, found, expected)}")
    report.check(f"{name} ids", wrong == 0,
                 f"{wrong} of {len(documents)} documents differ")
    print(f"{name}: {len(documents)} documents, {tokens} tokens", flush=True)


def compare_decoding(report, programs, name, artifact, reference, documents):
    file = programs.work / "ids.txt"
    for raw in documents:
        ids = reference.encode(raw.decode("utf-8", "replace")).ids
        file.write_text(" ".join(map(str, ids)))
        out = programs.execute("stele", "tokenize", artifact, "--decode", "-f", file)
        expected = reference.decode(ids, skip_special_tokens=False)
        found = out.decode("utf-8", "replace")
        if not report.check(f"{name} decoding", found in (expected, expected + "\n"),
                            f"{found[:80]!r}, expected {expected[:80]!r}"):
            return


def cases(programs):
    """(name, checkpoint, tokenizer.json text)"""
    for folder in sorted(p.parent for p in KINDS.glob("*/tokenizer.json")):
        yield (folder.name, model_around(folder.name, programs.work / folder.name),
               (folder / "tokenizer.json").read_text(encoding="utf-8"))
    for file in sorted(harness.TINY.glob("gguf/*/tokenizer.json")):
        yield (f"gguf-{file.parent.name}", file.parent / "model.gguf",
               file.read_text(encoding="utf-8"))


def test(report, programs, only):
    short, long = mixed_text.short_documents(), mixed_text.documents()
    print(f"{sum(map(len, long))} bytes in {len(long)} documents")
    for name, checkpoint, text in cases(programs):
        if only and name not in only:
            continue
        reference = tokenizers.Tokenizer.from_str(text)
        # The tiny GGUF vocabularies repeat kinds tested above in full.
        documents = short + (long[:4] if name.startswith("gguf-") else long)
        try:
            artifact = programs.compile(checkpoint, name)
            compare(report, programs, name, artifact, reference, documents)
            compare_decoding(report, programs, name, artifact, reference, short[:40])
        except harness.ProgramFailed as error:
            report.check(name, False, error)


if __name__ == "__main__":
    harness.main(__doc__, test)
