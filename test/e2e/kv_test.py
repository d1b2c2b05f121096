#!/usr/bin/env python3
"""`--kv`: what the cache stores, against transformers, on tiny checkpoints.

In f32 arithmetic all that differs from the goldens is what rounding keys and
values costs: 11 bits of an f16, 8 of a bf16, and for int8 half a step of 1/127 of
the largest element of each key and value. With bf16 arithmetic, what that costs by
itself (tiny_test.py) is added. Alone, among others, in any chunks and by any number
of threads, the bits are the same.
"""

import json

import numpy as np

import harness

MODELS = ["llama-long", "llama-tied", "mistral-window", "qwen3"]
# Arithmetic, pages, and the shares of a row's range that logits may differ by: in
# the middle, and at worst, where an attention score of these small models flips.
# About twice what is seen; bf16 has 3 bits less than f16 and so 8 times its error.
KINDS = [("f32", "f32", 1e-5, harness.TIE), ("f32", "f16", 1e-3, 5e-3),
         ("f32", "bf16", 8e-3, 4e-2), ("f32", "int8", 3e-2, 0.15),
         ("bf16", "f16", 0.02, 0.15), ("bf16", "int8", 0.03, 0.15)]
ELEMENT_BITS = {"f32": 32, "f16": 16, "bf16": 16, "int8": 8}


def check_memory(report, name, programs, artifact, kv):
    """Pages are as large as their elements, and the scales of int8."""
    plan = json.loads(programs.execute("stele", "inspect", artifact, "--json"))
    for cache in plan["kv_caches"]:
        block = cache["block_tokens"]
        expected = 2 * block * cache["head_dim"] * ELEMENT_BITS[kv] // 8
        expected += 2 * block * 4 if kv == "int8" else 0
        expected = -(-expected // 64) * 64
        report.check(f"{name} page", cache["page_bytes"] == expected,
                     f"{cache['page_bytes']} bytes, expected {expected}")


def check_logits(report, name, found, expected, typical, worst):
    differences = harness.differences(found, expected)
    # The middle of a handful of rows is no typical one.
    middle = float(np.median(differences)) if len(differences) > 8 else 0.0
    largest = float(differences.max())
    report.check(name, middle <= typical and largest <= worst,
                 f"differ by {middle:.2e} of the row's range in the middle, by "
                 f"{largest:.2e} at worst, allowed {typical:.0e} and {worst:.0e}")


def check_exact(report, name, programs, artifact, tokens):
    expected = programs.logits(artifact, tokens)
    for flags in (("--chunk", "1"), ("--chunk", "7", "--threads", "3")):
        found = programs.logits(artifact, tokens, *flags)
        report.check(f"{name} {' '.join(flags)}",
                     found.tobytes() == expected.tobytes(), "other bits")


def test_kind(report, programs, model, arithmetic, kv, typical, worst):
    name = f"{model}, {arithmetic} over {kv}"
    folder = harness.TINY / model
    artifact = programs.compile(folder, f"{model}-{arithmetic}-{kv}",
                                "--activations", arithmetic, "--kv", kv)
    check_memory(report, name, programs, artifact, kv)
    prompts = harness.read_goldens(folder)["prompts"]
    for golden in prompts:
        tokens = golden["tokens"]
        check_logits(report, f"{name}, prompt of {len(tokens)}",
                     programs.logits(artifact, tokens),
                     np.load(folder / golden["logits"]), typical, worst)
    longest = max((golden["tokens"] for golden in prompts), key=len)
    check_exact(report, name, programs, artifact, longest)


def test(report, programs, only):
    for model in only or MODELS:
        for kind in KINDS:
            test_kind(report, programs, model, *kind)


if __name__ == "__main__":
    harness.main(__doc__, test)
