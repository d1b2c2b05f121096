// See QuantConfig.h. Each method has one reader; fields that only tell how the
// checkpoint was made, or how some runtime is to run it, are listed as
// harmless.
#include "stele/compiler/Import/QuantConfig.h"
#include "stele/compiler/Import/Fields.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Regex.h"

using namespace stele::checkpoint;

// Wider groups than any row.
static constexpr int64_t maxGroup = 1 << 24;

static int64_t readBits(Fields &fields, llvm::StringRef key) {
  int64_t bits = fields.integer(key, 1, 64);
  if (bits != 4 && bits != 8)
    fields.fail("{0} is {1}; 4 and 8 are supported", fields.name(key), bits);
  return bits;
}

// -1 is one group a row. Returns 0 for it.
static int64_t readGroupSize(Fields &fields, llvm::StringRef key) {
  int64_t size = fields.integer(key, -1, maxGroup);
  if (size == 0)
    fields.fail("{0} is 0, a number of columns or -1 is needed",
                fields.name(key));
  return std::max<int64_t>(size, 0);
}

// A list of names, or nothing.
static void readIgnored(Fields &fields, llvm::StringRef key,
                        QuantConfig &config) {
  const Json *list = fields.get(key);
  if (!list)
    return;
  if (!list->is_array() ||
      !llvm::all_of(*list, [](const Json &name) { return name.is_string(); }))
    return fields.fail("{0} is {1}, a list of names is needed",
                       fields.name(key), shown(*list));
  for (const Json &name : *list)
    config.ignored.push_back(name.get<std::string>());
}

//===----------------------------------------------------------------------===//
// AWQ
//===----------------------------------------------------------------------===//

static void readAwq(Fields &fields, QuantConfig &config) {
  static const llvm::StringSet<> harmless = {
      "backend", "do_fuse", "exllama_config", "fuse_max_seq_len",
      "modules_to_fuse"};
  for (const char *key : {"version", "format"})
    if (std::string value = fields.string(key, "gemm");
        llvm::StringRef(value).lower() != "gemm")
      fields.fail("{0} is \"{1}\"; only \"gemm\" is supported",
                  fields.name(key), value);
  QuantScheme scheme;
  scheme.bits = fields.integer("bits", 1, 64);
  if (scheme.bits != 4)
    fields.fail("{0} is {1}; 4 is supported", fields.name("bits"), scheme.bits);
  scheme.groupSize = readGroupSize(fields, "group_size");
  scheme.zeroPoints = fields.boolean("zero_point", true);
  config.schemes.push_back(std::move(scheme));
  readIgnored(fields, "modules_to_not_convert", config);
  fields.refuseUnknown("quantised", harmless);
}

//===----------------------------------------------------------------------===//
// GPTQ
//===----------------------------------------------------------------------===//

// Were the zero points written minus one? GPTQModel names the format in
// `checkpoint_format` or `format`, AutoGPTQ, which came first, nowhere.
static bool readZerosMinusOne(Fields &fields) {
  llvm::StringRef key =
      fields.get("checkpoint_format") ? "checkpoint_format" : "format";
  std::string format = fields.string(key, "gptq");
  fields.get("format");
  if (format != "gptq" && format != "gptq_v2")
    fields.fail("{0} is \"{1}\"; gptq and gptq_v2 are supported",
                fields.name(key), format);
  return format == "gptq";
}

static void readDynamic(Fields &fields, QuantConfig &config) {
  const Json *dynamic = fields.get("dynamic");
  if (!dynamic)
    return;
  if (!dynamic->is_object())
    return fields.fail("{0} is {1}, an object of patterns is needed",
                       fields.name("dynamic"), shown(*dynamic));
  for (const auto &item : dynamic->items())
    config.dynamic.push_back(item.key());
}

// A list of lists, in the order in which modules were quantised.
static void readInLayers(Fields &fields, QuantConfig &config) {
  llvm::StringRef key = "modules_in_block_to_quantize";
  const Json *lists = fields.get(key);
  if (!lists)
    return;
  auto isNames = [](const Json &list) {
    return list.is_array() && llvm::all_of(list, [](const Json &name) {
             return name.is_string();
           });
  };
  if (!lists->is_array() || !llvm::all_of(*lists, isNames))
    return fields.fail("{0} is {1}, a list of lists of names is needed",
                       fields.name(key), shown(*lists));
  for (const Json &list : *lists)
    for (const Json &name : list)
      config.inLayers.push_back(name.get<std::string>());
}

static void readGptq(Fields &fields, QuantConfig &config) {
  static const llvm::StringSet<> harmless = {
      "act_group_aware",
      "backend",
      "batch_size",
      "block_name_to_quantize",
      "cache_block_outputs",
      "damp_auto_increment",
      "damp_percent",
      "dataset",
      "desc_act", // every tensor's g_idx says it
      "disable_exllama",
      "exllama_config",
      "max_input_length",
      "meta",
      "model_file_base_name",
      "model_name_or_path",
      "model_seqlen",
      "module_name_preceding_first_block",
      "mse",
      "pad_token_id",
      "parallel_packing",
      "static_groups",
      "sym", // zero points are stored in both cases
      "tokenizer",
      "true_sequential",
      "use_cuda_fp16",
      "use_exllama",
  };
  QuantScheme scheme;
  scheme.bits = readBits(fields, "bits");
  scheme.groupSize = readGroupSize(fields, "group_size");
  config.schemes.push_back(std::move(scheme));
  config.zerosMinusOne = readZerosMinusOne(fields);
  readDynamic(fields, config);
  readInLayers(fields, config);
  if (!fields.boolean("lm_head", true))
    config.ignored.push_back("lm_head");
  fields.mustBe("is_marlin_format", false);
  fields.mustBe("pack_dtype", "int32");
  fields.refuseUnknown("quantised", harmless);
}

//===----------------------------------------------------------------------===//
// compressed-tensors
//===----------------------------------------------------------------------===//

static void readTargets(Fields &group, QuantScheme &scheme) {
  const Json *targets = group.get("targets");
  if (!targets || !targets->is_array() ||
      !llvm::all_of(*targets, [](const Json &t) { return t.is_string(); }))
    return group.fail("{0} is {1}, a list of names is needed",
                      group.name("targets"),
                      targets ? shown(*targets) : "missing");
  for (const Json &target : *targets)
    scheme.targets.push_back(target.get<std::string>());
}

static void readWeights(Fields weights, QuantScheme &scheme) {
  static const llvm::StringSet<> harmless = {
      "actorder", // a tensor whose columns have an order carries a g_idx
      "observer", "observer_kwargs", "scale_dtype", "zp_dtype"};
  scheme.bits = readBits(weights, "num_bits");
  weights.mustBe("type", "int");
  weights.mustBe("dynamic", false);
  weights.mustBe("block_structure", nullptr);
  scheme.zeroPoints = !weights.boolean("symmetric", true);
  std::string strategy = weights.string("strategy");
  if (strategy == "group")
    scheme.groupSize = weights.integer("group_size", 1, maxGroup);
  else if (strategy == "channel")
    weights.mustBe("group_size", -1);
  else if (strategy == "tensor") {
    weights.mustBe("group_size", nullptr);
    scheme.perTensor = true;
  } else
    weights.fail("{0} is \"{1}\"; group, channel and tensor are supported",
                 weights.name("strategy"), strategy);
  weights.refuseUnknown("quantised", harmless);
}

static void readConfigGroup(Fields group, llvm::StringRef defaultFormat,
                            QuantConfig &config) {
  QuantScheme scheme;
  readTargets(group, scheme);
  for (const char *activations : {"input_activations", "output_activations"})
    if (group.get(activations))
      return group.fail("{0}: quantised activations are not supported, only "
                        "quantised weights are",
                        group.name(activations));
  std::string format = group.string("format", defaultFormat.str());
  if (format != "pack-quantized")
    return group.fail("{0} is \"{1}\"; only \"pack-quantized\" is supported",
                      group.name("format"), format);
  if (const Json *weights = group.get("weights"); !weights)
    return group.fail("{0} is missing", group.name("weights"));
  else if (!weights->is_object())
    return group.fail("{0} is {1}, an object is needed", group.name("weights"),
                      shown(*weights));
  readWeights(group.child("weights"), scheme);
  group.refuseUnknown("quantised", {});
  config.schemes.push_back(std::move(scheme));
}

static void readCompressedTensors(Fields &fields, QuantConfig &config) {
  static const llvm::StringSet<> harmless = {"global_compression_ratio",
                                             "quantization_status", "version"};
  readIgnored(fields, "ignore", config);
  for (const char *other :
       {"kv_cache_scheme", "sparsity_config", "transform_config"})
    if (const Json *value = fields.get(other); value && !value->empty())
      fields.fail("{0} is not supported", fields.name(other));
  std::string format = fields.string("format", "pack-quantized");
  const Json *groups = fields.get("config_groups");
  if (!groups || !groups->is_object() || groups->empty())
    return fields.fail("{0} is {1}, an object of schemes is needed",
                       fields.name("config_groups"),
                       groups ? shown(*groups) : "missing");
  Fields list = fields.child("config_groups");
  for (const auto &item : groups->items()) {
    if (!item.value().is_object())
      return list.fail("{0} is {1}, a scheme is needed", list.name(item.key()),
                       shown(item.value()));
    readConfigGroup(list.child(item.key()), format, config);
  }
  fields.refuseUnknown("quantised", harmless);
}

// What LLVM's expressions are read within: they nest on the stack.
static constexpr size_t maxPattern = 1024, maxParentheses = 32;

// Does a "re:" pattern match the beginning of the name, as Python's re.match
// does? What the two syntaxes do not share is refused rather than misread.
static llvm::Expected<bool> matchesPattern(llvm::StringRef pattern,
                                           llvm::StringRef module) {
  bool isShared = !pattern.contains("(?") && !pattern.contains("*?") &&
                  !pattern.contains("+?") && !pattern.contains("??") &&
                  !pattern.contains('{') && // its cost has no bound
                  pattern.size() <= maxPattern &&
                  pattern.count('(') <= maxParentheses;
  for (size_t at = pattern.find('\\'); at != llvm::StringRef::npos;
       at = pattern.find('\\', at + 2))
    isShared &= at + 1 < pattern.size() && !llvm::isAlnum(pattern[at + 1]);
  if (isShared)
    if (llvm::Regex regex(("^(" + pattern + ")").str()); regex.isValid())
      return regex.match(module);
  return makeError("the target 're:{0}' of quantization_config is no "
                   "expression that is supported; name the modules",
                   pattern.take_front(maxPattern));
}

// A pattern beyond us says nothing: the tensors say what is quantised.
static std::optional<bool> tryPattern(llvm::StringRef pattern,
                                      llvm::StringRef module) {
  llvm::Expected<bool> matches = matchesPattern(pattern, module);
  if (matches)
    return *matches;
  llvm::consumeError(matches.takeError());
  return std::nullopt;
}

static bool isIgnoredBy(const QuantConfig &config, llvm::StringRef entry,
                        llvm::StringRef module) {
  if (config.method == QuantMethod::Awq)
    return module.contains(entry);
  return module == entry || (config.method == QuantMethod::CompressedTensors &&
                             entry.consume_front("re:") &&
                             tryPattern(entry, module).value_or(false));
}

// The pattern of `dynamic` that says that the module is not quantised, or
// nothing.
static llvm::StringRef exceptedBy(const QuantConfig &config,
                                  llvm::StringRef module) {
  for (llvm::StringRef entry : config.dynamic) {
    llvm::StringRef pattern = entry;
    const bool isExcepted = pattern.consume_front("-:");
    if (!isExcepted)
      pattern.consume_front("+:");
    std::optional<bool> matches = tryPattern(pattern, module);
    if (!matches)
      return {}; // nor do those behind it
    if (*matches)
      return isExcepted ? entry : llvm::StringRef();
  }
  return {};
}

// Is the module part of a layer, which have numbers?
static bool isInLayer(llvm::StringRef module) {
  llvm::SmallVector<llvm::StringRef> parts;
  module.split(parts, '.');
  return llvm::any_of(parts, [](llvm::StringRef part) {
    return !part.empty() && llvm::all_of(part, llvm::isDigit);
  });
}

std::string stele::checkpoint::whatIgnores(const QuantConfig &config,
                                           llvm::StringRef module) {
  auto isNot = [](llvm::StringRef entry) {
    return ("with \"" + entry + "\" that it is not").str();
  };
  for (const std::string &entry : config.ignored)
    if (isIgnoredBy(config, entry, module))
      return isNot(entry);
  if (llvm::StringRef entry = exceptedBy(config, module); !entry.empty())
    return isNot(entry);
  if (config.inLayers.empty() || !isInLayer(module) ||
      llvm::any_of(config.inLayers, [&](llvm::StringRef name) {
        return module.ends_with(name);
      }))
    return "";
  return "in modules_in_block_to_quantize only what else is";
}

// Names go before patterns, patterns before the class of all linears, and
// earlier schemes before later ones.
llvm::Expected<const QuantScheme *>
stele::checkpoint::schemeOf(const QuantConfig &config, llvm::StringRef module) {
  if (config.schemes.size() == 1)
    return &config.schemes.front();
  const QuantScheme *byPattern = nullptr, *byClass = nullptr;
  for (const QuantScheme &scheme : config.schemes)
    for (llvm::StringRef target : scheme.targets) {
      if (target == module)
        return &scheme;
      if (!byClass && target == "Linear")
        byClass = &scheme;
      if (byPattern || !target.consume_front("re:"))
        continue;
      auto matches = matchesPattern(target, module);
      if (!matches)
        return matches.takeError();
      if (*matches)
        byPattern = &scheme;
    }
  if (!byPattern && !byClass)
    return makeError("no target of quantization_config.config_groups matches "
                     "'{0}', which is stored quantised",
                     module);
  return byPattern ? byPattern : byClass;
}

//===----------------------------------------------------------------------===//

std::optional<QuantConfig> stele::checkpoint::readQuantConfig(Fields &root) {
  const Json *object = root.get("quantization_config");
  if (!object)
    return std::nullopt;
  if (!object->is_object()) {
    root.fail("quantization_config is {0}, an object is needed",
              shown(*object));
    return std::nullopt;
  }
  Fields fields = root.child("quantization_config");
  QuantConfig config;
  std::string method = fields.string("quant_method");
  if (method == "awq") {
    config.method = QuantMethod::Awq;
    readAwq(fields, config);
  } else if (method == "gptq") {
    config.method = QuantMethod::Gptq;
    readGptq(fields, config);
  } else if (method == "compressed-tensors") {
    config.method = QuantMethod::CompressedTensors;
    readCompressedTensors(fields, config);
  } else {
    fields.fail("{0} is \"{1}\"; awq, gptq and compressed-tensors are "
                "supported, or use the unquantised checkpoint",
                fields.name("quant_method"), method);
    return std::nullopt;
  }
  return config;
}
