#!/usr/bin/env python3
"""The real SmolLM2-135M-Instruct against transformers: ids, tokens, perplexity.

Needs build/models/SmolLM2-135M-Instruct.Q4_1.gguf (tools/fetch-model).
"""

import json
import sys

import gguf
import numpy as np

import harness
import mixed_text
import tokenizer_diff

DATA = harness.DATA / "smollm2"
sys.path.insert(0, str(DATA))

from smollm2_tokenizer import load_tokenizer  # noqa: E402

END_OF_TURN = 2
BF16_LOSS = 0.005  # perplexity of bf16 over that of f32
PERPLEXITY_TOLERANCE = 1e-4
SIZE_LIMIT = 1.05  # of the GGUF file, for the artifact that keeps its codes

# What activations of 8 bits may cost: shares of a row's range, of perplexity, and
# of the greedy steps of transformers.
INT8_TYPICAL, INT8_WORST = 0.01, 0.05
INT8_LOSS = 0.003
INT8_AGREEMENT, INT8_CLEAR_AGREEMENT = 0.98, 0.99
CLEAR = 1e-2  # two best logits further apart than this share of the range


def test_prompts(report, programs, artifact, goldens):
    for i, golden in enumerate(goldens["prompts"]):
        case = f"smollm2 prompt {i}"
        file = programs.work / "prompt.txt"
        file.write_bytes(golden["text"].encode())
        ids = programs.tokenize(artifact, file)
        report.check(f"{case} ids", ids == golden["tokens"],
                     f"{ids}, expected {golden['tokens']}")
        harness.check_greedy(
            report, case,
            lambda tokens, n: programs.run(artifact, tokens, n)["tokens"],
            golden)


def test_text(report, programs, artifact, goldens):
    """Text in, text out: the chat template, end tokens, stop strings."""
    def run(*arguments):
        return json.loads(programs.execute(
            "stele", "run", artifact, "--temperature", "0", "--json", *arguments))

    raw, question = goldens["prompts"][0], goldens["prompts"][3]
    chat = run("-p", "What is the capital of France?", "-n", "32")
    answer = question["greedy"][:question["greedy"].index(END_OF_TURN) + 1]
    report.check("smollm2 chat", chat["finish_reason"] == "eos"
                 and chat["prompt_tokens"] == len(question["tokens"])
                 and chat["tokens"] == answer
                 and chat["text"] == "The capital of France is Paris.", chat)
    stopped = run("--raw", "-p", raw["text"], "-n", "32", "--stop", "answer")
    report.check("smollm2 stop string", stopped["finish_reason"] == "stop"
                 and stopped["text"] == " Paris.\n\nThe ", stopped)


def test_batch(report, programs, artifact, goldens):
    """All 20 prompts in one ragged batch give the tokens they give alone."""
    steps = 16
    file = programs.work / "prompts.jsonl"
    file.write_text("".join(json.dumps({"tokens": g["tokens"]}) + "\n"
                            for g in goldens["prompts"]))
    out = programs.execute("stele", "run", artifact, "--prompts", file, "-n",
                           steps, "--json", *harness.GREEDY)
    answers = [json.loads(line)["tokens"] for line in out.splitlines()]
    for i, (golden, answer) in enumerate(zip(goldens["prompts"], answers,
                                             strict=True)):
        if min(golden["gaps"][:steps]) >= harness.TIE:
            report.check(f"smollm2 batch, prompt {i}",
                         answer == golden["greedy"][:steps],
                         f"{answer}, expected {golden['greedy'][:steps]}")


def test_lookup(report, programs, artifact):
    """A text that repeats itself: the same answer in far fewer steps."""
    text = programs.work / "repeating.txt"
    text.write_text("The mason cut seven letters into the stone. " * 4 + "The mason")
    plain, drafted = (json.loads(programs.execute(
        "stele", "run", artifact, "-f", text, "--raw", "-n", "40", "--json",
        *harness.GREEDY, "--lookup", n)) for n in (0, 8))
    report.check("smollm2 lookup",
                 drafted["tokens"] == plain["tokens"]
                 and drafted["stats"]["steps"] < plain["stats"]["steps"] / 2,
                 f"{drafted}, without {plain}")


def perplexity(programs, artifact, golden):
    out = programs.execute(
        "stele", "perplexity", artifact, "-f", DATA / "perplexity.txt",
        "--context", golden["context"], "--stride", golden["stride"], "--json")
    return json.loads(out)["perplexity"]


def test_perplexity(report, programs, f32, bf16, goldens):
    for golden in goldens["perplexity"]:
        case = f"smollm2 perplexity, context {golden['context']}"
        expected = golden["perplexity"]
        exact = perplexity(programs, f32, golden)
        loss = abs(exact / expected - 1)
        report.check(f"{case}, f32", loss <= PERPLEXITY_TOLERANCE,
                     f"{exact:.5f}, transformers {expected:.5f}")
        rounded = perplexity(programs, bf16, golden)
        print(f"{case}: transformers {expected:.4f}, f32 {exact:.4f}, "
              f"bf16 {rounded:.4f}")
        report.check(f"{case}, bf16", abs(rounded / exact - 1) <= BF16_LOSS,
                     f"bf16 {rounded:.5f}, f32 {exact:.5f}")


def test_int8(report, programs, f32, int8, goldens):
    """Codes times codes, against the f32 artifact that the goldens hold to."""
    differences, agreed, clear = [], [], []
    for golden in goldens["prompts"]:
        tokens = golden["tokens"] + golden["greedy"][:-1]
        rows = programs.logits(int8, tokens)
        differences.append(harness.differences(rows,
                                               programs.logits(f32, tokens)))
        best = rows[-len(golden["greedy"]):].argmax(axis=1)
        agreed.append(best == np.array(golden["greedy"]))
        clear.append(np.array(golden["gaps"]) > CLEAR)
    differences, agreed, clear = map(np.concatenate,
                                     (differences, agreed, clear))
    typical, worst = np.median(differences), differences.max()
    print(f"smollm2 int8: logits differ by {typical:.2e} of the row's range in "
          f"the middle, by {worst:.2e} at worst; {agreed.mean():.2%} of steps "
          f"agree, {agreed[clear].mean():.2%} of the clear ones")
    report.check("smollm2 int8 logits",
                 typical <= INT8_TYPICAL and worst <= INT8_WORST,
                 f"{typical:.2e}, {worst:.2e}")
    report.check("smollm2 int8 greedy", agreed.mean() >= INT8_AGREEMENT
                 and agreed[clear].mean() >= INT8_CLEAR_AGREEMENT,
                 f"{agreed.mean():.4f}, {agreed[clear].mean():.4f}")
    for golden in goldens["perplexity"]:
        loss = perplexity(programs, int8, golden) / golden["perplexity"] - 1
        print(f"smollm2 int8 perplexity, context {golden['context']}: {loss:+.3%}")
        report.check(f"smollm2 int8 perplexity, context {golden['context']}",
                     abs(loss) <= INT8_LOSS, loss)


def test_dequantised(report, programs, model, goldens):
    """`--quant none`: the same numbers, stored as numbers."""
    plain = programs.compile(model, "smollm2-none", "--activations", "f32",
                             "--quant", "none")
    harness.check_greedy(
        report, "smollm2 --quant none",
        lambda tokens, n: programs.run(plain, tokens, n)["tokens"],
        goldens["prompts"][0])


def test_template(report, programs, artifact):
    """SmolLM2's own chat template, taken from its GGUF file by the importer."""
    golden = json.loads((harness.DATA / "chat_templates/smollm2.json").read_text())
    file = programs.work / "messages.json"
    for case in golden["cases"]:
        if "expected" not in case or not case["kwargs"]["add_generation_prompt"]:
            continue
        file.write_text(json.dumps(case["messages"]))
        out = programs.execute("stele", "run", artifact, "--messages", file,
                               "--print-prompt")
        report.check(f"smollm2 template, {case['name']}",
                     out.decode() == case["expected"],
                     f"{out.decode()!r}, expected {case['expected']!r}")


def test(report, programs, only):
    goldens = harness.read_goldens(DATA)
    model = harness.ROOT / "build/models" / goldens["gguf"]
    if not model.exists():
        report.check("smollm2", False, f"{model} is missing: run tools/fetch-model")
        return
    try:
        f32 = programs.compile(model, "smollm2-f32", "--activations", "f32")
        bf16 = programs.compile(model, "smollm2-bf16", "--activations", "bf16")
        test_prompts(report, programs, f32, goldens)
        test_text(report, programs, f32, goldens)
        test_batch(report, programs, f32, goldens)
        test_perplexity(report, programs, f32, bf16, goldens)
        int8 = programs.compile(model, "smollm2-int8")
        size, limit = int8.stat().st_size, SIZE_LIMIT * model.stat().st_size
        report.check("smollm2 size", size <= limit,
                     f"{size} bytes, at most {limit:.0f} wanted")
        test_int8(report, programs, f32, int8, goldens)
        test_dequantised(report, programs, model, goldens)
        test_lookup(report, programs, bf16)
        test_template(report, programs, bf16)
        tokenizer_diff.compare(
            report, programs, "smollm2", bf16,
            load_tokenizer(gguf.GGUFReader(model)),
            mixed_text.short_documents() + mixed_text.documents())
    except harness.ProgramFailed as error:
        report.check("smollm2", False, error)


if __name__ == "__main__":
    harness.main(__doc__, test)
