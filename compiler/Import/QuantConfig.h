// What config.json's quantization_config says about how the folder's matrices
// are stored. Only weights may be quantised: a scheme that quantises
// activations too means another model than its weights, and is refused by name.
#ifndef STELE_COMPILER_IMPORT_QUANTCONFIG_H
#define STELE_COMPILER_IMPORT_QUANTCONFIG_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace stele::checkpoint {

class Fields;

enum class QuantMethod { Awq, Gptq, CompressedTensors };

struct QuantScheme {
  // Module names, "re:..." patterns or "Linear" (compressed-tensors only).
  std::vector<std::string> targets;
  int64_t bits = 4;       // 4 or 8
  int64_t groupSize = 0;  // columns that share a scale; 0: the whole row
  bool perTensor = false; // one scale for all rows (compressed-tensors only)
  bool zeroPoints = true; // must zero points be stored?
};

struct QuantConfig {
  QuantMethod method;
  std::vector<QuantScheme> schemes; // one, but for compressed-tensors
  // GPTQ: zero points are stored minus one (checkpoint_format "gptq").
  bool zerosMinusOne = false;
  // Modules that are said not to be quantised: names and "re:..." patterns
  // (compressed-tensors), parts of names (AWQ), names (GPTQ).
  std::vector<std::string> ignored;
  // GPTQ: the patterns of `dynamic` in their order; the first that matches
  // counts, and "-:..." says that the module is not quantised. Others give it
  // bits and groups of its own; which follows from the shapes of its tensors.
  std::vector<std::string> dynamic;
  // GPTQ: ends of the names of what is quantised within the layers
  // (modules_in_block_to_quantize); empty: everything.
  std::vector<std::string> inLayers;
};

// What of the configuration says that the module is not quantised, as errors
// show it; empty when nothing does.
std::string whatIgnores(const QuantConfig &config, llvm::StringRef module);

// The scheme of a module of compressed-tensors; an error names the module when
// no target matches it.
llvm::Expected<const QuantScheme *> schemeOf(const QuantConfig &config,
                                             llvm::StringRef module);

// Reads quantization_config from the root of config.json.
std::optional<QuantConfig> readQuantConfig(Fields &fields);

} // namespace stele::checkpoint

#endif // STELE_COMPILER_IMPORT_QUANTCONFIG_H
