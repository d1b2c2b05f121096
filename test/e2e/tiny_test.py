#!/usr/bin/env python3
"""Every tiny checkpoint and GGUF file against transformers, in f32 arithmetic."""

import numpy as np

import harness


def checkpoints():
    """(name, what to compile, folder of its goldens)"""
    for goldens in sorted(harness.TINY.glob("*/goldens.json")):
        yield goldens.parent.name, goldens.parent, goldens.parent
    for goldens in sorted(harness.TINY.glob("gguf/*/goldens.json")):
        folder = goldens.parent
        yield f"gguf/{folder.name}", folder / "model.gguf", folder


def test_checkpoint(report, programs, name, source, folder):
    artifact = programs.compile(source, name.replace("/", "-"),
                                "--activations", "f32")
    for golden in harness.read_goldens(folder)["prompts"]:
        case = f"{name}, prompt of {len(golden['tokens'])}:"
        harness.check_logits(
            report, case, programs.logits(artifact, golden["tokens"]),
            np.load(folder / golden["logits"]))
        harness.check_greedy(
            report, case,
            lambda tokens, n: programs.run(artifact, tokens, n)["tokens"],
            golden)


def test(report, programs, only):
    for name, source, folder in checkpoints():
        if only and name not in only:
            continue
        try:
            test_checkpoint(report, programs, name, source, folder)
        except harness.ProgramFailed as error:
            report.check(name, False, error)


if __name__ == "__main__":
    harness.main(__doc__, test)
