#!/usr/bin/env python3
"""Sessions outlast their process, bit for bit, and processes share pages.

Compiled models: an answer in parts is the answer in one, sampled tokens compared
(each depends on every bit of the logits); a second prompt reads what the first
one computed; a damaged page is computed again; a process that is killed while it
answers or saves leaves the turn before it or its own.
"""

import json
import random
import shutil
import signal
import subprocess
import time

import numpy as np

import harness

CHECKPOINTS = ["llama-long", "mistral-window", "qwen3"]
# Whose answers depend on the key index of what was loaded.
SPARSE = ["--attention", "sparse", "--block", "64", "--adjacent", "0", "--sink",
          "0", "--top-k", "1"]
SAMPLED = ["--temperature", "1", "--repeat-penalty", "1.1", "--ignore-eos"]
PROMPT, ANSWER = 300, 48
KILLS = 25


class Store:
    """A store in the work folder, empty at first."""

    def __init__(self, programs, artifact, name):
        self.programs, self.artifact = programs, artifact
        self.folder = programs.work / f"{name}.store"
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, *flags):
        return ["run", self.artifact, "--json", *SAMPLED, "--store",
                self.folder, *flags]

    def run(self, *flags):
        return json.loads(self.programs.execute("stele", *self.command(*flags)))

    def pages(self):
        return sorted((self.folder / "pages").iterdir())


def ids(tokens):
    return ",".join(map(str, tokens))


def alone(programs, artifact, tokens, count):
    out = programs.execute("stele", "run", artifact, "--json", *SAMPLED,
                           "--seed", 3, "--tokens", ids(tokens), "-n", count)
    return json.loads(out)["tokens"]


def test_parts(report, programs, case, artifact, prompt, expected):
    store = Store(programs, artifact, "parts")
    parts = [1, 20, 7, ANSWER - 28]
    found = []
    for i, count in enumerate(parts):
        begin = ["--tokens", ids(prompt), "--seed", 3] if i == 0 else []
        threads = ["--threads", 1 + i % 2]
        part = store.run("--session", "s", "-n", count, *begin, *threads)
        reused = part["stats"]["store"]["tokens_reused"]
        known = 0 if i == 0 else PROMPT + len(found) - 1
        report.check(f"{case} part {i} computes its own tokens only",
                     reused == known, f"{reused} reused, expected {known}")
        found += part["tokens"]
    report.check(f"{case} answer in parts", found == expected,
                 f"{found}, expected {expected}")


def test_prefixes(report, programs, case, artifact, prompt, vocabulary):
    store = Store(programs, artifact, "prefixes")
    store.run("--tokens", ids(prompt), "-n", 1)
    pages = len(store.pages())
    other = prompt[:-20] + [(t + 1) % vocabulary for t in prompt[-20:]]
    expected = alone(programs, artifact, other, 8)
    again = store.run("--tokens", ids(other), "-n", 8, "--seed", 3)
    moved = again["stats"]["store"]
    report.check(f"{case} a second prompt reads the first one's pages",
                 pages > 0 and moved["pages_read"] == pages
                 and moved["tokens_reused"] >= PROMPT // 2, moved)
    report.check(f"{case} its answer", again["tokens"] == expected,
                 f"{again['tokens']}, expected {expected}")
    damaged = store.pages()[0]
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 4
    damaged.write_bytes(data)
    third = store.run("--tokens", ids(other), "-n", 8, "--seed", 3)
    report.check(f"{case} a damaged page is computed again",
                 third["tokens"] == expected
                 and third["stats"]["store"]["pages_damaged"] == 1
                 and third["stats"]["store"]["pages_written"] >= 1, third)


def test_kills(report, programs, case, artifact, prompt):
    """A turn a process, killed at a random moment: none is ever half there."""
    store = Store(programs, artifact, "kills")
    moments = random.Random(1)
    store.run("--session", "s", "--tokens", ids(prompt[:64]), "-n", 1,
              "--seed", 3)
    whole = alone(programs, artifact, prompt[:64], 4 * KILLS + 8)
    started = time.monotonic()
    done = store.run("--session", "s", "-n", 1)
    longest = time.monotonic() - started
    position, killed = 65, 0
    for i in range(KILLS):
        command = [str(programs.bin / "stele"),
                   *map(str, store.command("--session", "s", "-n", 2))]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0, longest))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        done = store.run("--session", "s", "-n", 1)
        start = done["prompt_tokens"]
        step = start - position - 1
        if not report.check(f"{case} kill {i}: the turn or none of it",
                            step in (0, 2), f"{step} tokens were saved"):
            return
        position = start
        expected = whole[start - 64]
        report.check(f"{case} kill {i}: the next token",
                     done["tokens"] == [expected],
                     f"{done['tokens']}, expected {expected}")
    report.check(f"{case} kills", killed > KILLS // 3, f"{killed} of {KILLS}")


def test_checkpoint(report, programs, name, arithmetic, *flags):
    kind = f"{name}-{'sparse-' if flags else ''}{arithmetic}"
    artifact = programs.compile(harness.TINY / name, kind, "--activations",
                                arithmetic, *flags)
    config = json.loads((harness.TINY / name / "config.json").read_text())
    vocabulary = config["vocab_size"]
    prompt = np.random.default_rng(7).integers(3, vocabulary, PROMPT).tolist()
    case = f"{kind}:"
    expected = alone(programs, artifact, prompt, ANSWER)
    test_parts(report, programs, case, artifact, prompt, expected)
    test_prefixes(report, programs, case, artifact, prompt, vocabulary)
    if name == CHECKPOINTS[0] and not flags:
        test_kills(report, programs, case, artifact, prompt)


def test(report, programs, only):
    cases = [(name, ()) for name in only or CHECKPOINTS]
    cases += [(name, SPARSE) for name, _ in cases if name == CHECKPOINTS[0]]
    for name, flags in cases:
        for arithmetic in ("f32", "bf16"):
            report.attempt(f"{name} {arithmetic}", test_checkpoint, programs, name,
                           arithmetic, *flags)


if __name__ == "__main__":
    harness.main(__doc__, test)
