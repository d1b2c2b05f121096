#!/usr/bin/env python3
"""Perplexity of a checkpoint after every way of rounding its weights to int4.

    python tools/bench/quality/table.py CHECKPOINT --report FILE
        [--calibrate FILE] [--bin build/bin] [--work build/quality]

Rows: unquantised, round to nearest over the whole span, with the span searched,
and with activation-aware scales, in groups of 32, 64 and 128; then what
`--quant auto` makes of it. Activations stay bf16 but in the last row, so that
only the weights differ. Prints a Markdown table with the digests of the texts.
Whoever reads it must know that CHECKPOINT, the calibration text, the compiler's
gate text and the report text share nothing.
"""

import argparse
import hashlib
import json
import math
import pathlib
import subprocess


class Bench:
    def __init__(self, flags):
        self.flags = flags
        flags.work.mkdir(parents=True, exist_ok=True)

    def compile(self, source, name, *more):
        path = self.flags.work / name
        subprocess.run([self.flags.bin / "stele-compile", source, "-o", path,
                        *more], check=True, stderr=subprocess.PIPE)
        return path

    def rounded(self, rounding, group):
        """Stops after fusion, says the rounding, and goes on from there."""
        module = self.compile(
            self.flags.checkpoint, "rounded.mlir", "--quant", "int4", "--group",
            str(group), "--activations", "bf16", "--compile-to", "fused")
        module.write_text(module.read_text().replace(
            "rounding <clipped>", f"rounding <{rounding}>"))
        return self.compile(module, "rounded.stele")

    def awq(self, group, *more):
        calibrate = ["--calibrate", self.flags.calibrate] \
            if self.flags.calibrate else []
        return self.compile(self.flags.checkpoint, "awq.stele", "--quant",
                            "auto", "--group", str(group), *calibrate, *more)

    def loss(self, artifact):
        out = subprocess.run(
            [self.flags.bin / "stele", "perplexity", artifact, "-f",
             self.flags.report, "--context", str(self.flags.context), "--json"],
            check=True, capture_output=True).stdout
        return json.loads(out)["nll"]

    def bits(self, artifact):
        out = subprocess.run(
            [self.flags.bin / "stele", "inspect", artifact, "--calibration",
             "--json"], check=True, capture_output=True).stdout
        return json.loads(out)["bits_per_weight"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("--report", type=pathlib.Path, required=True)
    parser.add_argument("--calibrate", type=pathlib.Path)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--bin", type=pathlib.Path, default="build/bin")
    parser.add_argument("--work", type=pathlib.Path, default="build/quality")
    bench = Bench(parser.parse_args())

    for name in ("report", "calibrate"):
        path = getattr(bench.flags, name)
        if path:
            print(f"{name}: {path.name}, SHA-256 "
                  f"{hashlib.sha256(path.read_bytes()).hexdigest()}")
    print("\n| weights | group | perplexity | more | of plain rounding's loss |"
          "\n| --- | --- | --- | --- | --- |")
    base = bench.loss(bench.compile(bench.flags.checkpoint, "base.stele",
                                    "--quant", "none", "--activations", "bf16"))

    def row(name, group, loss, plain):
        share = f"{(loss - base) / (plain - base):.2f}" if plain else ""
        print(f"| {name} | {group} | {math.exp(loss):.3f} | "
              f"{100 * math.expm1(loss - base):+.2f}% | {share} |", flush=True)

    row("bf16", "", base, None)
    for group in (32, 64, 128):
        plain = bench.loss(bench.rounded("nearest", group))
        row("nearest", group, plain, plain)
        row("clipped", group, bench.loss(bench.rounded("clipped", group)), plain)
        artifact = bench.awq(group, "--activations", "bf16", "--max-loss",
                             "1000%")
        row("AWQ", group, bench.loss(artifact), plain)
    artifact = bench.awq(32, "--max-loss", "1%")
    row(f"auto, {bench.bits(artifact):.2f} bits", 32, bench.loss(artifact), None)


if __name__ == "__main__":
    main()
