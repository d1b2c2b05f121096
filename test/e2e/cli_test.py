#!/usr/bin/env python3
"""The command line's contract: exit codes, one error line, what is left on disk.

Inputs are refused with exit code 1 and one `error: ` line that names what is
wrong; wrong usage is 2; an interrupted compile is 130 and leaves nothing.
"""

import json
import os
import shutil
import signal
import subprocess
import time

import harness

VERBS = ["compile", "run", "chat", "inspect", "bench", "perplexity", "tokenize",
         "verify", "doctor"]


def invoke(programs, *arguments, program="stele"):
    command = [str(programs.bin / program), *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          timeout=120)


def refused(report, programs, name, arguments, *needles, code=1):
    """The command fails with `code` and one error line holding every needle."""
    done = invoke(programs, *arguments)
    errors = [l for l in done.stderr.splitlines() if l.startswith("error: ")]
    ok = (done.returncode == code and len(errors) == 1
          and all(n in errors[0] for n in needles) and not done.stdout)
    report.check(name, ok, f"exit code {done.returncode}, stderr "
                 f"{done.stderr!r}, stdout {done.stdout[:80]!r}; expected {code} "
                 f"and one error line with {needles}")


def test_help(report, programs):
    for verb in VERBS:
        done = invoke(programs, verb, "--help")
        text = done.stdout + done.stderr
        report.check(f"{verb} --help",
                     done.returncode == 0 and f"stele {verb}" in text
                     and "xample" in text, f"{done.returncode}: {text[:200]!r}")
    for name, arguments in {
            "no verb": [], "unknown verb": ["frobnicate"],
            "unknown flag": ["run", "x.stele", "--frobnicate"],
            "missing argument": ["run"], "not a number": ["run", "x", "-n", "many"],
    }.items():
        done = invoke(programs, *arguments)
        report.check(f"usage: {name}", done.returncode == 2 and done.stderr,
                     f"exit code {done.returncode}: {done.stderr!r}")


def test_run_refusals(report, programs, artifact):
    vocabulary = 307
    run = ["run", artifact, "-n", "1", "--tokens"]
    cases = {
        "id out of the vocabulary": (str(vocabulary), [str(vocabulary)]),
        "negative id": ("1,-5", ["-5"]),
        "not an id": ("1,two", ["two"]),
        "no ids": ("", []),
        "longer than the context": (",".join(["7"] * 600), ["512"]),
    }
    for name, (ids, needles) in cases.items():
        refused(report, programs, name, [*run, ids], *needles)
    missing = programs.work / "absent.stele"
    for verb in ("run", "inspect", "verify", "tokenize", "bench"):
        done = invoke(programs, verb, missing, *(["-p", "x"] if verb == "run" else
                                                 ["-p", "8"] if verb == "bench"
                                                 else []))
        report.check(f"{verb} of a missing file",
                     done.returncode == 1 and "absent.stele" in done.stderr,
                     f"{done.returncode}: {done.stderr!r}")
    other = programs.work / "not-an-artifact.stele"
    other.write_bytes(b"This is no artifact. " * 10)
    refused(report, programs, "not an artifact", ["run", other, "--tokens", "1"],
            other.name)
    for flag, value in (("--temperature", "nan"), ("--temperature", "-1"),
                        ("--top-p", "1.5")):
        done = invoke(programs, *run, "1", flag, value)
        report.check(f"{flag} {value}", done.returncode in (1, 2),
                     f"exit code {done.returncode}")


def test_wrong_usage(report, programs, artifact):
    """Flags that are read as something else nowhere: exit code 2, said so."""
    run = ["run", artifact, "--tokens", "1"]
    cases = {
        "a negative seed": ([*run, "--seed", "-1"],
                            "'-1' is not a whole number from 0 to 18446744073709551615"),
        "a negative top-k": ([*run, "--top-k", "-2"],
                             "'-2' is not a whole number from 0 to 4294967295"),
        "nothing to measure": (["bench", artifact, "-p", "0", "-n", "0"],
                               "nothing to measure"),
    }
    for name, (arguments, needle) in cases.items():
        done = invoke(programs, *arguments)
        report.check(name, done.returncode == 2 and needle in done.stderr
                     and not done.stdout, f"{done.returncode}: {done.stderr!r}, "
                     f"stdout {done.stdout!r}")
    refused(report, programs, "a prompt that does not fit",
            ["bench", artifact, "-p", "1M", "-n", "0"], "1048576")
    text = invoke(programs, "run", "--help").stdout
    report.check("--prompts says what is raw", "raw text unless --chat" in
                 " ".join(text.split()), text)


def test_bench_median(report, programs, artifact):
    """Of two repetitions: between them, not the better one."""
    done = invoke(programs, "bench", artifact, "-p", "8", "-n", "0", "-r", "2",
                  "--json")
    rate = json.loads(done.stdout)["rows"][0]["tokens_per_s"]
    report.check("median of two", rate["median"] == (rate["min"] + rate["max"]) / 2,
                 rate)


def test_broken_json(report, programs, artifact):
    file = programs.work / "broken.json"
    file.write_text('[{"role": "user",\n  "content" "hi"}]\n')
    refused(report, programs, "broken messages",
            ["run", artifact, "--messages", file],
            "is not valid JSON at line 2, column 16")
    file.write_text('{"prompt": }\n')
    refused(report, programs, "a broken line of prompts",
            ["run", artifact, "--prompts", file],
            "line 1 is not valid JSON at column 12")


def test_links(report, programs, artifact):
    """What a link names is written; the link stays."""
    folder = programs.work / "links"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, command in {
            "m.stele": ["compile", harness.TINY / "llama-tied", "-o"],
            "l.npy": ["run", artifact, "--tokens", "1", "-n", "1", "--logits"],
    }.items():
        (folder / name).write_bytes(b"old")
        link = folder / ("link-" + name)
        link.symlink_to(name)
        done = invoke(programs, *command, link)
        report.check(f"{name} through a link",
                     done.returncode == 0 and link.is_symlink()
                     and (folder / name).stat().st_size > 3
                     and len(list(folder.glob(f"*{name}*"))) == 2,
                     f"{done.returncode}: {done.stderr!r}, "
                     f"{sorted(folder.iterdir())}")


def test_gguf_names(report, programs):
    """A GGUF's tensors are named as the file names them."""
    data = (harness.TINY / "gguf/llama-f32/model.gguf").read_bytes()
    file = programs.work / "renamed.gguf"
    file.write_bytes(data.replace(b"token_embd.weight", b"token_embx.weight"))
    refused(report, programs, "no embedding",
            ["compile", file, "-o", programs.work / "r.stele"], "token_embd.weight")
    file.write_bytes(data.replace(b"blk.0.ffn_up.weight", b"blk.0.ffn_ux.weight"))
    refused(report, programs, "no ffn_up",
            ["compile", file, "-o", programs.work / "r.stele"],
            "tensor 'blk.0.ffn_up.weight'", "is missing")


def test_compile_leaves_nothing(report, programs):
    """After a refusal neither the output nor a temporary file is there."""
    broken = programs.work / "broken"
    shutil.rmtree(broken, ignore_errors=True)
    shutil.copytree(harness.TINY / "llama-tied", broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    out = programs.work / "refused"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    cases = {
        "truncated weights": (broken, "model.safetensors"),
        "missing checkpoint": (programs.work / "absent", "absent"),
        "a folder without config.json": (out, "config.json"),
    }
    for name, (checkpoint, needle) in cases.items():
        refused(report, programs, f"compile: {name}",
                ["compile", checkpoint, "-o", out / "x.stele"], needle)
        left = [p.name for p in out.iterdir()]
        report.check(f"compile: {name} leaves nothing", not left, left)
    refused(report, programs, "compile: unknown target",
            ["compile", harness.TINY / "llama-tied", "-o", out / "x.stele",
             "--target", "pdp-11"], "pdp-11")


def test_interrupted_compile(report, programs):
    """Ctrl-C at several moments: exit code 130 or done, never half an artifact."""
    out = programs.work / "interrupted"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    environment = {**os.environ, "TMPDIR": str(out)}  # lld's files count, too
    for delay in (0.05, 0.1, 0.15, 0.2, 0.3):
        target = out / "x.stele"
        process = subprocess.Popen(
            [programs.bin / "stele-compile", harness.TINY / "llama-tied", "-o",
             target], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=environment)
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=60)
        left = sorted(p.name for p in out.iterdir())
        ok = (code in (130, -signal.SIGINT) and not left) or (
            code == 0 and left == ["x.stele"])
        report.check(f"compile interrupted after {delay} s", ok,
                     f"exit code {code}, left {left}")
        target.unlink(missing_ok=True)


def test_results(report, programs, artifact):
    golden = harness.read_goldens(harness.TINY / "llama-tied")["prompts"][1]
    ids = ",".join(map(str, golden["tokens"]))
    base = ["run", artifact, "--tokens", ids, "--temperature", "0", "--json"]
    done = json.loads(invoke(programs, *base, "-n", "5", "--ignore-eos").stdout)
    report.check("finish by length",
                 done["finish_reason"] == "length"
                 and done["prompt_tokens"] == len(golden["tokens"])
                 and done["tokens"] == golden["greedy"][:5]
                 and isinstance(done["text"], str) and "stats" in done, done)
    seeded = [*base[:-3], "-n", "12", "--ignore-eos", "--json", "--temperature",
              "1.5", "--seed"]
    first, again, other = (json.loads(invoke(programs, *seeded, s).stdout)["tokens"]
                           for s in ("1", "1", "2"))
    report.check("the same seed", first == again, f"{first} and {again}")
    report.check("another seed", first != other, f"{first} twice")


def test_sampling(report, programs, artifact):
    """Penalties and samplers, against what transformers leaves to draw from."""
    file = harness.TINY / "llama-tied/sampling.json"
    golden = json.loads(file.read_text())
    ids = ",".join(map(str, golden["tokens"]))
    run = ["run", artifact, "--tokens", ids, "--ignore-eos", "--json"]
    for case in golden["penalties"]:
        expected = case["greedy"]
        done = json.loads(invoke(
            programs, *run, "-n", len(expected), "--temperature", "0",
            "--repeat-penalty", case["penalty"]).stdout)
        report.check(f"repeat penalty {case['penalty']}",
                     done["tokens"] == expected,
                     f"{done['tokens']}, expected {expected}")
    off = {"top_k": 0, "top_p": 1, "min_p": 0, "temperature": 1}
    for case in golden["samplers"]:
        flags = [text for key, value in {**off, **case["settings"]}.items()
                 for text in (f"--{key.replace('_', '-')}", value)]
        drawn = {json.loads(invoke(
            programs, *run, "-n", "1", "--repeat-penalty", "1", *flags,
            "--seed", seed).stdout)["tokens"][0] for seed in range(16)}
        report.check(f"sampler {case['settings']}",
                     drawn <= set(case["allowed"]) and len(drawn) > 1,
                     f"drew {drawn}, allowed {case['allowed']}")


def test_lookup(report, programs, artifact):
    """Drafts from the prompt: the same tokens, in fewer steps where they are right."""
    base = ["run", artifact, "--tokens", "36,5,7,9", "-n", "100", "--ignore-eos",
            "--json"]
    for sampling in (["--temperature", "0"],
                     ["--temperature", "0.7", "--top-p", "0.9", "--top-k", "30",
                      "--min-p", "0.02", "--repeat-penalty", "1.1", "--seed", "3"]):
        plain, drafted = (json.loads(invoke(programs, *base, *sampling, "--lookup",
                                            n).stdout) for n in ("0", "6"))
        stats = drafted["stats"]
        report.check(f"lookup {sampling[1]}",
                     drafted["tokens"] == plain["tokens"]
                     and stats["drafted"] >= stats["accepted"]
                     and stats["steps"] == plain["stats"]["steps"] - stats["accepted"],
                     f"{plain}, with lookup {drafted}")
    report.check("no lookup, no drafts", plain["stats"]["drafted"] == 0, plain)


def test_end_tokens(report, programs):
    """Greedy runs stop at the first end token of generation_config or config."""
    tried = 0
    for folder in sorted(p.parent for p in harness.TINY.glob("*/goldens.json")):
        config = json.loads((folder / "config.json").read_text())
        generation = folder / "generation_config.json"
        if generation.exists():
            config.update(json.loads(generation.read_text()))
        ends = config["eos_token_id"]
        ends = ends if isinstance(ends, list) else [ends]
        for golden in harness.read_goldens(folder)["prompts"]:
            at = next((i for i, t in enumerate(golden["greedy"]) if t in ends), None)
            if at is None or min(golden["gaps"][:at + 1]) < harness.TIE:
                continue
            tried += 1
            artifact = programs.compile(folder, folder.name, "--activations", "f32")
            ids = ",".join(map(str, golden["tokens"]))
            done = json.loads(invoke(
                programs, "run", artifact, "--tokens", ids, "--temperature", "0",
                "-n", "64", "--json").stdout)
            report.check(f"{folder.name} ends", done["finish_reason"] == "eos"
                         and done["tokens"] in (golden["greedy"][:at],
                                                golden["greedy"][:at + 1]), done)
    report.check("some golden reaches an end token", tried > 0)


def test(report, programs, only):
    artifact = programs.compile(harness.TINY / "llama-tied", "llama-tied",
                                "--activations", "f32")
    test_help(report, programs)
    test_run_refusals(report, programs, artifact)
    test_wrong_usage(report, programs, artifact)
    test_bench_median(report, programs, artifact)
    test_broken_json(report, programs, artifact)
    test_links(report, programs, artifact)
    test_gguf_names(report, programs)
    test_compile_leaves_nothing(report, programs)
    test_interrupted_compile(report, programs)
    test_results(report, programs, artifact)
    test_sampling(report, programs, artifact)
    test_lookup(report, programs, artifact)
    test_end_tokens(report, programs)


if __name__ == "__main__":
    harness.main(__doc__, test)
