#!/usr/bin/env python3
"""`--attention kernelized` as a whole model, against the same maths in float64.

Tiny checkpoints through stele compile and run: the features that the artifact
carries are drawn again here from their seed, and the model is written out in
numpy with sums over all keys, without states, chunks or maxima. Then what must
hold of states: chunks, threads and company, sessions that go on, and what cannot
work with them is refused by name.
"""

import json
import shutil
import subprocess

import numpy as np

import harness

# The checkpoint, its features, and whether every layer is kernelized.
CASES = [("llama-long", 256, True), ("llama-long", 24, True), ("qwen3", 65, True),
         ("qwen2-window", 32, False)]
SEED = 0


# ---- features, as lm::randomFeatures says


class Gaussian:
    """SplitMix64 and the Box-Muller transform."""

    def __init__(self, seed):
        self.state = seed

    def uniform(self):
        mask = (1 << 64) - 1
        self.state = (self.state + 0x9E3779B97F4A7C15) & mask
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return (((z ^ (z >> 31)) >> 11) + 1) * 2.0**-53

    def vector(self, size):
        return np.array([np.sqrt(-2 * np.log(self.uniform())) *
                         np.cos(2 * np.pi * self.uniform()) for _ in range(size)])


def random_features(count, head_dim):
    """Rows at right angles, in groups of head_dim, with lengths of their own."""
    gaussian = Gaussian(SEED)
    rows, group = [], []
    for f in range(count):
        row, other = gaussian.vector(head_dim), gaussian.vector(head_dim)
        if f % head_dim == 0:
            group = []
        for before in group:
            row = row - (row @ before) / (before @ before) * before
        row *= np.linalg.norm(other) / np.linalg.norm(row)
        group.append(row)
        rows.append(row)
    return np.array(rows).astype(np.float32).astype(np.float64)


# ---- the model


class Model:
    """Llama, Qwen2 and Qwen3 with kernelized attention, all tokens at once."""

    def __init__(self, folder, features):
        self.config = json.loads((folder / "config.json").read_text())
        self.weights = {name: values.astype(np.float64) for name, values
                        in harness.read_tensors(folder).items()}
        c = self.config
        self.heads, self.kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
        self.dim = c.get("head_dim", c["hidden_size"] // self.heads)
        self.features = random_features(features, self.dim)

    def norm(self, x, name):
        scale = np.sqrt((x**2).mean(-1, keepdims=True) + self.config["rms_norm_eps"])
        return x / scale * self.weights[name]

    def project(self, x, name):
        y = x @ self.weights[f"{name}.weight"].T
        return y + self.weights.get(f"{name}.bias", 0)

    def heads_of(self, x, layer, name, count):
        """[heads, tokens, dim], normalised and rotated but for values."""
        x = self.project(x, f"{layer}.self_attn.{name}_proj")
        x = x.reshape(len(x), count, self.dim).transpose(1, 0, 2)
        norm = f"{layer}.self_attn.{name}_norm.weight"
        if norm in self.weights:
            x = self.norm(x, norm)
        return x if name == "v" else self.rotate(x)

    def rotate(self, x):
        half = self.dim // 2
        theta = self.config["rope_theta"]
        frequency = (theta**(-np.arange(half) / half)).astype(np.float32)
        positions = np.arange(x.shape[1]).astype(np.float32)
        angle = (positions[:, None] * frequency).astype(np.float64)
        first, second = x[..., :half], x[..., half:]
        return np.concatenate([first * np.cos(angle) - second * np.sin(angle),
                               second * np.cos(angle) + first * np.sin(angle)], -1)

    def window(self, layer):
        c = self.config
        is_windowed = c.get("use_sliding_window") and layer >= c["max_window_layers"]
        return c["sliding_window"] if is_windowed else None

    def weights_of(self, q, k, window):
        """What every query gives to every key, up to a factor of its own."""
        scale = self.dim**-0.5
        positions = np.arange(len(q))
        distance = positions[:, None] - positions
        if window:
            allowed = (distance >= 0) & (distance < window)
            return np.where(allowed, np.exp(scale * q @ k.T), 0)
        phi = [np.exp(x @ self.features.T - (x**2).sum(-1, keepdims=True) / 2)
               for x in (q * scale**0.5, k * scale**0.5)]
        return np.where(distance >= 0, phi[0] @ phi[1].T, 0)

    def attend(self, x, layer, name):
        q = self.heads_of(x, name, "q", self.heads)
        k, v = (self.heads_of(x, name, n, self.kv_heads) for n in "kv")
        outputs = []
        for head in range(self.heads):
            group = head // (self.heads // self.kv_heads)
            weights = self.weights_of(q[head], k[group], self.window(layer))
            outputs.append(weights @ v[group] / weights.sum(1, keepdims=True))
        return self.project(np.concatenate(outputs, -1), f"{name}.self_attn.o_proj")

    def logits(self, tokens):
        embedding = self.weights["model.embed_tokens.weight"]
        x = embedding[tokens]
        for layer in range(self.config["num_hidden_layers"]):
            name = f"model.layers.{layer}"
            x = x + self.attend(self.norm(x, f"{name}.input_layernorm.weight"), layer,
                                name)
            y = self.norm(x, f"{name}.post_attention_layernorm.weight")
            gate = self.project(y, f"{name}.mlp.gate_proj")
            up = self.project(y, f"{name}.mlp.up_proj")
            x = x + self.project(gate / (1 + np.exp(-gate)) * up,
                                 f"{name}.mlp.down_proj")
        head = self.weights.get("lm_head.weight", embedding)
        return self.norm(x, "model.norm.weight") @ head.T


# ---- the checks


def check_near(report, name, found, expected, allowed):
    worst = float(harness.differences(found, expected).max())
    report.check(name, worst <= allowed, f"differ by {worst:.2e} of the row's range, "
                 f"allowed {allowed:.0e}")


def check_chunks(report, name, programs, artifact, tokens):
    expected = programs.logits(artifact, tokens)
    for flags in (["--threads", "3"], ["--chunk", "64"]):
        found = programs.logits(artifact, tokens, *flags)
        report.check(f"{name} {' '.join(flags)}",
                     found.tobytes() == expected.tobytes(), "other bits")
    for chunk in ("1", "7"):  # a decode at a time, and inside the kernel's blocks
        check_near(report, f"{name} --chunk {chunk}",
                   programs.logits(artifact, tokens, "--chunk", chunk), expected,
                   1e-5)


def check_batch(report, name, programs, artifact, tokens):
    """Two prompts in one batch get what each gets alone."""
    prompts = [tokens, tokens[5:40]]
    file = programs.work / "prompts.jsonl"
    file.write_text("".join(json.dumps({"tokens": p}) + "\n" for p in prompts))
    out = programs.execute("stele", "run", artifact, "--prompts", file, "-n", 20,
                           *harness.GREEDY)
    found = [json.loads(line)["tokens"] for line in out.splitlines()]
    for prompt, answer in zip(prompts, found):
        alone = programs.run(artifact, prompt, 20)["tokens"]
        report.check(f"{name} batch", answer == alone, f"{answer}, alone {alone}")


def check_decode(report, name, programs, artifact, tokens):
    """An answer decoded is the answer that prompts with more of it give."""
    answer = programs.run(artifact, tokens, 12)["tokens"]
    logits = programs.logits(artifact, tokens + answer)
    expected = logits[len(tokens) - 1:-1].argmax(1).tolist()
    report.check(f"{name} decode", answer == expected, f"{answer}, prompt {expected}")


def check_session(report, name, programs, artifact, tokens):
    """A saved session, or a fork of it, goes on without computing a token again, bit
    for bit; with its states gone it computes all of them."""
    flags = ["--temperature", "1", "--ignore-eos", "--json"]
    ids = ["--seed", "3", "--tokens", ",".join(map(str, tokens))]

    def run(*more):
        return json.loads(programs.execute("stele", "run", artifact, *flags, *more))

    expected = run(*ids, "-n", 24)["tokens"]
    store = programs.work / "store"
    shutil.rmtree(store, ignore_errors=True)
    named = ["--store", store, "--session", "s"]
    first = run(*named, *ids, "-n", 10)["tokens"]
    for step, more in (("fork", ["--fork", "t"]), ("session", []), ("loss", [])):
        if step == "loss":
            (store / "states/s").unlink()
        second = run(*named, *more, "-n", 14)
        reused = second["stats"]["store"]["tokens_reused"]
        known = 0 if step == "loss" else len(tokens) + 9
        report.check(f"{name} {step} reuses", reused == known,
                     f"{reused} tokens, expected {known}")
        if step != "loss":
            report.check(f"{name} {step}", first + second["tokens"] == expected,
                         f"{first + second['tokens']}, expected {expected}")


def check_refused(report, name, programs, words, program, *arguments):
    done = subprocess.run([str(programs.bin / program), *map(str, arguments)],
                          capture_output=True, text=True, timeout=600, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    report.check(f"{name} is refused", done.returncode == 1 and len(lines) == 1 and
                 all(word in lines[0] for word in words),
                 f"exit code {done.returncode}, {done.stderr[-300:]}")


def check_memory(report, name, programs, artifact, features, everywhere):
    plan = json.loads(programs.execute("stele", "inspect", artifact, "--json"))
    caches = {cache["name"]: cache for cache in plan["kv_caches"]}
    states = caches["states"]
    padded = -(-states["head_dim"] // 16) * 16
    expected = 64 + 4 * (2 * -(-features // 16) * 16 + features * padded)
    report.check(f"{name} state", states["page_bytes"] == expected,
                 f"{states['page_bytes']} bytes, expected {expected}")
    report.check(f"{name} pages of a step",
                 caches["cache"]["transient"] == everywhere,
                 f"{caches['cache']['transient']}, expected {everywhere}")


def test_case(report, programs, model, features, everywhere):
    name = f"{model}, {features} features"
    folder = harness.TINY / model
    artifact = programs.compile(folder, f"{model}-{features}", "--attention",
                                "kernelized", "--features", features,
                                "--activations", "f32")
    check_memory(report, name, programs, artifact, features, everywhere)
    prompts = harness.read_goldens(folder)["prompts"]
    tokens = max((golden["tokens"] for golden in prompts), key=len)
    expected = Model(folder, features).logits(tokens)
    check_near(report, name, programs.logits(artifact, tokens), expected, harness.TIE)
    check_chunks(report, name, programs, artifact, tokens)
    check_batch(report, name, programs, artifact, tokens)
    check_decode(report, name, programs, artifact, tokens)
    check_session(report, name, programs, artifact, tokens)
    check_refused(report, f"{name} --lookup", programs, ["--lookup"], "stele", "run",
                  artifact, "--tokens", "1,2,3", "-n", 2, "--lookup", 4)
    check_refused(report, f"{name} --store without --session", programs,
                  ["--session"], "stele", "run", artifact, "--tokens", "1,2,3", "-n",
                  2, "--store", programs.work / "nameless")


def test_arithmetic(report, programs):
    """bf16 and int8 pages: kernels run, and stay near f32's."""
    folder = harness.TINY / "llama-long"
    tokens = harness.read_goldens(folder)["prompts"][0]["tokens"]
    expected = Model(folder, 64).logits(tokens)
    for arithmetic, kv in (("bf16", "auto"), ("bf16", "int8"), ("f32", "f16")):
        artifact = programs.compile(folder, f"llama-long-{arithmetic}-{kv}",
                                    "--attention", "kernelized", "--features", 64,
                                    "--activations", arithmetic, "--kv", kv)
        check_near(report, f"{arithmetic} over {kv}",
                   programs.logits(artifact, tokens), expected, 0.15)


def test(report, programs, only):
    for case in CASES:
        if not only or case[0] in only:
            test_case(report, programs, *case)
    test_arithmetic(report, programs)
    check_refused(report, "windows in every layer", programs, ["sliding window"],
                  "stele-compile", harness.TINY / "mistral-window", "-o",
                  programs.work / "window.stele", "--attention", "kernelized")
    check_refused(report, "dual chunk positions", programs, ["--positions"],
                  "stele-compile", harness.TINY / "qwen2-chunks", "-o",
                  programs.work / "chunks.stele", "--attention", "kernelized")


if __name__ == "__main__":
    harness.main(__doc__, test)
