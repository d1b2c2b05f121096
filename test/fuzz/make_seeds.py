#!/usr/bin/env python3
"""Writes the seeds of the binary formats in test/fuzz/corpus.

    python test/fuzz/make_seeds.py

Small, well-formed files that between them use every branch of a format; the
fuzzers do the rest. Needs nothing but Python.
"""

import json
import struct
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"
TINY = Path(__file__).resolve().parents[2] / "models/tiny"
# GGUF type ids: (elements of a block, bytes of a block).
TENSOR_TYPES = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22),
                7: (32, 24), 8: (32, 34), 12: (256, 144), 13: (256, 176),
                14: (256, 210), 30: (1, 2)}


def write(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def safetensors(tensors, metadata=None):
    header, data = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, dtype, shape, size in tensors:
        header[name] = {"dtype": dtype, "shape": shape,
                        "data_offsets": [len(data), len(data) + size]}
        data += bytes(range(size))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def packed(quantisation, tensors):
    """An input of fuzz_packed: each tensor (name, dtype, shape, bytes)."""
    header, data = {}, b""
    for name, dtype, shape, raw in tensors:
        header[name] = {"dtype": dtype, "shape": shape,
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    config = json.dumps(quantisation).encode()
    text = json.dumps(header).encode()
    return (struct.pack("<H", len(config)) + config
            + struct.pack("<Q", len(text)) + text + data)


def packed_seeds():
    """One of each method, 32 or 36 columns wide, with all of its parts."""
    def words(count):
        return struct.pack(f"<{count}I", *(0x01234567 * (i + 1) & 0xffffffff
                                           for i in range(count)))

    def halves(count):
        return struct.pack(f"<{count}e", *(0.5 + i for i in range(count)))

    plain = ("n.weight", "F16", [4], halves(4))
    order = struct.pack("<32i", *(i % 2 for i in range(32)))
    yield "awq", packed(
        {"quant_method": "awq", "bits": 4, "group_size": 16,
         "version": "gemm", "zero_point": True},
        [("a.qweight", "I32", [32, 1], words(32)),
         ("a.qzeros", "I32", [2, 1], words(2)),
         ("a.scales", "F16", [2, 8], halves(16)), plain])
    yield "gptq", packed(
        {"quant_method": "gptq", "bits": 4, "group_size": 16,
         "desc_act": True, "checkpoint_format": "gptq"},
        [("a.qweight", "I32", [4, 8], words(32)),
         ("a.qzeros", "I32", [2, 1], words(2)),
         ("a.scales", "F16", [2, 8], halves(16)),
         ("a.g_idx", "I32", [32], order),
         ("model.layers.0.mlp.up_proj.bias", "F16", [4], bytes(8))])
    yield "gptq-8bit", packed(
        {"quant_method": "gptq", "bits": 8, "group_size": -1,
         "checkpoint_format": "gptq_v2", "dynamic": {"-:x": {}}},
        [("a.qweight", "I32", [8, 4], words(32)),
         ("a.qzeros", "I32", [1, 1], words(1)),
         ("a.scales", "F32", [1, 4], struct.pack("<4f", 1, 2, 0.1, 0)),
         ("a.g_idx", "I32", [32], bytes(128))])
    weights = {"num_bits": 4, "type": "int", "symmetric": False,
               "strategy": "group", "group_size": 16}
    eight = {"num_bits": 8, "type": "int", "symmetric": True,
             "strategy": "channel"}
    yield "compressed", packed(
        {"quant_method": "compressed-tensors", "format": "pack-quantized",
         "config_groups": {"g": {"targets": ["Linear"], "weights": weights},
                           "h": {"targets": ["re:b.*"], "weights": eight}}},
        [("a.weight_packed", "I32", [2, 5], words(10)),
         ("a.weight_scale", "BF16", [2, 3], words(3)),
         ("a.weight_zero_point", "I32", [1, 3], words(3)),
         ("a.weight_shape", "I64", [2], struct.pack("<2q", 2, 36)),
         ("a.weight_g_idx", "I32", [36], struct.pack("<36i", *[-1] * 36)),
         ("b.weight_packed", "I32", [2, 2], words(4)),
         ("b.weight_scale", "F16", [2, 1], halves(2)),
         ("b.weight_shape", "I64", [2], struct.pack("<2q", 2, 7))])


def string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def value(kind, payload):
    if kind == 8:
        return string(payload)
    if kind == 9:
        of, items = payload
        return (struct.pack("<IQ", of, len(items))
                + b"".join(value(of, item) for item in items))
    return struct.pack("<" + {4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q",
                              12: "d"}[kind], payload)


def gguf(pairs, tensors, version=3):
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs))
    for key, kind, payload in pairs:
        out += string(key) + struct.pack("<I", kind) + value(kind, payload)
    offset, data = 0, b""
    for name, dims, kind in tensors:
        out += string(name) + struct.pack("<I", len(dims))
        out += b"".join(struct.pack("<Q", d) for d in dims)
        out += struct.pack("<IQ", kind, offset)
        elements, size = TENSOR_TYPES[kind]
        count = 1
        for dim in dims:
            count *= dim
        data += bytes(count // elements * size)
        data += b"\0" * (-len(data) % 32)
        offset = len(data)
    return out + b"\0" * (-len(out) % 32) + data


def llama(kind):
    """A model of one layer, small enough for a seed."""
    width = 256 if kind in (12, 13, 14) else 32
    tokens = ["<unk>", "<s>", "</s>", "<0x0A>", "a", "b", "ab", "\u2581"]
    vocabulary = len(tokens)
    pairs = [
        ("general.architecture", 8, "llama"),
        ("general.name", 8, "seed"),
        ("general.file_type", 4, 0),
        ("llama.block_count", 4, 1),
        ("llama.context_length", 4, 64),
        ("llama.embedding_length", 4, width),
        ("llama.feed_forward_length", 4, width),
        ("llama.attention.head_count", 4, 2),
        ("llama.attention.head_count_kv", 4, 1),
        ("llama.attention.layer_norm_rms_epsilon", 6, 1e-5),
        ("llama.rope.dimension_count", 4, width // 2),
        ("llama.rope.freq_base", 6, 1e4),
        ("llama.vocab_size", 4, vocabulary),
        ("tokenizer.ggml.model", 8, "llama"),
        ("tokenizer.ggml.tokens", 9, (8, tokens)),
        ("tokenizer.ggml.scores", 9, (6, [0.0] * vocabulary)),
        ("tokenizer.ggml.token_type", 9, (5, [2, 3, 3, 6, 1, 1, 1, 1])),
        ("tokenizer.ggml.bos_token_id", 4, 1),
        ("tokenizer.ggml.eos_token_id", 4, 2),
        ("tokenizer.ggml.add_bos_token", 7, True),
        ("tokenizer.chat_template", 8, "{{ messages[0].content }}"),
    ]
    half = width // 2
    tensors = [
        ("token_embd.weight", [width, vocabulary], kind),
        ("output_norm.weight", [width], 0),
        ("blk.0.attn_norm.weight", [width], 0),
        ("blk.0.attn_q.weight", [width, width], kind),
        ("blk.0.attn_k.weight", [width, half], kind),
        ("blk.0.attn_v.weight", [width, half], kind),
        ("blk.0.attn_output.weight", [width, width], kind),
        ("blk.0.ffn_norm.weight", [width], 0),
        ("blk.0.ffn_gate.weight", [width, width], kind),
        ("blk.0.ffn_up.weight", [width, width], kind),
        ("blk.0.ffn_down.weight", [width, width], kind),
    ]
    return pairs, tensors


def page_file(frames):
    """Two pages of 64 bytes of key 0; fuzz_page_file sets the checksums."""
    head = b"STELEPG1" + bytes(32) + struct.pack("<IIQ", 2, 3, 64)
    return (head + b"".join(struct.pack("<QQ", 0, len(f)) for f in frames)
            + bytes(8) + b"".join(frames))


def session_manifest(tokens, logits, note):
    """A session that was processed whole; fuzz_session_manifest adds the
    checksum."""
    return (b"STELESE1" + bytes(range(32)) + bytes(32)
            + struct.pack("<6Q", 4, len(tokens), 7, len(tokens), len(logits),
                          len(note))
            + struct.pack(f"<{len(tokens)}i", *tokens)
            + struct.pack(f"<{len(logits)}f", *logits) + note)


# A zstd frame of one run-length block: 64 times the byte 'x'.
ZSTD_RUN = (b"\x28\xb5\x2f\xfd\x20" + bytes([64])
            + struct.pack("<I", 64 << 3 | 1 << 1 | 1)[:3] + b"x")


def main():
    write("page_file", "plain", page_file([bytes(range(64)), bytes(64)]))
    write("page_file", "compressed", page_file([ZSTD_RUN, bytes(range(64))]))
    write("session_manifest", "empty", session_manifest([], [], b""))
    write("session_manifest", "whole",
          session_manifest([3, 1, 4, 1, 5, 9], [0.5, -1.0], b"[]"))
    # The mutator of fuzz_artifact turns a stub into the plan of the toy model.
    write("artifact", "stub", b"x")
    for name in ("llama-tied", "llama2-mha", "mistral", "qwen2"):
        write("tokenizer", name, (TINY / name / "tokenizer.json").read_bytes())
    write("safetensors", "empty", safetensors([]))
    write("safetensors", "types", safetensors(
        [("a", "F32", [2, 3], 24), ("b.weight", "F16", [4], 8),
         ("c", "BF16", [1, 2, 2], 8)], {"format": "pt"}))
    write("safetensors", "scalar", safetensors(
        [("scalar", "F32", [], 4), ("none", "F32", [0, 5], 0)]))
    for name, data in packed_seeds():
        write("packed", name, data)
    for kind, name in {1: "f16", 2: "q4_0", 7: "q5_1", 8: "q8_0",
                       12: "q4_k", 14: "q6_k"}.items():
        write("gguf", name, gguf(*llama(kind)))
    pairs, tensors = llama(0)
    write("gguf", "v2-metadata", gguf(pairs, [], version=2))
    write("gguf", "every-type", gguf(
        [("general.architecture", 8, "none"), ("general.alignment", 4, 32),
         ("i", 5, -1), ("q", 10, 1 << 40), ("l", 11, -1), ("d", 12, 0.5),
         ("a", 9, (9, [(4, [1, 2]), (8, ["x"])]))],
        [(f"t{kind}", [TENSOR_TYPES[kind][0]], kind)
         for kind in TENSOR_TYPES]))


if __name__ == "__main__":
    main()
