"""Five megabytes of mixed text, the same for the same tree: what tokenizers disagree on.

Prose, this repository's sources, many scripts in composed and decomposed form,
emoji sequences, blanks and digits of every kind, code points assigned up to
Unicode 14, and random bytes as Python's errors='replace' decodes them.
"""

import pathlib
import random
import subprocess
import sys
import unicodedata

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "test/data"
LICENCES = pathlib.Path("/usr/share/common-licenses")
MEGABYTE = 1 << 20

BLANKS = [" ", "  ", "    ", "\t", "\n", "\n\n", "\r\n", "\r", "\u00a0", "\u3000",
          "\u2028", "\u2029", "\u0085", "\u200b", "\ufeff", "\u1680", "\v", "\f",
          "\u202f", "\u180e", "\u2009"]
WORDS = ["I'm", "don't", "WE'LL", "it'S", "you'\u017f", "they'Re", "'ve", "''s",
         "x'd", "caf\u00e9", "cafe\u0301", "\u1e9b\u0323", "na\u00efve", "\ufb01n",
         "stele", "Stele", "steles", "stele's", "new york", "[MASK]", "a[MASK]b",
         "<|left|>", "<|right|>", "<|both|>", "<tool", "<tool_call>", "<s>", "</s>",
         "<unk>", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>",
         "<|begin_of_text|>", "<|im_start", "<0x41>", "<0xE2>", "\u2581", "\u2581a",
         "\U0001f600\U0001f600", "3.14159", "1,234,567", "0x1F", "12345678",
         "\u0663\u0664", "\u096f\u0967", "\u00bd", "\u2167", "\u3007", "\U0001d7d8",
         "__init__", "a_b", "!!!", "...", "--", "=>", "#include", "\u0130", "\u1e9e"]
EMOJI = [chr(c) for c in [*range(0x1f600, 0x1f650), *range(0x1f300, 0x1f400),
                          *range(0x2600, 0x2700), *range(0x1f900, 0x1fa00)]]
JOINERS = ["", "\u200d", "\ufe0f", "\U0001f3fd", "\ufe0f\u20e3", " "]


def fill(size, piece):
    """Text of about `size` bytes made of what `piece()` returns."""
    parts, length = [], 0
    while length < size:
        parts.append(piece())
        length += len(parts[-1].encode("utf-8"))
    return "".join(parts)


def prose(rng, size):
    files = [DATA / "smollm2/perplexity.txt", LICENCES / "GPL-3",
             LICENCES / "Apache-2.0", LICENCES / "GFDL-1.3", LICENCES / "MPL-1.1"]
    paragraphs = [p + "\n\n" for f in files
                  for p in f.read_text(encoding="utf-8").split("\n\n")]
    return fill(size, lambda: rng.choice(paragraphs))


def sources(size):
    names = subprocess.run(["git", "-C", ROOT, "ls-files"], check=True,
                           stdout=subprocess.PIPE, text=True).stdout.split()
    kinds = (".cpp", ".h", ".td", ".py", ".md", ".mlir", ".txt", ".jinja")
    text = "".join((ROOT / n).read_text(encoding="utf-8") for n in names
                   if n.endswith(kinds) and (ROOT / n).is_file())
    return (text * (size // len(text) + 1))[:size]


def scripts(rng, size):
    lines = (DATA / "tokenizers/scripts.txt").read_text(
        encoding="utf-8").splitlines(keepends=True)
    forms = ["NFC", "NFD", "NFKD"]
    return fill(size, lambda: unicodedata.normalize(
        rng.choice(forms), rng.choice(lines)))


def assigned():
    """Code points of Unicode 14, surrogates and private use left out."""
    return [chr(c) for c in range(sys.maxunicode + 1)
            if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]


def code_points(rng, size):
    """Runs of neighbours with jumps, so that marks meet their letters."""
    everything = assigned()

    def run():
        at = rng.randrange(len(everything))
        near = everything[at:at + 40]
        return "".join(rng.choices(near, k=rng.randrange(1, 12))) + rng.choice(
            ["", " ", "\n", ". ", rng.choice(BLANKS)])
    return fill(size, run)


def random_bytes(rng, size):
    def burst():
        kind = rng.randrange(3)
        if kind == 0:
            return rng.randbytes(rng.randrange(1, 60))
        if kind == 1:
            return bytes(rng.choices(range(0xc0, 0x100), k=3)) + b"text"
        cut = rng.choice(EMOJI).encode()
        return cut[:rng.randrange(1, len(cut) + 1)]
    return b"".join(burst() for _ in range(size // 12))[:size]


def documents(size=5 * MEGABYTE, count=24, seed=3):
    """`size` bytes in `count` documents of every mixture; bytes, maybe not UTF-8."""
    rng = random.Random(seed)
    share = size // 20
    mixed = [
        prose(rng, 6 * share), sources(4 * share), scripts(rng, 2 * share),
        fill(share, lambda: rng.choice(EMOJI) + rng.choice(JOINERS)),
        fill(2 * share, lambda: rng.choice(WORDS) + rng.choice(BLANKS)),
        fill(share, lambda: rng.choice(BLANKS + WORDS[:4])),
        code_points(rng, 3 * share),
    ]
    pieces = [p.encode("utf-8") for p in mixed] + [random_bytes(rng, share)]
    slices = []
    for piece in pieces:
        cuts = sorted(rng.randrange(len(piece)) for _ in range(count - 1))
        slices.append([piece[a:b] for a, b in
                       zip([0, *cuts], [*cuts, len(piece)])])
    return [b"".join(rng.sample(parts, len(parts))) for parts in zip(*slices)]


def short_documents(count=120, seed=4):
    """Beginnings and ends matter: many texts of a few words, the empty one too."""
    rng = random.Random(seed)
    letters = ["", " ", "a", "\n", *BLANKS, *WORDS, *EMOJI[:20]]
    return [b"", *("".join(rng.choices(letters, k=rng.randrange(1, 6))).encode()
                   for _ in range(count))]
