#!/usr/bin/env python3
"""Runs every test of the project and counts them.

Parts run in the order below; each is built, run and timed by itself, and a
part that cannot be built counts as one failure. The last line is
`N passed, N failed`; the exit code is 0 only when nothing failed.
"""

import argparse
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
JOBS = str(os.cpu_count() or 2)


class PartFailed(Exception):
    """A step that the rest of a part needs did not succeed."""


def run(*command, **kwargs):
    print("$", " ".join(map(str, command)), flush=True)
    return subprocess.run([str(c) for c in command], cwd=ROOT, **kwargs)


def must(*command, **kwargs):
    if run(*command, **kwargs).returncode != 0:
        raise PartFailed(" ".join(map(str, command)))


def configure_and_build(preset, build_dir):
    if not (ROOT / build_dir / "build.ninja").exists():
        must("cmake", "--preset", preset)
    must("ninja", "-C", build_dir)


def ctest(build_dir, *arguments, timeout_s=900, env=None):
    """Runs a build folder's tests; returns (passed, failed)."""
    report = ROOT / build_dir / "junit.xml"
    report.unlink(missing_ok=True)
    run("ctest", "--test-dir", build_dir, "--output-on-failure", "-j", JOBS,
        "--timeout", timeout_s, "--output-junit", report, "--quiet",
        *arguments, env={**os.environ, **(env or {})})
    if not report.exists():
        raise PartFailed(f"ctest in {build_dir} wrote no report")
    passed = failed = 0
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        counts = closing_counts(case.findtext("system-out") or "")
        if case.get("status") == "run":
            passed += counts[0] if counts else 1
            failed += counts[1] if counts else 0
        else:
            passed += counts[0] if counts else 0
            failed += max(1, counts[1] if counts else 1)
            print(f"FAILED: {case.get('name')}")
            print(case.findtext("system-out") or "", flush=True)
    if passed + failed == 0:
        raise PartFailed(f"no test was found in {build_dir}")
    return passed, failed


def closing_counts(output):
    """`N passed, N failed` that a suite inside one ctest entry printed last."""
    found = re.findall(r"^(\d+) passed, (\d+) failed$", output, re.MULTILINE)
    return tuple(map(int, found[-1])) if found else None


def lint():
    checks = [["tools/lint", "format"], ["tools/lint", "tidy"],
              ["tools/lint", "tree"]]
    failed = sum(run(*check).returncode != 0 for check in checks)
    return len(checks) - failed, failed


def release():
    configure_and_build("release", "build")
    must("tools/fetch-model")
    must("tools/make-venv")
    return ctest("build")


def asan():
    configure_and_build("asan", "build-asan")
    must("tools/make-venv")
    # LLVM gives the thread that makes its first temporary file an alternate
    # signal stack, and ASan would unmap that as its own when the thread ends.
    options = "detect_leaks=1:allocator_may_return_null=1:use_sigaltstack=0"
    return ctest("build-asan", "-LE", "slow", env={"ASAN_OPTIONS": options})


def tsan():
    configure_and_build("tsan", "build-tsan")
    return ctest("build-tsan")


def fuzz():
    return closing_counts_of("tools/fuzz", "--build", "build-asan",
                             "--seconds", "20")


def closing_counts_of(*command):
    result = run(*command, stdout=subprocess.PIPE, text=True)
    print(result.stdout, flush=True)
    counts = closing_counts(result.stdout)
    if counts is None:
        raise PartFailed(f"{command[0]} printed no count")
    return counts


PARTS = {
    "release": (release, "unit, lit and end-to-end tests, the real model"),
    "lint": (lint, "formatting, clang-tidy, rules about the tree"),
    "asan": (asan, "unit and end-to-end tests under ASan + UBSan"),
    "tsan": (tsan, "the runtime alone (no LLVM) under ThreadSanitizer"),
    "fuzz": (fuzz, "every fuzz target for 20 s"),
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter,
        epilog="parts:\n" + "\n".join(
            f"  {name:8} {what}" for name, (_, what) in PARTS.items())
        + "\n\nexample: tools/check release lint")
    parser.add_argument("parts", nargs="*", metavar="PART",
                        help="run only these (default: all)")
    arguments = parser.parse_args()
    unknown = [p for p in arguments.parts if p not in PARTS]
    if unknown:
        parser.error(f"unknown part {unknown[0]!r}; one of {', '.join(PARTS)}")

    rows = []
    for name in arguments.parts or PARTS:
        print(f"\n== {name}: {PARTS[name][1]}", flush=True)
        start = time.monotonic()
        try:
            passed, failed = PARTS[name][0]()
        except PartFailed as error:
            print(f"FAILED: {error}")
            passed, failed = 0, 1
        rows.append((name, passed, failed, (time.monotonic() - start) / 60))

    print("\npart       passed  failed  minutes")
    for name, passed, failed, minutes in rows:
        print(f"{name:10} {passed:6} {failed:7} {minutes:8.1f}")
    passed = sum(row[1] for row in rows)
    failed = sum(row[2] for row in rows)
    print(f"{sum(row[3] for row in rows):.1f} minutes in all")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
