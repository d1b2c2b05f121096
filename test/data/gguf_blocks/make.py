#!/usr/bin/env python3
"""Writes TYPE.bin and TYPE.npy: blocks of every GGUF type, and their values.

    python test/data/gguf_blocks/make.py

The bytes are random, so codes, signs and sub-block scales take every value that
a quantiser would not write too; the halves are finite, some of them zero,
subnormal or negative. The values are those of the `gguf` package.
"""

import pathlib
import zlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

HERE = pathlib.Path(__file__).resolve().parent
# Where each type has its halves, and how many blocks are written.
TYPES = {Type.Q4_0: ((0,), 24), Type.Q4_1: ((0, 2), 24),
         Type.Q5_0: ((0,), 24), Type.Q5_1: ((0, 2), 24),
         Type.Q8_0: ((0,), 24), Type.Q4_K: ((0, 2), 8),
         Type.Q5_K: ((0, 2), 8), Type.Q6_K: ((208,), 8)}
SPECIAL = np.array([0x0000, 0x8000, 0x0001, 0x83ff, 0x7bff, 0xfbff], "<u2")


def main():
    for kind, (halves, count) in TYPES.items():
        rng = np.random.default_rng(zlib.crc32(kind.name.encode()))
        size = gguf.GGML_QUANT_SIZES[kind][1]
        blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
        for at in halves:
            values = rng.integers(0, 0x7c00, count).astype("<u2")
            values |= (rng.integers(0, 2, count) << 15).astype("<u2")
            values[:len(SPECIAL)] = rng.permutation(SPECIAL)
            blocks[:, at:at + 2] = values.view(np.uint8).reshape(-1, 2)
        (HERE / f"{kind.name}.bin").write_bytes(blocks.tobytes())
        values = gguf.quants.dequantize(blocks, kind).astype("<f4").reshape(-1)
        np.save(HERE / f"{kind.name}.npy", values)


if __name__ == "__main__":
    main()
