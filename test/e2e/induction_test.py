#!/usr/bin/env python3
"""The induction checkpoint finds what is hidden in its context.

Nothing is compared with another program: the model is built so that after a
passkey's marker it says the passkey, wherever in the context it stands. One
prompt holds eleven; its saved session is forked for every question.
"""

import json
import subprocess
import sys

import harness
from paging_test import compile_paged

sys.path.insert(0, str(harness.ROOT / "models/induction"))
import make  # noqa: E402

PASSKEY = harness.ROOT / "tools/eval/passkey.py"
DEPTHS = 11
BEYOND_PLAN = 64 << 20  # bytes that a process may hold beside what it printed
HAYSTACKS = {"random": "random",
             "text": harness.DATA / "smollm2/perplexity.txt"}


def check_grid(report, programs, artifact, name, haystack, length):
    done = subprocess.run(
        [sys.executable, PASSKEY, artifact, "--bin", programs.bin, "--form",
         "induction", "--haystack", haystack, "--lengths", str(length),
         "--depths", str(DEPTHS), "--json"], capture_output=True, text=True)
    if not report.check(f"{name} exit code", done.returncode == 0, done.stderr):
        return
    grid = json.loads(done.stdout)
    report.check(f"{name} number of passkeys", len(grid["cells"]) == DEPTHS, grid)
    for cell in grid["cells"]:
        report.check(f"{name} depth {cell['depth']}", cell["found"],
                     f"{cell['answer']}, expected {cell['expected']}")
    for prefill in grid["prefills"]:
        report.check(f"{name} memory", prefill["peak_bytes"] <=
                     prefill["planned_bytes"] + BEYOND_PLAN, prefill)


def test_dense(report, programs, checkpoint):
    for arithmetic in ["f32", "bf16"]:
        artifact = programs.compile(checkpoint, arithmetic, "--activations",
                                    arithmetic, "--context", "4K")
        for kind, haystack in HAYSTACKS.items():
            check_grid(report, programs, artifact, f"{arithmetic} {kind}",
                       haystack, length=2999)


def check_sparse(report, programs, checkpoint, length, density, kinds):
    """`density`: the share of blocks that is chosen, beside three that always are."""
    artifact = programs.compile(checkpoint, "sparse", "--attention", "sparse",
                                "--density", density, "--context", length)
    for kind in kinds:
        check_grid(report, programs, artifact, f"sparse {kind} {length}",
                   HAYSTACKS[kind], length)


def check_paged(report, programs, checkpoint, length, density):
    """With all but 512 tokens and the sinks behind device memory, in codes."""
    for kv in ("int8", "int4"):
        artifact = compile_paged(
            programs, checkpoint, f"paged-{kv}",
            ["--attention", "sparse", "--density", density, "--context", length,
             "--kv", kv])
        check_grid(report, programs, artifact, f"paged {kv} {length}", "random",
                   length)


def test(report, programs, only):
    checkpoint = programs.work / "checkpoint"
    make.make(checkpoint)
    test_dense(report, programs, checkpoint)
    # 6 of 128 blocks: less than a twentieth of the keys.
    check_sparse(report, programs, checkpoint, 16 << 10, 0.02, HAYSTACKS)
    check_paged(report, programs, checkpoint, 8 << 10, 0.08)


if __name__ == "__main__":
    harness.main(__doc__.split("\n")[0], test)
