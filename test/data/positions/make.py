#!/usr/bin/env python3
"""Makes the goldens of dual chunk attention on a model trained without it.

    python test/data/positions/make.py

Nothing in the checkpoint's config asks for such positions, so queries are not
scaled beyond the trained length. goldens.json: the sizes, the prompt, which is
longer than that, and the logits of its rows as PyTorch computes them
(models/tiny/dual_chunk.py). Needs what models/tiny/make.py needs.
"""

import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
TINY = HERE.parents[2] / "models/tiny"
sys.path.insert(0, str(TINY))

import dual_chunk  # noqa: E402
import reference  # noqa: E402

NAME, LENGTH = "llama-long", 620
DUAL = {"chunk_size": 224, "local_size": 96}


def main():
    model = reference.load(TINY / NAME)
    model.config.dual_chunk_attention_config = DUAL
    dual_chunk.install(model)
    tokens = np.random.default_rng(5).integers(
        3, model.config.vocab_size, LENGTH).tolist()
    logits = reference.all_logits(model, tokens)
    np.save(HERE / "logits.npy", logits.astype("<f4"))
    reference.write_json(HERE / "goldens.json", {
        "versions": reference.versions(), "model": NAME, "dual_chunk": DUAL,
        "tokens": tokens, "logits": "logits.npy"})


if __name__ == "__main__":
    main()
