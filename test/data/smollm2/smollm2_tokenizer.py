"""SmolLM2's tokenizer for Hugging Face `tokenizers`, out of its GGUF file.

Shared by the maker of the goldens and the test that compares ids on mixed text.
"""

import gguf
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers


def load_tokenizer(reader):
    """SmolLM2's tokenizer: single digits, then the GPT-2 splitter, then BPE."""
    def value(key):
        return reader.get_field(f"tokenizer.ggml.{key}").contents()

    tokens, kinds = value("tokens"), value("token_type")
    merges = [tuple(m.split(" ")) for m in value("merges")]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([
        AddedToken(t, special=True, normalized=False)
        for t, kind in zip(tokens, kinds) if kind == gguf.TokenType.CONTROL])
    return tokenizer
