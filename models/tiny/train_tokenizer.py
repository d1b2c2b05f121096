"""Trains small tokenizer.json files of each kind that the importer reads.

A kind is what decides the ids besides the vocabulary: normaliser, splitter,
byte-level or byte-fallback merges, what is added around the text. The makers of
the tiny checkpoints and of the tokenizer test data share it.
"""

import json
import pathlib

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models,
                        normalizers, pre_tokenizers, processors, trainers)

ROOT = pathlib.Path(__file__).resolve().parents[2]

QWEN_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
              r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3_SPLIT = QWEN_SPLIT.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
CHAT_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
SENTENCEPIECE_TOKENS = ["<unk>", "<s>", "</s>"]


def corpus():
    """Lines to train on: our own texts that stay as they are, then a licence."""
    files = [ROOT / "test/data/tokenizers/scripts.txt",
             ROOT / "test/data/smollm2/perplexity.txt",
             ROOT / "test/data/smollm2/prompts.py",
             *sorted((ROOT / "test/data/chat_templates").glob("*.jinja")),
             pathlib.Path("/usr/share/common-licenses/GPL-3")]
    return [line for f in files
            for line in f.read_text(encoding="utf-8").splitlines(keepends=True)]


def byte_level(splitter, vocabulary, special, normalizer=None,
               ignore_merges=False):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, show_progress=False, special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def split_by(pattern):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def gpt2(vocabulary):
    return byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False),
                      vocabulary, ["<|endoftext|>"])


def smollm(vocabulary):
    return byte_level(pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)]),
        vocabulary, CHAT_TOKENS)


def qwen2(vocabulary):
    return byte_level(split_by(QWEN_SPLIT), vocabulary, CHAT_TOKENS,
                      normalizers.NFC())


def llama3(vocabulary):
    bos = "<|begin_of_text|>"
    tokenizer = byte_level(split_by(LLAMA3_SPLIT), vocabulary,
                           [bos, "<|end_of_text|>", "<|eot_id|>"],
                           ignore_merges=True)
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1",
            special_tokens=[(bos, tokenizer.token_to_id(bos))])])
    return tokenizer


def all_merges(vocab):
    """Every split of a piece into two pieces, in the order of the pieces.

    This is how converters turn a SentencePiece vocabulary into merges."""
    merges = []
    for piece in sorted(vocab, key=vocab.get):
        pairs = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
        pairs = [p for p in pairs if p[0] in vocab and p[1] in vocab]
        merges += sorted(pairs, key=lambda p: (vocab[p[0]], vocab[p[1]]))
    return merges


def sentencepiece_vocab(vocabulary):
    """unknown, begin, end, 256 bytes, merged pieces, runs of blanks, characters."""
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    lines = corpus()
    letters = sorted(set("".join(lines)) - set("\n\r\t "))
    room = vocabulary - 3 - 256 - 3
    limit = max(40, min(len(letters) + 1, room * 2 // 5))
    trained.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=room, show_progress=False, limit_alphabet=limit))
    learnt = sorted(trained.get_vocab(), key=trained.get_vocab().get)
    learnt = [p for p in learnt if not set(p) & set("\n\t\r")]
    pieces = SENTENCEPIECE_TOKENS + [f"<0x{b:02X}>" for b in range(256)]
    pieces += [p for p in learnt if len(p) > 1]
    pieces += ["▁▁", "▁▁▁▁", "▁▁▁▁▁▁▁▁"]
    pieces += [p for p in learnt if len(p) == 1]
    pieces += [f"<pad{i}>" for i in range(vocabulary - len(pieces))]
    return {p: i for i, p in enumerate(pieces)}


def sentencepiece(vocabulary, prepend):
    """prepend "always": as Llama 2, by a normaliser; "first": as Mistral."""
    vocab = sentencepiece_vocab(vocabulary)
    tokenizer = Tokenizer(models.BPE(
        vocab, [m for m in all_merges(vocab) if "<" not in m[0] + m[1]],
        unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if prepend == "always":
        tokenizer.normalizer = normalizers.Sequence([
            normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(
            prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([
        AddedToken(t, special=True, normalized=False)
        for t in SENTENCEPIECE_TOKENS])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1",
        special_tokens=[("<s>", vocab["<s>"])])
    return tokenizer


def added(vocabulary):
    """Added tokens of every flavour over a Qwen2-like tokenizer."""
    tokenizer = qwen2(vocabulary - 12)
    tokenizer.add_special_tokens([
        AddedToken("<|left|>", lstrip=True, special=True, normalized=False),
        AddedToken("<|right|>", rstrip=True, special=True, normalized=False),
        AddedToken("<|both|>", lstrip=True, rstrip=True, special=True,
                   normalized=False),
        AddedToken("[MASK]", single_word=True, special=True, normalized=False)])
    tokenizer.add_tokens([
        AddedToken("caf\u00e9", normalized=True, special=False),
        AddedToken("stele", single_word=True, normalized=False, special=False),
        AddedToken("<tool_call>", normalized=False, special=False),
        AddedToken("<tool", normalized=False, special=False),
        AddedToken("new york", normalized=False, special=False, rstrip=True),
        AddedToken("  ", normalized=False, special=False),
        AddedToken("😀😀", normalized=False, special=False),
        AddedToken("\n\n\n", normalized=False, special=False, lstrip=True)])
    return tokenizer


KINDS = {
    "gpt2": gpt2,
    "smollm": smollm,
    "qwen2": qwen2,
    "llama3": llama3,
    "llama2": lambda vocabulary: sentencepiece(vocabulary, "always"),
    "mistral": lambda vocabulary: sentencepiece(vocabulary, "first"),
    "added": added,
}


def write(tokenizer, folder):
    """tokenizer.json, without the white space that nobody reads."""
    text = json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False,
                      separators=(",", ":"))
    text = text.replace('],["', '],\n["').replace('},{"', '},\n{"')
    (folder / "tokenizer.json").write_text(text + "\n", encoding="utf-8")
