"""Texts of a study: tokens, and what dense attention makes of them, kept on disk.

A text is judged on its last tokens only. The keys and values of those before come
from dense attention, as after a dense prompt: what an estimate loses is then its
own loss, not what it did to the cache, and a trial costs seconds. `dense` keeps
them, the judged queries of every layer, and what the head is applied to.
"""

import dataclasses
import hashlib
import pathlib

import numpy as np

KEPT = 512  # queries at the end whose dense results are kept


@dataclasses.dataclass
class Text:
    name: str
    digest: str
    tokens: np.ndarray  # one more than are read: the last is only predicted
    judged: int
    keys: np.ndarray    # [layers, KV heads, tokens, dim]
    values: np.ndarray
    queries: np.ndarray  # [layers, heads, judged, dim], scaled
    hidden: np.ndarray   # [judged, hidden]

    @property
    def begin(self):
        return len(self.tokens) - 1 - self.judged


def compute(model, tokens, judged):
    count = len(tokens) - 1
    keys = np.zeros((model.layers, model.kv_heads, count, model.dim), "f")
    values, queries = np.zeros_like(keys), []

    def attend(layer, q, k, v):
        queries.append(q[:, -judged:].copy())
        return model.dense(layer, q, k, v)

    hidden = model.forward(tokens[:-1], keys, values, attend)[-judged:]
    return keys, values, np.stack(queries), hidden


def dense(model, path, count, judged, work):
    """Reads a text of `count` tokens; what was computed once is read again."""
    path, work = pathlib.Path(path), pathlib.Path(work)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    tokens = np.array(model.tokenizer.encode(
        path.read_text(encoding="utf-8")).ids[:count + 1])
    if len(tokens) <= count:
        raise SystemExit(f"error: {path} has {len(tokens)} tokens, needs {count + 1}")
    folder = work / f"{path.stem}-{digest[:12]}-{count}"
    names = [folder / f"{n}.npy" for n in ("keys", "values", "queries", "hidden")]
    if not folder.exists():
        arrays = compute(model, tokens, KEPT)
        partial = folder.with_suffix(".partial")
        partial.mkdir(parents=True, exist_ok=True)
        for name, array in zip(names, arrays):
            np.save(partial / name.name, array)
        partial.rename(folder)
    keys, values, queries, hidden = (np.load(name, mmap_mode="r") for name in names)
    return Text(path.stem, digest, tokens, judged, keys, values,
                queries[:, :, -judged:], hidden[-judged:])
