"""The tiny checkpoints, as data: which shapes and config fields each one exercises.

Checkpoints are the start of the road; these stand in for every family the
importer knows, in shapes that no tile divides. A recipe names the family, the
`config.json` to write (in the style of transformers 4 or 5, both are met in the
wild), how the tensors are stored and which prompts the goldens cover.
"""

from dataclasses import dataclass, field


@dataclass
class Recipe:
    name: str
    family: str  # model_type of config.json
    config: dict
    storage: str = "F32"  # F32 | F16 | BF16
    shards: int = 1
    tied: bool = False
    prompts: tuple = (1, 37)  # lengths
    tokenizer: str = ""  # a kind of train_tokenizer.py, or none
    generation: dict = field(default_factory=dict)  # generation_config.json


def shape(vocab, hidden, ffn, layers, heads, kv_heads, head_dim=None, **more):
    fields = {
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": ffn,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 512,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if head_dim:
        fields["head_dim"] = head_dim
    return {**fields, **more}


RECIPES = [
    # The plain case: GQA 3/1, tied embeddings, odd FFN, head_dim != hidden / heads.
    Recipe("llama-tied", "llama",
           shape(307, 48, 77, 2, 3, 1, 64, rope_theta=10000.0),
           tied=True, tokenizer="smollm", prompts=(1, 37),
           generation={"do_sample": True, "temperature": 0.6, "top_p": 0.9,
                       "eos_token_id": [2, 5]}),
    # Llama 3.1: scaled frequencies, several end tokens, grouped 4/2, stored in BF16.
    Recipe("llama3-rope", "llama",
           shape(257, 40, 91, 2, 4, 2, 64, max_position_embeddings=1024,
                 eos_token_id=[2, 3],
                 rope_parameters={"rope_type": "llama3", "rope_theta": 500000.0,
                                  "factor": 8.0, "low_freq_factor": 1.0,
                                  "high_freq_factor": 4.0,
                                  "original_max_position_embeddings": 32}),
           storage="BF16", prompts=(53,)),
    # Linear position interpolation, written the old way ("type").
    Recipe("llama-linear", "llama",
           shape(131, 56, 45, 2, 2, 2, 80, rope_theta=10000.0,
                 rope_scaling={"type": "linear", "factor": 4.0}),
           storage="F16", prompts=(3, 41)),
    # YaRN as Llama derivatives write it, with both betas given.
    Recipe("llama-yarn", "llama",
           shape(113, 45, 67, 2, 3, 1, 96, rope_theta=10000.0,
                 rope_scaling={"rope_type": "yarn", "factor": 4.0,
                               "original_max_position_embeddings": 128,
                               "beta_fast": 16.0, "beta_slow": 2.0}),
           storage="F16", prompts=(50,)),
    # YaRN with an explicit attention factor.
    Recipe("llama-yarn-factor", "llama",
           shape(67, 32, 35, 1, 2, 1, 64,
                 rope_parameters={"rope_type": "yarn", "rope_theta": 20000.0,
                                  "factor": 2.0, "attention_factor": 1.25,
                                  "original_max_position_embeddings": 64}),
           prompts=(33,)),
    # Every bias that Llama's config can switch on; a prime hidden size.
    Recipe("llama-bias", "llama",
           shape(127, 37, 77, 2, 1, 1, 64, rope_theta=10000.0,
                 attention_bias=True, mlp_bias=True),
           prompts=(2, 31)),
    # Other activations; a prime FFN.
    Recipe("llama-gelu", "llama",
           shape(101, 42, 53, 2, 2, 1, 64, hidden_act="gelu",
                 rope_theta=10000.0), prompts=(29,)),
    Recipe("llama-gelu-tanh", "llama",
           shape(101, 42, 53, 2, 2, 1, 64, hidden_act="gelu_pytorch_tanh",
                 rope_theta=10000.0), storage="F16", prompts=(29,)),
    # Llama 2: every head its own KV head, SentencePiece-style vocabulary, no
    # head_dim field, a head of 34 whose halves are odd.
    Recipe("llama2-mha", "llama",
           shape(350, 102, 61, 2, 3, 3, rope_theta=10000.0), storage="F16",
           tokenizer="llama2", prompts=(35,)),
    # A prompt over two KV pages: positions, page table and chunks matter here.
    Recipe("llama-long", "llama",
           shape(61, 48, 71, 2, 4, 1, 64, rope_theta=10000.0),
           storage="BF16", tied=True, prompts=(300, 129)),
    # Qwen2: q/k/v biases, untied, odd vocabulary.
    Recipe("qwen2", "qwen2",
           shape(307, 128, 51, 2, 2, 1, rope_theta=1000000.0,
                 use_sliding_window=False, sliding_window=None), storage="BF16",
           tokenizer="qwen2", prompts=(1, 37)),
    # YaRN as Qwen2.5 writes it, in two shards.
    Recipe("qwen2-yarn", "qwen2",
           shape(97, 192, 61, 1, 3, 1, rope_theta=1000000.0,
                 rope_scaling={"type": "yarn", "factor": 4.0,
                               "original_max_position_embeddings": 32}),
           storage="F16", shards=2, tied=True, prompts=(45,)),
    # A window in the upper layers only.
    Recipe("qwen2-window", "qwen2",
           shape(89, 64, 49, 3, 2, 1, 64, rope_theta=10000.0,
                 use_sliding_window=True, sliding_window=12,
                 max_window_layers=1),
           storage="BF16", tied=True, prompts=(40,)),
    # Qwen3: norms on q and k, head_dim unrelated to hidden, tied, prime hidden.
    Recipe("qwen3", "qwen3",
           shape(151, 53, 83, 2, 2, 1, 80, rope_theta=1000000.0,
                 attention_bias=False, sliding_window=None,
                 use_sliding_window=False),
           tied=True, prompts=(1, 38)),
    Recipe("qwen3-untied", "qwen3",
           shape(103, 64, 57, 2, 2, 1, 128, attention_bias=True,
                 rope_parameters={"rope_type": "default",
                                  "rope_theta": 1000000.0}),
           storage="BF16", shards=3, prompts=(34,)),
    # Mistral: a window much smaller than the prompt, three shards.
    Recipe("mistral-window", "mistral",
           shape(109, 59, 73, 2, 6, 2, 64, rope_theta=10000.0,
                 sliding_window=8),
           storage="BF16", shards=2, prompts=(5, 160)),
    Recipe("mistral", "mistral",
           shape(350, 48, 86, 2, 2, 1, 128, rope_theta=1000000.0,
                 sliding_window=None),
           storage="F16", tokenizer="mistral", prompts=(36,)),
    # Dual chunk attention as Qwen2.5-1M writes it: over three chunks of 128 keys,
    # queries scaled from position 256 on. One prompt ends inside the first chunk.
    Recipe("qwen2-chunks", "qwen2",
           shape(59, 96, 61, 2, 3, 1, 64, rope_theta=1000000.0,
                 max_position_embeddings=2048,
                 dual_chunk_attention_config={
                     "chunk_size": 192, "local_size": 64,
                     "original_max_position_embeddings": 256}),
           storage="BF16", tied=True, prompts=(120, 430)),
    # With YaRN's frequencies beneath, and a local part longer than a chunk's
    # keys, which the keys of two chunks before do not reach.
    Recipe("llama-chunks-yarn", "llama",
           shape(53, 48, 71, 2, 2, 1, 96, rope_theta=10000.0,
                 max_position_embeddings=1024,
                 rope_scaling={"rope_type": "yarn", "factor": 4.0,
                               "original_max_position_embeddings": 128},
                 dual_chunk_attention_config={
                     "chunk_size": 320, "local_size": 192,
                     "original_max_position_embeddings": 100}),
           storage="F16", prompts=(300,)),
    # Norms on q and k; a local part so short that the chunk before is clamped.
    Recipe("qwen3-chunks", "qwen3",
           shape(61, 64, 57, 2, 2, 1, 80, rope_theta=10000.0,
                 max_position_embeddings=1024,
                 dual_chunk_attention_config={
                     "chunk_size": 144, "local_size": 16,
                     "original_max_position_embeddings": 144}),
           storage="BF16", tied=True, prompts=(290,)),
]
