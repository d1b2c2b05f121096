"""How good an answer is, between 0 and 1: the four kinds of LongBench's tasks.

Written from the definitions, not from another implementation (LongBench: Bai et
al. 2023, arXiv:2308.14508):

question answering   F1 of words (Rajpurkar et al. 2016): what two bags of words
                     share, as a part of either; case, punctuation and articles
                     do not count
summaries            ROUGE-L (Lin 2004): the longest common subsequence of words,
                     as a part of either, their harmonic mean (beta = 1)
classification       1 if the answer names the right class and no other, a half if
                     one other, and so on
code                 edit similarity: 1 - Levenshtein distance of the next line's
                     characters / length of the longer line
"""

import re
import string
from collections import Counter

ARTICLES = {"a", "an", "the"}
PUNCTUATION = str.maketrans("", "", string.punctuation)


def harmonic(shared, found, expected):
    """F1 of `shared` of the found and of the expected words."""
    return 2 * shared / (found + expected) if shared else 0.0


def answer_words(text):
    words = text.lower().translate(PUNCTUATION).split()
    return [w for w in words if w not in ARTICLES]


def question_f1(answer, expected):
    found, wanted = answer_words(answer), answer_words(expected)
    if not found or not wanted:
        return float(found == wanted)
    shared = sum((Counter(found) & Counter(wanted)).values())
    return harmonic(shared, len(found), len(wanted))


def summary_words(text):
    return re.findall(r"\w+", text.lower())


def common_subsequence(a, b):
    """Length of the longest one."""
    row = [0] * (len(b) + 1)
    for x in a:
        before = 0  # of the row above, one column to the left
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], (before + 1 if x == y
                                      else max(row[j], row[j - 1]))
    return row[-1]


def rouge_l(answer, expected):
    found, wanted = summary_words(answer), summary_words(expected)
    return harmonic(common_subsequence(found, wanted), len(found), len(wanted))


def mentioned(answer, classes):
    """The classes that the answer names; a name inside a longer one that is named
    there is no mention of its own."""
    left, found = answer.lower(), []
    for name in sorted(set(classes), key=len, reverse=True):
        pattern = rf"(?<!\w){re.escape(name.lower())}(?!\w)"
        left, times = re.subn(pattern, "\n", left)
        if times:
            found.append(name)
    return found


def class_accuracy(answer, expected, classes):
    found = mentioned(answer, classes)
    return 1 / len(found) if expected in found else 0.0


def edit_distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1,
                                         before + (x != y))
    return row[-1]


def code_line(text):
    """The first line that is neither blank, a comment nor a mark of a code block."""
    for line in text.splitlines():
        line = line.strip()
        if line and not line.startswith(("# ", "//", "```")):
            return line
    return ""


def code_similarity(answer, expected):
    found, wanted = code_line(answer), expected.strip()
    longer = max(len(found), len(wanted))
    return 1 - edit_distance(found, wanted) / longer if longer else 1.0
