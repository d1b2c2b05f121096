#!/usr/bin/env python3
"""Renders the 30 conversations with transformers: the goldens of chat templates.

    python test/data/chat_templates/make.py --gguf SmolLM2-135M-Instruct.Q4_1.gguf

Each NAME.json holds the template, the special tokens and, for each case, the
messages, tools and keyword arguments with the text that `apply_chat_template`
returns, or the message of the error it raises ("error": from raise_exception;
"fails": true where Python refuses an operation and only the refusal counts).
`now` is the clock that strftime_now sees. SmolLM2's own template stays in its
GGUF file: smollm2.json has "template": null and tests read it from there.
"""

import argparse
import datetime
import json
import pathlib
import sys

import gguf
import jinja2
import tokenizers
import transformers
from transformers.utils import chat_template_utils

from conversations import CONVERSATIONS

HERE = pathlib.Path(__file__).resolve().parent
NOW = datetime.datetime(2026, 3, 5, 14, 7, 9)
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


class FixedClock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def render(tokenizer, template, case):
    try:
        return {"expected": tokenizer.apply_chat_template(
            case["messages"], tools=case["tools"], chat_template=template,
            tokenize=False, **case["kwargs"])}
    except jinja2.exceptions.TemplateError as error:
        if type(error) is jinja2.exceptions.TemplateError:
            return {"error": error.message}
        return {"fails": True}
    except TypeError:
        return {"fails": True}


def write(name, template, embedded, tokenizer):
    cases = [{**case, **render(tokenizer, template, case)}
             for case in CONVERSATIONS]
    refused = sum("expected" not in case for case in cases)
    print(f"{name}: {len(cases) - refused} rendered, {refused} refused")
    lines = ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases)
    head = json.dumps({
        "versions": {m.__name__: m.__version__ for m in (transformers, jinja2)},
        "now": NOW.isoformat(),
        "special_tokens": TOKENS,
        "template": template if embedded else None,
    }, ensure_ascii=False)[:-1]
    (HERE / f"{name}.json").write_text(
        f"{head},\n\"cases\": [\n{lines}\n]}}\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gguf", required=True)
    args = parser.parse_args()
    chat_template_utils.datetime = FixedClock
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(tokenizers.models.BPE()),
        **TOKENS)
    field = gguf.GGUFReader(args.gguf).get_field("tokenizer.chat_template")
    write("smollm2", field.contents(), False, tokenizer)
    for path in sorted(HERE.glob("*.jinja")):
        write(path.stem, path.read_text(encoding="utf-8"), True, tokenizer)


if __name__ == "__main__":
    sys.exit(main())
