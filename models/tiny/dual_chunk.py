"""Dual chunk attention in PyTorch, from its definition: the reference of goldens.

A checkpoint with `dual_chunk_attention_config` is loaded by transformers, which
does not know the field; this puts attention that does in the place of every
layer's. Written for being read: three score matrices, a choice, one softmax.

With S = chunk_size, c = S - local_size and p the absolute position, keys are
rotated at p mod c, and a query meets the keys of its own chunk at p mod c, those
of the chunk before at min(p mod c + c, S), all others at min(2c - 1, S). It is
scaled by max(1, 0.1 ln((p + 1) / original) + 1)^2: by its own position, where
engines that take the prompt's length would change every key when it grows. For a
model that was not trained with this there is no original length, and no scaling.
"""

import types

import torch


def positions(dual, at):
    """(keys', and queries' for the three parts), for absolute positions `at`."""
    size = dual["chunk_size"]
    keys = size - dual["local_size"]
    within = at % keys
    return within, (within, (within + keys).clamp(max=size),
                    torch.full_like(at, min(2 * keys - 1, size)))


def temperature(dual, at):
    if "original_max_position_embeddings" not in dual:
        return torch.ones(at.shape)
    ratio = (at + 1) / dual["original_max_position_embeddings"]
    return (0.1 * torch.log(ratio) + 1).clamp(min=1) ** 2


def rotate(x, rotary, at):
    """x [heads, tokens, head_dim] at positions `at`; halves are paired."""
    cos, sin = rotary(x[None], at[None])
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


def scores(dual, query_at, key_at, parts, keys):
    """Scores of every query with every key before it, from the part's query."""
    size = dual["chunk_size"] - dual["local_size"]
    between = query_at[:, None] // size - key_at[None, :] // size
    intra, successive, inter = (q @ keys.transpose(-1, -2) for q in parts)
    chosen = torch.where(between == 0, intra,
                         torch.where(between == 1, successive, inter))
    return chosen.masked_fill(key_at[None, :] > query_at[:, None], -torch.inf)


def heads_of(module, projection, norm, hidden):
    x = projection(hidden[0])
    x = x.view(x.shape[0], -1, module.head_dim)
    if hasattr(module, norm):
        x = getattr(module, norm)(x)
    return x.transpose(0, 1)


def attend(dual, rotary, module, hidden_states, cache, **_):
    """The forward of one layer's attention, for a batch of one sequence."""
    past = cache.get_seq_length(module.layer_idx) if (
        cache is not None) else 0
    query_at = torch.arange(past, past + hidden_states.shape[1])
    query = heads_of(module, module.q_proj, "q_norm", hidden_states)
    key = heads_of(module, module.k_proj, "k_norm", hidden_states)
    value = heads_of(module, module.v_proj, "v_norm", hidden_states)

    keys_to, queries_to = positions(dual, query_at)
    key = rotate(key, rotary, keys_to)
    if cache is not None:
        key, value = (x[0] for x in cache.update(
            key[None], value[None], module.layer_idx))
    key, value = (x.repeat_interleave(query.shape[0] // x.shape[0], 0)
                  for x in (key, value))
    parts = [rotate(query, rotary, at) for at in queries_to]
    logits = scores(dual, query_at, torch.arange(key.shape[1]), parts, key)
    logits = logits * (temperature(dual, query_at)[:, None] * module.scaling)
    out = torch.softmax(logits, -1) @ value
    return module.o_proj(out.transpose(0, 1).flatten(1)[None]), None


def install(model):
    """Replaces the attention of every layer, if the config asks for it."""
    dual = getattr(model.config, "dual_chunk_attention_config", None)
    if dual is None:
        return model
    rotary = model.model.rotary_emb
    for layer in model.model.layers:
        layer.self_attn.forward = types.MethodType(
            lambda module, hidden_states, **rest: attend(
                dual, rotary, module, hidden_states, **rest), layer.self_attn)
    return model
