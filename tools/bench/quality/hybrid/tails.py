"""Estimates of the attention to keys that were not read, from states of their parts.

A part of keys with mean c and values of mean u stands for its keys as one key of
logit t = q.c + offset + r(q) and value u; r is what the estimates differ in. All sums
are relative to the same exp(top) as those of the exact keys, so that both merge
in one softmax. docs/hybrid-attention.md derives them.
"""

import numpy as np


def open_parts(view, chosen):
    """[judged, parts]: past parts of units that were not chosen."""
    left = view.past & ~chosen
    parts = view.layout.unit // view.layout.part
    return np.repeat(view.per_query(left), parts, 1)


def dims(view, which, split):
    """The dimensions of the `split` fastest pairs, or the others, or all."""
    dim = view.k.shape[1]
    return {"fast": slice(0, 2 * split), "slow": slice(2 * split, dim),
            "all": slice(0, dim)}[which]


def logits(view, kind, which="all", split=0, bound=0):
    """[group, judged, parts]."""
    if kind == "centroid":
        return view.estimates
    at = dims(view, which, split)
    if kind == "without":  # these dimensions left out
        means = view.means[:, at]
        return (view.estimates - view.q[..., at] @ means.T +
                (view.queries[:, at] * means).sum(1))
    variance, queries = view.variance()[:, at], view.queries[:, at]
    second = view.q[..., at]**2 @ variance.T - 2 * (
        view.q[..., at] @ (variance * queries).T) + (variance * queries**2).sum(1)
    second = np.maximum(second, 0) / 2
    if kind == "bounded":  # as the second order when small, a root when large
        second = bound * (np.sqrt(1 + 2 * second / bound) - 1)
    return view.estimates + second


def self_correction(view, chosen):
    """[group, judged, 1]: how far the means underestimate what was read."""
    read = chosen & ~view.always
    parts = view.layout.unit // view.layout.part
    estimated = np.exp(np.where(np.repeat(view.per_query(read), parts, 1),
                                view.estimates - view.top, -np.inf))
    exact = (view.masses * view.per_query(read)).sum(-1, keepdims=True)
    estimated = estimated.sum(-1, keepdims=True)
    known = (exact > 0) & (estimated > 0)
    return np.log(np.where(known, exact, 1) / np.where(known, estimated, 1))


def tail(view, chosen, spec):
    """Sums over the rest: of values by weights, and of weights. `spec` is "kind",
    "kind:which:split" or "kind:which:split:bound"; "self:share" corrects."""
    kind, *more = spec.split(":")
    left = open_parts(view, chosen)
    if kind == "favor":
        return favor(view, left, int(more[0]), int(more[1]))
    if kind.startswith("true"):
        return with_truth(view, left, kind)
    if kind == "self":
        t = view.estimates + float(more[0]) * self_correction(view, chosen)
    else:
        which, split, bound = (more + ["all", "0", "0"][len(more):])[:3]
        t = logits(view, kind, which, int(split), float(bound))
    weights = np.exp(np.where(left, np.minimum(t - view.top, 60), -np.inf))
    return weights @ view.value_means, weights.sum(-1, keepdims=True)


def with_truth(view, left, kind):
    """What is lost where: "true-mass" knows the weights, "true-value" the values."""
    part, dim = view.layout.part, view.v.shape[1]
    group, judged, count = view.scores.shape
    scores = view.scores.reshape(group * judged, -1, part).transpose(1, 0, 2)
    masses = scores.sum(-1).T.reshape(group, judged, -1)
    values = view.v.reshape(-1, part, dim)
    if kind == "true-mass":
        weights = masses * left
        return weights @ view.value_means, weights.sum(-1, keepdims=True)
    sums = (scores @ values).transpose(1, 0, 2).reshape(group, judged, -1, dim)
    weights = np.exp(np.where(left, view.estimates - view.top, -np.inf))
    ratio = weights / np.maximum(masses, 1e-30)
    return (np.einsum("gtp,gtpd->gtd", ratio, sums), weights.sum(-1, keepdims=True))


def orthogonal(count, dim, seed=0):
    rng = np.random.default_rng(seed)
    blocks = [np.linalg.qr(rng.standard_normal((dim, dim)))[0]
              for _ in range(-(-count // dim))]
    rows = np.concatenate(blocks)[:count]
    lengths = np.linalg.norm(rng.standard_normal((count, dim)), axis=1)
    return (rows * lengths[:, None]).astype("f")


def favor(view, left, features, width):
    """Positive random features of keys about the mean of `width` neighbours, norms
    balanced. Sums are over exactly the keys that were not read, which no state of
    bounded size knows: an upper limit of what features can do."""
    w = orthogonal(features, view.k.shape[1])
    result, mass = np.zeros_like(view.q), np.zeros_like(view.top)
    part, rows = view.layout.part, view.layout.rows
    for begin in range(0, view.late, width):
        k, v = (x[begin:min(begin + width, view.late)] for x in (view.k, view.v))
        open_keys = np.repeat(left[:, begin // part:(begin + len(k)) // part], part, 1)
        centre = k.mean(0)
        x, y = view.q, k - centre
        alpha = np.sqrt(np.linalg.norm(y, axis=1).mean() /
                        np.linalg.norm(x, axis=-1).mean())
        fq = x @ (alpha * w.T) - alpha**2 * (x * x).sum(-1, keepdims=True) / 2
        fk = y @ (w.T / alpha) - (y * y).sum(-1, keepdims=True) / alpha**2 / 2
        top_q, top_k = fq.max(-1, keepdims=True), fk.max()
        fq, fk = np.exp(fq - top_q), np.exp(fk - top_k)
        scale = np.exp(np.minimum(
            top_q + top_k + x @ centre[:, None] - view.top, 60)) / features
        for row in range(0, x.shape[1], rows):
            at = slice(row, row + rows)
            state = fk * open_keys[row][:, None]
            result[:, at] += scale[:, at] * (fq[:, at] @ (state.T @ v))
            mass[:, at] += scale[:, at] * (fq[:, at] @ state.sum(0)[:, None])
    return result, mass
