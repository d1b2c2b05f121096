#!/usr/bin/env python3
"""The judges of tools/eval: what they print is true, and bad input is one error.

Passkeys of the induction checkpoint are all found, whole and each in a prompt of
its own; one whose copying layer is gone finds none. Scores of a real run on tiny
models are those of the answers beside them.
"""

import json
import shutil
import subprocess
import sys

import harness

EVAL = harness.ROOT / "tools/eval"
sys.path.insert(0, str(harness.ROOT / "models/induction"))
sys.path.insert(0, str(EVAL))
import make  # noqa: E402
import metrics  # noqa: E402

MODEL = "llama-tied"  # with a tokenizer and a chat template
SAMPLE = {"dataset": "example_questions", "context": "The sky is green.",
          "input": "Which colour has the sky?", "answers": ["green"]}
CLASSES = {**SAMPLE, "dataset": "example_classes", "all_classes": ["green"]}


def tool(programs, name, *arguments):
    command = [sys.executable, str(EVAL / f"{name}.py"),
               *map(str, arguments), "--bin", str(programs.bin)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def passkey(programs, artifact, *flags):
    return tool(programs, "passkey", artifact, *flags)


def check_refused(report, name, done, *parts):
    """One line on stderr that begins with "error: ", and nothing on stdout."""
    lines = done.stderr.splitlines()
    report.check(name, done.returncode == 1 and not done.stdout
                 and len(lines) == 1 and lines[0].startswith("error: ")
                 and all(p in lines[0] for p in parts),
                 f"exit code {done.returncode}: {done.stdout}{done.stderr}")


def induction_artifact(programs, name, copies):
    folder = programs.work / name
    shutil.rmtree(folder, ignore_errors=True)
    make.COPY_LAYER = 15 if copies else None
    make.make(folder)
    return programs.compile(folder, name, "--context", "2K")


def test_passkeys(report, programs):
    artifact = induction_artifact(programs, "finds", copies=True)
    picture = programs.work / "grid.svg"
    for case, flags in {
            "random": ["--haystack", "random"],
            "text": ["--haystack", harness.DATA / "smollm2/perplexity.txt"],
            "apart": ["--haystack", "random", "--apart"]}.items():
        done = passkey(programs, artifact, "--form", "induction", "--lengths",
                       "700,1K", "--depths", 3, "--require", "100%", "--json",
                       "--svg", picture, *flags)
        if not report.check(f"{case} exit code", done.returncode == 0,
                            done.stdout + done.stderr):
            continue
        grid = json.loads(done.stdout)
        cells = {(c["length"], c["depth"]) for c in grid["cells"] if c["found"]}
        report.check(f"{case} cells", grid["share"] == 1 and cells == {
            (n, d) for n in (700, 1024) for d in (0, 0.5, 1)}, grid)
        prompts = [p["tokens"] for p in grid["prefills"]]
        once = [700 - 6, 1024 - 6]
        report.check(f"{case} prompts", prompts == (
            [once[0]] * 3 + [once[1]] * 3 if case == "apart" else once), prompts)
        report.check(f"{case} memory", all(
            p["peak_bytes"] > 1 << 20 for p in grid["prefills"]), grid)
    report.check("picture", picture.read_text().startswith("<svg"))


def test_misses(report, programs):
    artifact = induction_artifact(programs, "finds-none", copies=False)
    flags = ["--form", "induction", "--haystack", "random", "--lengths", "512",
             "--depths", 2]
    done = passkey(programs, artifact, *flags)
    report.check("a picture of misses", done.returncode == 0
                 and done.stdout.split() == ["512", "0%", ".", "100%", ".",
                                             "0", "of", "2", "found"],
                 done.stdout + done.stderr)
    done = passkey(programs, artifact, *flags, "--require", "100%")
    report.check("misses that are required", done.returncode == 1
                 and "0 of 2 found" in done.stdout, done.stderr)


def test_passkey_refusals(report, programs):
    artifact = programs.compile(harness.TINY / MODEL, "tiny")
    text = harness.DATA / "smollm2/perplexity.txt"
    empty = programs.work / "empty.txt"
    empty.write_text("")
    for case, (flags, parts) in {
            "a context too short": (["--haystack", text, "--lengths", "1K"],
                                    ["--lengths 1024", "512", "--context"]),
            "no room": (["--haystack", text, "--lengths", "32"], ["32 tokens"]),
            "no file": (["--haystack", "none.txt", "--lengths", "512"],
                        ["none.txt"]),
            "an empty file": (["--haystack", empty, "--lengths", "512"],
                              ["empty.txt"]),
            "random text": (["--haystack", "random", "--lengths", "512"],
                            ["--haystack random"]),
            "too many": (["--haystack", text, "--lengths", "512", "--depths", 99],
                         ["--depths 99"])}.items():
        check_refused(report, case, passkey(programs, artifact, *flags), *parts)
    # A Python that sees no packages.
    bare = subprocess.run(
        [sys.executable, "-S", str(EVAL / "passkey.py"), str(artifact),
         "--haystack", "random", "--form", "induction", "--lengths", "512",
         "--bin", str(programs.bin)], capture_output=True, text=True)
    check_refused(report, "no numpy", bare, "'numpy'", "build/venv/bin/python")
    for flags in (["--lengths", "0"], ["--require", "9"], ["--depths", "x"]):
        done = passkey(programs, artifact, "--haystack", text, *flags)
        report.check(f"wrong usage {flags}", done.returncode == 2, done.stderr)


def test_text_form(report, programs):
    """Untrained models find nothing, but their prompts must be well formed."""
    artifact = programs.compile(harness.TINY / MODEL, "tiny")
    done = passkey(programs, artifact, "--haystack",
                   harness.DATA / "smollm2/perplexity.txt", "--lengths", "512",
                   "--depths", 2, "--json", "--apart")
    if not report.check("text form", done.returncode == 0, done.stderr):
        return
    grid = json.loads(done.stdout)
    report.check("text form's cells", len(grid["cells"]) == 2 and all(
        c["expected"].isdecimal() and p["tokens"] < 512
        for c, p in zip(grid["cells"], grid["prefills"])), grid)


def test_longbench(report, programs):
    artifact = programs.compile(harness.TINY / MODEL, "tiny")
    answers = programs.work / "answers.jsonl"
    files = sorted((EVAL / "examples").glob("*.jsonl"))
    done = tool(programs, "longbench", artifact, *files, "--json", "--context",
                448, "--answers", answers)
    if not report.check("longbench", done.returncode == 0, done.stderr):
        return
    found = json.loads(done.stdout)
    rows = [json.loads(line) for line in answers.read_text().splitlines()]
    expected = {f"example_{f.stem}": len(f.read_text().splitlines())
                for f in files}
    report.check("samples", {d["dataset"]: d["samples"]
                             for d in found["datasets"]} == expected, found)
    for row in found["datasets"]:
        mine = [r for r in rows if r["dataset"] == row["dataset"]]
        report.check(f"{row['dataset']} is the mean", abs(row["score"] - sum(
            r["score"] for r in mine) / len(mine)) < 1e-9, row)
    questions = [r for r in rows if r["metric"] == "f1"]
    report.check("the best answer counts", all(
        r["score"] == max(metrics.question_f1(r["answer"], a)
                          for a in r["answers"]) for r in questions), questions)
    report.check("prompts that are cut", any(r["cut"] for r in rows)
                 and not all(r["cut"] for r in rows), rows)


def test_longbench_refusals(report, programs):
    artifact = programs.compile(harness.TINY / MODEL, "tiny")
    file = programs.work / "bad.jsonl"
    good = json.dumps(SAMPLE)
    for case, (text, parts) in {
            "no field": (good + "\n" + json.dumps(
                {k: v for k, v in SAMPLE.items() if k != "context"}),
                [":2", '"context"']),
            "a field of another kind": (json.dumps({**SAMPLE, "input": 3}),
                                        [":1", '"input"', "3"]),
            "no JSON": (good + "\n{\n", [":2", "not JSON"]),
            "no object": ("[1]", [":1", "object"]),
            "no answers": (json.dumps({**SAMPLE, "answers": []}),
                           [":1", '"answers"']),
            "an empty answer": (json.dumps({**SAMPLE, "answers": [" "]}),
                                [":1", '"answers"']),
            "another data set": (json.dumps({**SAMPLE, "dataset": "other"}),
                                 [":1", "'other'", "--metric other="]),
            "no classes": (json.dumps({**CLASSES, "all_classes": None}),
                           [":1", '"all_classes"']),
            "another class": (json.dumps({**CLASSES, "all_classes": ["red"]}),
                              [":1", '"green"']),
            "nothing": ("\n\n", ["no samples"])}.items():
        file.write_text(text)
        check_refused(report, case, tool(programs, "longbench", artifact, file),
                      str(file), *parts)
    file.write_bytes(b"\xff")
    check_refused(report, "no UTF-8", tool(programs, "longbench", artifact, file),
                  str(file), "UTF-8")
    file.write_text(good)
    for case, flags, parts in (
            ("context", ["--context", "1K"], ["--context 1024", "512"]),
            ("no room", ["--context", "40"], ["40 tokens", "no room"])):
        check_refused(report, case, tool(programs, "longbench", artifact, file,
                                         *flags), *parts)
    check_refused(report, "no file", tool(programs, "longbench", artifact,
                                          "none.jsonl"), "none.jsonl")
    check_refused(report, "no artifact", tool(programs, "longbench",
                                              "none.stele", file), "none.stele")
    done = tool(programs, "longbench", artifact, file, "--metric", "x=y")
    report.check("wrong usage", done.returncode == 2, done.stderr)


def test(report, programs, only):
    for case in (test_passkeys, test_misses, test_passkey_refusals,
                 test_text_form, test_longbench, test_longbench_refusals):
        if only and case.__name__ not in only:
            continue
        report.attempt(case.__name__, case, programs)


if __name__ == "__main__":
    harness.main(__doc__.split("\n")[0], test)
