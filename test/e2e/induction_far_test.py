#!/usr/bin/env python3
"""The induction checkpoint finds eleven passkeys in 128K random tokens, by block-
sparse attention that reads less than a twentieth of the keys (44 of 1,024 blocks).
"""

import harness
import induction_test
import make


def test(report, programs, only):
    checkpoint = programs.work / "checkpoint"
    make.make(checkpoint)
    induction_test.check_sparse(report, programs, checkpoint, 128 << 10, 0.04,
                                ["random"])


if __name__ == "__main__":
    harness.main(__doc__.split("\n")[0], test)
