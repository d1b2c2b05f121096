#!/usr/bin/env python3
"""The real SmolLM2-135M-Instruct against transformers: ids, tokens, perplexity.

Needs build/models/SmolLM2-135M-Instruct.Q4_1.gguf (tools/fetch-model).
"""

import json
import sys

import gguf

import harness
import mixed_text
import tokenizer_diff

DATA = harness.DATA / "smollm2"
sys.path.insert(0, str(DATA))

from smollm2_tokenizer import load_tokenizer  # noqa: E402

END_OF_TURN = 2
BF16_LOSS = 0.005  # perplexity of bf16 over that of f32
PERPLEXITY_TOLERANCE = 1e-4


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
