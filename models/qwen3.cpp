// Qwen3 (dense): pre-norm decoder that normalises every head of q and k before
// the rotation; the head size is independent of the hidden size.
#include "stele/models/Builder.h"

using namespace stele::models;
using mlir::Value;

static Value attention(ModelBuilder &b, Value x, const std::string &layer,
                       int64_t index) {
  const auto &config = b.config();
  int64_t kvColumns = config.kvHeads * config.headDim;
  bool bias = config.attentionBias;
  Value q = b.linear(x, layer + "self_attn.q_proj",
                     config.heads * config.headDim, bias);
  Value k = b.linear(x, layer + "self_attn.k_proj", kvColumns, bias);
  Value v = b.linear(x, layer + "self_attn.v_proj", kvColumns, bias);
  q = b.rmsNorm(q, layer + "self_attn.q_norm", config.heads);
  k = b.rmsNorm(k, layer + "self_attn.k_norm", config.kvHeads);
  Value a = b.attention(q, k, v, index);
  return b.linear(a, layer + "self_attn.o_proj", config.hidden,
                  config.outputBias);
}

static Value mlp(ModelBuilder &b, Value x, const std::string &layer) {
  const auto &config = b.config();
  Value gate = b.linear(x, layer + "mlp.gate_proj", config.intermediate);
  Value up = b.linear(x, layer + "mlp.up_proj", config.intermediate);
  return b.linear(b.glu(gate, up), layer + "mlp.down_proj", config.hidden);
}

Value stele::models::buildQwen3(ModelBuilder &b) {
  Value h = b.embed("model.embed_tokens");
  for (int64_t index = 0; index < b.config().layers; ++index) {
    std::string layer = "model.layers." + std::to_string(index) + ".";
    Value x = b.rmsNorm(h, layer + "input_layernorm");
    h = b.add(h, attention(b, x, layer, index));
    x = b.rmsNorm(h, layer + "post_attention_layernorm");
    h = b.add(h, mlp(b, x, layer));
  }
  h = b.rmsNorm(h, "model.norm");
  return b.logits(h, "lm_head", /*tied=*/"model.embed_tokens");
}
