#!/usr/bin/env python3
"""Dual chunk positions beside plain ones, on a model trained without them.

Below chunk - local tokens they are the same bits, up to the chunk the same
numbers: what differs there is only where the rotation of a pair is cut in two.
Beyond the trained length only they compile, and the logits are PyTorch's. Models
with such positions in their config.json are among tiny_test's and
invariance_test's.
"""

import numpy as np

import harness

NAME, TRAINED = "llama-long", 512
CHUNK, LOCAL = 224, 96
DCA = ["--positions", "dca", "--dca-chunk", CHUNK, "--dca-local", LOCAL]
ROUNDING = 1e-5  # share of a row's range


def prompt(length):
    return np.random.default_rng(3).integers(3, 61, length).tolist()


def test_first_chunk(report, programs):
    tokens = prompt(CHUNK + 1)
    logits = {}
    for case, flags in (("plain", []), ("dca", DCA)):
        artifact = programs.compile(harness.TINY / NAME, case, "--activations",
                                    "f32", *flags)
        logits[case] = programs.logits(artifact, tokens)
    keys = CHUNK - LOCAL
    plain, dual = logits["plain"], logits["dca"]
    report.check("below a chunk's keys", plain[:keys].tobytes() ==
                 dual[:keys].tobytes(), "not the same bits")
    worst = float(harness.differences(dual[keys:], plain[keys:]).max())
    report.check("up to the chunk", 0 < worst <= ROUNDING,
                 f"differ by {worst:.2e} of the row's range, allowed "
                 f"{ROUNDING:.0e}, and something must differ")


def test_beyond_training(report, programs):
    longer = 2 * TRAINED
    artifact = programs.compile(harness.TINY / NAME, "longer", "--context",
                                longer, "--positions", "dca")
    tokens = prompt(longer - 8)
    answer = programs.run(artifact, tokens, 8)["tokens"]
    report.check("beyond the trained length", len(answer) == 8, answer)
    chunked = programs.run(artifact, tokens, 8, "--chunk", "33")["tokens"]
    report.check("beyond the trained length, in chunks", answer == chunked,
                 f"{chunked}, expected {answer}")


def test_reference(report, programs):
    folder = harness.DATA / "positions"
    golden = harness.read_goldens(folder)
    dual, tokens = golden["dual_chunk"], golden["tokens"]
    report.check("the prompt's length", len(tokens) > TRAINED, len(tokens))
    artifact = programs.compile(
        harness.TINY / golden["model"], "reference", "--activations", "f32",
        "--context", "1K", "--positions", "dca", "--dca-chunk",
        dual["chunk_size"], "--dca-local", dual["local_size"])
    harness.check_logits(report, "beyond the trained length",
                         programs.logits(artifact, tokens),
                         np.load(folder / golden["logits"]))


def test(report, programs, only):
    for case in (test_first_chunk, test_beyond_training, test_reference):
        report.attempt(case.__name__, case, programs)


if __name__ == "__main__":
    harness.main(__doc__, test)
