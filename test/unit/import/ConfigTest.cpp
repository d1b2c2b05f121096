// config.json to ModelConfig: what each family's file means, and that whatever
// could change the mathematics is understood or refused by name.
#include "TestFiles.h"
#include <cmath>

using namespace stele::checkpoint;

namespace {

Json base(const std::string &architecture, const std::string &type) {
  return {{"architectures", {architecture}},
          {"model_type", type},
          {"vocab_size", 100},
          {"hidden_size", 64},
          {"intermediate_size", 96},
          {"num_hidden_layers", 3},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"max_position_embeddings", 2048}};
}

Json llama() { return base("LlamaForCausalLM", "llama"); }
Json mistral() { return base("MistralForCausalLM", "mistral"); }
Json qwen2() { return base("Qwen2ForCausalLM", "qwen2"); }
Json qwen3() { return base("Qwen3ForCausalLM", "qwen3"); }

Json with(Json config, const std::string &patch) {
  config.update(Json::parse(patch));
  return config;
}

ModelConfig read(const Json &json, const Json *generation = nullptr) {
  auto config =
      readHfConfig(json, "config.json", generation, "generation.json");
  if (config)
    return *config;
  ADD_FAILURE() << llvm::toString(config.takeError());
  return {};
}

// The error for a llama config with these fields set.
std::string error(const std::string &patch, Json config = llama()) {
  return errorOf(
      readHfConfig(with(std::move(config), patch), "config.json", nullptr, ""));
}

std::string unknownField(const std::string &name,
                         const std::string &family = "llama") {
  return "config.json: unknown field " + name + " could change what a " +
         family + " model computes; if it does not, remove it from the file";
}

} // namespace

TEST(Config, LlamaDefaults) {
  ModelConfig config = read(llama());
  EXPECT_EQ(config.architecture, "llama");
  EXPECT_EQ(config.vocab, 100);
  EXPECT_EQ(config.hidden, 64);
  EXPECT_EQ(config.intermediate, 96);
  EXPECT_EQ(config.layers, 3);
  EXPECT_EQ(config.heads, 4);
  EXPECT_EQ(config.kvHeads, 2);
  EXPECT_EQ(config.headDim, 16);
  EXPECT_EQ(config.context, 2048);
  EXPECT_EQ(config.rmsEps, 1e-6);
  EXPECT_EQ(config.ropeTheta, 10000);
  EXPECT_EQ(config.rope.kind, RopeScaling::Kind::None);
  EXPECT_FALSE(config.tiedEmbeddings);
  EXPECT_FALSE(config.attentionBias || config.outputBias || config.mlpBias);
  EXPECT_FALSE(config.qkNorm);
  EXPECT_EQ(config.activation, "silu");
  EXPECT_FALSE(config.slidingWindow);
  // The class's tokens; null says that there are none.
  EXPECT_EQ(config.eosIds, (llvm::SmallVector<uint32_t>{2}));
  EXPECT_EQ(config.bosId, 1u);
  ModelConfig none =
      read(with(llama(), R"({"bos_token_id": null, "eos_token_id": null})"));
  EXPECT_TRUE(none.eosIds.empty());
  EXPECT_FALSE(none.bosId);
  EXPECT_TRUE(read(qwen2()).eosIds.empty());

  Json mha = llama();
  mha.erase("num_key_value_heads");
  EXPECT_EQ(read(mha).kvHeads, 4);
}

TEST(Config, FamiliesDifferInBiasesAndNorms) {
  ModelConfig biased =
      read(with(llama(), R"({"attention_bias": true, "mlp_bias": true})"));
  EXPECT_TRUE(biased.attentionBias && biased.outputBias && biased.mlpBias);
  ModelConfig two = read(qwen2());
  EXPECT_TRUE(two.attentionBias);
  EXPECT_FALSE(two.outputBias || two.qkNorm);
  EXPECT_EQ(two.headDim, 16);
  ModelConfig three = read(with(qwen3(), R"({"attention_bias": true})"));
  EXPECT_TRUE(three.attentionBias && three.outputBias && three.qkNorm);
  EXPECT_EQ(three.headDim, 128); // the class's default
}

TEST(Config, SlidingWindows) {
  EXPECT_EQ(read(mistral()).slidingWindow, 4096); // the class's default
  EXPECT_FALSE(
      read(with(mistral(), R"({"sliding_window": null})")).slidingWindow);
  ModelConfig all = read(with(mistral(), R"({"sliding_window": 8})"));
  EXPECT_EQ(all.slidingWindow, 8);
  EXPECT_EQ(all.slidingLayers, llvm::SmallVector<bool>(3, true));

  // Qwen2 files name a window that is not in use.
  EXPECT_FALSE(read(with(qwen2(), R"({"use_sliding_window": false,
      "sliding_window": 131072, "max_window_layers": 28})"))
                   .slidingWindow);
  ModelConfig top = read(with(qwen2(), R"({"use_sliding_window": true,
      "sliding_window": 12, "max_window_layers": 1})"));
  EXPECT_EQ(top.slidingLayers, (llvm::SmallVector<bool>{false, true, true}));
  EXPECT_EQ(read(with(qwen2(), R"({"use_sliding_window": true,
      "max_window_layers": 2})"))
                .slidingWindow,
            4096);
  EXPECT_FALSE(read(with(qwen2(), R"({"use_sliding_window": true})"))
                   .slidingWindow); // all 3 layers are below the default of 28
  ModelConfig listed = read(with(qwen3(), R"({"use_sliding_window": true,
      "sliding_window": 12, "layer_types":
      ["sliding_attention", "full_attention", "sliding_attention"]})"));
  EXPECT_EQ(listed.slidingLayers, (llvm::SmallVector<bool>{true, false, true}));

  EXPECT_EQ(error(R"({"sliding_window": 8})"),
            "config.json: sliding_window is 8, which a llama model does not "
            "have; remove it from the file");
  EXPECT_EQ(
      error(R"({"layer_types": ["full_attention"]})", qwen2()),
      "config.json: layer_types does not have one entry for each of the 3 "
      "layers");
  EXPECT_EQ(error(R"({"layer_types": ["full_attention", "full_attention",
                      "linear_attention"]})",
                  qwen2()),
            "config.json: layer_types has \"linear_attention\"; full_attention "
            "and sliding_attention are supported");
  EXPECT_EQ(error(R"({"layer_types": ["full_attention", "full_attention",
                      "sliding_attention"], "sliding_window": 8})",
                  qwen2()),
            "config.json: layer_types has sliding_attention, but no "
            "sliding_window is in use");
  EXPECT_EQ(error(R"({"layer_types": ["full_attention", "full_attention",
                      "sliding_attention"], "sliding_window": 8})",
                  mistral()),
            "config.json: layer_types mixes windows, but every layer of a "
            "mistral model has the same");
}

TEST(Config, RopeKindsInBothSpellings) {
  ModelConfig linear = read(with(llama(), R"({"rope_theta": 500,
      "rope_scaling": {"type": "linear", "factor": 4.0}})"));
  EXPECT_EQ(linear.rope.kind, RopeScaling::Kind::Linear);
  EXPECT_EQ(linear.rope.factor, 4);
  EXPECT_EQ(linear.ropeTheta, 500);

  ModelConfig llama3 = read(with(llama(), R"({"rope_parameters": {
      "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0,
      "low_freq_factor": 1.0, "high_freq_factor": 4.0,
      "original_max_position_embeddings": 32}})"));
  EXPECT_EQ(llama3.rope.kind, RopeScaling::Kind::Llama3);
  EXPECT_EQ(llama3.ropeTheta, 500000);
  EXPECT_EQ(llama3.rope.originalContext, 32);
  EXPECT_EQ(llama3.rope.lowFreqFactor, 1);
  EXPECT_EQ(llama3.rope.highFreqFactor, 4);

  ModelConfig yarn = read(with(llama(), R"({"rope_scaling": {"type": "yarn",
      "factor": 4.0, "original_max_position_embeddings": 512}})"));
  EXPECT_EQ(yarn.rope.kind, RopeScaling::Kind::Yarn);
  EXPECT_EQ(yarn.rope.originalContext, 512);
  EXPECT_EQ(yarn.rope.betaFast, 32);
  EXPECT_EQ(yarn.rope.betaSlow, 1);
  EXPECT_TRUE(yarn.rope.truncate);
  EXPECT_DOUBLE_EQ(yarn.rope.attentionFactor, 0.1 * std::log(4.0) + 1);

  ModelConfig plain = read(with(llama(), R"({"rope_parameters": {
      "rope_type": "default", "rope_theta": 1e6}})"));
  EXPECT_EQ(plain.rope.kind, RopeScaling::Kind::None);
  EXPECT_EQ(plain.ropeTheta, 1e6);
}

TEST(Config, YarnAttentionFactor) {
  auto factor = [](const std::string &fields) {
    return read(
               with(llama(), R"({"rope_scaling": {"rope_type": "yarn",
        "factor": 40.0, )" + fields +
                                 R"("original_max_position_embeddings": 64}})"))
        .rope.attentionFactor;
  };
  EXPECT_EQ(factor("\"attention_factor\": 1.25,"), 1.25);
  EXPECT_DOUBLE_EQ(factor("\"mscale\": 0.5, \"mscale_all_dim\": 2.0,"),
                   (0.05 * std::log(40.0) + 1) / (0.2 * std::log(40.0) + 1));
  EXPECT_DOUBLE_EQ(factor("\"mscale\": 0.5,"), 0.1 * std::log(40.0) + 1);
}

TEST(Config, RefusesOtherRope) {
  for (const char *kind : {"dynamic", "longrope", "su", "mrope"})
    EXPECT_EQ(error(std::string(R"({"rope_scaling": {"type": ")") + kind +
                    "\", \"factor\": 2.0}}"),
              std::string("config.json: rope_scaling.rope_type '") + kind +
                  "' is not supported; default, linear, llama3 and yarn are");
  EXPECT_EQ(error(R"({"rope_scaling": {"type": "linear"}})"),
            "config.json: rope_scaling.factor is missing");
  EXPECT_EQ(error(R"({"rope_scaling": {"type": "linear", "factor": 0.5}})"),
            "config.json: rope_scaling.factor is 0.5, a number from 1 to "
            "1e+06 is needed");
  EXPECT_EQ(error(R"({"rope_scaling": {"type": "linear", "factor": 2,
                      "mrope_section": [1]}})"),
            unknownField("rope_scaling.mrope_section"));
  EXPECT_EQ(error(R"({"rope_scaling": {"type": "llama3", "factor": 2,
                      "low_freq_factor": 4, "high_freq_factor": 4}})"),
            "config.json: rope_scaling.high_freq_factor 4 is not greater than "
            "low_freq_factor 4");
  EXPECT_EQ(
      error(R"({"rope_parameters": {"full_attention": {},
                      "sliding_attention": {}}})"),
      "config.json: rope_parameters.full_attention: positions that differ "
      "from layer to layer are not supported");
  EXPECT_EQ(error(R"({"rope_scaling": {"type": "default"},
                      "rope_parameters": {"rope_type": "default"}})"),
            "config.json: has both rope_scaling and rope_parameters; keep one");
  EXPECT_EQ(error(R"({"rope_scaling": 4})"),
            "config.json: rope_scaling is 4, an object is needed");
  EXPECT_EQ(error(R"({"partial_rotary_factor": 0.5})"),
            "config.json: partial_rotary_factor is 0.5; only 1.0 is supported");
  EXPECT_EQ(error(R"({"partial_rotary_factor": 1})"), "none");
}

TEST(Config, RefusesOtherArchitectures) {
  EXPECT_EQ(error(R"({"architectures": ["GemmaForCausalLM"]})"),
            "config.json: architecture 'GemmaForCausalLM' is not supported; "
            "LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM and "
            "Qwen3ForCausalLM are supported");
  EXPECT_EQ(error(R"({"architectures": []})"),
            "config.json: architectures is [], one name is needed; "
            "LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM and "
            "Qwen3ForCausalLM are supported");
  EXPECT_EQ(error(R"({"model_type": "qwen2"})"),
            "config.json: model_type 'qwen2' does not belong to architecture "
            "'LlamaForCausalLM'");
}

TEST(Config, RefusesUnknownFieldsByName) {
  EXPECT_EQ(error(R"({"attn_logit_softcapping": 50.0})"),
            unknownField("attn_logit_softcapping"));
  EXPECT_EQ(error(R"({"mlp_bias": true})", qwen3()),
            "config.json: mlp_bias is true; only false is supported");
  EXPECT_EQ(error(R"({"attention_bias": false, "mlp_bias": false})", mistral()),
            "none");
  EXPECT_EQ(error(R"({"attention_bias": false})", qwen2()),
            "config.json: attention_bias is false; only true is supported");
  EXPECT_EQ(error(R"({"clip_qkv": 8})", qwen3()),
            unknownField("clip_qkv", "qwen3"));
  EXPECT_EQ(error(R"({"hidden_act": "relu2"})"),
            "config.json: hidden_act 'relu2' is not supported; silu, gelu, "
            "gelu_new and gelu_pytorch_tanh are");
  EXPECT_EQ(error(R"({"rope_interleaved": true})"),
            "config.json: rope_interleaved is true; only false is supported");
  // null means "not set", and these do not touch a forward pass.
  EXPECT_EQ(error(R"({"attn_logit_softcapping": null, "use_cache": false,
                      "transformers_version": "9", "pad_token_id": -1,
                      "attention_dropout": 0.1, "is_llama_config": true,
                      "transformers.js_config": {}})"),
            "none");
}

TEST(Config, Case30_SizesThatDoNotFit) {
  EXPECT_EQ(error(R"({"hidden_size": 66})"),
            "config.json: hidden_size 66 is not a multiple of "
            "num_attention_heads 4 and there is no head_dim");
  EXPECT_EQ(error(R"({"hidden_size": 66, "head_dim": 16})"), "none");
  EXPECT_EQ(error(R"({"num_key_value_heads": 3})"),
            "config.json: 4 attention heads are not a multiple of 3 KV heads");
  EXPECT_EQ(
      error(R"({"num_hidden_layers": 0})"),
      "config.json: num_hidden_layers is 0, a whole number from 1 to 16384 "
      "is needed");
  EXPECT_EQ(error(R"({"num_attention_heads": 0})"),
            "config.json: num_attention_heads is 0, a whole number from 1 to "
            "16777216 is needed");
  EXPECT_EQ(
      error(R"({"head_dim": 15})"),
      "config.json: head dimension 15 is odd; rotary positions need pairs");
  EXPECT_EQ(
      error(R"({"vocab_size": -1})"),
      "config.json: vocab_size is -1, a whole number from 1 to 16777216 is "
      "needed");
  EXPECT_EQ(
      error(R"({"hidden_size": 64.0})"),
      "config.json: hidden_size is 64.0, a whole number from 1 to 16777216 "
      "is needed");
  Json missing = qwen2();
  missing.erase("num_key_value_heads");
  EXPECT_EQ(error("{}", missing),
            "config.json: num_key_value_heads is missing");
}

TEST(Config, Case31_ThetaAndContext) {
  EXPECT_EQ(error(R"({"rope_theta": 0})"),
            "config.json: rope_theta is 0, a number from 1 to 1e+15 is needed");
  EXPECT_EQ(error(R"({"rope_theta": "NaN"})"),
            "config.json: rope_theta is \"NaN\", a number from 1 to 1e+15 is "
            "needed");
  EXPECT_EQ(error(R"({"max_position_embeddings": 1099511627776})"),
            "config.json: max_position_embeddings is 1099511627776, a whole "
            "number from 1 to 1073741824 is needed");
  EXPECT_EQ(error(R"({"rms_norm_eps": -1e-5})"),
            "config.json: rms_norm_eps is -1e-05, a number from 1e-30 to 1 is "
            "needed");
  // Python writes a NaN as a bare word, which is not JSON.
  TempFolder folder;
  std::string path = folder.write("config.json", "{\"rope_theta\": NaN}");
  EXPECT_EQ(errorOf(Checkpoint::open(path)),
            path + ":1:16: syntax error while parsing value - invalid literal; "
                   "last read: '\"rope_theta\": N'");
}

TEST(Config, Case35_AutoMap) {
  EXPECT_EQ(error(R"({"auto_map": {"AutoModel": "modeling.Evil"}})"),
            "config.json: auto_map names Python code for this model, which is "
            "never run; if the built-in architecture is what the weights mean, "
            "remove auto_map from the file");
}

TEST(Config, DualChunk) {
  const char *field = "dual_chunk_attention_config";
  Json config = with(qwen2(), R"({"max_position_embeddings": 1010000,
      "dual_chunk_attention_config": {"chunk_size": 262144, "local_size": 8192,
      "original_max_position_embeddings": 262144,
      "sparse_attention_enabled": true, "sparse_attention_threshold": 32768,
      "sparse_attention_last_q": 64}})");
  ModelConfig million = read(config);
  EXPECT_EQ(million.context, 1010000);
  ASSERT_TRUE(million.dualChunk);
  EXPECT_EQ(million.dualChunk->chunk, 262144);
  EXPECT_EQ(million.dualChunk->local, 8192);
  EXPECT_EQ(million.dualChunk->original, 262144);
  EXPECT_FALSE(read(qwen2()).dualChunk);

  auto broken = [&](const char *key, const char *value) {
    Json copy = config;
    copy[field][key] = Json::parse(value);
    return errorOf(readHfConfig(copy, "config.json", nullptr, ""));
  };
  EXPECT_EQ(broken("local_size", "262144"),
            "config.json: dual_chunk_attention_config.local_size 262144 is not "
            "less than chunk_size 262144");
  EXPECT_EQ(
      broken("chunk_size", "-1"),
      "config.json: dual_chunk_attention_config.chunk_size is -1, a whole "
      "number from 2 to 1073741824 is needed");
  EXPECT_EQ(broken("original_max_position_embeddings", "null"),
            "config.json: "
            "dual_chunk_attention_config.original_max_position_embeddings is "
            "missing");
  EXPECT_EQ(broken("sparse_attention_enabled", "1"),
            "config.json: dual_chunk_attention_config.sparse_attention_enabled "
            "is 1, true or false is needed");
  EXPECT_EQ(broken("twist", "1"),
            unknownField("dual_chunk_attention_config.twist", "qwen2"));
  EXPECT_EQ(error(R"({"dual_chunk_attention_config": [8, 4]})", qwen2()),
            "config.json: dual_chunk_attention_config is [8,4], an object is "
            "needed");
}

TEST(Config, SparseHeads) {
  ModelConfig config = read(qwen2()); // 3 layers of 4 heads
  auto layer = [](const char *lastHead) {
    return Json::parse(R"({"0": ["vertical_and_slash", 30, 800, 1.5],
        "1": ["vertical_and_slash", 1000, 6096, 336.0],
        "3": ["vertical_and_slash", 500, 700, 1],)" +
                       std::string(lastHead) + "}");
  };
  const char *good = R"("2": ["vertical_and_slash", 7, 8, 0])";
  auto refusal = [&](const Json &json) {
    ModelConfig copy = config;
    return llvm::toString(readSparseConfig(json, "sparse.json", copy));
  };
  Json file = {layer(good), layer(good), layer(good)};
  ASSERT_EQ(llvm::toString(readSparseConfig(file, "sparse.json", config)), "");
  ASSERT_EQ(config.sparseHeads.size(), 12u);
  EXPECT_EQ(config.sparseHeads[5].vertical, 1000);
  EXPECT_EQ(config.sparseHeads[5].slash, 6096);
  EXPECT_EQ(config.sparseHeads[6].vertical, 7);
  EXPECT_EQ(config.notes.back(),
            "sparse.json: its patterns are read, not applied: attention stays "
            "dense, which they approximate");

  EXPECT_EQ(refusal(Json::array({layer(good)})),
            "sparse.json: is not a list with one entry for each of the 3 "
            "layers");
  file[1] = layer(R"("4": ["vertical_and_slash", 7, 8, 0])");
  EXPECT_EQ(refusal(file), "sparse.json: layer 1 has no head 2");
  file[1] = Json::object();
  EXPECT_EQ(refusal(file), "sparse.json: layer 1 is not an object with one "
                           "entry for each of the 4 heads");
  file[1] = layer(R"("2": ["block_sparse", 100, 800, 1])");
  EXPECT_EQ(refusal(file), "sparse.json: layer 1, head 2 is \"block_sparse\"; "
                           "only vertical_and_slash is supported");
  file[1] = layer(R"("2": ["vertical_and_slash", 0, 800, 1])");
  EXPECT_EQ(refusal(file),
            "sparse.json: layer 1, head 2 is [\"vertical_and_slash\",0,800,1], "
            "[\"vertical_and_slash\", keys, distances, score] is needed, with "
            "counts from 1 to 1073741824");
}

TEST(Config, TokensAndGeneration) {
  Json config = with(llama(), R"({"eos_token_id": 2, "bos_token_id": 1})");
  EXPECT_EQ(read(config).eosIds, (llvm::SmallVector<uint32_t>{2}));
  EXPECT_EQ(read(config).bosId, 1u);
  Json generation = Json::parse(R"({"eos_token_id": [2, 5], "do_sample": true,
      "temperature": 0.6, "top_k": 20, "top_p": 0.9, "min_p": 0.05,
      "repetition_penalty": 1.1, "max_new_tokens": 7})");
  ModelConfig both = read(config, &generation);
  EXPECT_EQ(both.eosIds, (llvm::SmallVector<uint32_t>{2, 5}));
  EXPECT_TRUE(both.generation.doSample);
  EXPECT_EQ(both.generation.temperature, 0.6);
  EXPECT_EQ(both.generation.topK, 20);
  EXPECT_EQ(both.generation.topP, 0.9);
  EXPECT_EQ(both.generation.minP, 0.05);
  EXPECT_EQ(both.generation.repetitionPenalty, 1.1);
  EXPECT_EQ(error(R"({"eos_token_id": -1})"),
            "config.json: eos_token_id is -1, a token id from 0 to 2147483647 "
            "or a list of them is needed");
  EXPECT_EQ(error(R"({"eos_token_id": [2, 100]})"),
            "config.json: token id 100 is outside the vocabulary of 100");
  Json far = {{"eos_token_id", {2, 100}}};
  EXPECT_EQ(
      errorOf(readHfConfig(llama(), "config.json", &far, "generation.json")),
      "generation.json: eos_token_id is [2,100], a token id from 0 to 99 or a "
      "list of them is needed");
  Json bad = {{"temperature", -1}};
  EXPECT_EQ(
      errorOf(readHfConfig(llama(), "config.json", &bad, "generation.json")),
      "generation.json: temperature is -1, a number from 0 to 1e+06 "
      "is needed");
}
