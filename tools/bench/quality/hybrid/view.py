"""What the judged queries of one KV head see: keys in units, and choices of them.

A layout cuts the keys of a head into units, which are chosen and read whole, and
these into parts, each of which has a mean: the plain one, or the one that a reference
query sees (docs/hybrid-attention.md). Keys lie in the order of time, or inside every
whole segment in an order that brings like keys together. Queries choose in rows of
neighbours, once for all heads of the group.
"""

import dataclasses

import numpy as np

RECENT = 128  # keys that are always read before the segment of a query's own


@dataclasses.dataclass(frozen=True)
class Layout:
    order: str = "time"  # or "like"
    segment: int = 128
    unit: int = 128
    part: int = 128
    rows: int = 128      # 1: every query for itself, as in decoding
    about: str = "zero"  # the query that means are made for; or "reference"


DISTANCES = np.arange(2 * RECENT, 4096, 16)  # that a reference stands for


def rotate(x, positions, frequency):
    """[..., dim], a pair is two neighbours; positions [...]."""
    turn = np.exp(1j * np.asarray(positions)[..., None] * frequency)
    pairs = (x[..., 0::2] + 1j * x[..., 1::2]) * turn
    return np.stack([pairs.real, pairs.imag], -1).reshape(*pairs.shape[:-1], -1)


class Reference:
    """What a group of heads asks on average, seen from a key: the mean of queries
    before their rotation, turned by all distances. Fast pairs average out."""

    def __init__(self, queries, begin, frequency):
        """queries: [group, judged, dim], scaled and rotated."""
        positions = np.arange(begin, begin + queries.shape[1])
        mean = rotate(queries, -positions, frequency).mean((0, 1))
        self.mean = rotate(mean[None], DISTANCES, frequency).mean(0)
        self.frequency = frequency

    def at(self, positions):
        return rotate(self.mean, positions, self.frequency).astype("f")


def quantise(x, bits):
    """Rounded with a scale, with 4 bits also an offset, for every last axis."""
    if bits == 8:
        scale = np.abs(x).max(-1, keepdims=True) / 127 + 1e-30
        return np.round(x / scale) * scale
    low = x.min(-1, keepdims=True)
    scale = ((x.max(-1, keepdims=True) - low) / 15 + 1e-30).astype(np.float16)
    scale, low = (y.astype("f") for y in (scale, low.astype(np.float16)))
    return np.clip(np.round((x - low) / scale), 0, 15) * scale + low


def like_order(k, segment, width):
    """Halves each segment along its keys' main axis until `width` keys are left."""
    whole = len(k) // segment * segment
    groups = np.arange(whole).reshape(-1, segment)
    while groups.shape[1] > width:
        x = k[groups]
        x = x - x.mean(1, keepdims=True)
        axis = x[np.arange(len(x)), (x * x).sum(-1).argmax(-1)]
        for _ in range(4):
            axis = np.einsum("gsd,gs->gd", x, np.einsum("gsd,gd->gs", x, axis))
            axis /= np.linalg.norm(axis, axis=-1, keepdims=True) + 1e-30
        along = np.einsum("gsd,gd->gs", x, axis)
        groups = np.take_along_axis(groups, along.argsort(1), 1)
        groups = groups.reshape(-1, groups.shape[1] // 2)
    return np.concatenate([groups.ravel(), np.arange(whole, len(k))])


class View:
    def __init__(self, layout, q, k, v, reference=None):
        """q: [group, judged, dim], scaled; k, v: [tokens, dim]."""
        self.layout, self.q = layout, q
        count, judged = len(k), q.shape[1]
        begin = count - judged
        order = np.arange(count)
        if layout.order == "like":
            order = like_order(k, layout.segment, layout.part)
        self.k, self.v = k[order], v[order]
        self.positions = np.arange(begin, count)
        # Columns before `late` are of whole segments in every query's past.
        self.late = begin // layout.segment * layout.segment
        scores = q @ self.k.T
        known = order[self.late:] <= self.positions[:, None]
        scores[..., self.late:][:, ~known] = -np.inf
        self.known = np.full((judged, count // layout.unit), layout.unit)
        self.known[:, self.late // layout.unit:] = known.reshape(
            judged, -1, layout.unit).sum(-1)
        self.summarise(reference)
        self.estimates = self.estimate(scores)
        self.top = scores.max(-1, keepdims=True)
        self.scores = np.exp(np.subtract(scores, self.top, out=scores), out=scores)
        self.masses = scores.reshape(*q.shape[:2], -1, layout.unit).sum(-1)
        self.total = self.masses.sum(-1, keepdims=True)
        self.always, self.past = self.fixed(order)

    def summarise(self, reference):
        """Means of parts as `queries` weigh their keys: log mass(q) is about
        q . means + offsets, near `queries` exactly."""
        layout, dim = self.layout, self.k.shape[1]
        keys = self.k.reshape(-1, layout.part, dim)
        begins = np.arange(len(keys)) * layout.part
        width = layout.part if layout.order == "time" else layout.segment
        self.queries = np.zeros((len(keys), dim), "f")
        if layout.about == "reference":
            self.queries = reference.at(begins // width * width + width / 2)
        logits = (keys @ self.queries[..., None])[..., 0]
        top = logits.max(1, keepdims=True)
        weights = np.exp(logits - top)
        self.offsets = np.log(weights.sum(1)) + top[:, 0]
        self.weights = weights / weights.sum(1, keepdims=True)
        self.means = quantise(self.mean_of(self.k), 8)
        self.value_means = quantise(self.mean_of(self.v), 8)
        self.offsets -= (self.queries * self.means).sum(1)

    def mean_of(self, x):
        """[parts, dim] of [tokens, dim]."""
        parts = x.reshape(-1, self.layout.part, x.shape[1])
        return (self.weights[:, None] @ parts)[:, 0]

    def variance(self):
        return np.maximum(self.mean_of(self.k**2) - self.mean_of(self.k)**2, 0)

    def estimate(self, scores):
        """log of what a part weighs by its mean key, its keys so far counted."""
        part, late = self.layout.part, self.late
        result = self.q @ self.means.T + self.offsets
        own = scores[..., late:].reshape(*scores.shape[:2], -1, part)
        there = np.isfinite(own)
        count = there.sum(-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(there, own, 0).sum(-1) / count + np.log(count)
        result[..., late // part:] = np.where(count, mean, -np.inf)
        return result

    def fixed(self, order):
        """[rows, units]: what is always read, and what may be."""
        layout = self.layout
        first = self.positions[::layout.rows]
        begins = np.arange(0, len(order), layout.unit)
        recent = first // layout.segment * layout.segment
        recent = recent - (RECENT if layout.segment <= RECENT else 0)
        opened = begins if layout.order == "time" else \
            begins // layout.segment * layout.segment
        past = opened <= (first + layout.rows - 1)[:, None]
        sink = np.zeros(len(begins), bool)
        sink[int(np.flatnonzero(order == 0)[0]) // layout.unit] = True
        return past & (sink | (begins >= recent[:, None])), past

    def per_query(self, chosen):
        return np.repeat(chosen, self.layout.rows, 0)

    def over_rows(self, shares):
        """Means over a group and the queries of a row: [rows, units]."""
        group, judged, units = shares.shape
        return shares.reshape(group, -1, self.layout.rows, units).mean((0, 2))

    # ---- estimators: [rows, units], shares of attention

    def oracle(self):
        return self.over_rows(self.masses / self.total)

    def mean_key(self):
        parts = self.layout.unit // self.layout.part
        e = np.exp(self.estimates - self.estimates.max(-1, keepdims=True))
        e = e.reshape(*e.shape[:2], -1, parts).sum(-1)
        return self.over_rows(e / e.sum(-1, keepdims=True))

    def antidiagonal(self, stride):
        """A stride's queries meet its keys in reverse; a softmax over strides."""
        group, judged, dim = self.q.shape
        q = self.q.reshape(group, judged // stride, stride * dim)
        k = self.k.reshape(-1, stride, dim)[:, ::-1].reshape(-1, stride * dim)
        scores = q @ k.T / stride
        ends = self.positions[stride - 1::stride]
        scores[:, np.arange(0, len(self.k), stride) > ends[:, None]] = -np.inf
        e = np.exp(scores - scores.max(-1, keepdims=True))
        e /= e.sum(-1, keepdims=True)
        units = e.reshape(group, -1, self.layout.rows // stride,
                          len(self.k) // self.layout.unit,
                          self.layout.unit // stride)
        return units.sum(-1).mean((0, 2))

    def vertical_slash(self, last=64):
        """Keys and distances that the last queries attend to."""
        unit, count = self.layout.unit, len(self.k)
        p = (self.scores[:, -last:] / self.total[:, -last:]).mean(0)
        vertical = p.mean(0).reshape(-1, unit).sum(-1)
        distance = self.positions[-last:, None] - np.arange(count)
        slash = np.bincount(distance[distance >= 0], p[distance >= 0], count) / last
        upto = np.concatenate([[0], slash.cumsum()])  # distances below so many
        begins = np.arange(0, count, unit)
        near = np.clip(self.positions[:, None] - begins + 1, 0, count)
        far = np.clip(self.positions[:, None] - begins - unit + 1, 0, count)
        return vertical + self.over_rows((upto[near] - upto[far])[None])

    def shares(self, estimator):
        name, _, number = estimator.partition(":")
        return getattr(self, name)(*([int(number)] if number else []))

    # ---- rules: [rows, units], whether it is read

    def choose(self, shares, rule, budget):
        if rule == "threshold":
            return self.past & (self.always | (shares > budget))
        key = np.where(self.always, np.inf, np.where(self.past, shares, -np.inf))
        order = np.argsort(-key, 1, kind="stable")
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(order.shape[1])[None], 1)
        if rule == "share":
            wanted = np.rint(budget * self.past.sum(1, keepdims=True))
            return self.past & (self.always | (rank < wanted))
        known = np.where(self.past, shares, 0)  # rule "mass"
        known = known / known.sum(1, keepdims=True)
        held = np.take_along_axis(known, order, 1).cumsum(1)
        enough = (held < budget).sum(1, keepdims=True)
        return self.past & (self.always | (rank <= enough))

    # ---- attention over what was chosen

    def exact(self, chosen):
        """Sums over chosen units: of values by weights, and of weights."""
        kept = self.per_query(chosen)
        weights = self.scores.reshape(*self.masses.shape, -1) * kept[None, :, :, None]
        weights = weights.reshape(self.scores.shape)
        return weights @ self.v, (self.masses * kept).sum(-1, keepdims=True)

    def pairs(self, chosen):
        """Of queries and keys: read, and causal."""
        return (self.known * self.per_query(chosen)).sum(), self.known.sum()
