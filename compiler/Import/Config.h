// What a checkpoint says about its model, normalised: config.json (with
// generation_config.json) and GGUF metadata both become a ModelConfig, and
// every family in models/ reads that and nothing else.
//
// A field that could change the mathematics and is not understood here is
// refused by name; the fields known to be harmless are listed in Config.cpp.
#ifndef STELE_COMPILER_IMPORT_CONFIG_H
#define STELE_COMPILER_IMPORT_CONFIG_H

#include "stele/compiler/Import/Json.h"
#include "stele/compiler/Import/QuantConfig.h"
#include "llvm/ADT/SmallVector.h"
#include <optional>
#include <string>

namespace stele::checkpoint {

class GgufFile;

// How the rotary frequencies follow from theta (the names are the config's).
struct RopeScaling {
  enum class Kind {
    None,
    Linear,  // every frequency / factor
    Llama3,  // low frequencies / factor, with a smooth middle
    Yarn,    // NTK by parts, cos and sin times attentionFactor
    Factors, // each frequency / its own factor (a GGUF's rope_freqs.weight)
  };
  Kind kind = Kind::None;
  double factor = 1;
  int64_t originalContext = 0; // llama3, yarn
  double lowFreqFactor = 1;    // llama3
  double highFreqFactor = 4;   // llama3
  double betaFast = 32;        // yarn
  double betaSlow = 1;         // yarn
  bool truncate = true;        // yarn: round the correction range to whole dims
  double attentionFactor = 1;  // yarn: already resolved from mscale and factor
  llvm::SmallVector<float, 0> factors; // headDim / 2 of them
};

// Positions of dual chunk attention; #lm.dual_chunk says what they mean.
struct DualChunk {
  int64_t chunk = 0;    // longest distance of a query and a key
  int64_t local = 0;    // chunk - local keys have positions of their own
  int64_t original = 0; // beyond it queries are scaled; 0: never
};

// What sparse_attention_config.json keeps of one head's attention: so many keys
// that all queries see, and so many distances.
struct VerticalSlash {
  int64_t vertical = 0, slash = 0;
};

// What generation_config.json (or nothing) says about sampling.
struct GenerationDefaults {
  bool doSample = false;
  double temperature = 1;
  int64_t topK = 0; // 0: off
  double topP = 1;
  double minP = 0;
  double repetitionPenalty = 1;
};

struct ModelConfig {
  std::string architecture; // "llama", "mistral", "qwen2", "qwen3"
  std::string name;         // for people: the folder's or the GGUF's
  int64_t vocab = 0;
  int64_t hidden = 0;
  int64_t intermediate = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kvHeads = 0;
  int64_t headDim = 0;
  int64_t context = 0; // max_position_embeddings
  double rmsEps = 0;
  double ropeTheta = 0;
  RopeScaling rope;
  std::optional<DualChunk> dualChunk;
  llvm::SmallVector<VerticalSlash, 0> sparseHeads; // [layers, heads] or empty
  bool tiedEmbeddings = false;
  bool attentionBias = false; // on q, k, v
  bool outputBias = false;    // on o
  bool mlpBias = false;
  bool qkNorm = false;    // RMS norm per head of q and k before rotation
  std::string activation; // "silu", "gelu", "gelu_tanh"
  std::optional<int64_t> slidingWindow;
  llvm::SmallVector<bool> slidingLayers; // [layers], when slidingWindow is set
  llvm::SmallVector<uint32_t> eosIds;
  std::optional<uint32_t> bosId;
  GenerationDefaults generation;
  std::optional<QuantConfig> quantisation; // of a Hugging Face folder
  llvm::SmallVector<std::string, 1> notes; // one line each, for the user
};

// `file` names config.json in errors; `generation` may be null.
llvm::Expected<ModelConfig> readHfConfig(const Json &config,
                                         llvm::StringRef file,
                                         const Json *generation,
                                         llvm::StringRef generationFile);

// Reads sparse_attention_config.json, as it lies beside the config.json of
// Qwen2.5-1M, into `config`; `file` names it in errors.
llvm::Error readSparseConfig(const Json &json, llvm::StringRef file,
                             ModelConfig &config);

// Reads the same from a GGUF's metadata and the shapes of its tensors (which
// have llama.cpp's names). rope_freqs.weight is left to the caller.
llvm::Expected<ModelConfig> readGgufConfig(const GgufFile &file);

// What no single field can be checked for: sizes that must divide.
llvm::Error checkConfig(const ModelConfig &config, llvm::StringRef file);

} // namespace stele::checkpoint

#endif // STELE_COMPILER_IMPORT_CONFIG_H
