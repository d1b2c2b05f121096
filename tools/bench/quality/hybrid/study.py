#!/usr/bin/env python3
"""How well attention is estimated when most keys are not read: SmolLM2, in numpy.

    python tools/bench/quality/hybrid/study.py heads TEXT --set SET... [--tokens N]
    python tools/bench/quality/hybrid/study.py fit TEXT
    python tools/bench/quality/hybrid/study.py model TEXT... --set SET... [--tokens N]
    python tools/bench/quality/hybrid/study.py table [--tokens N]

heads  compares every head's output with exact attention on the keys and queries of
       a dense pass, for one choice of blocks and many tails
fit    takes from the `heads` and `curves` of a calibration text what tails and budgets
       each head gets
       (--reference TEXT, in heads and model: another text, whose mean queries are
       the references of means)
model  runs the judged tokens through the whole model with a trial's attention
table  prints what `heads` and `model` found, means over the texts

A text is read to --tokens; its last --judged tokens are compared, those before are
dense (texts.py). Every finished line is kept in --work as JSON, and is not computed
again, so that a study may be stopped and go on. Texts are known by their SHA-256,
which is in every line. It needs the environment of tools/make-venv. On a shared
machine: OMP_NUM_THREADS=1 nice -n 19.
"""

import argparse
import dataclasses
import functools
import hashlib
import json
import math
import pathlib
import time

import numpy as np

import sets
import smollm2
import tails
import texts
import view as views

BIASES = [-2, -1, -0.5, 0, 0.25, 0.5, 1, 1.5]
SHARES = [round(0.02 * i, 2) for i in range(51)]  # of units, in curves


class Lines:
    """JSON lines on disk, and whether one for a key is there."""

    def __init__(self, path):
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.lines = [json.loads(line) for line in lines]
        self.known = {json.dumps(line["key"]) for line in self.lines}

    def has(self, key):
        return json.dumps(key) in self.known

    def add(self, key, **values):
        self.known.add(json.dumps(key))
        with self.path.open("a") as file:
            file.write(json.dumps({"key": key, **values}) + "\n")


def text_key(text, flags=None):
    """What a line is about; with flags also whose queries were the references."""
    key = {"text": text.name, "sha256": text.digest,
           "tokens": len(text.tokens) - 1, "judged": text.judged}
    if flags and flags.reference:
        key["reference"] = hashlib.sha256(flags.reference.read_bytes()).hexdigest()
    return key


def heads_of(model, text, layout, references):
    """Views of all KV heads, layer by layer."""
    for layer in range(model.layers):
        for head in range(model.kv_heads):
            at = slice(head * model.group, (head + 1) * model.group)
            yield views.View(layout, text.queries[layer, at], text.keys[layer, head],
                             text.values[layer, head], references[layer][head])


def read_references(flags, model):
    """[layers][KV heads], from a text of its own."""
    if not flags.reference:
        return [[None] * model.kv_heads] * model.layers
    text = texts.dense(model, flags.reference, flags.tokens, texts.KEPT, flags.work)
    return [[views.Reference(q, text.begin, model.frequency)
             for q in np.split(queries, model.kv_heads)] for queries in text.queries]


# ---- heads


def measure_heads(model, text, references, trial, specs):
    """Relative errors [specs][layers * heads][biases], without a tail [layers *
    heads], and log(true mass / estimated mass) of each tail [specs][...]."""
    alone, errors, bias = [], {s: [] for s in specs}, {s: [] for s in specs}
    for view in heads_of(model, text, trial.layout, references):
        chosen = view.choose(view.shares(trial.estimator), trial.rule, trial.budget)
        truth = view.scores @ view.v / view.total
        norm = (truth**2).sum((1, 2))
        values, mass = view.exact(chosen)
        left = 1 - (mass / view.total).mean((1, 2))

        def error(n, d):
            return (((n / d - truth)**2).sum((1, 2)) / norm).tolist()

        alone += error(values, mass)
        for spec in specs:
            n, d = tails.tail(view, chosen, spec)
            errors[spec] += zip(*(error(values + np.exp(b) * n, mass + np.exp(b) * d)
                                  for b in BIASES))
            estimated = (d / view.total).mean((1, 2))
            bias[spec] += np.log(np.maximum(left, 1e-9) /
                                 np.maximum(estimated, 1e-9)).tolist()
    return {"alone": alone, "errors": errors, "bias": bias}


def curves(model, text, references, trial):
    """True mass on the best units by the estimator, for shares of them read:
    [layers * KV heads][shares], and the same by the oracle."""
    result = {trial.estimator: [], "oracle": []}
    for view in heads_of(model, text, trial.layout, references):
        for estimator, lines in result.items():
            shares = view.shares(estimator)
            lines.append([])
            for share in SHARES:
                kept = view.per_query(view.choose(shares, "share", share))
                mass = (view.masses * kept).sum(-1, keepdims=True) / view.total
                lines[-1].append(float(mass.mean()))
    return result


def run_heads(flags, model):
    lines = Lines(flags.work / "heads.jsonl")
    loaded, references = list(load(flags, model)), read_references(flags, model)
    for trial, specs in (t for s in flags.set for t in sets.HEADS[s]):
        for text in loaded:
            key = {**text_key(text, flags), "trial": dataclasses.asdict(trial),
                   "specs": specs}
            if lines.has(key):
                continue
            begin = time.time()
            found = (measure_heads(model, text, references, trial, specs) if specs else
                     curves(model, text, references, trial))
            lines.add(key, **found, seconds=time.time() - begin)
            print(text.name, trial.name(), f"{time.time() - begin:.0f} s", flush=True)


# ---- fit


def allocate(mass, share):
    """Shares of each head, so that they keep the most mass at `share` on average:
    one step after the other goes to the head that gains most by it."""
    mass = np.maximum.accumulate(np.array(mass), 1)
    # Steps of the upper hull, so that a step behind a flat one counts.
    at = np.zeros(len(mass), int)
    budget = round(share / SHARES[1] * len(mass))
    while budget > 0:
        best, step, gain = None, 0, -1
        for head, i in enumerate(at):
            ahead = np.arange(1, len(SHARES) - i)
            if not len(ahead):
                continue
            rate = (mass[head, i + 1:] - mass[head, i]) / ahead
            j = int(rate.argmax())
            if rate[j] > gain:
                best, step, gain = head, j + 1, rate[j]
        step = min(step, budget)
        at[best] += step
        budget -= step
    return [SHARES[i] for i in at]


def run_fit(flags, model):
    """What calibration gives every head: `fit.json` in --work."""
    (text,) = load(flags, model)
    fit = {"key": text_key(text), "budgets": {}, "tails": {}}
    for line in Lines(flags.work / "heads.jsonl").lines:
        if any(line["key"][k] != v for k, v in text_key(text).items()):
            continue
        trial, specs = sets.read(line["key"]["trial"]), line["key"]["specs"]
        if not specs:
            for share in sets.HEAD_SHARES:
                fit["budgets"].setdefault(trial.shape(), {})[str(share)] = allocate(
                    line[trial.estimator], share)
            continue
        fit["tails"][f"{trial.shape()} {trial.budget}"] = [
            best_tail(line, head) for head in range(len(line["alone"]))]
    (flags.work / f"fit-{flags.tokens}.json").write_text(json.dumps(fit))


def best_tail(line, head):
    """The best bias of each tail, and the best of those that "auto" chooses from."""
    result = {spec: BIASES[int(np.argmin(errors[head]))]
              for spec, errors in line["errors"].items()}
    for name, specs in sets.AUTO.items():
        plain = {spec: line["errors"][spec][head][BIASES.index(0)] for spec in specs
                 if spec in line["errors"]}
        plain["none"] = line["alone"][head]
        result[name] = min(plain, key=plain.get)
    return result


# ---- model


class Study:
    def __init__(self, model, text, references, fit):
        self.model, self.text, self.fit = model, text, fit
        self.references = references
        self.keys, self.values = {}, {}

    @functools.cached_property
    def dense(self):
        return self.model.log_probabilities(self.text.hidden)

    def nll(self, log_probabilities):
        following = self.text.tokens[self.text.begin + 1:]
        return -log_probabilities[np.arange(len(following)), following].mean()

    def cache(self, pages):
        """Keys and values of the text before the judged tokens as pages keep them."""
        if pages not in self.keys:
            self.keys = {pages: np.array(self.text.keys)}  # one kind at a time
            self.values = {pages: np.array(self.text.values)}
            if pages != "f32":
                for cache in (self.keys[pages], self.values[pages]):
                    for layer in cache:
                        layer[:] = views.quantise(layer, sets.BITS[pages])
        return self.keys[pages], self.values[pages]

    def run(self, trial):
        self.kept, self.pairs = [], np.zeros(2)

        def attend(layer, q, k, v):
            group, parts = self.model.group, []
            for head in range(self.model.kv_heads):
                at = slice(head * group, (head + 1) * group)
                parts.append(self.attend_head(trial, layer, head, q[at], k[head],
                                              v[head]))
            return np.concatenate(parts)

        keys, values = self.cache(trial.pages)
        tokens = self.text.tokens[self.text.begin:-1]
        is_dense = trial.estimator == "dense"
        hidden = self.model.forward(tokens, keys, values,
                                    self.model.dense if is_dense else attend)
        return self.judge(trial, self.model.log_probabilities(hidden))

    def attend_head(self, trial, layer, head, q, k, v):
        view = views.View(trial.layout, q, k, v, self.references[layer][head])
        budget, index = trial.budget, layer * self.model.kv_heads + head
        rule = trial.rule
        if rule == "heads":
            rule = "share"
            budget = self.fit["budgets"][trial.shape()][str(budget)][index]
        chosen = view.choose(view.shares(trial.estimator), rule, budget)
        values, mass = view.exact(chosen)
        self.kept.append(mass[..., 0] / view.total[..., 0])
        self.pairs += view.pairs(chosen)
        if trial.tail == "none":
            return values / mass
        for i, (spec, bias) in enumerate(self.tails(trial, index)):
            if spec == "none":
                continue
            n, d = tails.tail(view, chosen, spec)
            values[i] += np.exp(bias) * n[i]
            mass[i] += np.exp(bias) * d[i]
        return values / mass

    def tails(self, trial, index):
        """(spec, bias) of every head of the group."""
        group = self.model.group
        if trial.bias != "fit":
            return [(trial.tail, trial.bias)] * group
        fits = self.fit["tails"][f"{trial.shape()} {trial.fitted or trial.budget}"]
        fits = fits[index * group:(index + 1) * group]
        if trial.tail in sets.AUTO:
            return [(fit[trial.tail], 0) for fit in fits]
        return [(trial.tail, fit[trial.tail]) for fit in fits]

    def judge(self, trial, found):
        p = np.exp(self.dense)
        result = {"kl": float((p * (self.dense - found)).sum(-1).mean()),
                  "agreement": float((found.argmax(-1) ==
                                      self.dense.argmax(-1)).mean()),
                  "nll": float(self.nll(found)), "dense_nll": float(self.nll(self.dense))}
        if not self.kept:
            return {**result, "kept": 1, "kept_p5": 1, "read": 1, "bytes": 1, "work": 1}
        kept = np.concatenate(self.kept)  # [heads, judged]
        read = self.pairs[0] / self.pairs[1]
        keys = self.text.begin + self.text.judged / 2
        return {**result, "kept": float(kept.mean()),
                "kept_p5": float(np.quantile(kept, 0.05, 1).mean()),
                "weakest_head": float(kept.mean(1).min()), "read": read,
                **trial.costs(read, keys, self.model.dim)}


def run_model(flags, model):
    lines = Lines(flags.work / "model.jsonl")
    path = flags.work / f"fit-{flags.tokens}.json"
    fit = json.loads(path.read_text()) if path.exists() else None
    references = read_references(flags, model)
    studies = [Study(model, text, references, fit) for text in load(flags, model)]
    for trial in (t for s in flags.set for t in sets.MODEL[s]):
        for study in studies:
            text = study.text
            key = {**text_key(text, flags), "trial": dataclasses.asdict(trial)}
            if lines.has(key):
                continue
            begin = time.time()
            found = study.run(trial)
            lines.add(key, **found, seconds=time.time() - begin)
            print(f"{text.name} {trial.name()}: KL {found['kl']:.4f}, read "
                  f"{found['read']:.3f}, {time.time() - begin:.0f} s", flush=True)


# ---- table


def run_table(flags, _):
    print_curves(flags)
    print_budgets(flags)
    print_heads(flags)
    print_trials(flags)


def print_curves(flags):
    """Mean attention kept by the best units of an estimator, and of the oracle, on
    texts other than the references' own."""
    groups = {}
    for line in Lines(flags.work / "heads.jsonl").lines:
        key = line["key"]
        if (not key["specs"] and key["tokens"] == flags.tokens and
                key.get("reference", key["sha256"]) != key["sha256"]):
            groups.setdefault(sets.read(key["trial"]), []).append(line)
    print("| choice | texts | scored | kept at 15% | 25% | 40% | oracle | | |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for trial, lines in groups.items():
        cells = [f"{np.interp(share, SHARES, mean):.3f}"
                 for estimator in (trial.estimator, "oracle")
                 for mean in [np.mean([x[estimator] for x in lines], (0, 1))]
                 for share in sets.HEAD_SHARES]
        scored = trial.costs(0, flags.tokens, 64)["work"]
        print(f"| {trial.shape()} | {len(lines)} | {scored:.1%} | "
              f"{' | '.join(cells)} |")


def print_budgets(flags):
    """Attention kept when every head has a share of its own, from the calibration
    text's curve, and the bound that knows the text, beside one share for all."""
    path = flags.work / f"fit-{flags.tokens}.json"
    fit = json.loads(path.read_text()) if path.exists() else {"key": {}, "budgets": {}}
    print("\n| choice | text | share | one for all | of calibration | of the text | "
          "of the text, oracle |\n| --- | --- | --- | --- | --- | --- | --- |")
    for line in Lines(flags.work / "heads.jsonl").lines:
        trial = sets.read(line["key"]["trial"])
        budgets = fit["budgets"].get(trial.shape())
        if (line["key"]["specs"] or not budgets or "reference" not in line["key"] or
                line["key"]["sha256"] == fit["key"]["sha256"]):
            continue

        def kept(curve, shares):
            return np.mean([np.interp(share, SHARES, mass)
                            for share, mass in zip(shares, curve)])
        curve = line[trial.estimator]
        for share in sets.HEAD_SHARES:
            cells = [kept(curve, [share] * len(curve)),
                     kept(curve, budgets[str(share)]),
                     kept(curve, allocate(curve, share)),
                     kept(line["oracle"], allocate(line["oracle"], share))]
            print(f"| {trial.shape()} | {line['key']['text']} | {share} | "
                  f"{' | '.join(f'{x:.3f}' for x in cells)} |")


def print_heads(flags):
    """Errors of heads' outputs (root of the mean over heads and texts of the relative
    squares) without a tail, with it, with the best bias for all heads, and with each
    head's own bias from the calibration text."""
    path = flags.work / f"fit-{flags.tokens}.json"
    fit = json.loads(path.read_text()) if path.exists() else {"key": {}, "tails": {}}
    groups = {}
    for line in Lines(flags.work / "heads.jsonl").lines:
        key = line["key"]
        is_calibration = key["sha256"] == fit["key"].get("sha256")
        if key["specs"] and key["tokens"] == flags.tokens and not is_calibration:
            trial = sets.read(key["trial"])
            groups.setdefault((trial.shape(), trial.budget, *key["specs"]),
                              []).append(line)
    for (shape, budget, *specs), lines in groups.items():
        alone = np.array([line["alone"] for line in lines])
        fits = fit["tails"].get(f"{shape} {budget}")
        print(f"\n{shape}, share {budget}, {len(lines)} texts: without a tail "
              f"{np.sqrt(alone.mean()):.3f}\n")
        print("| tail | error | at its best bias | biases of calibration | "
              "heads that gain | log(true / estimated mass) |")
        print("| --- | --- | --- | --- | --- | --- |")
        if fits and "centroid" in specs:
            specs += sets.AUTO
        for spec in specs:
            print_tail(spec, lines, fits)


def print_tail(spec, lines, fits):
    chosen = None
    if fits and all(spec in fit for fit in fits):
        chosen = np.array([[error_of(line, head, fit, spec)
                            for head, fit in enumerate(fits)] for line in lines])
    fitted = f"{np.sqrt(chosen.mean()):.3f}" if chosen is not None else ""
    if spec in sets.AUTO:
        alone = np.array([line["alone"] for line in lines])
        print(f"| {spec} | | | {fitted} | {(chosen < alone).mean():.0%} | |")
        return
    errors = np.array([line["errors"][spec] for line in lines])  # texts, heads, biases
    alone = np.array([line["alone"] for line in lines])
    by_bias = errors.mean((0, 1))
    plain = errors[..., BIASES.index(0)]
    bias = np.array([line["bias"][spec] for line in lines])
    print(f"| {spec} | {np.sqrt(plain.mean()):.3f} | {np.sqrt(by_bias.min()):.3f} at "
          f"{BIASES[by_bias.argmin()]} | {fitted} | {(plain < alone).mean():.0%} | "
          f"{np.median(bias):+.2f} |")


def error_of(line, head, fit, spec):
    if spec not in sets.AUTO:
        return line["errors"][spec][head][BIASES.index(fit[spec])]
    if fit[spec] == "none":
        return line["alone"][head]
    return line["errors"][fit[spec]][head][BIASES.index(0)]


def print_trials(flags):
    """What `model` found, means over the texts."""
    groups = {}
    for line in Lines(flags.work / "model.jsonl").lines:
        key = line["key"]
        if key["tokens"] == flags.tokens:
            groups.setdefault(sets.read(key["trial"]), {})[key["sha256"]] = line
    groups = {trial: list(lines.values()) for trial, lines in groups.items()}
    print("\n| trial | texts | bytes | work | kept | p5 | KL | at equal bytes | "
          "agreement | perplexity |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for trial, lines in groups.items():
        def mean(what, lines=lines):
            return sum(line[what] for line in lines) / len(lines)
        print(f"| {trial.name()} | {len(lines)} | {mean('bytes'):.1%} | "
              f"{mean('work'):.1%} | {mean('kept'):.3f} | {mean('kept_p5'):.3f} | "
              f"{mean('kl'):.4f} | {at_equal_bytes(groups, trial)} | "
              f"{mean('agreement'):.1%} | "
              f"{np.expm1(mean('nll') - mean('dense_nll')):+.2%} |")


def at_equal_bytes(groups, trial):
    """KL over that of blocks chosen by plain mean keys without a tail, between whose
    budgets it is interpolated; means over the texts, without those out of range."""
    plain, ratios = sets.Trial(budget=0), []
    for line in groups[trial]:
        points = sorted((x["bytes"], math.log(x["kl"])) for t, lines in groups.items()
                        if dataclasses.replace(t, budget=0) == plain for x in lines
                        if x["key"]["text"] == line["key"]["text"])
        if len(points) > 1 and points[0][0] <= line["bytes"] <= points[-1][0] + 0.02:
            ratios.append(line["kl"] / math.exp(np.interp(line["bytes"],
                                                          *zip(*points))))
    return f"{np.mean(ratios):.2f}" if len(ratios) == len(groups[trial]) else ""


def load(flags, model):
    for path in flags.texts:
        yield texts.dense(model, path, flags.tokens, flags.judged, flags.work)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = {"heads": run_heads, "fit": run_fit, "model": run_model,
                "table": run_table}
    parser.add_argument("command", choices=commands)
    parser.add_argument("texts", type=pathlib.Path, nargs="*")
    parser.add_argument("--reference", type=pathlib.Path,
                        help="the text whose queries means are made for")
    parser.add_argument("--set", nargs="+", default=[])
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--judged", type=int, default=256)
    parser.add_argument("--checkpoint", type=pathlib.Path, default=pathlib.Path(
        "build/models/SmolLM2-135M-Instruct.Q4_1.gguf"))
    parser.add_argument("--work", type=pathlib.Path,
                        default=pathlib.Path("build/quality/hybrid"))
    flags = parser.parse_args()
    flags.work.mkdir(parents=True, exist_ok=True)
    model = None if flags.command == "table" else smollm2.Model(flags.checkpoint)
    commands[flags.command](flags, model)


if __name__ == "__main__":
    main()
