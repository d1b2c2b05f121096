#!/usr/bin/env python3
"""`--quant` on tiny checkpoints, and GGUF files kept as they are quantised.

Expected weights are made here, by the formulas of docs/quantisation.md in numpy:
a checkpoint of the values that the codes stand for. In f32 arithmetic the
quantised artifact must give the logits of that checkpoint; with int8 activations
it may differ by what rounding them costs. `inspect` must show a kernel for codes
behind every product.
"""

import json
import re
import struct

import numpy as np

import harness

MODELS = ["llama-tied", "llama-bias", "qwen3"]
GGUF = ["llama-q4_0", "llama-q4_1", "llama-q8_0", "qwen2-q8_0", "llama-q4_k",
        "llama-q6_k"]
INT8_TYPICAL, INT8_WORST = 0.03, 0.15  # shares of a row's range
# int4 of models this small is far from the original.
INT4_TYPICAL, INT4_WORST = 0.3, 1.0


def read_tensors(folder):
    """{name: float32 array} of a safetensors file in F32."""
    data = (folder / "model.safetensors").read_bytes()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        assert entry["dtype"] == "F32", name
        begin, end = (8 + size + at for at in entry["data_offsets"])
        tensors[name] = np.frombuffer(data[begin:end], np.float32).reshape(
            entry["shape"])
    return tensors


def write_checkpoint(folder, source, tensors):
    folder.mkdir(parents=True, exist_ok=True)
    for file in source.glob("*.json"):
        (folder / file.name).write_bytes(file.read_bytes())
    header, at = {}, 0
    for name, values in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(values.shape),
                        "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(
        struct.pack("<Q", len(text)) + text
        + b"".join(np.ascontiguousarray(v).tobytes() for v in tensors.values()))


def half_up(x):
    """The least f16 that is at least x, as float32."""
    half = np.float32(x).astype(np.float16)
    if np.float32(half) < np.float32(x):
        half = np.nextafter(half, np.float16(np.inf))
    return np.float32(half)


def nearest(values, bits, group, symmetric):
    """What the codes of round-to-nearest stand for."""
    most, middle = 2 ** bits - 1, 2 ** (bits - 1)
    out = np.empty_like(values)
    for row in range(values.shape[0]):
        for begin in range(0, values.shape[1], group):
            part = values[row, begin:begin + group]
            if symmetric:
                scale = half_up(np.abs(part).max() / np.float32(middle - 1))
                offset = -middle * scale
            else:
                offset = -half_up(-part.min())
                scale = half_up((part.max() - offset) / np.float32(most))
            scale = max(scale, np.float32(2.0 ** -24))
            inverse = np.float32(1) / scale
            codes = np.clip(
                np.floor((part - offset) * inverse + np.float32(0.5)), 0, most)
            out[row, begin:begin + group] = scale * codes + offset
    return out


def dequantised(tensors, kind, group):
    """Embedding and logits are int8, other matrices `kind`; vectors stay."""
    result = {}
    for name, values in tensors.items():
        is_end = "embed_tokens" in name or "lm_head" in name
        bits = 8 if is_end or kind == "int8" else 4
        result[name] = (nearest(values, bits, group, symmetric=bits == 8)
                        if values.ndim == 2 else values)
    return result


def compile_nearest(programs, source, name, *flags):
    """Codes by plain rounding: the module says so, and may be edited."""
    module = programs.work / f"{name}.mlir"
    programs.execute("stele-compile", source, "-o", module, "--compile-to",
                     "fused", *flags)
    module.write_text(module.read_text().replace("rounding <clipped>",
                                                 "rounding <nearest>"))
    return programs.compile(module, name)


def kernels(programs, artifact):
    return json.loads(programs.execute("stele", "inspect", artifact,
                                       "--json"))["kernels"]


def check_kernels(report, programs, name, artifact, arithmetic):
    """No product may fall to a kernel for numbers."""
    found = kernels(programs, artifact)
    products = [k for k in found
                if re.match("(linear|logits|embed)", k["symbol"])]
    report.check(f"{name} has products", len(products) >= 4, found)
    for kernel in products:
        wanted = ("embed_q" if kernel["symbol"].startswith("embed") else
                  f"{kernel['symbol'][:6]}_q_{arithmetic}")
        report.check(f"{name} kernel", kernel["symbol"].startswith(wanted)
                     and re.match(r"int[48] g\d+ ", kernel["weight"])
                     and re.search("_q[48], ", kernel["chosen_by"]),
                     f"{kernel}, expected a {wanted}")


def check_close(report, name, found, expected, typical, worst):
    differences = harness.differences(found, expected)
    middle = float(np.median(differences))
    # The middle of a handful of rows is no typical one.
    report.check(name, (len(differences) <= 8 or middle <= typical)
                 and float(differences.max()) <= worst,
                 f"differ by {middle:.2e} of the row's range in the middle, by "
                 f"{differences.max():.2e} at worst")


def test_quantise(report, programs, model, kind, group):
    name = f"{model}-{kind}-{group}"
    source = harness.TINY / model
    folder = programs.work / f"{name}-expected"
    write_checkpoint(folder, source,
                     dequantised(read_tensors(source), kind, group))
    plain = programs.compile(folder, f"{name}-expected", "--activations", "f32")
    flags = ["--quant", kind, "--group", group]
    exact = compile_nearest(programs, source, f"{name}-f32", *flags,
                            "--activations", "f32")
    rounded = compile_nearest(programs, source, f"{name}-int8", *flags)
    clipped = programs.compile(source, f"{name}-clipped", *flags,
                               "--activations", "f32")
    check_kernels(report, programs, name, exact, "f32")
    check_kernels(report, programs, name, rounded, "int8")
    for golden in harness.read_goldens(source)["prompts"]:
        tokens = golden["tokens"]
        case = f"{name}, prompt of {len(tokens)}:"
        expected = programs.logits(plain, tokens)
        harness.check_logits(report, case, programs.logits(exact, tokens),
                             expected)
        check_close(report, f"{case} int8 activations",
                    programs.logits(rounded, tokens), expected, INT8_TYPICAL,
                    INT8_WORST)
        original = np.load(source / golden["logits"])
        bounds = ((INT8_TYPICAL, INT8_WORST) if kind == "int8" else
                  (INT4_TYPICAL, INT4_WORST))
        check_close(report, f"{case} clipped", programs.logits(clipped, tokens),
                    original, *bounds)


def test_native(report, programs, name):
    """f32 is held by tiny_test.py; here int8 activations, and the kernels."""
    folder = harness.TINY / "gguf" / name
    artifact = programs.compile(folder / "model.gguf", name)
    check_kernels(report, programs, name, artifact, "int8")
    for golden in harness.read_goldens(folder)["prompts"]:
        check_close(report, f"{name}, prompt of {len(golden['tokens'])}",
                    programs.logits(artifact, golden["tokens"]),
                    np.load(folder / golden["logits"]), INT8_TYPICAL, INT8_WORST)


def test(report, programs, only):
    for model in MODELS:
        if only and model not in only:
            continue
        for kind, group in (("int4", 32), ("int4", 128), ("int8", 64)):
            test_quantise(report, programs, model, kind, group)
    for name in GGUF:
        if not only or name in only:
            test_native(report, programs, name)


if __name__ == "__main__":
    harness.main(__doc__, test)
