"""Hides passkeys in a haystack of tokens, for the induction checkpoint.

A passkey is a marker and an answer of a few tokens behind it, all reserved
tokens that occur nowhere else. After the haystack and a marker, the model must
say the answer, which is known without running anything.
"""

from dataclasses import dataclass

import numpy as np

import make

ANSWER_TOKENS = 5
SIZE = 1 + ANSWER_TOKENS
MOST = make.RESERVED // SIZE


@dataclass
class Passkey:
    depth: float  # 0: at the begin, 1: at the end
    marker: int
    answer: list


def random_haystack(length, seed):
    return np.random.default_rng(seed).integers(0, make.ORDINARY, length)


def hide(haystack, depths, seed=0):
    """The haystack's tokens with one passkey at each depth, written over them.

    The first token stays: with none before it, it takes itself for that one.
    Returns (tokens, passkeys)."""
    if len(haystack) <= SIZE * len(depths) or len(depths) > MOST:
        raise ValueError(f"{len(depths)} passkeys do not fit {len(haystack)} tokens")
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(make.RESERVED)[:SIZE * len(depths)] + make.ORDINARY
    tokens, passkeys = np.array(haystack), []
    free = len(tokens) - 1 - SIZE * len(depths)
    for i, depth in enumerate(sorted(depths)):
        marker, *answer = (int(t) for t in chosen[i * SIZE:(i + 1) * SIZE])
        at = 1 + i * SIZE + round(depth * free)  # never over another passkey
        tokens[at:at + SIZE] = [marker, *answer]
        passkeys.append(Passkey(depth, marker, answer))
    return [int(t) for t in tokens], passkeys
