"""SmolLM2 in numpy, for studies of attention that the kernels do not have yet.

Weights come out of the checkpoint's GGUF file, dequantised; activations are
float32. Attention is a function that the caller gives, so that one forward pass
serves dense attention and every way of estimating it.
"""

import functools
import pathlib
import sys

import gguf
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[4]
sys.path.insert(0, str(ROOT / "test/data/smollm2"))

from smollm2_tokenizer import load_tokenizer  # noqa: E402

ROWS = 256  # of queries, in dense attention and in logits, to bound memory


class Model:
    def __init__(self, path):
        reader = gguf.GGUFReader(path)

        def value(key):
            return reader.get_field(f"llama.{key}").contents()

        self.tokenizer = load_tokenizer(reader)
        self.layers, self.hidden = value("block_count"), value("embedding_length")
        self.heads = value("attention.head_count")
        self.kv_heads = value("attention.head_count_kv")
        self.group, self.dim = self.heads // self.kv_heads, self.hidden // self.heads
        self.epsilon = value("attention.layer_norm_rms_epsilon")
        pairs = self.dim // 2
        self.frequency = value("rope.freq_base") ** (-np.arange(pairs) / pairs)
        self.reader = reader

    @functools.cached_property
    def weights(self):
        return {t.name: gguf.dequantize(t.data, t.tensor_type).astype(np.float32)
                for t in self.reader.tensors}

    def norm(self, x, name):
        scale = np.sqrt((x * x).mean(-1, keepdims=True) + self.epsilon)
        return x / scale * self.weights[f"{name}.weight"]

    def rotate(self, x, begin):
        """[heads, tokens, dim]; a pair is two neighbours, as GGUF orders them."""
        angle = np.outer(np.arange(begin, begin + x.shape[1]), self.frequency)
        cos, sin = np.cos(angle).astype("f"), np.sin(angle).astype("f")
        result = np.empty_like(x)
        result[..., 0::2] = x[..., 0::2] * cos - x[..., 1::2] * sin
        result[..., 1::2] = x[..., 1::2] * cos + x[..., 0::2] * sin
        return result

    def forward(self, tokens, keys, values, attend):
        """Takes the last tokens of a text whose `keys` and `values` ([layers,
        KV heads, all tokens, dim]) hold those before; fills in the rest of both.
        `attend(layer, q, k, v)` gets queries [heads, tokens, dim], scaled.
        Returns what the head is applied to."""
        begin = keys.shape[2] - len(tokens)
        x = self.weights["token_embd.weight"][tokens]
        for layer in range(self.layers):
            name = f"blk.{layer}"

            def project(y, what, heads):
                y = y @ self.weights[f"{name}.attn_{what}.weight"].T
                return y.reshape(len(y), heads, self.dim).transpose(1, 0, 2)

            y = self.norm(x, f"{name}.attn_norm")
            q = self.rotate(project(y, "q", self.heads), begin) * self.dim**-0.5
            keys[layer, :, begin:] = self.rotate(project(y, "k", self.kv_heads), begin)
            values[layer, :, begin:] = project(y, "v", self.kv_heads)
            out = attend(layer, q.astype("f"), keys[layer], values[layer])
            out = out.transpose(1, 0, 2).reshape(len(x), -1)
            x = x + out @ self.weights[f"{name}.attn_output.weight"].T
            y = self.norm(x, f"{name}.ffn_norm")
            gate = y @ self.weights[f"{name}.ffn_gate.weight"].T
            gate /= 1 + np.exp(-gate)
            gate *= y @ self.weights[f"{name}.ffn_up.weight"].T
            x = x + gate @ self.weights[f"{name}.ffn_down.weight"].T
        return self.norm(x, "output_norm")

    def log_probabilities(self, x):
        logits = x @ self.weights["token_embd.weight"].T
        logits -= logits.max(-1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
        return logits

    def dense(self, _, q, k, v):
        """Causal attention of the last queries to all keys."""
        out = np.empty_like(q)
        count, group = q.shape[1], self.group
        for head in range(self.kv_heads):
            for row in range(0, count, ROWS):
                part = q[head * group:(head + 1) * group, row:row + ROWS]
                end = k.shape[1] - count + row + part.shape[1]
                scores = part @ k[head, :end].T
                own = np.triu(np.full((part.shape[1],) * 2, -np.inf, "f"), 1)
                scores[..., end - part.shape[1]:] += own
                scores -= scores.max(-1, keepdims=True)
                np.exp(scores, out=scores)
                out[head * group:(head + 1) * group, row:row + ROWS] = (
                    scores @ v[head, :end] / scores.sum(-1, keepdims=True))
        return out
