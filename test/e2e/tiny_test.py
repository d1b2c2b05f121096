#!/usr/bin/env python3
"""Every tiny checkpoint and GGUF file against transformers.

f32 on this machine's target: logits and 64 greedy tokens. bf16, and f32 on the
lower targets: logits only, bf16 within what rounding weights and activations to
8 bits costs these small models.
"""

import numpy as np

import harness

BF16_TOLERANCE = 0.04
TARGETS = ["x86-64-v3", "x86-64-v4"]


def checkpoints():
    """(name, what to compile, folder of its goldens)"""
    for goldens in sorted(harness.TINY.glob("*/goldens.json")):
        yield goldens.parent.name, goldens.parent, goldens.parent
    for goldens in sorted(harness.TINY.glob("gguf/*/goldens.json")):
        folder = goldens.parent
        yield f"gguf/{folder.name}", folder / "model.gguf", folder


def test_f32(report, programs, name, source, folder):
    artifact = programs.compile(source, name, "--activations", "f32")
    for golden in harness.read_goldens(folder)["prompts"]:
        case = f"{name}, prompt of {len(golden['tokens'])}:"
        harness.check_logits(
            report, case, programs.logits(artifact, golden["tokens"]),
            np.load(folder / golden["logits"]), harness.TIE)
        harness.check_greedy(
            report, case,
            lambda tokens, n: programs.run(artifact, tokens, n)["tokens"],
            golden)


def test_variant(report, programs, name, source, folder, target, arithmetic):
    artifact = programs.compile(source, f"variant-{name}", "--target", target,
                                "--activations", arithmetic)
    tolerance = harness.TIE if arithmetic == "f32" else BF16_TOLERANCE
    for golden in harness.read_goldens(folder)["prompts"]:
        case = f"{name}, {target} {arithmetic}, prompt of {len(golden['tokens'])}:"
        harness.check_logits(
            report, case, programs.logits(artifact, golden["tokens"]),
            np.load(folder / golden["logits"]), tolerance)


def variants(name):
    yield "host", "bf16"
    if not name.startswith("gguf/"):
        for target in TARGETS:
            yield target, "f32"
            yield target, "bf16"


def test(report, programs, only):
    for name, source, folder in checkpoints():
        if only and name not in only:
            continue
        tests = [(test_f32, ())] + [(test_variant, v) for v in variants(name)]
        for function, more in tests:
            try:
                function(report, programs, name, source, folder, *more)
            except harness.ProgramFailed as error:
                report.check(f"{name} {' '.join(more)}", False, error)


if __name__ == "__main__":
    harness.main(__doc__, test)
