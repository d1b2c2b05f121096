"""Runs build/bin/stele as a user would, for the judges beside this file.

The end of the road seen from outside: what goes in is files and flags, what comes
out is JSON, seconds and the memory that a process held. Whatever goes wrong is an
EvalError of one line.
"""

import argparse
import json
import pathlib
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parents[2]
GREEDY = ["--temperature", "0", "--repeat-penalty", "1"]
SAMPLE_SECONDS = 0.05


class EvalError(Exception):
    """What is wrong, where, and what to do, in one line."""


@dataclass
class Outcome:
    out: bytes
    seconds: float
    peak_bytes: int  # of RssAnon + RssShmem, sampled


class Stele:
    """One artifact, and flags for every `stele run`."""

    def __init__(self, folder, artifact, flags=()):
        self.program = pathlib.Path(folder) / "stele"
        self.artifact = artifact
        self.flags = list(flags)
        if not self.program.is_file():
            raise EvalError(f"'{self.program}' is not there; build it, or name "
                            "its folder by --bin")

    def execute(self, verb, *arguments):
        command = [str(a) for a in (self.program, verb, self.artifact, *arguments)]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            start = time.monotonic()
            process = subprocess.Popen(command, stdout=out, stderr=err,
                                       stdin=subprocess.DEVNULL)
            try:
                peak = watch(process)
            finally:
                process.kill()
                process.wait()
            seconds = time.monotonic() - start
            out.seek(0)
            err.seek(0)
            if process.returncode != 0:
                raise EvalError(last_error(err.read(), command,
                                           process.returncode))
            return Outcome(out.read(), seconds, peak)

    def run(self, *arguments):
        """(JSON lines of a greedy run, its outcome)"""
        done = self.execute("run", *arguments, "--json", *GREEDY, *self.flags)
        return [json.loads(line) for line in done.out.splitlines()], done

    def tokenize(self, file):
        done = self.execute("tokenize", "-f", file, "--json")
        return json.loads(done.out)["ids"]

    def context(self):
        """The longest prompt and answer that the artifact was compiled for."""
        done = self.execute("inspect", "--json")
        return json.loads(done.out)["model"]["context"]

    def chat_frame(self):
        """What the chat template puts before and behind a user's words; two empty
        texts for a model without one."""
        mark = "WORDS"
        done = self.execute("run", "-p", mark, "--print-prompt")
        before, found, behind = done.out.decode("utf-8").partition(mark)
        if not found or mark in behind:
            raise EvalError(f"'{self.artifact}': its chat template does not say "
                            "the user's words once")
        return before, behind


class Tokens:
    """Pieces of text as ids, without what the tokenizer puts before a text."""

    def __init__(self, stele, folder):
        self.stele, self.file = stele, pathlib.Path(folder) / "piece.txt"
        self.known = {}
        self.begin = self.raw("")

    def raw(self, text):
        self.file.write_text(text, encoding="utf-8")
        return self.stele.tokenize(self.file)

    def of(self, text):
        if text not in self.known:
            self.known[text] = self.raw(text)[len(self.begin):]
        return self.known[text]

    def framed(self, frame):
        """A frame as ids. One of words alone is what the tokenizer puts there."""
        before, behind = frame
        return self.of(before) if before else self.begin, self.of(behind)


def watch(process):
    """Waits for the process; the most memory that it was seen to hold."""
    peak = 0
    while True:
        try:
            process.wait(SAMPLE_SECONDS)
            return peak
        except subprocess.TimeoutExpired:
            peak = max(peak, resident_bytes(process.pid))


def resident_bytes(pid):
    """Memory of its own and shared with others; files that it maps stay out."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in status.splitlines()
               if line.startswith(("RssAnon:", "RssShmem:")))


def last_error(err, command, code):
    lines = [line for line in err.decode("utf-8", "replace").splitlines() if line]
    errors = [line for line in lines if line.startswith("error: ")]
    said = (errors or lines or [f"exit code {code}"])[-1].removeprefix("error: ")
    return f"{shlex.join(command[:3])} ...: {said}"


def count(text):
    """A number of tokens: 512, 16K, 1M."""
    factor = {"K": 1 << 10, "M": 1 << 20}.get(text[-1:].upper(), 1)
    digits = text[:-1] if factor > 1 else text
    if not digits.isdecimal() or int(digits) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of tokens; "
                                         "write 512, 16K or 1M")
    return int(digits) * factor


def count_name(tokens):
    for unit, factor in (("M", 1 << 20), ("K", 1 << 10)):
        if tokens % factor == 0:
            return f"{tokens // factor}{unit}"
    return str(tokens)


def parser(description, example):
    result = argparse.ArgumentParser(
        description=description, epilog=f"example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("artifact", help="the .stele artifact")
    result.add_argument("--bin", default=ROOT / "build/bin", type=pathlib.Path,
                        help="folder of stele (default: build/bin)")
    result.add_argument("--flags", default="", type=shlex.split, metavar="TEXT",
                        help="more flags for every `stele run`, in one text: "
                             "\"--threads 2\"")
    result.add_argument("--json", action="store_true",
                        help="print one JSON document")
    return result


def progress(text):
    print(text, file=sys.stderr, flush=True)


def main(work, flags):
    """Runs `work(flags)`, whose result is the exit code."""
    try:
        sys.exit(work(flags))
    except (EvalError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
