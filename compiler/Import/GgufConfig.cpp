// GGUF metadata to ModelConfig. See Config.h; the keys are those that llama.cpp
// reads for the architectures supported here.
#include "stele/compiler/Import/Config.h"
#include "stele/compiler/Import/Errors.h"
#include "stele/compiler/Import/Gguf.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"
#include <cmath>

using namespace stele::checkpoint;

namespace {

// The counterpart of Config.cpp's Fields: the first error is kept.
class Metadata {
public:
  Metadata(const GgufFile &file, std::string prefix)
      : file(file), prefix(std::move(prefix)) {}

  int64_t integer(llvm::StringRef key, int64_t min, int64_t max,
                  std::optional<int64_t> byDefault = {}) {
    std::optional<int64_t> value = take(key, file.integer(full(key)));
    if (!value)
      value = orDefault(key, byDefault, min);
    if (*value < min || *value > max)
      fail("{0} is {1}, a whole number from {2} to {3} is needed", full(key),
           *value, min, max);
    return std::clamp(*value, min, max);
  }

  double number(llvm::StringRef key, double min, double max,
                std::optional<double> byDefault = {}) {
    std::optional<double> value = take(key, file.number(full(key)));
    if (!value)
      value = orDefault(key, byDefault, min);
    if (*value >= min && *value <= max)
      return *value;
    fail("{0} is {1}, a number from {2} to {3} is needed", full(key),
         shown(*value), shown(min), shown(max));
    return min;
  }

  std::string string(llvm::StringRef key,
                     std::optional<std::string> byDefault) {
    std::optional<std::string> value = take(key, file.string(full(key)));
    return value ? *value : orDefault(key, byDefault, std::string());
  }

  // A key whose other values mean a model that is not built here.
  void mustBe(llvm::StringRef key, double expected) {
    std::optional<double> value = take(key, file.number(full(key)));
    if (value && *value != expected)
      fail("{0} is {1}; only {2} is supported", full(key), shown(*value),
           shown(expected));
  }

  // Keys of this architecture that nobody asked for. Keys of other prefixes
  // (general., tokenizer., a converter's own) do not describe the model.
  void refuseUnknown() {
    for (const auto &[key, value] : file.metadata()) {
      llvm::StringRef name = key;
      if (name.consume_front(prefix) && !known.contains(name))
        fail("unknown metadata '{0}' could change what the model computes",
             key);
    }
  }

  void ignore(llvm::StringRef key) { known.insert(key); }

  template <typename... Args> void fail(const char *format, Args &&...args) {
    if (message.empty())
      message = (file.path() + ": " +
                 llvm::formatv(format, std::forward<Args>(args)...).str())
                    .str();
  }

  llvm::Error takeError() {
    return message.empty() ? llvm::Error::success() : makeError("{0}", message);
  }

  std::string full(llvm::StringRef key) const { return prefix + key.str(); }

private:
  template <typename T>
  std::optional<T> take(llvm::StringRef key,
                        llvm::Expected<std::optional<T>> value) {
    known.insert(key);
    if (value)
      return *value;
    std::string text = llvm::toString(value.takeError());
    if (message.empty())
      message = std::move(text);
    return std::nullopt;
  }

  template <typename T>
  T orDefault(llvm::StringRef key, const std::optional<T> &byDefault,
              T fallback) {
    if (!byDefault)
      fail("metadata '{0}' is missing", full(key));
    return byDefault.value_or(fallback);
  }

  const GgufFile &file;
  std::string prefix;
  std::string message;
  llvm::StringSet<> known;
};

} // namespace

static constexpr int64_t maxWidth = 1 << 24;
static constexpr int64_t maxLayers = 1 << 14;
static constexpr int64_t maxContext = 1 << 30;

static const TensorInfo *findTensor(const GgufFile &file,
                                    llvm::StringRef name) {
  for (const TensorInfo &tensor : file.tensors())
    if (tensor.name == name)
      return &tensor;
  return nullptr;
}

static void readSizes(Metadata &data, const GgufFile &file,
                      ModelConfig &config) {
  config.hidden = data.integer("embedding_length", 1, maxWidth);
  config.intermediate = data.integer("feed_forward_length", 1, maxWidth);
  config.layers = data.integer("block_count", 1, maxLayers);
  config.heads = data.integer("attention.head_count", 1, maxWidth);
  config.kvHeads =
      data.integer("attention.head_count_kv", 1, maxWidth, config.heads);
  config.context = data.integer("context_length", 1, maxContext);
  config.rmsEps = data.number("attention.layer_norm_rms_epsilon", 1e-30, 1);
  if (!file.find(data.full("attention.key_length")) &&
      config.hidden % config.heads)
    data.fail(
        "embedding_length {0} is not a multiple of attention.head_count {1} "
        "and there is no attention.key_length",
        config.hidden, config.heads);
  config.headDim = data.integer("attention.key_length", 1, maxWidth,
                                config.hidden / config.heads);
  data.mustBe("attention.value_length", config.headDim);
  data.mustBe("rope.dimension_count", config.headDim);
  data.ignore("vocab_size");         // the embedding's rows count
  data.ignore("tensor_data_layout"); // says what every llama file has

  const TensorInfo *embedding = findTensor(file, "token_embd.weight");
  if (embedding && embedding->shape.size() == 2)
    config.vocab = embedding->shape[0];
  else
    data.fail("tensor 'token_embd.weight' is missing or not a matrix");
}

static void refuseOtherModels(Metadata &data, const ModelConfig &config) {
  data.mustBe("expert_count", 0);
  data.mustBe("expert_used_count", 0);
  // A window that covers the whole context is none. What a shorter one means
  // here is not settled: llama.cpp ignores the key for these architectures.
  int64_t window = data.integer("attention.sliding_window", 0, INT64_MAX, 0);
  if (window > 0 && window < config.context)
    data.fail(
        "{0} is {1}; sliding windows in GGUF files are not supported, use "
        "the Hugging Face checkpoint",
        data.full("attention.sliding_window"), window);
}

static void readRope(Metadata &data, ModelConfig &config) {
  config.ropeTheta = data.number("rope.freq_base", 1, 1e15, 10000);
  std::string type = data.string("rope.scaling.type", "none");
  double factor = data.number("rope.scaling.factor", 0, 1e6, 0);
  // The key that files had before rope.scaling.
  double linear = data.number("rope.scale_linear", 0, 1e6, 0);
  int64_t original = data.integer("rope.scaling.original_context_length", 1,
                                  maxContext, config.context);
  double attention = data.number("rope.scaling.attn_factor", 0, 1e6, 1);
  data.mustBe("rope.scaling.yarn_log_multiplier", 0);
  data.ignore("rope.scaling.finetuned");
  if (type == "none" && linear > 1) {
    type = "linear";
    factor = linear;
  }
  if (type == "none")
    return;
  if (factor < 1)
    data.fail("{0} is {1}, at least 1 is needed",
              data.full("rope.scaling.factor"), shown(factor));
  config.rope.factor = factor;
  if (type == "linear") {
    config.rope.kind = RopeScaling::Kind::Linear;
  } else if (type == "yarn") {
    config.rope.kind = RopeScaling::Kind::Yarn;
    config.rope.originalContext = original;
    config.rope.attentionFactor = attention * (1 + 0.1 * std::log(factor));
    config.rope.betaFast =
        data.number("rope.scaling.yarn_beta_fast", 1e-3, 1e6, 32);
    config.rope.betaSlow =
        data.number("rope.scaling.yarn_beta_slow", 1e-3, 1e6, 1);
  } else {
    data.fail("{0} '{1}' is not supported; none, linear and yarn are",
              data.full("rope.scaling.type"), type);
  }
}

// What the tensors that are there say.
static void readPresence(const GgufFile &file, ModelConfig &config) {
  config.tiedEmbeddings = !findTensor(file, "output.weight");
  config.attentionBias = findTensor(file, "blk.0.attn_q.bias");
  config.outputBias = findTensor(file, "blk.0.attn_output.bias");
  config.mlpBias = findTensor(file, "blk.0.ffn_gate.bias");
  config.qkNorm = findTensor(file, "blk.0.attn_q_norm.weight");
  config.activation = "silu"; // all supported architectures
}

static void readTokens(Metadata &tokenizer, const GgufFile &file,
                       ModelConfig &config) {
  auto id = [&](llvm::StringRef key) -> std::optional<uint32_t> {
    if (!file.find(tokenizer.full(key)))
      return std::nullopt;
    return tokenizer.integer(key, 0, config.vocab - 1);
  };
  config.bosId = id("bos_token_id");
  for (const char *key : {"eos_token_id", "eot_token_id", "eom_token_id"})
    if (std::optional<uint32_t> token = id(key))
      if (!llvm::is_contained(config.eosIds, *token))
        config.eosIds.push_back(*token);
}

// The author's defaults. llama.cpp samples wherever they are there; a
// temperature of 0 is greedy.
static void readSampling(Metadata &sampling, const GgufFile &file,
                         ModelConfig &config) {
  GenerationDefaults &generation = config.generation;
  for (const auto &[key, value] : file.metadata()) {
    llvm::StringRef name = key;
    if (!name.consume_front("general.sampling."))
      continue;
    generation.doSample = true;
    if (!llvm::is_contained(
            {"temp", "top_k", "top_p", "min_p", "penalty_repeat"}, name))
      config.notes.push_back("metadata '" + key +
                             "' is a way of sampling that is not there, and "
                             "is ignored");
  }
  generation.temperature = sampling.number("temp", 0, 1e6, 1);
  generation.topK = sampling.integer("top_k", 0, maxWidth, 0);
  generation.topP = sampling.number("top_p", 0, 1, 1);
  generation.minP = sampling.number("min_p", 0, 1, 0);
  generation.repetitionPenalty =
      sampling.number("penalty_repeat", 1e-6, 1e6, 1);
  if (generation.temperature == 0)
    generation.doSample = false;
}

llvm::Expected<ModelConfig>
stele::checkpoint::readGgufConfig(const GgufFile &file) {
  ModelConfig config;
  Metadata general(file, "general.");
  config.architecture = general.string("architecture", std::nullopt);
  config.name = general.string("name", "");
  std::string type = general.string("type", "model");
  if (type != "model")
    general.fail("general.type is '{0}', a model is needed", type);
  if (!llvm::is_contained({"llama", "qwen2", "qwen3"}, config.architecture))
    general.fail(
        "architecture '{0}' is not supported; llama, qwen2 and qwen3 are",
        config.architecture);
  if (llvm::Error error = general.takeError())
    return std::move(error);

  Metadata data(file, config.architecture + ".");
  readSizes(data, file, config);
  refuseOtherModels(data, config);
  readRope(data, config);
  readPresence(file, config);
  data.refuseUnknown();
  if (llvm::Error error = data.takeError())
    return std::move(error);

  Metadata tokenizer(file, "tokenizer.ggml.");
  readTokens(tokenizer, file, config);
  if (llvm::Error error = tokenizer.takeError())
    return std::move(error);
  Metadata sampling(file, "general.sampling.");
  readSampling(sampling, file, config);
  if (llvm::Error error = sampling.takeError())
    return std::move(error);
  if (llvm::Error error = checkConfig(config, file.path()))
    return std::move(error);
  return config;
}
