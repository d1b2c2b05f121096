#!/usr/bin/env python3
"""Asks a model for what is hidden in a long context: a grid of depth and length.

In every column a prompt of that many tokens, its question included, holds one
passkey at each depth. It is computed once and saved as a session, which every
question then forks. With --apart each passkey has a prompt of its own: a small
model confuses several of them at any length. Prompts share the pages that they
have in common, too.

text       a sentence that tells a city's number; the question is asked through
           the model's chat template, and the answer begun for it
induction  a marker and five reserved tokens of the induction checkpoint
           (models/induction), whose right answer is known without a model

'#' is a number that was found, '.' one that was not.
"""

import argparse
import json
import pathlib
import random
import re
import sys
import tempfile
from dataclasses import asdict, dataclass

import driver
import picture
from driver import EvalError

EXAMPLE = ("tools/eval/passkey.py build/models/smollm2.stele --haystack book.txt "
           "--lengths 2K,4K,8K --depths 5 --apart")
CITIES = ["Lisbon", "Oslo", "Cairo", "Lima", "Delhi", "Tokyo", "Dublin",
          "Warsaw", "Nairobi", "Quito", "Helsinki", "Madrid", "Havana",
          "Vienna", "Seoul", "Accra", "Hanoi", "Riga", "Bogota", "Amman"]
NUMBER_TOKENS = 12  # of an answer that is five digits


@dataclass
class Question:
    depth: float
    tokens: list
    expected: str
    answer_tokens: int


@dataclass
class Cell:
    length: int
    depth: float
    found: bool
    expected: str
    answer: str
    seconds: float
    peak_bytes: int


@dataclass
class Prefill:
    """The prompt of one session, without its question."""

    length: int
    tokens: int
    seconds: float
    peak_bytes: int
    planned_bytes: int


class TextForm:
    def __init__(self, stele, folder, haystack, seed):
        self.tokens = driver.Tokens(stele, folder)
        frame = stele.chat_frame()
        self.before, self.behind = self.tokens.framed(frame)
        self.in_chat = bool(frame[0])
        self.haystack = tokens_of(stele, haystack)
        self.random = random.Random(seed)
        self.numbers = [str(self.random.randrange(10_000, 100_000))
                        for _ in CITIES]

    def most(self):
        return len(CITIES)

    def question(self, i, depth):
        begun = f"The secret number of {CITIES[i]} is"
        if self.in_chat:
            asked = f"\n\nWhat is the secret number of {CITIES[i]}?"
            tokens = self.tokens.of(asked) + self.behind + self.tokens.of(begun)
        else:
            tokens = self.tokens.of("\n\n" + begun)
        return Question(depth, tokens, self.numbers[i], NUMBER_TOKENS)

    def prompt(self, length, hidden):
        """Tokens and questions; `hidden` are (which passkey, depth)."""
        needles = [self.tokens.of(f"\nThe secret number of {CITIES[i]} is "
                                  f"{self.numbers[i]}.\n") for i, _ in hidden]
        questions = [self.question(i, depth) for i, depth in hidden]
        rest = length - len(self.before) - sum(map(len, needles)) - max(
            len(q.tokens) + q.answer_tokens for q in questions)
        if rest <= 0:
            raise EvalError(f"{len(hidden)} passkeys and a question do not fit "
                            f"{length} tokens")
        straw, tokens, at = stretched(self.haystack, rest), [*self.before], 0
        for needle, question in zip(needles, questions):
            to = round(question.depth * rest)
            tokens += straw[at:to] + needle
            at = to
        return tokens + straw[at:], questions

    def answer(self, line):
        """The first number that the model says, or all it says."""
        number = re.search(r"\d+", line["text"])
        return number.group() if number else line["text"]


class InductionForm:
    def __init__(self, stele, folder, haystack, seed):
        self.passkeys, self.seed = InductionForm.load_passkeys(), seed
        self.haystack = None if haystack == "random" else tokens_of(stele, haystack)

    @staticmethod
    def load_passkeys():
        """models/induction/passkeys.py, which needs numpy; the other form does
        not."""
        sys.path.insert(0, str(driver.ROOT / "models/induction"))
        try:
            import passkeys
        except ModuleNotFoundError as error:
            raise EvalError(f"--form induction: {sys.executable} has no module "
                            f"'{error.name}'; run it with build/venv/bin/python "
                            "(tools/make-venv makes it)") from error
        return passkeys

    def most(self):
        return self.passkeys.MOST

    def prompt(self, length, hidden):
        size = length - 1 - self.passkeys.ANSWER_TOKENS
        straw = (self.passkeys.random_haystack(size, self.seed)
                 if self.haystack is None else stretched(self.haystack, size))
        try:
            tokens, hid = self.passkeys.hide(straw, [d for _, d in hidden],
                                             self.seed)
        except ValueError as error:
            raise EvalError(str(error)) from error
        return tokens, [Question(p.depth, [p.marker], ids(p.answer),
                                 len(p.answer)) for p in hid]

    def answer(self, line):
        return ids(line["tokens"])


FORMS = {"text": TextForm, "induction": InductionForm}


def tokens_of(stele, haystack):
    if haystack == "random":
        raise EvalError("--haystack random: only the induction form knows which "
                        "tokens may be drawn; give a text file")
    found = stele.tokenize(haystack)
    if not found:
        raise EvalError(f"--haystack '{haystack}' holds no text")
    return found


def stretched(tokens, length):
    """As many tokens, over and over if there are too few."""
    return (tokens * (length // len(tokens) + 1))[:length]


def ids(tokens):
    return ",".join(map(str, tokens))


class Grid:
    """One artifact's columns, computed in a folder that is emptied after each."""

    def __init__(self, stele, form, apart):
        self.stele, self.form, self.apart = stele, form, apart
        self.cells, self.prefills = [], []

    def column(self, length, depths):
        hidden = list(enumerate(depths))
        with tempfile.TemporaryDirectory(prefix="passkey-") as folder:
            for i, group in enumerate([[h] for h in hidden] if self.apart
                                      else [hidden]):
                self.session(pathlib.Path(folder), f"base{i}", length, group)

    def session(self, folder, name, length, hidden):
        tokens, questions = self.form.prompt(length, hidden)
        line, done = self.run(folder, tokens, 0, "--session", name)
        self.prefills.append(Prefill(length, len(tokens), done.seconds,
                                     done.peak_bytes,
                                     line["stats"]["planned_bytes"]))
        driver.progress(f"{length} tokens: computed in {done.seconds:.1f} s, "
                        f"{done.peak_bytes >> 20} MiB")
        for i, question in enumerate(questions):
            line, done = self.run(folder, question.tokens, question.answer_tokens,
                                  "--session", name, "--fork", f"{name}-{i}")
            answer = self.form.answer(line)
            cell = Cell(length, question.depth, answer == question.expected,
                        question.expected, answer, done.seconds, done.peak_bytes)
            self.cells.append(cell)
            driver.progress(f"{length} tokens, depth {question.depth:.0%}: "
                            f"{answer}, expected {question.expected}")

    def run(self, folder, tokens, count, *flags):
        file = folder / "tokens.txt"
        file.write_text(ids(tokens))
        lines, done = self.stele.run("--tokens", f"@{file}", "-n", count,
                                     "--ignore-eos", "--store", folder / "store",
                                     *flags)
        return lines[0], done

    def share(self):
        return sum(c.found for c in self.cells) / len(self.cells)

    def shares(self, lengths, depths):
        """[depth][length]"""
        found = {(c.depth, c.length): float(c.found) for c in self.cells}
        return [[found[d, n] for n in lengths] for d in depths]


def depths_of(count):
    """Evenly from the begin to the end; a single one is in the middle."""
    return [i / (count - 1) for i in range(count)] if count > 1 else [0.5]


def percentage(text):
    try:
        value = float(text.removesuffix("%")) / 100
    except ValueError:
        value = -1
    if not (text.endswith("%") and 0 <= value <= 1):
        raise argparse.ArgumentTypeError(f"{text!r} is no share; write 95%")
    return value


def lengths(text):
    return [driver.count(part) for part in text.split(",")]


def parse():
    parser = driver.parser(__doc__, EXAMPLE)
    parser.add_argument("--haystack", required=True, metavar="FILE|random",
                        help="a text, repeated if it is too short; random: ids "
                             "(induction only)")
    parser.add_argument("--lengths", default=[2048, 4096, 8192], type=lengths,
                        metavar="N,...", help="of the prompts, in tokens "
                        "(default: 2K,4K,8K)")
    parser.add_argument("--depths", default=11, type=driver.count, metavar="N",
                        help="how many, from the begin to the end (default: 11)")
    parser.add_argument("--form", choices=FORMS, default="text",
                        help="how passkeys are hidden (default: text)")
    parser.add_argument("--apart", action="store_true",
                        help="each passkey in a prompt of its own")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    parser.add_argument("--require", type=percentage, metavar="SHARE",
                        help="exit code 1 if fewer are found")
    parser.add_argument("--svg", type=pathlib.Path, metavar="FILE",
                        help="write the picture there, too")
    return parser.parse_args()


def report(flags, grid, depths):
    columns = [driver.count_name(n) for n in flags.lengths]
    rows = [f"{d:.0%}" for d in depths]
    shares = grid.shares(flags.lengths, depths)
    found, share = sum(c.found for c in grid.cells), grid.share()
    total = f"{found} of {len(grid.cells)} found"
    if flags.svg:
        flags.svg.write_text(picture.svg(
            f"{pathlib.Path(flags.artifact).name}: {total}", columns, rows, shares))
    if flags.json:
        print(json.dumps({
            "artifact": flags.artifact, "form": flags.form,
            "haystack": flags.haystack, "apart": flags.apart, "share": share,
            "cells": [asdict(c) for c in grid.cells],
            "prefills": [asdict(p) for p in grid.prefills]}))
    else:
        print(picture.text(columns, rows, shares) + f"\n{total}")


def evaluate(flags):
    stele = driver.Stele(flags.bin, flags.artifact, flags.flags)
    longest, context = max(flags.lengths), stele.context()
    if longest > context:
        raise EvalError(f"--lengths {longest}: '{flags.artifact}' is planned for "
                        f"{context} tokens; compile it with a longer --context")
    depths = depths_of(flags.depths)
    with tempfile.TemporaryDirectory(prefix="passkey-") as folder:
        form = FORMS[flags.form](stele, folder, flags.haystack, flags.seed)
        if len(depths) > form.most():
            raise EvalError(f"--depths {len(depths)}: at most {form.most()}")
        grid = Grid(stele, form, flags.apart)
        for length in flags.lengths:
            grid.column(length, depths)
    report(flags, grid, depths)
    return 1 if flags.require is not None and grid.share() < flags.require else 0


if __name__ == "__main__":
    driver.main(evaluate, parse())
