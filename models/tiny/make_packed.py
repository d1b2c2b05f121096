#!/usr/bin/env python3
"""Makes the tiny AWQ, GPTQ and compressed-tensors folders.

    python models/tiny/make_packed.py [--only NAME ...] [--out FOLDER]

Weights are rounded to the nearest code group by group and packed by the
published layouts: AutoAWQ's gemm, AutoGPTQ's (and GPTQModel's v2), and for
compressed-tensors by that package itself. The goldens beside each folder come
from the codes, scales and zero points in float32, never from the packed words:
the first rows of some tensors, and what transformers computes on all of them.
Needs what make.py needs, and compressed-tensors.
"""

import argparse
import importlib.metadata
import json
import pathlib
import shutil
import zlib

import numpy as np
import torch
import transformers
from compressed_tensors.compressors.pack_quantized import pack_to_int32

import make
import reference

HERE = pathlib.Path(__file__).resolve().parent
TORCH = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}

COMMON = {"vocab_size": 67, "num_hidden_layers": 1, "head_dim": 64,
          "num_attention_heads": 2, "num_key_value_heads": 1,
          "rms_norm_eps": 1e-5, "max_position_embeddings": 512,
          "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False,
          "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}


class Scheme:
    """How one matrix is quantised: bits, columns of a group (0: a row), zero
    points or the middle of the codes, columns in an order of their own, all rows
    alike."""

    def __init__(self, bits, group, symmetric=False, ordered=False,
                 scale="F16", whole=False):
        self.bits, self.group, self.symmetric = bits, group, symmetric
        self.ordered, self.scale, self.whole = ordered, scale, whole


class Matrix:
    """A weight [out, in] as codes [out, in], scales and zeros [out, groups]."""

    def __init__(self, values, scheme, seed_text):
        rows, columns = values.shape
        size = scheme.group or columns
        self.scheme = scheme
        self.group_of_column = np.arange(columns) // size
        if scheme.ordered:
            rng = np.random.default_rng(zlib.crc32(seed_text.encode()))
            self.group_of_column = rng.permutation(self.group_of_column)
        groups = -(-columns // size)
        levels = 2**scheme.bits - 1
        middle = 2**(scheme.bits - 1)
        self.codes = np.zeros((rows, columns), np.uint8)
        self.scales = np.zeros((rows, groups), np.float32)
        self.zeros = np.full((rows, groups), middle, np.uint8)
        for g in range(groups):
            chosen = self.group_of_column == g
            part = values[:, chosen]
            low = np.minimum(part.min(1), 0)
            high = np.maximum(part.max(1), 0)
            if scheme.whole:
                low, high = np.full(rows, low.min()), np.full(rows, high.max())
            scale = ((high - low) / levels if not scheme.symmetric
                     else np.maximum(high, -low) / (middle - 1))
            scale = torch.tensor(scale).to(TORCH[scheme.scale]).float().numpy()
            if not scheme.symmetric:
                self.zeros[:, g] = np.clip(np.round(-low / scale), 0, levels)
            codes = np.round(part / scale[:, None]) + self.zeros[:, g, None]
            self.codes[:, chosen] = np.clip(codes, 0, levels)
            self.scales[:, g] = scale

    def values(self):
        """Exact in float32 for scales of 16 bits: one rounding for others."""
        g = self.group_of_column
        steps = self.codes.astype(np.float32) - self.zeros[:, g]
        return steps * self.scales[:, g]


def words(codes, bits, order=None):
    """Little-endian words along the last axis, `order[i]` in place i of each."""
    per_word = 32 // bits
    parts = codes.reshape(*codes.shape[:-1], -1, per_word).astype(np.uint32)
    parts = parts if order is None else parts[..., order]
    out = np.zeros(parts.shape[:-1], np.uint32)
    for i in range(per_word):
        out |= parts[..., i] << (bits * i)
    return torch.from_numpy(out.view(np.int32).copy())


def pack_awq(m, scales):
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    return {"qweight": words(m.codes.T, 4, order),
            "qzeros": words(m.zeros.T, 4, order),
            "scales": scales.T.contiguous()}


def pack_gptq(m, scales, version):
    bits = m.scheme.bits
    zeros = m.zeros if version == 2 else (m.zeros - 1) & (2**bits - 1)
    return {"qweight": words(m.codes, bits).T.contiguous(),
            "qzeros": words(zeros.T, bits),
            "scales": scales.T.contiguous(),
            "g_idx": torch.from_numpy(m.group_of_column.astype(np.int32))}


def pack_compressed(m, scales):
    bits = m.scheme.bits

    def signed(codes):
        middle = 2**(bits - 1)
        return torch.from_numpy((codes.astype(np.int16) - middle).astype(np.int8))

    parts = {"weight_packed": pack_to_int32(signed(m.codes), bits),
             "weight_scale": scales,
             "weight_shape": torch.tensor(m.codes.shape)}
    if m.scheme.whole:
        parts["weight_scale"] = scales[0].contiguous()
    if m.scheme.whole and not m.scheme.symmetric:
        parts["weight_zero_point"] = signed(m.zeros[0])
    elif not m.scheme.symmetric:
        parts["weight_zero_point"] = pack_to_int32(
            signed(m.zeros), bits, packed_dim=0)
    if m.scheme.ordered:
        parts["weight_g_idx"] = torch.from_numpy(
            m.group_of_column.astype(np.int32))
    return parts


def compressed_group(scheme, targets):
    return {"targets": targets, "input_activations": None,
            "output_activations": None,
            "weights": {"num_bits": scheme.bits, "type": "int",
                        "symmetric": scheme.symmetric, "dynamic": False,
                        "strategy": ("tensor" if scheme.whole else "group"
                                     if scheme.group else "channel"),
                        "group_size": scheme.group or None,
                        "actorder": "group" if scheme.ordered else None,
                        "block_structure": None, "observer": "minmax",
                        "observer_kwargs": {}}}


def compressed(groups, ignore):
    return {"quant_method": "compressed-tensors", "format": "pack-quantized",
            "quantization_status": "compressed", "kv_cache_scheme": None,
            "global_compression_ratio": None, "ignore": ignore,
            "config_groups": groups}


def gptq(scheme, **more):
    return {"quant_method": "gptq", "bits": scheme.bits,
            "group_size": scheme.group or -1, "sym": scheme.symmetric,
            "desc_act": scheme.ordered, "damp_percent": 0.01,
            "true_sequential": True, **more}


class Folder:
    """One checkpoint: its model, its quantization_config, and for every linear
    the scheme and packing, or none where it stays plain."""

    def __init__(self, family, sizes, config, choose, pack, storage="F16"):
        self.family, self.sizes, self.config = family, sizes, config
        self.choose, self.pack, self.storage = choose, pack, storage


AWQ = Scheme(4, 64)
GPTQ_ORDERED = Scheme(4, 32, ordered=True)
GPTQ_ROW = Scheme(8, 0)
GPTQ_SYMMETRIC = Scheme(4, 128, symmetric=True)
W4 = Scheme(4, 32, scale="BF16")
W8 = Scheme(8, 0, symmetric=True)
W4_ORDERED = Scheme(4, 64, symmetric=True, ordered=True, scale="F32")
W4_WHOLE = Scheme(4, 0, whole=True)
W8_WHOLE = Scheme(8, 0, symmetric=True, scale="F32", whole=True)
W8_MIXED = Scheme(8, 32, symmetric=True, scale="F32")


def all_but(scheme, *plain):
    return lambda name: None if any(p in name for p in plain) else scheme


FOLDERS = {
    # Groups that divide; a matrix of the layer stays plain.
    "awq": Folder(
        "llama", {"hidden_size": 192, "intermediate_size": 64},
        {"quant_method": "awq", "bits": 4, "group_size": 64, "version": "gemm",
         "zero_point": True, "modules_to_not_convert": ["o_proj"]},
        all_but(AWQ, "o_proj", "lm_head"), pack_awq),
    # Columns in the order of their activations; a last group of 16 columns.
    "gptq-order": Folder(
        "llama", {"hidden_size": 144, "intermediate_size": 80},
        gptq(GPTQ_ORDERED, checkpoint_format="gptq"),
        all_but(GPTQ_ORDERED, "lm_head"),
        lambda m, scales: pack_gptq(m, scales, 1)),
    # One group a row, 8 bits, zero points as they are; a quantised head.
    "gptq-v2-8bit": Folder(
        "qwen2", {"hidden_size": 144, "intermediate_size": 72,
                  "vocab_size": 68},
        gptq(GPTQ_ROW, checkpoint_format="gptq_v2", lm_head=True),
        all_but(GPTQ_ROW), lambda m, scales: pack_gptq(m, scales, 2)),
    # As AutoGPTQ wrote it: no format named. 160 columns are 1.25 groups.
    "gptq-symmetric": Folder(
        "qwen3", {"hidden_size": 160, "intermediate_size": 48},
        gptq(GPTQ_SYMMETRIC), all_but(GPTQ_SYMMETRIC, "lm_head"),
        lambda m, scales: pack_gptq(m, scales, 1)),
    # bfloat16 scales, packed zero points, odd columns.
    "compressed-w4": Folder(
        "llama", {"hidden_size": 144, "intermediate_size": 77},
        compressed({"group_0": compressed_group(W4, ["Linear"])},
                   ["lm_head", "model.layers.0.self_attn.q_proj"]),
        all_but(W4, "lm_head", "q_proj"), pack_compressed, "BF16"),
    "compressed-w8": Folder(
        "qwen2", {"hidden_size": 128, "intermediate_size": 70},
        compressed({"group_0": compressed_group(W8, ["Linear"])}, ["lm_head"]),
        all_but(W8, "lm_head"), pack_compressed),
    # Two schemes, float32 scales, one of them with ordered columns.
    "compressed-mixed": Folder(
        "llama", {"hidden_size": 128, "intermediate_size": 96},
        compressed({"group_0": compressed_group(W8_MIXED, ["Linear"]),
                    "group_1": compressed_group(W4_ORDERED, ["re:.*mlp.*"])},
                   ["lm_head"]),
        lambda name: (None if "lm_head" in name
                      else W4_ORDERED if "mlp" in name else W8_MIXED),
        pack_compressed, "F32"),
    # One scale for a matrix: 4 bits with a zero point, and 8 bits.
    "compressed-whole": Folder(
        "llama", {"hidden_size": 144, "intermediate_size": 72},
        compressed({"group_0": compressed_group(W8_WHOLE, ["Linear"]),
                    "group_1": compressed_group(W4_WHOLE, ["re:.*mlp.*"])},
                   ["lm_head"]),
        lambda name: (None if "lm_head" in name
                      else W4_WHOLE if "mlp" in name else W8_WHOLE),
        pack_compressed),
}


def make_folder(name, out, versions):
    recipe = FOLDERS[name]
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    fields = {**COMMON, **recipe.sizes}
    reference.write_json(folder / "config.json", {
        "architectures": [make.ARCHITECTURES[recipe.family]],
        "model_type": recipe.family, **fields,
        "quantization_config": recipe.config})
    model = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(recipe.family, **fields),
        attn_implementation="eager").float().eval()
    linears = {n for n, m in model.named_modules()
               if isinstance(m, torch.nn.Linear)}
    tensors, state = {}, {}
    for tensor, parameter in model.named_parameters():
        values = make.random_tensor(name, tensor, tuple(parameter.shape))
        module = tensor.removesuffix(".weight")
        scheme = recipe.choose(module) if module in linears else None
        if scheme:
            matrix = Matrix(values.numpy(), scheme, tensor)
            scales = torch.from_numpy(matrix.scales).to(TORCH[scheme.scale])
            tensors.update({f"{module}.{part}": packed for part, packed in
                            recipe.pack(matrix, scales).items()})
            state[tensor] = torch.from_numpy(matrix.values())
        else:
            tensors[tensor] = values.to(TORCH[recipe.storage])
            state[tensor] = tensors[tensor].float()
        if "q_proj.weight" in tensor or "down_proj" in tensor:
            np.save(folder / f"{tensor}.npy", state[tensor].numpy()[:6])
    make.write_weights(folder, tensors, shards=1)
    model.load_state_dict(state)
    make.write_goldens(name, model, folder, (37,), versions)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "packed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    versions = {**reference.versions(), **{
        p: importlib.metadata.version(p)
        for p in ("safetensors", "compressed-tensors")}}
    print(json.dumps(versions))
    for name in FOLDERS:
        if not args.only or name in args.only:
            make_folder(name, args.out, versions)


if __name__ == "__main__":
    main()
