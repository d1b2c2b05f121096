#!/usr/bin/env python3
"""Context paging on whole models, with so little device memory that pages move:
with records that are copies, paged is unpaged, bit for bit, in prefill and decode, in
both arithmetics, in any chunks, threads and company, with files or without; with
records of codes it is near it, and the same again when the oldest are in a file.
"""

import json
import re
import shutil

import numpy as np

import harness

# With what they need to reach the context.
MODELS = {"llama-long": ["--positions", "dca"],
          "llama3-rope": ["--positions", "dca"],
          "qwen2-chunks": [],
          "qwen3": ["--positions", "dca"]}
CONTEXT, LENGTH, DECODED = 4096, 2900, 40
SPARSE = ["--context", str(CONTEXT), "--attention", "sparse", "--top-k", "2"]
# Where the record of a key is off, a block or two may be chosen for others: the
# median of the rows' differences, as a share of their range.
TOLERANCES = {"int8": 0.01, "int4": 0.06}


def prompt(folder, length=LENGTH, seed=5):
    vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
    return np.random.default_rng(seed).integers(3, vocabulary, length).tolist()


def least_memory(programs, folder, name, flags):
    """What a refusal to compile says that would do."""
    try:
        programs.compile(folder, name, *flags, "--device-memory", "1MiB")
    except harness.ProgramFailed as error:
        found = re.search(r"raise --device-memory to (\S+?)[,;]", str(error))
        if found:
            return found.group(1)
        raise
    raise harness.ProgramFailed(f"{name} fits into 1 MiB")


def compile_paged(programs, folder, name, flags):
    flags = [*flags, "--hot-window", "512"]
    memory = least_memory(programs, folder, name, flags)
    return programs.compile(folder, name, *flags, "--device-memory", memory)


def check_moves(report, name, answer):
    paging = answer["stats"]["paging"]
    report.check(f"{name} moves pages",
                 paging["packed"] > 0 and paging["misses"] > 0 and
                 paging["hits"] > 0, paging)


def test_copies(report, programs, model, arithmetic, block):
    """Paged is unpaged."""
    folder = harness.TINY / model
    tokens = prompt(folder)
    flags = [*SPARSE, *MODELS[model], "--activations", arithmetic, "--kv",
             arithmetic, "--block", str(block)]
    name = f"{model} {arithmetic} {block}"
    file = name.replace(" ", "-")
    whole = programs.compile(folder, f"{file}-whole", *flags)
    paged = compile_paged(programs, folder, file, flags)
    expected = programs.logits(whole, tokens).tobytes()
    for more in ([], ["--chunk", str(block)], ["--threads", "2"],
                 ["--hot-window", "1K"]):
        found = programs.logits(paged, tokens, *more).tobytes()
        report.check(f"{name} {' '.join(more)}", found == expected, "other bits")
    answers = [programs.run(artifact, tokens, DECODED)
               for artifact in (whole, paged)]
    report.check(f"{name} decoded",
                 answers[0]["tokens"] == answers[1]["tokens"], answers)
    check_moves(report, name, answers[1])


def test_codes(report, programs, model):
    """Records of codes are near, wherever they are kept."""
    folder = harness.TINY / model
    tokens = prompt(folder)
    flags = [*SPARSE, *MODELS[model], "--activations", "f32", "--block", "64"]
    whole = programs.logits(
        programs.compile(folder, f"{model}-whole", *flags), tokens)
    for kv, tolerance in TOLERANCES.items():
        name = f"{model} {kv}"
        paged = compile_paged(programs, folder, f"{model}-{kv}",
                              [*flags, "--kv", kv])
        found = programs.logits(paged, tokens)
        off = float(np.median(harness.differences(found, whole)))
        report.check(f"{name} is near", 0 < off <= tolerance,
                     f"off by {off:.1e} of the range, allowed {tolerance}")
        report.check(f"{name} has numbers", bool(np.isfinite(found).all()),
                     "NaN")
        # Two cells of records: most go to the file.
        small = least_records(programs, paged, tokens)
        answer = programs.run(paged, tokens, 1, "--host-memory", small)
        paging = answer["stats"]["paging"]
        report.check(f"{name} uses the file", paging["cooled"] > 0 and
                     paging["bytes_from_file"] > 0, paging)
        report.check(f"{name} from the file", programs.logits(
            paged, tokens, "--host-memory", small).tobytes() ==
            found.tobytes(), "other bits")


def least_records(programs, artifact, tokens):
    try:
        programs.run(artifact, tokens, 1, "--host-memory", "1")
    except harness.ProgramFailed as error:
        found = re.search(r"for each session, (\S+) ([KM])iB", str(error))
        if found:
            unit = {"K": 1, "M": 1024}[found.group(2)]
            return f"{int((float(found.group(1)) + 0.05) * unit) + 1}KiB"
        raise
    raise harness.ProgramFailed("records fit into 1 byte")


def test_attention_of_a_run(report, programs):
    """Other choices as far as slots hold them."""
    folder = harness.TINY / "llama-long"
    tokens = prompt(folder)
    flags = [*SPARSE, *MODELS["llama-long"], "--activations", "f32", "--kv", "f32",
             "--block", "64"]
    whole = programs.compile(folder, "asked-whole", *flags)
    paged = compile_paged(programs, folder, "asked", flags)
    for length, asked in ((LENGTH, ("--density", "0.04")),
                          (500, ("--attention", "dense"))):
        found, expected = (programs.logits(artifact, tokens[:length], *asked)
                           for artifact in (paged, whole))
        report.check(f"paged {' '.join(asked)}",
                     found.tobytes() == expected.tobytes(), "other bits")
    for asked in (("--attention", "dense"), ("--density", "0.5")):
        try:
            programs.run(paged, tokens, 1, *asked)
            error = "was taken"
        except harness.ProgramFailed as failed:
            error = str(failed)
        report.check(f"refuses {' '.join(asked)}", "a layer's slots hold" in error
                     and "run with --density 0.0" in error, error)


def test_batch(report, programs):
    """Requests of several lengths in one batch answer as each does alone."""
    folder = harness.TINY / "llama-long"
    flags = [*SPARSE, *MODELS["llama-long"], "--activations", "f32", "--block",
             "64", "--kv", "int8"]
    artifact = compile_paged(programs, folder, "batch", flags)
    prompts = [prompt(folder, length, length) for length in (70, 2000, 700, 2900)]
    file = programs.work / "prompts.jsonl"
    file.write_text("".join(json.dumps({"tokens": p}) + "\n" for p in prompts))
    out = programs.execute("stele", "run", artifact, "--prompts", file, "-n",
                           DECODED, "--json", *harness.GREEDY)
    together = [json.loads(line)["tokens"] for line in out.splitlines()]
    alone = [programs.run(artifact, p, DECODED)["tokens"] for p in prompts]
    report.check("batch", together == alone, f"{together}, alone {alone}")


def test_sessions(report, programs, model, kv):
    """An answer in parts, and one that was forked, is the answer in one; sampled
    tokens depend on every bit of the logits."""
    folder = harness.TINY / model
    tokens = prompt(folder)
    flags = [*SPARSE, *MODELS[model], "--activations", "f32", "--block", "64"]
    artifact = compile_paged(programs, folder, f"{model}-{kv}-sessions",
                             [*flags, "--kv", kv])
    sampled = ["--json", "--temperature", "1", "--ignore-eos", "--seed", "3"]
    store = programs.work / f"{model}-{kv}.store"
    shutil.rmtree(store, ignore_errors=True)

    def run(part, count, *more):
        ids = ",".join(map(str, part))
        return json.loads(programs.execute("stele", "run", artifact, "--tokens",
                                           ids, "-n", count, *sampled, *more))

    # Between blocks, whose queries choose together: in the middle of a cell, and
    # between two.
    cuts = [0, 1792, 2560, LENGTH]
    whole = run(tokens, DECODED)["tokens"]
    small = ["--host-memory", least_records(programs, artifact, tokens)]
    for more in ([], small):
        name = f"{model} {kv} {' '.join(more)}"
        shutil.rmtree(store, ignore_errors=True)
        for begin, end in zip(cuts, cuts[1:]):
            answer = run(tokens[begin:end], 0 if end < LENGTH else DECODED,
                         "--store", store, "--session", "a", *more)
        report.check(f"{name} in parts", answer["tokens"] == whole,
                     f"{answer['tokens']}, in one {whole}")
        reused = answer["stats"]["store"]["tokens_reused"]
        report.check(f"{name} goes on", reused >= cuts[2] - 1, reused)
        run(tokens[:1792], 0, "--store", store, "--session", "b", *more)
        for fork in ("c", "d"):
            forked = run(tokens[1792:], DECODED, "--store", store, "--session",
                         "b", "--fork", fork, *more)
            report.check(f"{name} forked as {fork}", forked["tokens"] == whole,
                         f"{forked['tokens']}, in one {whole}")


def test(report, programs, only):
    for model in only or MODELS:
        report.attempt(model, test_copies, programs, model, "f32", 64)
    for model in only or ["llama-long", "qwen3"]:
        report.attempt(model, test_copies, programs, model, "bf16", 128)
        report.attempt(model, test_codes, programs, model)
    for kv in ("f32", "int8", "int4"):
        report.attempt(f"sessions {kv}", test_sessions, programs, "llama-long",
                kv)
    report.attempt("asked for", test_attention_of_a_run, programs)
    report.attempt("batch", test_batch, programs)


if __name__ == "__main__":
    harness.main(__doc__.split("\n")[0], test)
