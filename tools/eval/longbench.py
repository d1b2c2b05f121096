#!/usr/bin/env python3
"""Scores a model on JSONL files in LongBench's format.

One sample a line: {"dataset", "context", "input", "answers": [...]} and, to
classify, {"all_classes": [...]}; other fields are left alone. The best of a
sample's right answers counts. Which metric a data set has is known for the
English ones of LongBench and the examples beside this file; --metric tells it for
others. A prompt that does not fit is cut in its middle.
"""

import argparse
import json
import pathlib
import tempfile
from dataclasses import dataclass

import driver
import metrics
from driver import EvalError

EXAMPLE = ("tools/eval/longbench.py build/models/smollm2.stele "
           "tools/eval/examples/questions.jsonl")


@dataclass
class Task:
    score: object     # of an answer, an expected one and the sample's classes
    prompt: str       # with {context} and {input}
    max_tokens: int
    chat: bool = True
    one_line: bool = False  # what follows the answer's first line is left out


TASKS = {
    "f1": Task(lambda a, e, _: metrics.question_f1(a, e),
               "{context}\n\nAnswer the question about the text above in a few "
               "words.\nQuestion: {input}", 32, one_line=True),
    "rouge-l": Task(lambda a, e, _: metrics.rouge_l(a, e),
                    "{context}\n\n{input}\nSummarise the text above.", 256),
    "accuracy": Task(metrics.class_accuracy,
                     "{context}\n\n{input}", 16, chat=False, one_line=True),
    "code": Task(lambda a, e, _: metrics.code_similarity(a, e),
                 "{context}{input}", 48, chat=False),
}

METRICS = {
    **dict.fromkeys(["narrativeqa", "qasper", "multifieldqa_en", "hotpotqa",
                     "2wikimqa", "musique", "triviaqa", "example_questions"], "f1"),
    **dict.fromkeys(["gov_report", "qmsum", "multi_news", "samsum",
                     "example_summaries"], "rouge-l"),
    **dict.fromkeys(["trec", "example_classes"], "accuracy"),
    **dict.fromkeys(["lcc", "repobench-p", "example_code"], "code"),
}


@dataclass
class Sample:
    place: str  # file and line
    dataset: str
    context: str
    input: str
    answers: list
    classes: list


def field(value, place, name, kind):
    if name not in value:
        raise EvalError(f"{place}: has no \"{name}\"")
    if not isinstance(value[name], kind):
        raise EvalError(f"{place}: \"{name}\" is {json.dumps(value[name])[:60]}, "
                        f"a {'text' if kind is str else 'list'} is needed")
    return value[name]


def texts(value, place, name):
    found = field(value, place, name, list)
    if not found or not all(isinstance(t, str) and t.strip() for t in found):
        raise EvalError(f"{place}: \"{name}\" must hold one text or more, none "
                        "of them empty")
    return found


def read_sample(line, place, known):
    try:
        value = json.loads(line)
    except ValueError as error:
        raise EvalError(f"{place}: is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise EvalError(f"{place}: is no JSON object")
    dataset = field(value, place, "dataset", str)
    if dataset not in known:
        raise EvalError(f"{place}: nothing says how data set '{dataset}' is "
                        f"judged; add --metric {dataset}=f1, or another of "
                        f"{', '.join(TASKS)}")
    answers, classes = texts(value, place, "answers"), []
    if known[dataset] == "accuracy":
        classes = texts(value, place, "all_classes")
        strange = [a for a in answers if a not in classes]
        if strange:
            raise EvalError(f"{place}: the answer {json.dumps(strange[0])} is not "
                            "among \"all_classes\"")
    return Sample(place, dataset, field(value, place, "context", str),
                  field(value, place, "input", str), answers, classes)


def read_samples(file, known):
    try:
        lines = pathlib.Path(file).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise EvalError(f"{file}: is not UTF-8: {error}") from error
    samples = [read_sample(line, f"{file}:{number}", known)
               for number, line in enumerate(lines, 1) if line.strip()]
    if not samples:
        raise EvalError(f"{file}: holds no samples; one JSON object a line is "
                        "needed")
    return samples


def cut(tokens, room):
    """The begin and the end of too many tokens."""
    if len(tokens) <= room:
        return tokens
    return tokens[:room // 2] + tokens[len(tokens) - (room - room // 2):]


class Judge:
    def __init__(self, stele, folder, context):
        self.stele, self.folder, self.context = stele, folder, context
        self.tokens = driver.Tokens(stele, folder)
        self.frame = self.tokens.framed(stele.chat_frame())

    def prompt(self, sample, task):
        """(token ids, whether they were cut)"""
        text = task.prompt.format(context=sample.context, input=sample.input)
        before, behind = self.frame if task.chat else (self.tokens.begin, [])
        tokens = self.tokens.of(text)
        room = self.context - task.max_tokens - len(before) - len(behind)
        if room < 2:
            raise EvalError(f"{sample.place}: a context of {self.context} tokens "
                            f"has no room for a prompt and {task.max_tokens} "
                            "tokens of answer")
        return before + cut(tokens, room) + behind, len(tokens) > room

    def answers(self, prompts, task):
        """What the model says to prompts of one task, in one batch."""
        file = self.folder / "prompts.jsonl"
        file.write_text("".join(json.dumps({"tokens": p}) + "\n" for p in prompts))
        lines, _ = self.stele.run("--prompts", file, "-n", task.max_tokens)
        said = [line["text"].strip() for line in lines]
        return [s.split("\n")[0] for s in said] if task.one_line else said

    def score(self, samples, metric, batch):
        """One dictionary a sample."""
        task, rows = TASKS[metric], []
        for begin in range(0, len(samples), batch):
            part = samples[begin:begin + batch]
            prompts = [self.prompt(s, task) for s in part]
            said = self.answers([p for p, _ in prompts], task)
            for sample, (_, was_cut), answer in zip(part, prompts, said):
                best = max(task.score(answer, expected, sample.classes)
                           for expected in sample.answers)
                rows.append({"place": sample.place, "dataset": sample.dataset,
                             "metric": metric, "cut": was_cut, "score": best,
                             "answer": answer, "answers": sample.answers})
                driver.progress(f"{sample.place}: {best:.2f}")
        return rows


def table(rows):
    """One row a data set."""
    result = []
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        mine = [row for row in rows if row["dataset"] == dataset]
        result.append({
            "dataset": dataset, "metric": mine[0]["metric"], "samples": len(mine),
            "cut": sum(row["cut"] for row in mine),
            "score": sum(row["score"] for row in mine) / len(mine)})
    return result


def print_table(summary, mean):
    width = max(len("data set"), *(len(row["dataset"]) for row in summary))
    print(f"{'data set':{width}}  metric    samples  cut  score")
    for row in summary:
        print(f"{row['dataset']:{width}}  {row['metric']:8}  {row['samples']:7}  "
              f"{row['cut']:3}  {100 * row['score']:5.1f}")
    print(f"{'mean':{width}}  {'':8}  {'':7}  {'':3}  {100 * mean:5.1f}")


def metric(text):
    dataset, equals, name = text.rpartition("=")
    if not (dataset and equals and name in TASKS):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not DATASET=METRIC with a metric of {', '.join(TASKS)}")
    return dataset, name


def parse():
    parser = driver.parser(__doc__, EXAMPLE)
    parser.add_argument("files", nargs="+", metavar="FILE.jsonl")
    parser.add_argument("--context", type=driver.count, metavar="N",
                        help="cut prompts so that they and their answer fit "
                             "(default: what the artifact is planned for)")
    parser.add_argument("--batch", type=driver.count, default=4, metavar="N",
                        help="prompts in memory at a time (default: 4)")
    parser.add_argument("--metric", type=metric, action="append", default=[],
                        metavar="DATASET=METRIC",
                        help=f"one of {', '.join(TASKS)}; repeatable")
    parser.add_argument("--answers", type=pathlib.Path, metavar="FILE.jsonl",
                        help="write every answer and its score there")
    return parser.parse_args()


def evaluate(flags):
    known = {**METRICS, **dict(flags.metric)}
    samples = [s for file in flags.files for s in read_samples(file, known)]
    stele = driver.Stele(flags.bin, flags.artifact, flags.flags)
    planned = stele.context()
    context = flags.context or planned
    if context > planned:
        raise EvalError(f"--context {context}: '{flags.artifact}' is planned for "
                        f"{planned} tokens; compile it with a longer --context")
    rows = []
    with tempfile.TemporaryDirectory(prefix="longbench-") as folder:
        judge = Judge(stele, pathlib.Path(folder), context)
        for dataset in dict.fromkeys(s.dataset for s in samples):
            rows += judge.score([s for s in samples if s.dataset == dataset],
                                known[dataset], flags.batch)
    if flags.answers:
        flags.answers.write_text("".join(json.dumps(r) + "\n" for r in rows))
    summary = table(rows)
    mean = sum(row["score"] for row in summary) / len(summary)
    if flags.json:
        print(json.dumps({"datasets": summary, "mean": mean}))
    else:
        print_table(summary, mean)
    return 0


if __name__ == "__main__":
    driver.main(evaluate, parse())
