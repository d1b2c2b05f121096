#!/usr/bin/env python3
"""Perplexity of a checkpoint after every way of rounding its weights to int4.

    python tools/bench/quality/table.py CHECKPOINT... --report FILE
        [--calibrate FILE] [--divergence WINDOWS] [--bin build/bin]
        [--work build/quality]

Rows: unquantised, round to nearest over the whole span, with the span searched,
and with activation-aware scales, in groups of 32, 64 and 128; then what
`--quant auto` makes of it; for several checkpoints also the means. Activations stay
bf16 but in the last row, so that only the weights differ. Prints Markdown tables
with the digests of the texts. With --divergence also how far predictions move from
the unquantised ones (Kullback-Leibler, nats for a token, on the first windows of the
report; needs numpy): in a small model perplexity moves both ways with any rounding,
and says less. On a busy machine, one core is faster than two (taskset -c 0).
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

    def predictions(self, artifact):
        """Log-probabilities of every place of the report's first windows."""
        import numpy
        stele, size = self.flags.bin / "stele", self.flags.context
        out = subprocess.run([stele, "tokenize", artifact, "-f",
                              self.flags.report, "--json"],
                             check=True, capture_output=True).stdout
        ids = json.loads(out)["ids"][:size * self.flags.divergence]
        file = self.flags.work / "logits.npy"
        for begin in range(0, len(ids), size):
            window = ",".join(map(str, ids[begin:begin + size]))
            file.unlink(missing_ok=True)
            subprocess.run([stele, "run", artifact, "--tokens", window, "-n", "1",
                            "--logits", file], check=True, capture_output=True)
            logits = numpy.load(file).astype(numpy.float64)
            logits -= logits.max(axis=1, keepdims=True)
            yield logits - numpy.log(
                numpy.exp(logits).sum(axis=1, keepdims=True))

    def divergence(self, base, artifact):
        if not self.flags.divergence:
            return None
        import numpy
        return float(numpy.mean([
            (numpy.exp(a) * (a - b)).sum(axis=1).mean() for a, b in
            zip(self.predictions(base), self.predictions(artifact))]))

    def bits(self, artifact):
        out = subprocess.run(
            [self.flags.bin / "stele", "inspect", artifact, "--calibration",
             "--json"], check=True, capture_output=True).stdout
        return json.loads(out)["bits_per_weight"]


def measure(bench):
    """(name, group, log-likelihood, divergence), row by row; "nearest" comes
    before what is compared with it."""
    base = bench.compile(bench.flags.checkpoint, "base.stele", "--quant", "none",
                         "--activations", "bf16")

    def row(name, group, artifact):
        return (name, group, bench.loss(artifact),
                bench.divergence(base, artifact))
    yield row("bf16", "", base)
    for group in (32, 64, 128):
        for rounding in ("nearest", "clipped"):
            yield row(rounding, group, bench.rounded(rounding, group))
        yield row("AWQ", group, bench.awq(
            group, "--activations", "bf16", "--max-loss", "1000%"))
    artifact = bench.awq(32, "--max-loss", "1%")
    yield row(f"auto, {bench.bits(artifact):.2f} bits", 32, artifact)


def print_table(tables):
    """Means (of log-likelihoods) over the tables of checkpoints."""
    count = len(tables)
    print("\n| weights | group | perplexity | more | of plain rounding's loss | "
          "divergence |\n| --- | --- | --- | --- | --- | --- |")
    bases = [rows[0][2] for rows in tables]
    for i, (name, group, _, moved) in enumerate(tables[0]):
        title = "; ".join(dict.fromkeys(rows[i][0] for rows in tables))
        losses = [rows[i][2] for rows in tables]
        more = [loss - base for loss, base in zip(losses, bases)]
        if name == "nearest":
            plain = more
        if moved is not None:
            moved = f"{sum(rows[i][3] for rows in tables) / count:.5f}"
        share = (f"{sum(more) / sum(plain):.2f}"
                 if name in ("nearest", "clipped", "AWQ") else "")
        print(f"| {title} | {group} | {math.exp(sum(losses) / count):.3f} | "
              f"{100 * math.expm1(sum(more) / count):+.2f}% | {share} | "
              f"{moved or ''} |",
              flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", type=pathlib.Path, nargs="+")
    parser.add_argument("--report", type=pathlib.Path, required=True)
    parser.add_argument("--calibrate", type=pathlib.Path)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--divergence", type=int, default=0)
    parser.add_argument("--bin", type=pathlib.Path, default="build/bin")
    parser.add_argument("--work", type=pathlib.Path, default="build/quality")
    flags = parser.parse_args()
    for name in ("report", "calibrate"):
        path = getattr(flags, name)
        if path:
            print(f"{name}: {path.name}, SHA-256 "
                  f"{hashlib.sha256(path.read_bytes()).hexdigest()}")
    tables = []
    for flags.checkpoint in flags.checkpoints:
        print(f"\n{flags.checkpoint.name}")
        tables.append(list(measure(Bench(flags))))
        print_table(tables[-1:])
    if len(tables) > 1:
        print(f"\nmean of {len(tables)}")
        print_table(tables)


if __name__ == "__main__":
    main()
