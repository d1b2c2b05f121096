// config.json to ModelConfig. See Config.h.
#include "stele/compiler/Import/Config.h"
#include "stele/compiler/Import/Errors.h"
#include "stele/compiler/Import/Fields.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/StringSwitch.h"
#include <cmath>

using namespace stele::checkpoint;

// Fields of config.json that do not change what one forward pass computes:
// names, training and generation settings, file formats. Everything that is
// neither here nor read below is refused.
static const llvm::StringSet<> &harmlessFields() {
  static const llvm::StringSet<> fields = {
      "_attn_implementation",
      "_attn_implementation_autoset",
      "_name_or_path",
      "attention_dropout",
      "attn_implementation",
      "bad_words_ids",
      "begin_suppress_tokens",
      "chunk_size_feed_forward",
      "decoder_start_token_id",
      "diversity_penalty",
      "do_sample",
      "dtype",
      "early_stopping",
      "encoder_no_repeat_ngram_size",
      "exponential_decay_length_penalty",
      "finetuning_task",
      "forced_bos_token_id",
      "forced_eos_token_id",
      "id2label",
      "initializer_range",
      "is_decoder",
      "is_llama_config",
      "label2id",
      "length_penalty",
      "max_length",
      "max_window_layers", // read where use_sliding_window makes it matter
      "min_length",
      "name_or_path",
      "no_repeat_ngram_size",
      "num_beam_groups",
      "num_beams",
      "num_labels",
      "num_return_sequences",
      "output_attentions",
      "output_hidden_states",
      "output_scores",
      "pad_token_id",
      "prefix",
      "pretraining_tp",
      "problem_type",
      "remove_invalid_values",
      "repetition_penalty",
      "return_dict",
      "return_dict_in_generate",
      "sep_token_id",
      "suppress_tokens",
      "task_specific_params",
      "temperature",
      "tf_legacy_loss",
      "tie_last_hidden_states",
      "tokenizer_class",
      "top_k",
      "top_p",
      "torch_dtype",
      "torchscript",
      "transformers.js_config",
      "transformers_version",
      "typical_p",
      "unk_token_id",
      "unsloth_fixed",
      "unsloth_version",
      "use_bfloat16",
      "use_cache",
  };
  return fields;
}

// Sizes that no model comes near; they keep later products inside 64 bits.
static constexpr int64_t maxWidth = 1 << 24;
static constexpr int64_t maxLayers = 1 << 14;
static constexpr int64_t maxContext = 1 << 30;

static std::string familyOf(llvm::StringRef architecture) {
  return llvm::StringSwitch<std::string>(architecture)
      .Case("LlamaForCausalLM", "llama")
      .Case("MistralForCausalLM", "mistral")
      .Case("Qwen2ForCausalLM", "qwen2")
      .Case("Qwen3ForCausalLM", "qwen3")
      .Default("");
}

static void readArchitecture(Fields &fields, ModelConfig &config) {
  const char *supported = "LlamaForCausalLM, MistralForCausalLM, "
                          "Qwen2ForCausalLM and Qwen3ForCausalLM are supported";
  const Json *list = fields.get("architectures");
  if (!list || !list->is_array() || list->size() != 1 ||
      !(*list)[0].is_string())
    return fields.fail("architectures is {0}, one name is needed; {1}",
                       list ? shown(*list) : "missing", supported);
  std::string architecture = (*list)[0].get<std::string>();
  config.architecture = familyOf(architecture);
  if (config.architecture.empty())
    return fields.fail("architecture '{0}' is not supported; {1}", architecture,
                       supported);
  std::string type = fields.string("model_type", config.architecture);
  if (type != config.architecture)
    fields.fail("model_type '{0}' does not belong to architecture '{1}'", type,
                architecture);
}

static void refuseOtherModels(Fields &fields) {
  if (fields.get("auto_map"))
    fields.fail(
        "auto_map names Python code for this model, which is never run; "
        "if the built-in architecture is what the weights mean, remove "
        "auto_map from the file");
  fields.mustBe("add_cross_attention", false);
  fields.mustBe("is_encoder_decoder", false);
  fields.mustBe("partial_rotary_factor", 1.0);
  fields.mustBe("pruned_heads", Json::object());
  fields.mustBe("rope_interleaved", false);
  fields.mustBe("tie_encoder_decoder", false);
  fields.mustBe("use_mrope", false);
}

static void readSizes(Fields &fields, ModelConfig &config) {
  config.vocab = fields.integer("vocab_size", 1, maxWidth);
  config.hidden = fields.integer("hidden_size", 1, maxWidth);
  config.intermediate = fields.integer("intermediate_size", 1, maxWidth);
  config.layers = fields.integer("num_hidden_layers", 1, maxLayers);
  config.heads = fields.integer("num_attention_heads", 1, maxWidth);
  // Only llama's reader gives a missing value a meaning.
  std::optional<int64_t> kvDefault;
  if (config.architecture == "llama")
    kvDefault = config.heads;
  config.kvHeads =
      fields.integer("num_key_value_heads", 1, maxWidth, kvDefault);
  config.context = fields.integer("max_position_embeddings", 1, maxContext);
  config.rmsEps = fields.number("rms_norm_eps", 1e-30, 1, 1e-6);

  if (config.architecture == "qwen3") {
    config.headDim = fields.integer("head_dim", 1, maxWidth, 128);
    return;
  }
  if (!fields.get("head_dim") && config.hidden % config.heads)
    fields.fail(
        "hidden_size {0} is not a multiple of num_attention_heads {1} and "
        "there is no head_dim",
        config.hidden, config.heads);
  config.headDim =
      fields.integer("head_dim", 1, maxWidth, config.hidden / config.heads);
}

static void readActivation(Fields &fields, ModelConfig &config) {
  std::string name = fields.string("hidden_act", "silu");
  config.activation = llvm::StringSwitch<std::string>(name)
                          .Cases({"silu", "swish"}, "silu")
                          .Case("gelu", "gelu")
                          .Cases({"gelu_new", "gelu_pytorch_tanh"}, "gelu_tanh")
                          .Default("");
  if (config.activation.empty())
    fields.fail("hidden_act '{0}' is not supported; silu, gelu, gelu_new and "
                "gelu_pytorch_tanh are",
                name);
}

// A family whose class has no such field must not contradict what it does.
static void readBiases(Fields &fields, ModelConfig &config) {
  llvm::StringRef family = config.architecture;
  config.qkNorm = family == "qwen3";
  if (family == "llama" || family == "qwen3") {
    config.attentionBias = config.outputBias =
        fields.boolean("attention_bias", false);
  } else {
    config.attentionBias = family == "qwen2";
    fields.mustBe("attention_bias", config.attentionBias);
  }
  if (family == "llama")
    config.mlpBias = fields.boolean("mlp_bias", false);
  else
    fields.mustBe("mlp_bias", false);
}

// layer_types, one name per layer; returns false when it is absent.
static bool readLayerTypes(Fields &fields, ModelConfig &config) {
  const Json *types = fields.get("layer_types");
  if (!types)
    return false;
  if (!types->is_array() || int64_t(types->size()) != config.layers) {
    fields.fail(
        "layer_types does not have one entry for each of the {0} layers",
        config.layers);
    return false;
  }
  for (const Json &type : *types) {
    if (type != "full_attention" && type != "sliding_attention")
      fields.fail(
          "layer_types has {0}; full_attention and sliding_attention are "
          "supported",
          shown(type));
    config.slidingLayers.push_back(type == "sliding_attention");
  }
  return true;
}

static void readSlidingWindow(Fields &fields, ModelConfig &config) {
  llvm::StringRef family = config.architecture;
  bool isQwen = family == "qwen2" || family == "qwen3";
  bool used = family == "mistral" ||
              (isQwen && fields.boolean("use_sliding_window", false));
  bool hasTypes = readLayerTypes(fields, config);
  // Absent is not null: the classes of these families have a window of 4096.
  const Json *window = fields.get("sliding_window");
  if (used && !fields.isNull("sliding_window"))
    config.slidingWindow =
        fields.integer("sliding_window", 1, maxContext, 4096);
  else if (window && !isQwen)
    return fields.fail(
        "sliding_window is {0}, which a {1} model does not have; "
        "remove it from the file",
        shown(*window), family);

  if (!config.slidingWindow) {
    if (llvm::is_contained(config.slidingLayers, true))
      fields.fail("layer_types has sliding_attention, but no sliding_window is "
                  "in use");
    config.slidingLayers.clear();
    return;
  }
  if (!hasTypes) {
    int64_t full =
        isQwen ? fields.integer("max_window_layers", 0, maxLayers, 28) : 0;
    for (int64_t layer = 0; layer < config.layers; ++layer)
      config.slidingLayers.push_back(layer >= full);
  } else if (family == "mistral" &&
             llvm::is_contained(config.slidingLayers, false)) {
    fields.fail("layer_types mixes windows, but every layer of a mistral model "
                "has the same");
  }
  if (!llvm::is_contained(config.slidingLayers, true)) {
    config.slidingWindow.reset();
    config.slidingLayers.clear();
  }
}

static double yarnScale(double factor, double mscale) {
  return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1;
}

static void readYarn(Fields &rope, RopeScaling &scaling, int64_t context) {
  scaling.kind = RopeScaling::Kind::Yarn;
  scaling.factor =
      rope.number("factor", 1, 1e6, double(context) / scaling.originalContext);
  auto optional = [&](llvm::StringRef key) -> std::optional<double> {
    if (!rope.get(key))
      return std::nullopt;
    return rope.number(key, 0, 1e6);
  };
  std::optional<double> attention = optional("attention_factor");
  std::optional<double> mscale = optional("mscale");
  std::optional<double> mscaleAll = optional("mscale_all_dim");
  if (attention)
    scaling.attentionFactor = *attention;
  else if (mscale.value_or(0) && mscaleAll.value_or(0))
    scaling.attentionFactor = yarnScale(scaling.factor, *mscale) /
                              yarnScale(scaling.factor, *mscaleAll);
  else
    scaling.attentionFactor = yarnScale(scaling.factor, 1);
  scaling.betaFast = rope.number("beta_fast", 1e-3, 1e6, 32);
  scaling.betaSlow = rope.number("beta_slow", 1e-3, 1e6, 1);
  scaling.truncate = rope.boolean("truncate", true);
}

static void readLlama3(Fields &rope, RopeScaling &scaling) {
  scaling.kind = RopeScaling::Kind::Llama3;
  scaling.factor = rope.number("factor", 1, 1e6);
  scaling.lowFreqFactor = rope.number("low_freq_factor", 1e-3, 1e6);
  scaling.highFreqFactor = rope.number("high_freq_factor", 1e-3, 1e6);
  if (scaling.highFreqFactor <= scaling.lowFreqFactor)
    rope.fail("{0} {1} is not greater than low_freq_factor {2}",
              rope.name("high_freq_factor"), shown(scaling.highFreqFactor),
              shown(scaling.lowFreqFactor));
}

// One of `rope_scaling` (transformers 4, theta beside it) and `rope_parameters`
// (transformers 5, theta inside).
static void readRopeObject(Fields &fields, llvm::StringRef key,
                           ModelConfig &config) {
  const Json *object = fields.get(key);
  if (!object->is_object())
    return fields.fail("{0} is {1}, an object is needed", key, shown(*object));
  Fields rope = fields.child(key);
  for (const char *nested : {"full_attention", "sliding_attention"})
    if (rope.get(nested))
      return rope.fail("{0}: positions that differ from layer to layer are not "
                       "supported",
                       rope.name(nested));
  config.ropeTheta = rope.number("rope_theta", 1, 1e15, config.ropeTheta);
  rope.mustBe("partial_rotary_factor", 1.0);

  std::string type = rope.string("rope_type", rope.string("type", "default"));
  rope.string("type", ""); // known, whichever spelling counted
  if (type == "yarn" || type == "llama3")
    // A field beside the object goes first, as in transformers.
    config.rope.originalContext =
        fields.integer("original_max_position_embeddings", 1, maxContext,
                       rope.integer("original_max_position_embeddings", 1,
                                    maxContext, config.context));
  if (type == "linear") {
    config.rope.kind = RopeScaling::Kind::Linear;
    config.rope.factor = rope.number("factor", 1, 1e6);
  } else if (type == "llama3") {
    readLlama3(rope, config.rope);
  } else if (type == "yarn") {
    readYarn(rope, config.rope, config.context);
  } else if (type != "default") {
    return rope.fail("{0} '{1}' is not supported; default, linear, llama3 and "
                     "yarn are",
                     rope.name("rope_type"), type);
  }
  rope.refuseUnknown(config.architecture, {});
}

static void readRope(Fields &fields, ModelConfig &config) {
  config.ropeTheta = fields.number("rope_theta", 1, 1e15, 10000);
  bool scaling = fields.get("rope_scaling");
  bool parameters = fields.get("rope_parameters");
  if (scaling && parameters)
    return fields.fail("has both rope_scaling and rope_parameters; keep one");
  if (scaling || parameters)
    readRopeObject(fields, scaling ? "rope_scaling" : "rope_parameters",
                   config);
}

// The fields about sparse attention say when another runtime approximates, not
// what the model computes.
static void readDualChunk(Fields &fields, ModelConfig &config) {
  const Json *object = fields.get("dual_chunk_attention_config");
  if (!object)
    return;
  if (!object->is_object())
    return fields.fail(
        "dual_chunk_attention_config is {0}, an object is needed",
        shown(*object));
  Fields chunk = fields.child("dual_chunk_attention_config");
  DualChunk dual;
  dual.chunk = chunk.integer("chunk_size", 2, maxContext);
  dual.local = chunk.integer("local_size", 1, maxContext);
  dual.original =
      chunk.integer("original_max_position_embeddings", 1, maxContext);
  chunk.get("sparse_attention_config");
  chunk.boolean("sparse_attention_enabled", false);
  chunk.integer("sparse_attention_threshold", 0, maxContext, 0);
  chunk.integer("sparse_attention_last_q", 1, maxContext, 1);
  if (dual.local >= dual.chunk)
    return chunk.fail("{0} {1} is not less than chunk_size {2}",
                      chunk.name("local_size"), dual.local, dual.chunk);
  chunk.refuseUnknown(config.architecture, {});
  config.dualChunk = dual;
}

// ["vertical_and_slash", keys, distances, score of the search that found them]
static llvm::Expected<VerticalSlash> readHeadPattern(const Json &json,
                                                     const std::string &where) {
  bool isPattern = json.is_array() && json.size() == 4 && json[0].is_string() &&
                   json[3].is_number();
  if (isPattern && json[0] != "vertical_and_slash")
    return makeError("{0} is {1}; only vertical_and_slash is supported", where,
                     shown(json[0]));
  auto isCount = [](const Json &count) {
    return count.is_number_unsigned() && count.get<uint64_t>() >= 1 &&
           count.get<uint64_t>() <= uint64_t(maxContext);
  };
  if (!isPattern || !isCount(json[1]) || !isCount(json[2]))
    return makeError("{0} is {1}, [\"vertical_and_slash\", keys, distances, "
                     "score] is needed, with counts from 1 to {2}",
                     where, shown(json), maxContext);
  return VerticalSlash{json[1].get<int64_t>(), json[2].get<int64_t>()};
}

llvm::Error stele::checkpoint::readSparseConfig(const Json &json,
                                                llvm::StringRef file,
                                                ModelConfig &config) {
  if (!json.is_array() || int64_t(json.size()) != config.layers)
    return makeError("{0}: is not a list with one entry for each of the {1} "
                     "layers",
                     file, config.layers);
  for (auto [layer, heads] : llvm::enumerate(json)) {
    if (!heads.is_object() || int64_t(heads.size()) != config.heads)
      return makeError("{0}: layer {1} is not an object with one entry for "
                       "each of the {2} heads",
                       file, layer, config.heads);
    for (int64_t head = 0; head < config.heads; ++head) {
      const Json *pattern = findMember(heads, std::to_string(head));
      if (!pattern)
        return makeError("{0}: layer {1} has no head {2}", file, layer, head);
      auto kept =
          readHeadPattern(*pattern, llvm::formatv("{0}: layer {1}, head {2}",
                                                  file, layer, head));
      if (!kept)
        return kept.takeError();
      config.sparseHeads.push_back(*kept);
    }
  }
  config.notes.push_back(
      llvm::formatv("{0}: its patterns are read, not applied: attention stays "
                    "dense, which they approximate",
                    file));
  return llvm::Error::success();
}

// A token id, a list of ids, or nothing.
static llvm::SmallVector<uint32_t>
readTokenIds(Fields &fields, llvm::StringRef key, uint64_t largest) {
  llvm::SmallVector<uint32_t> ids;
  const Json *value = fields.get(key);
  if (!value)
    return ids;
  Json list = value->is_array() ? *value : Json::array({*value});
  for (const Json &id : list) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > largest) {
      fields.fail("{0} is {1}, a token id from 0 to {2} or a list of them is "
                  "needed",
                  key, shown(*value), largest);
      return {};
    }
    ids.push_back(id.get<uint32_t>());
  }
  return ids;
}

// The classes of llama and mistral name tokens where a file does not.
static void setDefaultTokens(const Fields &fields, ModelConfig &config) {
  if (config.architecture != "llama" && config.architecture != "mistral")
    return;
  if (!fields.has("bos_token_id"))
    config.bosId = 1;
  if (!fields.has("eos_token_id"))
    config.eosIds = {2};
}

static void readTokens(Fields &fields, ModelConfig &config, uint64_t largest) {
  llvm::SmallVector<uint32_t> eos =
      readTokenIds(fields, "eos_token_id", largest);
  llvm::SmallVector<uint32_t> bos =
      readTokenIds(fields, "bos_token_id", largest);
  if (!eos.empty())
    config.eosIds = std::move(eos);
  if (!bos.empty())
    config.bosId = bos.front();
}

static void readGeneration(Fields &fields, ModelConfig &config) {
  readTokens(fields, config, config.vocab - 1);
  GenerationDefaults &generation = config.generation;
  generation.doSample = fields.boolean("do_sample", false);
  generation.temperature = fields.number("temperature", 0, 1e6, 1);
  generation.topK = fields.integer("top_k", 0, maxWidth, 0);
  generation.topP = fields.number("top_p", 0, 1, 1);
  generation.minP = fields.number("min_p", 0, 1, 0);
  generation.repetitionPenalty =
      fields.number("repetition_penalty", 1e-3, 1e3, 1);
}

llvm::Error stele::checkpoint::checkConfig(const ModelConfig &config,
                                           llvm::StringRef file) {
  if (config.heads % config.kvHeads)
    return makeError(
        "{0}: {1} attention heads are not a multiple of {2} KV heads", file,
        config.heads, config.kvHeads);
  if (config.headDim % 2)
    return makeError(
        "{0}: head dimension {1} is odd; rotary positions need pairs", file,
        config.headDim);
  llvm::SmallVector<uint32_t> ids = config.eosIds;
  if (config.bosId)
    ids.push_back(*config.bosId);
  for (uint32_t id : ids)
    if (id >= config.vocab)
      return makeError("{0}: token id {1} is outside the vocabulary of {2}",
                       file, id, config.vocab);
  return llvm::Error::success();
}

llvm::Expected<ModelConfig>
stele::checkpoint::readHfConfig(const Json &json, llvm::StringRef file,
                                const Json *generationJson,
                                llvm::StringRef generationFile) {
  ModelConfig config;
  if (!json.is_object())
    return makeError("{0}: is not a JSON object", file);
  std::string message;
  Fields fields(json, file, message);
  readArchitecture(fields, config);
  if (message.empty()) {
    refuseOtherModels(fields);
    readSizes(fields, config);
    readActivation(fields, config);
    readBiases(fields, config);
    readSlidingWindow(fields, config);
    readRope(fields, config);
    readDualChunk(fields, config);
    config.quantisation = readQuantConfig(fields);
    config.tiedEmbeddings = fields.boolean("tie_word_embeddings", false);
    setDefaultTokens(fields, config);
    // generation_config.json may name others in their place.
    readTokens(fields, config, INT32_MAX);
    fields.refuseUnknown(config.architecture, harmlessFields());
  }
  if (generationJson) {
    Fields generation(*generationJson, generationFile, message);
    readGeneration(generation, config);
  }
  if (!message.empty())
    return makeError("{0}", message);
  if (llvm::Error error = checkConfig(config, file))
    return std::move(error);
  return config;
}
