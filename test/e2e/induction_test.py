#!/usr/bin/env python3
"""The induction checkpoint finds what is hidden in its context.

Nothing is compared with another program: the model is built so that after a
passkey's marker it says the passkey, wherever in the context it stands.
"""

import sys

import harness

sys.path.insert(0, str(harness.ROOT / "models/induction"))
import make  # noqa: E402
import passkeys  # noqa: E402

LENGTH = 2999
DEPTHS = [0.0, 0.37, 1.0]


def text_haystack(programs, artifact):
    ids = programs.tokenize(artifact, harness.DATA / "smollm2/perplexity.txt")
    return (ids * (LENGTH // len(ids) + 1))[:LENGTH]


def check_haystack(report, programs, artifact, name, haystack):
    tokens, hidden = passkeys.hide(haystack, DEPTHS)
    for passkey in hidden:
        found = programs.run(artifact, tokens + [passkey.marker],
                             len(passkey.answer))["tokens"]
        report.check(f"{name} depth {passkey.depth}", found == passkey.answer,
                     f"{found}, expected {passkey.answer}")


def test(report, programs, only):
    checkpoint = programs.work / "checkpoint"
    make.make(checkpoint)
    for arithmetic in ["f32", "bf16"]:
        artifact = programs.compile(checkpoint, arithmetic, "--activations",
                                    arithmetic, "--context", "4K")
        haystacks = {
            "random": passkeys.random_haystack(LENGTH, seed=1),
            "text": text_haystack(programs, artifact),
        }
        for kind, haystack in haystacks.items():
            check_haystack(report, programs, artifact, f"{arithmetic} {kind}",
                           haystack)


if __name__ == "__main__":
    harness.main(__doc__.split("\n")[0], test)
