"""Drives the programs as a user would and compares what they print with goldens.

The end of the road seen from outside: tests here know only the command line of
stele and stele-compile, the committed goldens and, for text, the Hugging Face
`tokenizers` package. Each program prints its own `N passed, N failed`.
"""

import argparse
import json
import pathlib
import struct
import subprocess
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = ROOT / "models/tiny"
DATA = ROOT / "test/data"

# Two best logits closer than this share of the row's range may swap.
TIE = 1e-4
GREEDY = ["--temperature", "0", "--repeat-penalty", "1", "--ignore-eos"]


def read_tensors(folder):
    """{name: float32 array} of a checkpoint's safetensors files."""
    tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        data = file.read_bytes()
        size, = struct.unpack("<Q", data[:8])
        header = json.loads(data[8:8 + size])
        header.pop("__metadata__", None)
        for name, entry in header.items():
            begin, end = (8 + size + at for at in entry["data_offsets"])
            tensors[name] = to_floats(data[begin:end], entry["dtype"]).reshape(
                entry["shape"])
    return tensors


def to_floats(data, dtype):
    """A float32 array of elements in F32, F16 or BF16."""
    if dtype == "BF16":
        return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(
            np.float32)
    return np.frombuffer(data, {"F32": np.float32, "F16": np.float16}[dtype]).astype(
        np.float32)


class Report:
    """Counts checks; a failed one prints what was expected and found."""

    def __init__(self):
        self.passed = self.failed = 0
        self.steps = self.ties = 0
        self.largest = 0.0  # difference of f32 logits

    def check(self, name, ok, detail=""):
        if ok:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAILED {name}: {detail}", flush=True)
        return ok

    def attempt(self, name, case, *arguments):
        """Runs case(report, ...); a program that fails in it is a failed check."""
        try:
            case(self, *arguments)
        except ProgramFailed as error:
            self.check(name, False, error)

    def finish(self):
        if self.largest:
            print(f"largest difference of logits: {self.largest:.1e} of the "
                  "row's range")
        if self.steps:
            share = self.ties / self.steps
            self.check("ties", share <= 0.01,
                       f"{self.ties} of {self.steps} greedy steps were ties")
            print(f"{self.steps} greedy steps, {self.ties} ties")
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed or not self.passed else 0


class ProgramFailed(Exception):
    pass


class Programs:
    """build/bin of one build, and a folder for what the tests make."""

    def __init__(self, bin_folder, work_folder):
        self.bin = pathlib.Path(bin_folder).resolve()
        self.work = pathlib.Path(work_folder).resolve()
        self.work.mkdir(parents=True, exist_ok=True)

    def execute(self, program, *arguments):
        command = [str(self.bin / program), *map(str, arguments)]
        done = subprocess.run(command, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=600)
        if done.returncode != 0:
            error = done.stderr.decode("utf-8", "replace").strip()
            raise ProgramFailed(f"{' '.join(command)}: exit code "
                                f"{done.returncode}: {error[-600:]}")
        return done.stdout

    def compile(self, checkpoint, name, *flags):
        """An artifact in the work folder, made anew in every run."""
        artifact = self.work / f"{name.replace('/', '-')}.stele"
        self.execute("stele-compile", checkpoint, "-o", artifact, *flags)
        return artifact

    def run(self, artifact, tokens, count, *flags):
        """The JSON of a greedy run on token ids, end tokens ignored."""
        ids = ",".join(map(str, tokens))
        out = self.execute("stele", "run", artifact, "--tokens", ids, "-n", count,
                           "--json", *GREEDY, *flags)
        return json.loads(out)

    def logits(self, artifact, tokens, *flags):
        """Logits of every prompt row, [tokens, vocabulary] float32."""
        file = self.work / "logits.npy"
        file.unlink(missing_ok=True)
        self.run(artifact, tokens, 1, "--logits", file, *flags)
        return np.load(file)

    def tokenize(self, artifact, file, *flags):
        out = self.execute("stele", "tokenize", artifact, "-f", file, "--json",
                           *flags)
        return json.loads(out)["ids"]


def differences(found, expected):
    """Each row's largest |difference| as a share of the expected row's range."""
    span = expected.max(axis=1) - expected.min(axis=1)
    return np.abs(found - expected).max(axis=1) / span


def check_logits(report, name, found, expected):
    if not report.check(f"{name} logits' shape", found.shape == expected.shape,
                        f"{found.shape}, expected {expected.shape}"):
        return
    worst = float(differences(found, expected).max())
    report.largest = max(report.largest, worst)
    report.check(f"{name} logits", worst <= TIE,
                 f"differ by {worst:.2e} of the row's range, allowed {TIE:.0e}")


def check_greedy(report, name, generate, golden):
    """Greedy tokens equal the golden's; `generate(tokens, n)` continues a prompt.

    A step that differs where the two best logits are a tie is reported, and the
    run goes on from the reference's token."""
    expected, gaps = golden["greedy"], golden["gaps"]
    done = 0
    report.steps += len(expected)
    while done < len(expected):
        found = generate(golden["tokens"] + expected[:done], len(expected) - done)
        wrong = next((i for i, (a, b) in enumerate(zip(found, expected[done:]))
                      if a != b), len(found))
        at = done + wrong
        if at == len(expected):
            break
        if wrong == len(found) or gaps[at] >= TIE:
            what = found[wrong] if wrong < len(found) else "nothing"
            report.check(f"{name} greedy", False,
                         f"step {at}: {what}, expected {expected[at]} "
                         f"(gap {gaps[at]:.1e} of the row's range)")
            return
        report.ties += 1
        print(f"tie: {name} step {at}: {found[wrong]} for {expected[at]}, "
              f"gap {gaps[at]:.1e}")
        done = at + 1
    report.check(f"{name} greedy", True)


def read_goldens(folder):
    return json.loads((folder / "goldens.json").read_text(encoding="utf-8"))


def parse_arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--bin", default=ROOT / "build/bin", type=pathlib.Path,
                        help="folder of stele and stele-compile")
    parser.add_argument("--work", type=pathlib.Path,
                        help="folder for artifacts (default: beside --bin)")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME",
                        help="only the checkpoints with these names")
    return parser.parse_args()


def main(description, test):
    """Runs `test(report, programs, only)` and exits with its verdict."""
    arguments = parse_arguments(description)
    stem = pathlib.Path(sys.argv[0]).stem
    work = arguments.work or arguments.bin / "../test/e2e" / stem
    report = Report()
    test(report, Programs(arguments.bin, work), arguments.only)
    sys.exit(report.finish())
