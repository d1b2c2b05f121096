#!/usr/bin/env python3
"""Every tiny checkpoint, GGUF file and quantised folder against transformers.

f32 on this machine's target: logits and 64 greedy tokens, for all of them. bf16,
and the lower targets on one of each kind of kernel: logits only, bf16 within
what rounding weights and activations to 8 bits costs these small models (a row
in which an attention score flips may lose more than most do).
"""

import itertools

import numpy as np

import harness

BF16_TYPICAL, BF16_WORST = 0.02, 0.15  # shares of a row's range
TARGETS = ["x86-64-v3", "x86-64-v4"]
ON_ALL_TARGETS = ["llama-bias", "llama-tied", "mistral-window", "qwen2", "qwen3"]


def checkpoints():
    """(name, what to compile, folder of its goldens)"""
    for goldens in sorted(harness.TINY.glob("*/goldens.json")):
        yield goldens.parent.name, goldens.parent, goldens.parent
    for goldens in sorted(harness.TINY.glob("gguf/*/goldens.json")):
        folder = goldens.parent
        yield f"gguf/{folder.name}", folder / "model.gguf", folder
    for goldens in sorted(harness.TINY.glob("packed/*/goldens.json")):
        yield f"packed/{goldens.parent.name}", goldens.parent, goldens.parent


def test_f32(report, programs, name, source, folder):
    artifact = programs.compile(source, name, "--activations", "f32")
    for golden in harness.read_goldens(folder)["prompts"]:
        case = f"{name}, prompt of {len(golden['tokens'])}:"
        harness.check_logits(
            report, case, programs.logits(artifact, golden["tokens"]),
            np.load(folder / golden["logits"]))
        harness.check_greedy(
            report, case,
            lambda tokens, n: programs.run(artifact, tokens, n)["tokens"],
            golden)


def test_variant(report, programs, name, source, folder, target, arithmetic):
    artifact = programs.compile(source, f"variant-{name}", "--target", target,
                                "--activations", arithmetic)
    for golden in harness.read_goldens(folder)["prompts"]:
        case = f"{name}, {target} {arithmetic}, prompt of {len(golden['tokens'])}:"
        found = programs.logits(artifact, golden["tokens"])
        expected = np.load(folder / golden["logits"])
        if arithmetic == "f32":
            harness.check_logits(report, case, found, expected)
            continue
        differences = harness.differences(found, expected)
        # The middle of a handful of rows is no typical one.
        typical = float(np.median(differences)) if len(differences) > 8 else 0.0
        worst = float(differences.max())
        report.check(f"{case} logits",
                     typical <= BF16_TYPICAL and worst <= BF16_WORST,
                     f"differ by {typical:.2e} of the row's range in the middle, "
                     f"by {worst:.2e} at worst")


def variants(name):
    """(target, arithmetic) pairs beyond f32 on the host."""
    if name in ON_ALL_TARGETS:
        yield from itertools.product(TARGETS, ("f32", "bf16"))
    if not name.startswith(("gguf/", "packed/")):
        yield "host", "bf16"


def test(report, programs, only):
    for name, source, folder in checkpoints():
        if only and name not in only:
            continue
        tests = [(test_f32, ())] + [(test_variant, v) for v in variants(name)]
        for function, more in tests:
            report.attempt(f"{name} {' '.join(more)}", function, programs, name,
                           source, folder, *more)


if __name__ == "__main__":
    harness.main(__doc__, test)
