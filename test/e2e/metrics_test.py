#!/usr/bin/env python3
"""The metrics of tools/eval against values worked out by hand, and against their
definitions written another way: by trying every subsequence, by recursion.
"""

import functools
import itertools
import math
import random
import sys

import harness

sys.path.insert(0, str(harness.ROOT / "tools/eval"))
import metrics  # noqa: E402
import picture  # noqa: E402

CLASSES = ["river", "river bank", "lake"]
BY_HAND = [
    # Two of three words, and two of two; articles, case and dots do not count.
    (metrics.question_f1, ("The red house.", "a red brick house"), 4 / 5),
    (metrics.question_f1, ("Oslo", "oslo!"), 1),
    (metrics.question_f1, ("Oslo", "Bergen"), 0),
    # A word that is said twice is right once.
    (metrics.question_f1, ("two two", "two"), 2 / 3),
    (metrics.question_f1, ("", "two"), 0),
    (metrics.question_f1, ("The", "an"), 1),
    # "police killed the gunman", of Lin's paper: 3 of 4 words in order.
    (metrics.rouge_l, ("police kill the gunman", "police killed the gunman"),
     3 / 4),
    (metrics.rouge_l, ("the gunman kill police", "police killed the gunman"),
     2 / 4),
    (metrics.rouge_l, ("One two, three", "three"), 2 * 1 / 4),
    (metrics.rouge_l, ("", "three"), 0),
    (metrics.class_accuracy, ("It is a lake.", "lake", CLASSES), 1),
    (metrics.class_accuracy, ("lake or river", "lake", CLASSES), 1 / 2),
    (metrics.class_accuracy, ("The River Bank", "river bank", CLASSES), 1),
    (metrics.class_accuracy, ("The River Bank", "river", CLASSES), 0),
    (metrics.class_accuracy, ("a river and its river bank", "river", CLASSES),
     1 / 2),
    (metrics.class_accuracy, ("lakeside", "lake", CLASSES), 0),
    (metrics.class_accuracy, ("", "lake", CLASSES), 0),
    # kitten -> sitten -> sittin -> sitting: 3 of 7.
    (metrics.code_similarity, ("kitten", "sitting"), 4 / 7),
    (metrics.code_similarity, ("\n# no\n```\n  x = 1  \ny = 2", "x = 1"), 1),
    (metrics.code_similarity, ("#include <a>", "#include <b>"), 11 / 12),
    (metrics.code_similarity, ("", "x"), 0),
    (metrics.code_similarity, ("", " "), 1),
]


def subsequences(words):
    for size in range(len(words) + 1):
        yield from itertools.combinations(words, size)


def longest_by_trying(a, b):
    return max(map(len, set(subsequences(a)) & set(subsequences(b))))


@functools.cache
def distance_by_recursion(a, b):
    if not a or not b:
        return len(a) + len(b)
    return min(distance_by_recursion(a[1:], b) + 1,
               distance_by_recursion(a, b[1:]) + 1,
               distance_by_recursion(a[1:], b[1:]) + (a[0] != b[0]))


def f1_by_pairing(found, wanted):
    """Strikes out one expected word for each that is found."""
    left, shared = list(wanted), 0
    for word in found:
        if word in left:
            left.remove(word)
            shared += 1
    precision, recall = shared / len(found), shared / len(wanted)
    return 2 * precision * recall / (precision + recall) if shared else 0


def check_random(report):
    draw = random.Random(4)
    wrong = []
    for _ in range(300):
        a, b = ([draw.choice("uvwx") for _ in range(draw.randint(1, 8))]
                for _ in range(2))
        one, two = " ".join(a), " ".join(b)
        common = longest_by_trying(tuple(a), tuple(b))
        pairs = [
            (metrics.common_subsequence(a, b), common),
            (metrics.rouge_l(one, two), 2 * common / (len(a) + len(b))),
            (metrics.question_f1(one, two), f1_by_pairing(a, b)),
            (metrics.edit_distance("".join(a), "".join(b)),
             distance_by_recursion("".join(a), "".join(b)))]
        if not all(math.isclose(found, expected) for found, expected in pairs):
            wrong.append((one, two, pairs))
    report.check("random texts", not wrong, wrong[:1])


def check_picture(report):
    shares = [[1.0, 0.0], [0.25, 1.0]]
    expected = "          2K     4K\n  0%       #      .\n100%     25%      #"
    found = picture.text(["2K", "4K"], ["0%", "100%"], shares)
    report.check("picture of characters",
                 [line.split() for line in found.splitlines()] ==
                 [line.split() for line in expected.splitlines()]
                 and len(set(map(len, found.splitlines()))) == 1, found)
    drawn = picture.svg("a < b", ["2K", "4K"], ["0%", "100%"], shares)
    report.check("picture as SVG", "a &lt; b" in drawn
                 and drawn.count(picture.colour(1)) == 2
                 and drawn.count(picture.colour(0)) == 1, drawn)


def test(report, programs, only):
    for function, arguments, expected in BY_HAND:
        found = function(*arguments)
        report.check(f"{function.__name__}{arguments}",
                     math.isclose(found, expected), f"{found}, expected {expected}")
    check_random(report)
    check_picture(report)


if __name__ == "__main__":
    harness.main(__doc__.split("\n")[0], test)
