#!/usr/bin/env python3
"""Budgets of the whole: sizes, memory and times that a user would notice.

Compile times are processor seconds, which a busy machine does not stretch (an
idle one needs no more by the clock); loading is the best of three.
"""

import json
import os
import re
import shutil
import subprocess
import time

import harness
import mixed_text

MIB = 1 << 20
RUNTIME_BYTES = 5 * MIB
COMPILE_7B_ANONYMOUS = 2048 * MIB
RUN_SLACK = 64 * MIB
MILLION_TOKENS_S = 2


def anonymous_peak(command, timeout=300):
    """(exit code, peak of anonymous memory in bytes, processor seconds, stdout)"""
    start, peak = time.monotonic(), 0
    before = os.times()
    process = subprocess.Popen(list(map(str, command)), text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    while process.poll() is None and time.monotonic() - start < timeout:
        try:
            with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
                found = re.search(r"RssAnon:\s+(\d+) kB", file.read())
            peak = max(peak, int(found[1]) * 1024 if found else 0)
        except OSError:
            pass
        time.sleep(0.005)
    process.kill()
    output = process.communicate()[0]
    after = os.times()
    seconds = (after.children_user - before.children_user
               + after.children_system - before.children_system)
    return process.returncode, peak, seconds, output


def test_runtime_binary(report, programs):
    stripped = programs.work / "stele.stripped"
    shutil.copy(programs.bin / "stele", stripped)
    subprocess.run(["strip", stripped], check=True)
    size = stripped.stat().st_size
    report.check("stripped stele", size < RUNTIME_BYTES, f"{size} bytes")
    print(f"stripped stele: {size / MIB:.2f} MiB")
    listing = subprocess.run(["ldd", programs.bin / "stele"], text=True,
                             stdout=subprocess.PIPE, check=True).stdout
    foreign = re.findall(r"\S*(?:LLVM|MLIR|clang|lld)\S*", listing)
    report.check("stele links no LLVM", not foreign, foreign)


def test_7b_compile(report, programs):
    out = programs.work / "7b.stele"
    code, peak, seconds, _ = anonymous_peak([
        programs.bin / "stele-compile", harness.DATA / "configs/qwen2.5-7b/config.json",
        "--weights", "synthetic:1", "--activations", "bf16", "-o", out])
    print(f"compile of a 7B shape: {seconds:.1f} s, {peak / MIB:.0f} MiB")
    report.check("compile of a 7B shape", code == 0, f"exit code {code}")
    report.check("compile of a 7B shape, memory", peak < COMPILE_7B_ANONYMOUS,
                 f"{peak} bytes")
    report.check("compile of a 7B shape, time", seconds < 30, f"{seconds:.1f} s")


def test_smollm2(report, programs):
    model = harness.ROOT / "build/models/SmolLM2-135M-Instruct.Q4_1.gguf"
    out = programs.work / "smollm2.stele"
    code, peak, seconds, _ = anonymous_peak(
        [programs.bin / "stele-compile", model, "-o", out])
    print(f"compile of SmolLM2: {seconds:.1f} s, {peak / MIB:.0f} MiB")
    report.check("compile of SmolLM2", code == 0 and seconds < 15,
                 f"exit code {code}, {seconds:.1f} s")
    run = [programs.bin / "stele", "run", out, "--tokens", "1,2,3", "-n", "16",
           "--json", *harness.GREEDY]
    results = [anonymous_peak(run) for _ in range(3)]
    stats = [json.loads(r[3])["stats"] for r in results]
    load = 1000 * min(s["load_s"] for s in stats)
    planned = stats[0]["planned_bytes"]
    peak = max(r[1] for r in results)
    print(f"load to ready: {load:.1f} ms; planned {planned / MIB:.1f} MiB, "
          f"anonymous peak {peak / MIB:.1f} MiB")
    report.check("load to ready", load < 100, f"{load:.1f} ms")
    report.check("anonymous memory of a run", peak <= planned + RUN_SLACK,
                 f"{peak} bytes, planned {planned}")
    test_tokenizer(report, programs, out)


def test_tokenizer(report, programs, artifact):
    file = programs.work / "mixed.txt"
    file.write_bytes(b"".join(mixed_text.documents()))
    before = os.times()
    output = programs.execute("stele", "tokenize", artifact, "-f", file)
    seconds = os.times().children_user - before.children_user
    tokens = len(output.split())
    million = seconds * 1e6 / max(tokens, 1)
    print(f"tokenize: {tokens} tokens, {million:.2f} s for a million")
    report.check("enough tokens to time", tokens > 1e6, f"{tokens} tokens")
    report.check("a million tokens, time", million < MILLION_TOKENS_S,
                 f"{million:.2f} s")


def test(report, programs, only):
    test_runtime_binary(report, programs)
    test_7b_compile(report, programs)
    test_smollm2(report, programs)


if __name__ == "__main__":
    harness.main(__doc__, test)
