"""Runs transformers in float32 with eager attention: the only source of expected values.

Used by the makers of the tiny checkpoints, the GGUF files and the SmolLM2
goldens. Nothing in here knows the project's own code.
"""

import json
import platform

import numpy as np
import torch
import transformers

import dual_chunk

transformers.utils.logging.disable_progress_bar()

GREEDY_STEPS = 64


def versions(*more):
    """What produced a golden file, for its manifest."""
    found = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": np.__version__,
    }
    for module in more:
        found[module.__name__] = getattr(module, "__version__", "unknown")
    return found


def load(folder):
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager")
    return dual_chunk.install(model.eval())


@torch.no_grad()
def all_logits(model, tokens):
    """Logits of every prompt row, [tokens, vocabulary] float32."""
    rows = model(torch.tensor([tokens]), use_cache=False).logits[0]
    return rows.to(torch.float32).numpy()


def gap(row):
    """Distance of the two best logits, as a share of the row's range."""
    second, first = np.partition(row, -2)[-2:]
    return float((first - second) / (row.max() - row.min()))


def rounded(value):
    return float(f"{value:.4g}")


@torch.no_grad()
def greedy(model, tokens, steps=GREEDY_STEPS):
    """`steps` greedy tokens, end tokens ignored, and the gap at each step."""
    chosen, gaps = [], []
    step, cache = list(tokens), transformers.DynamicCache(config=model.config)
    for _ in range(steps):
        out = model(torch.tensor([step]), cache=cache, use_cache=True)
        row = out.logits[0, -1].numpy()
        chosen.append(int(row.argmax()))
        gaps.append(rounded(gap(row)))
        step = [chosen[-1]]
    return chosen, gaps


@torch.no_grad()
def greedy_penalised(model, tokens, penalty, steps):
    """Greedy tokens under transformers' repetition penalty, prompt included."""
    processor = transformers.RepetitionPenaltyLogitsProcessor(penalty)
    sequence = list(tokens)
    for _ in range(steps):
        ids = torch.tensor([sequence])
        scores = processor(ids, model(ids, use_cache=False).logits[:, -1])
        sequence.append(int(scores.argmax()))
    return sequence[len(tokens):]


def allowed_ids(row, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0):
    """Ids that transformers' samplers leave, in the order `generate` runs them."""
    scores = transformers.TemperatureLogitsWarper(temperature)(
        None, torch.tensor(row)[None])
    if top_k:
        scores = transformers.TopKLogitsWarper(top_k)(None, scores)
    if top_p < 1:
        scores = transformers.TopPLogitsWarper(top_p)(None, scores)
    if min_p:
        scores = transformers.MinPLogitsWarper(min_p)(None, scores)
    return torch.isfinite(scores[0]).nonzero()[:, 0].tolist()


def write_json(path, value):
    """Stable JSON: lists of numbers on one line, so that diffs stay readable."""
    def render(node, depth):
        pad = " " * depth
        if isinstance(node, dict):
            body = ",\n".join(
                f"{pad} {json.dumps(k)}: {render(v, depth + 1)}"
                for k, v in node.items())
            return "{\n" + body + "\n" + pad + "}" if node else "{}"
        if isinstance(node, list) and any(
                isinstance(v, (dict, list)) for v in node):
            body = ",\n".join(f"{pad} {render(v, depth + 1)}" for v in node)
            return "[\n" + body + "\n" + pad + "]"
        return json.dumps(node, ensure_ascii=False)

    path.write_text(render(value, 0) + "\n", encoding="utf-8")
