#!/usr/bin/env python3
"""`--attention sparse --calibrate`: what the table says is what the artifact does on
the texts that it names, and heads whose estimate is too optimistic keep what was
asked for all the same.
"""

import json
import re
import shutil
import struct

import harness

SPARSE = ["--attention", "sparse", "--block", 64, "--adjacent", 0]
LONG = ["--context", "4K", "--positions", "dca"]


def sharpen(programs):
    """qwen2 with larger queries: a few keys of a block have most of its attention,
    which its mean does not show."""
    source, folder = harness.TINY / "qwen2", programs.work / "sharp"
    shutil.copytree(source, folder, dirs_exist_ok=True)
    header, data = {}, b""
    for name, values in harness.read_tensors(source).items():
        raw = (values * (4 if "q_proj" in name else 1)).astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": values.shape,
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    head = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(
        struct.pack("<Q", len(head)) + head + data)
    return folder


def write_text(programs):
    file = programs.work / "own.txt"
    file.write_text("".join((harness.ROOT / name).read_text(encoding="utf-8")
                            for name in ("docs/style.md", "docs/importers.md")),
                    encoding="utf-8")
    return file


def part(programs, artifact, whole, text):
    """A file with the tokens of a text that the table names: its bytes, cut where
    calibration has stopped to read."""
    begin, end = map(int, re.search(r"bytes (\d+) to (\d+)\)", text["name"]).groups())
    letters = whole.read_bytes()[begin:end].decode()
    file = programs.work / "part.txt"

    def tokens(count):
        file.write_text(letters[:count], encoding="utf-8")
        return len(programs.tokenize(artifact, file))

    low, high = 0, len(letters)  # the longest front of not more tokens
    while low < high:
        middle = (low + high + 1) // 2
        low, high = ((middle, high) if tokens(middle) <= text["tokens"]
                     else (low, middle - 1))
    return file, tokens(low)


def measure(programs, artifact, file, window):
    out = programs.execute("stele", "perplexity", artifact, "-f", file, "--context",
                           window, "--json")
    return json.loads(out)


def table_of(programs, artifact):
    return json.loads(programs.execute("stele", "inspect", artifact,
                                       "--calibration", "--json"))


def test_table(report, programs):
    own, model = write_text(programs), sharpen(programs)
    artifact = programs.compile(model, "mass", *LONG, *SPARSE, "--mass", 0.7,
                                "--max-loss", "50%", "--calibrate", own)
    table = table_of(programs, artifact)
    texts = table["texts"]
    file, count = part(programs, artifact, own, texts["gate"])
    found = measure(programs, artifact, file, table["window"])
    report.check("tokens of the gate", count == texts["gate"]["tokens"], count)
    report.check("kept mass of the gate",
                 abs(found["kept_mass"] - table["kept_mass"]) < 1e-6,
                 f"{found}, {table['kept_mass']}")
    report.check("perplexity of the gate",
                 abs(found["perplexity"] / table["perplexity"]["sparse"] - 1) < 1e-5,
                 f"{found}, {table['perplexity']}")
    mean = sum(head["kept_mass"] for head in table["heads"]) / len(table["heads"])
    report.check("mean of the heads", abs(mean - table["kept_mass"]) < 1e-6, mean)

    # Not calibrated, the same budget keeps less than it says: these estimates are
    # too optimistic.
    plain = programs.compile(model, "plain", *LONG, *SPARSE, "--mass", 0.7)
    file, _ = part(programs, artifact, own, texts["calibration"])
    kept = [measure(programs, each, file, table["window"])["kept_mass"]
            for each in (plain, artifact)]
    report.check("calibration text", kept[0] < 0.7 <= kept[1], kept)
    report.check("targets", all(head["target"] > 0.7 for head in table["heads"]),
                 table["heads"])


def test_gate(report, programs):
    """A budget that loses too much is raised, and the table says from what."""
    artifact = programs.compile(harness.TINY / "qwen2", "density", *SPARSE, "--density", 0.1,
                                "--max-loss", "50%", "--calibrate",
                                write_text(programs))
    table = table_of(programs, artifact)
    report.check("budget", table["budget"]["asked"] == "density 0.1" and
                 table["budget"]["used"] != "density 0.1", table["budget"])
    report.check("met", table["met"] and table["kept_mass"] >= 0.95 and
                 all(head["target"] is None for head in table["heads"]), table)


def test(report, programs, only):
    for case in (test_table, test_gate):
        report.attempt(case.__name__, case, programs)


if __name__ == "__main__":
    harness.main(__doc__.split("\n")[0], test)
