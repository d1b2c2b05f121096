#!/usr/bin/env python3
"""What must not change a result: batching, chunks, threads. Bitwise.

An output element's reduction order may not depend on how many rows, threads or
chunks there are, in either arithmetic; so logits are compared bit for bit, and
a sequence's greedy tokens are the same alone and among others.
"""

import json

import numpy as np

import harness

CHECKPOINTS = ["llama-long", "llama-tied", "mistral-window", "qwen2-chunks",
               "qwen3"]
PROMPT_LENGTHS = [1, 300, 2, 47, 128, 5, 129, 17]
STEPS = 24


def prompts(vocabulary):
    rng = np.random.default_rng(7)
    return [rng.integers(3, vocabulary, n).tolist() for n in PROMPT_LENGTHS]


def batched(programs, artifact, requests):
    """Greedy tokens of all requests, run as one ragged batch."""
    file = programs.work / "prompts.jsonl"
    file.write_text("".join(
        json.dumps({"tokens": r}) + "\n" for r in requests))
    out = programs.execute("stele", "run", artifact, "--prompts", file, "-n",
                           STEPS, "--json", *harness.GREEDY)
    return [json.loads(line)["tokens"] for line in out.splitlines()]


def test_batching(report, programs, name, artifact, requests):
    alone = [programs.run(artifact, r, STEPS)["tokens"] for r in requests]
    together = batched(programs, artifact, requests)
    report.check(f"{name} answers", len(together) == len(requests),
                 f"{len(together)} lines for {len(requests)} requests")
    for request, one, many in zip(requests, alone, together):
        report.check(f"{name} batching, prompt of {len(request)}", one == many,
                     f"alone {one}, among others {many}")


def test_logits(report, programs, name, artifact, tokens):
    expected = programs.logits(artifact, tokens)
    variants = [("--chunk", "1"), ("--chunk", "7"), ("--chunk", "128"),
                ("--threads", "1"), ("--threads", "3"),
                ("--threads", "2", "--chunk", "33")]
    for flags in variants:
        found = programs.logits(artifact, tokens, *flags)
        same = found.tobytes() == expected.tobytes()
        report.check(f"{name} {' '.join(flags)}", same,
                     "not the same bits" if same or found.shape != expected.shape
                     else f"differs by {np.abs(found - expected).max():.2e}")


def test_checkpoint(report, programs, name, arithmetic):
    artifact = programs.compile(harness.TINY / name, f"{name}-{arithmetic}",
                                "--activations", arithmetic)
    config = json.loads((harness.TINY / name / "config.json").read_text())
    requests = prompts(config["vocab_size"])
    case = f"{name} {arithmetic}:"
    test_batching(report, programs, case, artifact, requests)
    test_logits(report, programs, case, artifact, requests[1])


def test(report, programs, only):
    for name in only or CHECKPOINTS:
        for arithmetic in ("f32", "bf16"):
            report.attempt(f"{name} {arithmetic}", test_checkpoint, programs, name,
                           arithmetic)


if __name__ == "__main__":
    harness.main(__doc__, test)
