#!/usr/bin/env python3
"""Trains the tokenizers that the tests compare with Hugging Face `tokenizers`.

    python test/data/tokenizers/make.py

One folder a kind; see models/tiny/train_tokenizer.py for what each is. The tests
compute what they expect with `tokenizers` itself, from the committed file.
"""

import pathlib
import sys

import tokenizers

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "models" / "tiny"))

import train_tokenizer  # noqa: E402

VOCABULARY = {"gpt2": 1200, "smollm": 2000, "qwen2": 2500, "llama3": 2000,
              "llama2": 2400, "mistral": 1600, "added": 1100}


def main():
    print("tokenizers", tokenizers.__version__)
    for kind, size in VOCABULARY.items():
        folder = HERE / kind
        folder.mkdir(exist_ok=True)
        tokenizer = train_tokenizer.KINDS[kind](size)
        train_tokenizer.write(tokenizer, folder)
        print(kind, tokenizer.get_vocab_size(),
              tokenizer.encode("Hello  wörld 123, 你好!").tokens)


if __name__ == "__main__":
    main()
