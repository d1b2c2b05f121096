"""A transformer with block-sparse attention in numpy, from its definition.

The reference of sparse_test.py: float64, every step of the prompt as the runtime
takes it, since a query block chooses by the queries that are in the step. Written
for being read: all scores, then a choice of blocks, then one softmax. Families
are told apart by which weights the checkpoint has; positions are plain or dual
chunk.
"""

import dataclasses
import json
import math

import numpy as np

import harness


@dataclasses.dataclass
class Sparsity:
    block: int = 64
    local: int = 1
    adjacent: int = 0
    sink: int = 0
    top_k: int = 0
    density: float = 0
    mass: float = 0
    max_blocks: int = 0
    kind: str = "sparse"  # or "hybrid"

    def flags(self):
        choice = (("--top-k", self.top_k) if self.top_k else
                  ("--mass", self.mass) if self.mass else
                  ("--density", self.density))
        limit = ("--max-blocks", self.max_blocks) if self.max_blocks else ()
        return ["--attention", self.kind, "--block", self.block, "--local",
                self.local, "--adjacent", self.adjacent, "--sink", self.sink,
                *choice, *limit]

    def choose(self, masses):
        """The key blocks that the query block behind the last of them keeps."""
        query = len(masses) - 1
        always = [b for b in range(query + 1) if b < self.sink or
                  b > query - self.local - self.adjacent]
        others = [b for b in range(query + 1) if b not in always]
        others.sort(key=lambda b: (-masses[b], b))
        if self.max_blocks:
            others = others[:self.max_blocks]
        if not self.mass:
            share = math.ceil(self.density * (query + 1))
            return always + others[:self.top_k or share]
        kept = list(always)
        while others and masses[kept].sum() < self.mass * masses.sum():
            kept.append(others.pop(0))
        return kept


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def in_codes(x):
    """Rounded to multiples of a 127th of a vector's largest element."""
    scale = np.abs(x).max(-1, keepdims=True) / 127
    return np.rint(x / np.where(scale > 0, scale, 1)) * scale


class Model:
    def __init__(self, folder, sparsity):
        self.config = json.loads((folder / "config.json").read_text())
        self.weights = {name: values.astype(np.float64) for name, values
                        in harness.read_tensors(folder).items()}
        self.sparsity = sparsity
        self.heads = self.config["num_attention_heads"]
        self.kv_heads = self.config["num_key_value_heads"]
        self.head_dim = self.config.get(
            "head_dim", self.config["hidden_size"] // self.heads)
        self.dual = self.config.get("dual_chunk_attention_config")
        self.caches = None
        self.kept_mass = []  # of every query of a layer and head

    def logits(self, tokens, steps):
        """Of all tokens, taken in steps of so many."""
        assert sum(steps) == len(tokens)
        self.caches = [([], []) for _ in range(self.config["num_hidden_layers"])]
        rows, done = [], 0
        for count in steps:
            rows.append(self.step(tokens[done:done + count], done))
            done += count
        return np.concatenate(rows)

    def step(self, tokens, past):
        embedding = self.weights["model.embed_tokens.weight"]
        x = embedding[tokens]
        at = np.arange(past, past + len(tokens))
        for layer in range(self.config["num_hidden_layers"]):
            prefix = f"model.layers.{layer}."
            x = x + self.attention(
                layer, prefix + "self_attn.",
                self.norm(x, prefix + "input_layernorm.weight"), at)
            h = self.norm(x, prefix + "post_attention_layernorm.weight")
            gate = self.linear(prefix + "mlp.gate_proj", h)
            up = self.linear(prefix + "mlp.up_proj", h)
            x = x + self.linear(prefix + "mlp.down_proj",
                                gate / (1 + np.exp(-gate)) * up)
        x = self.norm(x, "model.norm.weight")
        return x @ self.weights.get("lm_head.weight", embedding).T

    def linear(self, name, x):
        bias = self.weights.get(name + ".bias")
        y = x @ self.weights[name + ".weight"].T
        return y if bias is None else y + bias

    def norm(self, x, name):
        if name not in self.weights:
            return x  # heads of families that have no norm of theirs
        mean = (x * x).mean(-1, keepdims=True)
        return x / np.sqrt(mean + self.config["rms_norm_eps"]) * self.weights[name]

    def rotate(self, x, at):
        """x [heads, tokens, head_dim] at positions `at`; halves are paired."""
        half = self.head_dim // 2
        frequencies = self.config["rope_theta"] ** (-np.arange(half) / half)
        angles = at[:, None] * frequencies
        first, second = x[..., :half], x[..., half:]
        return np.concatenate(
            (first * np.cos(angles) - second * np.sin(angles),
             second * np.cos(angles) + first * np.sin(angles)), -1)

    def key_positions(self, at):
        return at % self.chunk_keys() if self.dual else at

    def chunk_keys(self):
        return self.dual["chunk_size"] - self.dual["local_size"]

    def scores(self, q, at, keys, key_at, estimate=False, codes=False):
        """[heads, tokens, keys], -inf for those not there yet; with queries in codes
        or not. An estimate has the positions of dual chunk attention unclamped."""
        def rotate(position):
            rotated = self.rotate(q, position)
            return in_codes(rotated) if codes else rotated

        group = self.heads // self.kv_heads
        keys = np.repeat(keys, group, 0).transpose(0, 2, 1)
        scale = self.head_dim ** -0.5
        if not self.dual:
            found = rotate(at) @ keys * scale
        else:
            size, keys_of = self.dual["chunk_size"], self.chunk_keys()
            within = at % keys_of
            far = (within + keys_of, within + size) if estimate else (
                np.minimum(within + keys_of, size),
                np.full_like(at, min(2 * keys_of - 1, size)))
            parts = [rotate(p) @ keys for p in (within, *far)]
            between = at[:, None] // keys_of - key_at[None, :] // keys_of
            original = self.dual["original_max_position_embeddings"]
            heat = np.maximum(1, 0.1 * np.log((at + 1) / original) + 1) ** 2
            found = np.choose(np.clip(between, 0, 2), parts) * (
                scale * heat[:, None])
        return np.where(key_at[None, :] > at[:, None], -np.inf, found)

    def attention(self, layer, prefix, x, at):
        def heads_of(projection, count, norm):
            y = self.linear(prefix + projection, x)
            y = y.reshape(len(x), count, self.head_dim)
            return self.norm(y, f"{prefix}{norm}.weight").transpose(1, 0, 2)

        q = heads_of("q_proj", self.heads, "q_norm")
        k = self.rotate(heads_of("k_proj", self.kv_heads, "k_norm"),
                        self.key_positions(at))
        v = heads_of("v_proj", self.kv_heads, "no_norm")
        for cache, new in zip(self.caches[layer], (k, v)):
            cache.append(new)
        keys, values = (np.concatenate(c, 1) for c in self.caches[layer])
        scores = self.scores(q, at, keys, np.arange(keys.shape[1]))
        if self.sparsity:
            kept = self.kept(scores, self.estimate(q, at, keys), at)
            self.kept_mass.append((softmax(scores) * kept).sum(-1))
            scores = np.where(kept, scores, -np.inf)
            if self.sparsity.kind == "hybrid":
                scores = np.concatenate((scores, self.tail(q, at, keys, kept)), -1)
                values = np.concatenate((values, self.means(values)), 1)
        values = np.repeat(values, self.heads // self.kv_heads, 0)
        out = (softmax(scores) @ values).transpose(1, 0, 2)
        return self.linear(prefix + "o_proj", out.reshape(len(x), -1))

    def estimate(self, q, at, keys):
        """[heads, tokens, blocks]: scores with the mean keys of whole blocks, in
        codes."""
        means = self.means(keys)
        starts = np.arange(means.shape[1]) * self.sparsity.block
        return self.scores(q, at, means, starts, estimate=True, codes=True)

    def means(self, rows):
        """Of whole blocks of keys or values, in codes: [KV heads, blocks, head_dim]."""
        block = self.sparsity.block
        whole = rows[:, :rows.shape[1] // block * block]
        return in_codes(whole.reshape(len(rows), -1, block, self.head_dim).mean(2))

    def tail(self, q, at, keys, kept):
        """[heads, tokens, blocks]: what a whole block weighs by its mean key, -inf
        where it is kept."""
        means, block = self.means(keys), self.sparsity.block
        starts = np.arange(means.shape[1]) * block
        found = self.scores(q, at, means, starts, codes=True) + np.log(block)
        return np.where(kept[..., starts], -np.inf, found)

    def kept(self, scores, estimate, at):
        """[heads, tokens, keys]: whether the key's block is kept."""
        block, group = self.sparsity.block, self.heads // self.kv_heads
        result = np.zeros(scores.shape, bool)
        for query in np.unique(at // block):
            rows = np.flatnonzero(at // block == query)
            for head in range(0, self.heads, group):
                of = slice(head, head + group)
                masses = self.masses(scores[of, rows, query * block:],
                                     estimate[of, rows, :query])
                for chosen in self.sparsity.choose(masses):
                    keys = slice(chosen * block, (chosen + 1) * block)
                    result[head:head + group, rows, keys] = True
        return result

    def masses(self, own, estimate):
        """By mean keys; in the queries' own block each meets its own mean."""
        own = own[..., :self.sparsity.block]
        there = np.isfinite(own)
        count = there.sum(-1)
        own = np.where(there, own, 0).sum(-1) / count + np.log(count)
        far = estimate + np.log(self.sparsity.block)
        return softmax(np.concatenate((far, own[..., None]), -1)).sum((0, 1))
