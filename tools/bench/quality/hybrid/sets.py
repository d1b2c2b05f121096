"""Trials of a study, and what each costs beside dense attention.

Shares of bytes and work are of what dense attention reads and computes: keys and
values of all causal keys, 2 x dim products for a query and a key. A mean key and a
mean value are int8 with a scale; pages are as `pages` says, f32 counted as bf16.
"""

import dataclasses

from view import Layout

BITS = {"f32": 16, "int8": 8, "int4": 4}
HEAD_SHARES = [0.15, 0.25, 0.4]


@dataclasses.dataclass(frozen=True)
class Trial:
    layout: Layout = Layout()
    estimator: str = "mean_key"
    rule: str = "share"
    budget: float = 0.25
    tail: str = "none"
    bias: float | str = 0  # added to a tail's logits, or "fit": each head its own
    fitted: float = 0      # the budget at which it was fitted, if another
    pages: str = "f32"

    def shape(self):
        """Of the choice, but for rule and budget."""
        x = self.layout
        about = " about a reference" if x.about == "reference" else ""
        return (f"{x.order} {x.segment}/{x.unit}/{x.part}/{x.rows}{about} "
                f"{self.estimator}")

    def name(self):
        tail = "" if self.tail == "none" else f", {self.tail}"
        bias = f" + {self.bias}" if self.bias else ""
        pages = "" if self.pages == "f32" else f", {self.pages}"
        return f"{self.shape()}, {self.rule} {self.budget}{tail}{bias}{pages}"

    def costs(self, read, keys, dim):
        """Shares of bytes and work for a query that sees `keys`."""
        bits = BITS[self.pages]
        page = 2 * (dim * bits / 8 + (0 if bits == 16 else 4))
        row = dim + 4
        per_part = 1 / self.layout.part  # parts for a key
        has_tail = self.tail != "none"
        rows = self.estimator == "mean_key" or has_tail
        has_variance = self.tail == "auto" or self.tail.startswith(
            ("second", "bounded"))
        states = rows + has_tail * (1 + has_variance)
        scored, all_keys = rows * per_part, 0
        if self.estimator.startswith("antidiagonal"):
            scored += 1 / int(self.estimator.split(":")[1])
            all_keys = 0.5  # it reads every key, and no value
        if self.estimator == "vertical_slash":
            scored += 64 * 2 / keys  # the last queries, spread over all
        return {"bytes": read + per_part * states * row / page + all_keys,
                "work": read + scored / 2 + (states - rows) * per_part / 2}


def read(trial):
    return Trial(**{**trial, "layout": Layout(**trial["layout"])})


# From which each head takes its tail, or none, by the calibration text.
AUTO = {"auto": ("centroid", "second:all"), "auto-centroid": ("centroid",)}


BLOCKS = Layout()
PARTS = Layout(part=16)
MIXED = Layout(order="like", part=16)
LIKE = Layout(order="like", segment=256, unit=16, part=16)
LIKE_DECODE = dataclasses.replace(LIKE, rows=1)

SIMPLE = ["centroid", "self:0.5", "self:1", "true-mass", "true-value"]
SPLIT = [f"without:fast:{n}" for n in (4, 8, 16)] + [
    f"second:{w}:{n}" for w in ("fast", "slow") for n in (8, 16)] + [
    f"bounded:{w}:{n}:{r}" for w, n in (("fast", 8), ("fast", 16), ("slow", 8), ("all", 0))
    for r in (0.5, 2)]
FAVOR = ["favor:64:1024", "favor:256:1024", "favor:256:2048"]

THREE = HEAD_SHARES
SMALL = Layout(segment=64, unit=64, part=64, rows=64)
TINY = Layout(unit=16, part=16)
ABOUT = Layout(about="reference")
ABOUT_PARTS = Layout(about="reference", part=16)
ABOUT_SMALL = dataclasses.replace(SMALL, about="reference")
ABOUT_LIKE = dataclasses.replace(LIKE, about="reference")
DECODE = Layout(rows=1)
TINY_DECODE = Layout(unit=16, part=16, rows=1)

HEADS = {
    "first": [(Trial(), []), (Trial(), SIMPLE + SPLIT)],
    "parts": [(Trial(layout=PARTS), SIMPLE[:4] + SPLIT),
              (Trial(layout=MIXED), SIMPLE[:4] + SPLIT)],
    "about": [(Trial(layout=ABOUT), ["centroid", "true-mass", "self:0.5",
                                     "second:all", "bounded:all:0:0.5",
                                     "bounded:all:0:2", "second:fast:8",
                                     "bounded:slow:8:0.5"])],
    "about parts": [(Trial(layout=ABOUT_PARTS), ["centroid", "true-mass"])],
    "curves": [(Trial(layout=x, estimator=e), []) for x, e in (
        (BLOCKS, "mean_key"), (ABOUT, "mean_key"), (BLOCKS, "antidiagonal:16"),
        (BLOCKS, "antidiagonal:8"), (BLOCKS, "vertical_slash"), (PARTS, "mean_key"),
        (ABOUT_PARTS, "mean_key"), (SMALL, "mean_key"), (ABOUT_SMALL, "mean_key"),
        (LIKE, "mean_key"), (ABOUT_LIKE, "mean_key"), (TINY, "mean_key"))],
    "decode": [(Trial(layout=dataclasses.replace(x, rows=1)), []) for x in (
        BLOCKS, ABOUT, LIKE, ABOUT_LIKE, TINY)],
    "favor": [(Trial(), FAVOR)],
    "budgets": [(Trial(budget=b, layout=x), SIMPLE[:3] + SPLIT)
                for b in (0.15, 0.4) for x in (BLOCKS, MIXED)],
}
MODEL = {
    "auto": [Trial(layout=ABOUT, budget=b, fitted=0.25, tail="auto", bias="fit")
             for b in (0.25, 0.15, 0.4)] + [
        Trial(layout=ABOUT, rule=r, budget=b, fitted=0.25, tail="auto", bias="fit")
        for r, b in (("threshold", 0.01), ("heads", 0.25), ("mass", 0.9))],
    "heads": [Trial(layout=ABOUT, rule="heads", budget=b, **tail)
              for b in (0.25, 0.15, 0.4) for tail in (
                  {}, {"tail": "auto-centroid", "bias": "fit", "fitted": 0.25})],
    "auto centroid": [Trial(layout=ABOUT, budget=b, fitted=0.25, bias="fit",
                            tail="auto-centroid") for b in THREE[1:] + THREE[:1]],
    "about pages": [Trial(layout=ABOUT, tail="centroid", pages=p)
                    for p in ("int8", "int4")],
    "about units": [Trial(layout=x, tail="centroid", budget=b) for b in (0.25, 0.15)
                    for x in (ABOUT_LIKE, ABOUT_PARTS, ABOUT_SMALL)],
    "about": [Trial(budget=b, layout=ABOUT, tail=t)
              for b in (0.25, 0.15, 0.4) for t in ("centroid", "none")],
    "blocks": [Trial(budget=b, tail=t) for b in THREE for t in ("none", "centroid")],
    "estimators": [Trial(estimator=e, layout=x) for e, x in (
        ("oracle", BLOCKS), ("antidiagonal:16", BLOCKS), ("antidiagonal:8", BLOCKS),
        ("vertical_slash", BLOCKS), ("mean_key", PARTS), ("mean_key", MIXED))],
    "parts": [Trial(budget=b, layout=MIXED, tail=t)
              for b in THREE for t in ("centroid", "none")],
    "rules": [Trial(rule=r, budget=b, estimator=e) for r, b, e in (
        ("heads", 0.25, "mean_key"), ("threshold", 0.01, "mean_key"),
        ("mass", 0.9, "mean_key"), ("threshold", 0.01, "oracle"),
        ("mass", 0.9, "oracle"), ("threshold", 0.004, "mean_key"),
        ("mass", 0.97, "mean_key"), ("threshold", 0.004, "oracle"))],
    "pages": [Trial(estimator="dense", pages=p) for p in ("int8", "int4")] + [
        Trial(pages=p) for p in ("int8", "int4")],
    "units": [Trial(budget=b, layout=x, tail=t) for b in (0.15, 0.25) for x, t in (
        (LIKE, "none"), (LIKE, "centroid"), (TINY, "none"), (SMALL, "none"))],
    "decode": [Trial(budget=b, layout=x, tail=t) for b in (0.15, 0.25) for x, t in (
        (DECODE, "none"), (LIKE_DECODE, "none"), (LIKE_DECODE, "centroid"),
        (TINY_DECODE, "none"))],
}
