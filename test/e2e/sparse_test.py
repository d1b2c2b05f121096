#!/usr/bin/env python3
"""`--attention sparse` on whole models: with every block kept it is dense attention,
bit for bit; with few it is what a reference in numpy computes from the definition,
in prefill and decode, with plain and dual chunk positions. Chunks of whole blocks,
threads and company change no bit.
"""

import json
import shutil

import numpy as np

import harness
from sparse_reference import Model, Sparsity

DENSE_MODELS = ["llama-long", "llama-yarn", "llama3-rope", "qwen2", "qwen3",
                "qwen2-chunks", "llama-chunks-yarn"]
REFERENCE_MODELS = ["llama-long", "qwen2-chunks", "qwen3-chunks"]
SPARSITIES = {
    "top-k": Sparsity(top_k=1),
    "density": Sparsity(density=0.2, sink=1),
    "mass": Sparsity(mass=0.4, local=2),
    "mass, limited": Sparsity(mass=0.9, max_blocks=2),
    "local": Sparsity(local=2, sink=1),
    "hybrid": Sparsity(top_k=1, kind="hybrid"),
    "hybrid, mass": Sparsity(mass=0.4, local=2, kind="hybrid"),
}
LENGTH, DECODED = 460, 12


def prompt(folder, length=LENGTH):
    vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
    return np.random.default_rng(5).integers(3, vocabulary, length).tolist()


def test_everything_kept(report, programs, model):
    folder = harness.TINY / model
    tokens = prompt(folder)
    for arithmetic in ("f32", "bf16"):
        flags = ["--activations", arithmetic]
        dense = programs.compile(folder, f"{model}-{arithmetic}", *flags)
        logits = programs.logits(dense, tokens).tobytes()
        answer = programs.run(dense, tokens, 30)["tokens"]
        for kind in ("sparse", "hybrid"):
            name = f"{model} {arithmetic} {kind}, everything kept"
            all_kept = programs.compile(
                folder, f"{model}-{arithmetic}-{kind}-all", *flags,
                "--attention", kind, "--block", "64", "--top-k", "1000")
            report.check(name, programs.logits(all_kept, tokens).tobytes() ==
                         logits, "other bits")
            answered = programs.run(all_kept, tokens, 30)["tokens"]
            report.check(f"{name}, decoded", answered == answer, answered)


def check_decode(report, name, programs, artifact, model, tokens):
    """Each token that is decoded chooses its own blocks."""
    answer = programs.run(artifact, tokens, DECODED)["tokens"]
    whole = tokens + answer[:-1]
    logits = model.logits(whole, [len(tokens)] + [1] * (DECODED - 1))
    rows = logits[len(tokens) - 1:]
    best = rows.max(1)
    behind = (best - rows[np.arange(DECODED), answer]) / (best - rows.min(1))
    report.check(f"{name}, decoded", behind.max() <= harness.TIE,
                 f"{answer} is {behind.max():.1e} of the range behind the best")


def test_reference(report, programs, model):
    folder = harness.TINY / model
    tokens = prompt(folder)
    dense = programs.logits(
        programs.compile(folder, f"{model}-dense", "--activations", "f32"),
        tokens)
    for kind, sparsity in SPARSITIES.items():
        name = f"{model} {kind}"
        artifact = programs.compile(folder,
                                    name.replace(",", "").replace(" ", "-"),
                                    "--activations", "f32", *sparsity.flags())
        found = programs.logits(artifact, tokens)
        reference = Model(folder, sparsity)
        harness.check_logits(report, name, found,
                             reference.logits(tokens, [len(tokens)]))
        changed = float(harness.differences(found, dense).max())
        report.check(f"{name} is sparse", changed > 10 * harness.TIE,
                     f"differs from dense by {changed:.1e} only")
        check_decode(report, name, programs, artifact, reference, tokens)
        for flags in (("--chunk", "64"), ("--chunk", "192", "--threads", "3")):
            report.check(f"{name} {' '.join(flags)}",
                         programs.logits(artifact, tokens, *flags).tobytes() ==
                         found.tobytes(), "other bits")


def test_batch(report, programs):
    """Requests of several lengths in one batch answer as each does alone."""
    folder = harness.TINY / "llama-long"
    artifact = programs.compile(folder, "batch", *SPARSITIES["top-k"].flags())
    prompts = [prompt(folder, length) for length in (1, 70, 129, 400)]
    file = programs.work / "prompts.jsonl"
    file.write_text("".join(json.dumps({"tokens": p}) + "\n" for p in prompts))
    out = programs.execute("stele", "run", artifact, "--prompts", file, "-n",
                           DECODED, "--json", *harness.GREEDY)
    together = [json.loads(line)["tokens"] for line in out.splitlines()]
    alone = [programs.run(artifact, p, DECODED)["tokens"] for p in prompts]
    report.check("batch", together == alone, f"{together}, alone {alone}")


def refused(programs, *flags):
    try:
        programs.compile(harness.TINY / "llama-long", "refused", *flags)
    except harness.ProgramFailed as error:
        return str(error)
    return "was taken"


def test_refusals(report, programs):
    for flags, expected in (
            (("--block", "64"), "--block needs --attention sparse"),
            (("--attention", "sparse", "--block", "100"), "--block"),
            (("--attention", "sparse", "--top-k", "0"), "--top-k"),
            (("--attention", "sparse", "--density", "1.5"), "--density"),
            (("--attention", "sparse", "--mass", "0"), "--mass"),
            (("--attention", "sparse", "--mass", "0.9", "--top-k", "3"),
             "excludes"),
            (("--attention", "sparse", "--top-k", "3", "--max-blocks", "2"),
             "excludes"),
            (("--attention", "sparse", "--density", "0", "--max-blocks", "2"),
             "--density 0 chooses nothing"),
            (("--attention", "hybrid", "--density", "0"),
             "--density 0 chooses nothing"),
            (("--max-blocks", "2"), "--max-blocks needs --attention sparse")):
        error = refused(programs, *flags)
        report.check(f"refuses {' '.join(flags)}", expected in error and
                     "exit code 2" in error, error)


def test_inspect(report, programs):
    artifact = programs.compile(harness.TINY / "llama-long", "inspect",
                                *SPARSITIES["top-k"].flags())
    kernels = programs.execute("stele", "inspect", artifact, "--kernels").decode()
    for name in ("select_blocks_", "block_sparse_"):
        report.check(f"inspect names {name}", name in kernels, kernels)


def test_statistics(report, programs):
    """Blocks of 64, the query's own and one more, as they can be counted by hand."""
    artifact = programs.compile(harness.TINY / "llama-long", "statistics",
                                *SPARSITIES["top-k"].flags())
    tokens = prompt(harness.TINY / "llama-long", 256)
    found = programs.run(artifact, tokens, 1)["stats"]["attention"]
    own = 64 * 65 // 2
    kept, causal = 4 * own + 3 * 64 * 64, 256 * 257 // 2
    estimated = 64 * 3 + 64 * 4  # the first two blocks have no choice
    expected = {"work_share": (kept + estimated / 2) / causal,
                "effective_window": kept / 256}
    report.check("statistics", found.keys() == expected.keys() and all(
        abs(found[key] - expected[key]) < 1e-12 * expected[key]
        for key in expected), f"{found}, expected {expected}")


def kept_mass(folder, sparsity, tokens, context):
    """By the reference, in the windows and steps of `stele perplexity`."""
    masses = []
    for begin in range(0, len(tokens), context):
        window = tokens[begin:begin + context]
        steps = [min(128, len(window) - at) for at in range(0, len(window), 128)]
        model = Model(folder, sparsity)
        model.logits(window, steps)
        masses += [mass.ravel() for mass in model.kept_mass]
    return np.concatenate(masses).mean()


def test_attention_of_a_run(report, programs, model):
    """A run may read everything, or another share, as if it was compiled so."""
    folder = harness.TINY / model
    tokens = prompt(folder)
    flags = ["--activations", "bf16"]
    density = Sparsity(density=0.4, sink=1, local=2)
    dense = programs.compile(folder, f"{model}-run-dense", *flags)
    asked = programs.compile(folder, f"{model}-run-asked", *flags,
                             *density.flags())
    expected = {("--attention", "dense"): programs.logits(dense, tokens),
                ("--density", "0.4"): programs.logits(asked, tokens)}
    for kind, sparsity in (("mass", Sparsity(mass=0.4, sink=1, local=2)),
                           ("top-k", Sparsity(top_k=1, sink=1, local=2))):
        artifact = programs.compile(folder, f"{model}-run-{kind}", *flags,
                                    *sparsity.flags())
        compiled = programs.logits(artifact, tokens)
        for asked_for, logits in expected.items():
            name = f"{model} {kind} {' '.join(asked_for)}"
            report.check(name, programs.logits(
                artifact, tokens, *asked_for).tobytes() == logits.tobytes(),
                "other bits")
            report.check(f"{name} differs", logits.tobytes() != compiled.tobytes(),
                         "the choice makes no difference")
        report.check(f"{model} {kind} --attention sparse", programs.logits(
            artifact, tokens, "--attention", "sparse").tobytes() ==
            compiled.tobytes(), "other bits")
        answer = programs.run(artifact, tokens, 4, "--attention", "dense")
        work = answer["stats"]["attention"]
        report.check(f"{model} {kind} dense work", work["work_share"] == 1, work)
    local = programs.compile(folder, f"{model}-run-local", *flags,
                             *SPARSITIES["local"].flags())
    report.check(f"{model} local, dense", programs.logits(
        local, tokens, "--attention", "dense").tobytes() ==
        expected["--attention", "dense"].tobytes(), "other bits")
    for artifact, asked_for, reason in (
            (dense, ("--attention", "sparse"), "compile with --attention sparse"),
            (dense, ("--density", "0.4"), "compile with --attention sparse"),
            (local, ("--density", "0.4"), "compiled with --density 0"),
            (local, ("--density", "0.4", "--attention", "dense"),
             "--density: is for --attention sparse")):
        try:
            programs.run(artifact, tokens, 1, *asked_for)
            error = "was taken"
        except harness.ProgramFailed as failed:
            error = str(failed)
        report.check(f"refuses {' '.join(asked_for)}", reason in error, error)


def test_store(report, programs):
    """What one choice has computed is nothing to another one."""
    folder = harness.TINY / "llama-long"
    tokens = prompt(folder)
    artifact = programs.compile(folder, "store", *SPARSITIES["top-k"].flags())
    store = programs.work / "store"
    shutil.rmtree(store, ignore_errors=True)
    for choice in ((), ("--attention", "dense"), ("--density", "0.5")):
        runs = [programs.run(artifact, tokens, DECODED, *choice, *more)
                for more in ((), ("--store", store), ("--store", store))]
        answers = [run["tokens"] for run in runs]
        report.check(f"store, {' '.join(choice)}",
                     answers[1:] == answers[:1] * 2, answers)
        reused = [run["stats"]["store"]["tokens_reused"] for run in runs[1:]]
        report.check(f"store, {' '.join(choice)}, reuse",
                     reused[0] == 0 and reused[1] > 0, reused)


def test_perplexity_dense(report, programs):
    artifact = programs.compile(harness.TINY / "qwen2", "perplexity-dense",
                                *SPARSITIES["local"].flags())
    dense = programs.compile(harness.TINY / "qwen2", "perplexity-reference")
    text = harness.DATA / "smollm2/perplexity.txt"
    out = json.loads(programs.execute(
        "stele", "perplexity", artifact, "-f", text, "--context", "256",
        "--reference", dense, "--attention", "dense", "--json"))
    report.check("perplexity, dense", out["work_share"] == 1 and
                 out["kept_mass"] is None and out["kl_mean"] == 0, out)


def test_perplexity(report, programs):
    """The mass that is kept is measured, and agrees with the reference's."""
    folder, text = harness.TINY / "qwen2", harness.DATA / "smollm2/perplexity.txt"

    def measure(name, *flags):
        artifact = programs.compile(folder, f"perplexity-{name}", "--activations",
                                    "f32", *flags)
        out = programs.execute("stele", "perplexity", artifact, "-f", text,
                               "--context", "448", "--json")
        return artifact, json.loads(out)

    for kind in ("local", "top-k", "mass"):
        sparsity = SPARSITIES[kind]
        artifact, out = measure(kind, *sparsity.flags())
        tokens = programs.tokenize(artifact, text)
        expected = kept_mass(folder, sparsity, tokens, 448)
        report.check(f"kept mass, {kind}", expected < 0.99 and
                     abs(out["kept_mass"] - expected) < 1e-4, f"{out}, {expected}")
        report.check(f"work share, {kind}", 0 < out["work_share"] < 1, out)
    _, out = measure("all", *Sparsity(top_k=1000).flags())
    report.check("kept mass, everything kept", out["kept_mass"] == 1 and
                 out["work_share"] == 1, out)
    _, out = measure("dense")
    report.check("kept mass, dense", out["kept_mass"] is None and
                 out["work_share"] == 1, out)


def test(report, programs, only):
    for model in only or DENSE_MODELS:
        report.attempt(model, test_everything_kept, programs, model)
    for model in only or REFERENCE_MODELS:
        if model in REFERENCE_MODELS:
            report.attempt(model, test_reference, programs, model)
    for model in only or ["llama-long", "qwen2-chunks"]:
        if model in REFERENCE_MODELS:
            report.attempt(f"{model}, asked for", test_attention_of_a_run,
                           programs, model)
    for case in (test_batch, test_refusals, test_inspect, test_statistics,
                 test_store, test_perplexity, test_perplexity_dense):
        report.attempt(case.__name__, case, programs)


if __name__ == "__main__":
    harness.main(__doc__.split("\n")[0], test)
