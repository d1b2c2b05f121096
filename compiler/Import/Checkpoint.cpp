// See Checkpoint.h: which format a path holds, GGUF names to Hugging Face
// names, and rows of weights on demand.
#include "stele/compiler/Import/Checkpoint.h"
#include "stele/compiler/Import/Dequantise.h"
#include "stele/compiler/Import/Errors.h"
#include "stele/compiler/Import/Gguf.h"
#include "stele/compiler/Import/GgufBlocks.h"
#include "stele/compiler/Import/PackedWeights.h"
#include "stele/compiler/Import/SafeTensors.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <cmath>

using namespace stele::checkpoint;
namespace path = llvm::sys::path;
namespace fs = llvm::sys::fs;

static std::string join(llvm::StringRef folder, llvm::StringRef name) {
  llvm::SmallString<256> result(folder);
  path::append(result, name);
  return std::string(result);
}

Checkpoint::~Checkpoint() = default;

llvm::Expected<std::unique_ptr<Checkpoint>>
Checkpoint::open(llvm::StringRef path) {
  std::unique_ptr<Checkpoint> checkpoint(new Checkpoint);
  if (llvm::Error error = checkpoint->openAny(path))
    return std::move(error);
  if (llvm::Error error = checkpoint->indexTensors())
    return std::move(error);
  if (llvm::Error error = checkpoint->checkTiedWeights())
    return std::move(error);
  return std::move(checkpoint);
}

llvm::Error Checkpoint::openAny(llvm::StringRef path) {
  openedPath = path.str();
  if (fs::is_directory(path))
    return openFolder(path);
  if (path.ends_with(".json"))
    return openConfig(path);
  if (path.ends_with(".safetensors"))
    return makeError("{0}: is only the weights of a checkpoint; name the "
                     "folder that has them and config.json",
                     path);
  if (path.ends_with(".stele"))
    return makeError("{0}: is an artifact, compiled already; `stele run` takes "
                     "it",
                     path);
  return openGguf(path);
}

llvm::Error Checkpoint::openFolder(llvm::StringRef path) {
  std::string config = join(path, "config.json");
  if (!fs::exists(config))
    return makeError(
        "{0}: has no config.json; a Hugging Face checkpoint folder "
        "or a .gguf file is needed",
        path);
  if (llvm::Error error = openConfig(config))
    return error;
  return openSafeTensors();
}

llvm::Error Checkpoint::openConfig(llvm::StringRef path) {
  llvm::SmallString<256> absolute(path);
  if (std::error_code code = fs::make_absolute(absolute))
    return makeError("{0}: {1}", path, code.message());
  folderPath = path::parent_path(absolute).str();

  auto config = readJsonFile(path);
  if (!config)
    return config.takeError();
  std::string generationPath = join(folderPath, "generation_config.json");
  std::optional<Json> generation;
  if (fs::exists(generationPath)) {
    auto json = readJsonFile(generationPath);
    if (!json)
      return json.takeError();
    generation = std::move(*json);
  }
  auto model = readHfConfig(*config, path, generation ? &*generation : nullptr,
                            generationPath);
  if (!model)
    return model.takeError();
  modelConfig = std::move(*model);
  modelConfig.name = path::filename(folderPath).str();
  std::string sparsePath = join(folderPath, "sparse_attention_config.json");
  if (!fs::exists(sparsePath))
    return llvm::Error::success();
  auto sparse = readJsonFile(sparsePath);
  if (!sparse)
    return sparse.takeError();
  return readSparseConfig(*sparse, sparsePath, modelConfig);
}

// Names the files of a folder that hold weights in a form not read here.
static llvm::Error noWeights(llvm::StringRef folder) {
  std::error_code code;
  for (fs::directory_iterator it(folder, code), end; it != end && !code;
       it.increment(code)) {
    llvm::StringRef file = path::filename(it->path());
    if (file.ends_with(".bin") || file.ends_with(".pt") ||
        file.ends_with(".pth"))
      return makeError(
          "{0}: the weights are only there as a pickle ({1}), which "
          "could run code and is never opened; save the model again "
          "as safetensors (save_pretrained does)",
          folder, file);
    if (file.ends_with(".gguf"))
      return makeError(
          "{0}: has no safetensors weights; to compile {1}, name the "
          "file itself",
          folder, file);
  }
  return makeError("{0}: has no model.safetensors and no "
                   "model.safetensors.index.json; without weights, name "
                   "config.json itself and use synthetic ones",
                   folder);
}

llvm::Error Checkpoint::openSafeTensors() {
  if (llvm::Error error = readSafeTensorsFiles())
    return error;
  if (modelConfig.quantisation) {
    auto packed =
        PackedWeights::collect(*modelConfig.quantisation, files, tensorList);
    if (!packed)
      return packed.takeError();
    packedWeights = std::move(*packed);
    if (llvm::Error error = dropZeroBiases())
      return error;
  }
  for (const TensorInfo &tensor : tensorList)
    if (isInteger(tensor.type))
      return makeError("{0}: tensor '{1}': dtype {2} is not supported; F32, "
                       "F16 and BF16 are, and integers as parts of weights "
                       "that quantization_config describes",
                       files[tensor.file]->path(), nameInFile(tensor.name),
                       name(tensor.type));
  return llvm::Error::success();
}

// Has a linear of that name a bias in this model?
static bool hasBias(const ModelConfig &config, llvm::StringRef module) {
  if (module.ends_with(".o_proj"))
    return config.outputBias;
  return module.contains(".mlp.") ? config.mlpBias : config.attentionBias;
}

// Older quantisers write a bias of zeros for every packed weight, also in
// models that have none. It says nothing; one of other numbers stays and is
// refused.
llvm::Error Checkpoint::dropZeroBiases() {
  llvm::StringSet<> candidates;
  for (const TensorInfo &tensor : tensorList)
    if (llvm::StringRef module = tensor.name; tensor.packed &&
                                              module.consume_back(".weight") &&
                                              !hasBias(modelConfig, module))
      candidates.insert((module + ".bias").str());
  std::vector<TensorInfo> kept;
  for (TensorInfo &tensor : tensorList) {
    bool isZero = candidates.contains(tensor.name) && !isInteger(tensor.type);
    if (isZero) {
      std::vector<float> values(tensor.rows() * tensor.rowWidth());
      if (llvm::Error error = readRows(tensor, 0, tensor.rows(), values.data()))
        return error;
      isZero = llvm::all_of(values, [](float value) { return value == 0; });
    }
    if (!isZero)
      kept.push_back(std::move(tensor));
  }
  tensorList = std::move(kept);
  return llvm::Error::success();
}

llvm::Error Checkpoint::readSafeTensorsFiles() {
  std::string single = join(folderPath, "model.safetensors");
  std::string index = join(folderPath, "model.safetensors.index.json");
  if (fs::exists(single)) {
    auto file = InputFile::open(single);
    if (!file)
      return file.takeError();
    files.push_back(std::move(*file));
    return readSafeTensors(*files.back(), 0, tensorList);
  }
  if (fs::exists(index))
    return readShardedSafeTensors(folderPath, index, files, tensorList);
  return noWeights(folderPath);
}

//===----------------------------------------------------------------------===//
// GGUF
//===----------------------------------------------------------------------===//

namespace {

struct TensorNames {
  llvm::StringLiteral gguf;
  llvm::StringLiteral huggingFace;
};

constexpr TensorNames modelTensors[] = {
    {"token_embd.weight", "model.embed_tokens.weight"},
    {"output_norm.weight", "model.norm.weight"},
    {"output.weight", "lm_head.weight"},
};

// Inside "blk.N." and "model.layers.N.", before ".weight" or ".bias".
constexpr TensorNames layerTensors[] = {
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
};

using Naming = llvm::StringLiteral TensorNames::*;

} // namespace

// Between llama.cpp's names and the Hugging Face ones. A name that is not known
// stays, and the family then reports a tensor it has no use for.
static std::string translate(llvm::StringRef name, Naming from,
                             llvm::StringRef fromLayer, Naming to,
                             llvm::StringRef toLayer) {
  for (const TensorNames &names : modelTensors)
    if (names.*from == name)
      return (names.*to).str();
  llvm::StringRef rest = name;
  unsigned layer;
  if (!rest.consume_front(fromLayer) || rest.consumeInteger(10, layer) ||
      !rest.consume_front("."))
    return name.str();
  auto [part, kind] = rest.rsplit('.'); // kind: weight or bias
  for (const TensorNames &names : layerTensors)
    if (names.*from == part)
      return llvm::formatv("{0}{1}.{2}.{3}", toLayer, layer, names.*to, kind);
  return name.str();
}

static std::string huggingFaceName(llvm::StringRef name) {
  return translate(name, &TensorNames::gguf, "blk.", &TensorNames::huggingFace,
                   "model.layers.");
}

std::string Checkpoint::nameInFile(llvm::StringRef name) const {
  return ggufFile ? translate(name, &TensorNames::huggingFace, "model.layers.",
                              &TensorNames::gguf, "blk.")
                  : name.str();
}

llvm::Error Checkpoint::openGguf(llvm::StringRef path) {
  auto gguf = GgufFile::open(path, files);
  if (!gguf)
    return gguf.takeError();
  ggufFile = std::move(*gguf);
  auto config = readGgufConfig(*ggufFile);
  if (!config)
    return config.takeError();
  modelConfig = std::move(*config);
  if (modelConfig.name.empty())
    modelConfig.name = path::stem(path).str();

  for (TensorInfo tensor : ggufFile->tensors()) {
    if (tensor.name == "rope_freqs.weight") {
      if (llvm::Error error = readRopeFactors(tensor))
        return error;
      continue;
    }
    tensor.name = huggingFaceName(tensor.name);
    // llama.cpp rotates neighbouring pairs for this architecture, and its
    // converter reorders the rows of q and k to suit.
    llvm::StringRef name = tensor.name;
    if (modelConfig.architecture == "llama" &&
        (name.contains(".q_proj.") || name.contains(".k_proj.")))
      tensor.interleavedHeadRows = modelConfig.headDim;
    tensorList.push_back(std::move(tensor));
  }
  return llvm::Error::success();
}

// Llama 3 in a GGUF file: not the scaling's parameters, but a divisor for each
// frequency.
llvm::Error Checkpoint::readRopeFactors(const TensorInfo &tensor) {
  int64_t pairs = modelConfig.headDim / 2;
  if (tensor.shape != llvm::ArrayRef<int64_t>{pairs})
    return makeError("{0}: tensor '{1}' has shape {2}, {3} is needed",
                     ggufFile->path(), tensor.name, describeShape(tensor.shape),
                     describeShape({pairs}));
  llvm::SmallVector<float, 0> factors(pairs);
  if (llvm::Error error = readRows(tensor, 0, pairs, factors.data()))
    return error;
  for (float factor : factors)
    if (!(factor > 0))
      return makeError("{0}: tensor '{1}' has the factor {2}, they must be "
                       "positive",
                       ggufFile->path(), tensor.name, shown(factor));
  if (llvm::all_equal(factors) && factors.front() == 1)
    return llvm::Error::success();
  if (modelConfig.rope.kind != RopeScaling::Kind::None)
    return makeError("{0}: has both rope.scaling metadata and the tensor '{1}'",
                     ggufFile->path(), tensor.name);
  modelConfig.rope.kind = RopeScaling::Kind::Factors;
  modelConfig.rope.factors = std::move(factors);
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

llvm::Error Checkpoint::indexTensors() {
  // Older checkpoints store this buffer; it follows from rope_theta.
  llvm::erase_if(tensorList, [](const TensorInfo &tensor) {
    return llvm::StringRef(tensor.name).ends_with(".rotary_emb.inv_freq");
  });
  for (auto [position, tensor] : llvm::enumerate(tensorList)) {
    if (!tensorIndex.try_emplace(tensor.name, position).second)
      return makeError("{0}: has tensor '{1}' a second time",
                       files[tensor.file]->path(), tensor.name);
    if (tensor.interleavedHeadRows &&
        tensor.rows() % tensor.interleavedHeadRows)
      return makeError("{0}: tensor '{1}' has {2} rows, not whole heads of {3}",
                       files[tensor.file]->path(), nameInFile(tensor.name),
                       tensor.rows(), tensor.interleavedHeadRows);
  }
  return llvm::Error::success();
}

const TensorInfo *Checkpoint::find(llvm::StringRef name) const {
  auto it = tensorIndex.find(name);
  return it == tensorIndex.end() ? nullptr : &tensorList[it->second];
}

// With tied embeddings the head is the embedding. A head that is stored too
// must be equal to it; which of the two counts would be a guess.
llvm::Error Checkpoint::checkTiedWeights() {
  const TensorInfo *head = find("lm_head.weight");
  const TensorInfo *embedding = find("model.embed_tokens.weight");
  if (!modelConfig.tiedEmbeddings || !head || !embedding)
    return llvm::Error::success();
  auto conflict = [&] {
    return makeError(
        "{0}: tie_word_embeddings is true, but lm_head.weight differs "
        "from model.embed_tokens.weight; set it to false, or remove "
        "lm_head.weight",
        files[head->file]->path());
  };
  if (head->shape != embedding->shape)
    return conflict();
  int64_t width = std::max<int64_t>(head->rowWidth(), 1);
  int64_t step = std::max<int64_t>((1 << 18) / width, 1);
  std::vector<float> left(step * width), right(step * width);
  for (int64_t row = 0; row < head->rows(); row += step) {
    int64_t end = std::min(row + step, head->rows());
    if (llvm::Error error = readRows(*head, row, end, left.data()))
      return error;
    if (llvm::Error error = readRows(*embedding, row, end, right.data()))
      return error;
    if (!std::equal(left.begin(), left.begin() + (end - row) * width,
                    right.begin()))
      return conflict();
  }
  size_t position = tensorIndex.lookup("lm_head.weight");
  tensorList.erase(tensorList.begin() + position);
  tensorIndex.clear();
  return indexTensors();
}

// Where the file keeps row `row` of the tensor. Interleaved heads hold row j of
// their first half at 2j and row j of their second half at 2j + 1.
static int64_t storedRow(const TensorInfo &tensor, int64_t row) {
  int64_t headRows = tensor.interleavedHeadRows;
  if (!headRows)
    return row;
  int64_t inHead = row % headRows, half = headRows / 2;
  return row - inHead + inHead % half * 2 + inHead / half;
}

llvm::Error Checkpoint::checkFinite(const TensorInfo &tensor, int64_t row,
                                    llvm::ArrayRef<float> values) const {
  bool finite = true;
  for (float value : values) // no early exit: this vectorises
    finite &= std::fabs(value) <= std::numeric_limits<float>::max();
  if (finite)
    return llvm::Error::success();
  const float *bad =
      llvm::find_if(values, [](float value) { return !std::isfinite(value); });
  int64_t at = bad - values.begin(), width = tensor.rowWidth();
  return makeError("{0}: tensor '{1}' has {2} in row {3}, column {4}; the "
                   "checkpoint is damaged",
                   files[tensor.file]->path(), nameInFile(tensor.name),
                   std::isnan(*bad) ? "a NaN" : "an infinity", row + at / width,
                   at % width);
}

// A module edited by hand may ask for anything.
llvm::Error Checkpoint::checkRange(const TensorInfo &tensor, int64_t begin,
                                   int64_t end) const {
  if (begin >= 0 && begin <= end && end <= tensor.rows())
    return llvm::Error::success();
  return makeError("{0}: tensor '{1}' has {2} rows, rows {3} to {4} were asked "
                   "for",
                   files[tensor.file]->path(), nameInFile(tensor.name),
                   tensor.rows(), begin, end);
}

// Hands the bytes of rows [begin, end) to take(row, count, bytes), some rows at
// a time and in order.
llvm::Error Checkpoint::readStored(
    const TensorInfo &tensor, int64_t begin, int64_t end,
    llvm::function_ref<llvm::Error(int64_t, int64_t, const uint8_t *)> take)
    const {
  if (begin == end || tensor.rowWidth() == 0)
    return llvm::Error::success();
  uint64_t rowBytes = tensor.bytes / tensor.rows();
  // Rows in stored order are read many at a time, reordered ones singly.
  int64_t step = tensor.interleavedHeadRows
                     ? 1
                     : std::max<int64_t>((1 << 20) / rowBytes, 1);
  std::vector<uint8_t> buffer(std::min<int64_t>(step, end - begin) * rowBytes);
  for (int64_t row = begin; row < end; row += step) {
    int64_t count = std::min(step, end - row);
    if (llvm::Error error = files[tensor.file]->read(
            tensor.offset + storedRow(tensor, row) * rowBytes, count * rowBytes,
            buffer.data()))
      return error;
    if (llvm::Error error = take(row, count, buffer.data()))
      return error;
  }
  return llvm::Error::success();
}

llvm::Error Checkpoint::readRows(const TensorInfo &tensor, int64_t begin,
                                 int64_t end, float *out) const {
  if (llvm::Error error = checkRange(tensor, begin, end))
    return error;
  if (tensor.packed)
    return packedWeights->readRows(*tensor.packed, begin, end, out);
  int64_t width = tensor.rowWidth();
  return readStored(tensor, begin, end,
                    [&](int64_t row, int64_t count, const uint8_t *bytes) {
                      float *to = out + (row - begin) * width;
                      dequantise(tensor.type, bytes, count * width, to);
                      return checkFinite(tensor, row,
                                         llvm::ArrayRef(to, count * width));
                    });
}

//===----------------------------------------------------------------------===//
// Quantised tensors
//===----------------------------------------------------------------------===//

std::optional<stele::schema::QuantFormat>
Checkpoint::quantFormat(const TensorInfo &tensor) const {
  if (tensor.packed)
    return (*packedWeights)[*tensor.packed].format;
  return quantFormatOf(tensor.type);
}

llvm::ArrayRef<int32_t>
Checkpoint::columnOrder(const TensorInfo &tensor) const {
  if (!tensor.packed)
    return {};
  return (*packedWeights)[*tensor.packed].order;
}

// `values` holds the scales, or the offsets, of whole rows from `row` on. Zero
// is a scale like any other: its group is all zeros (or all the offset).
llvm::Error Checkpoint::checkScales(const TensorInfo &tensor, int64_t row,
                                    llvm::ArrayRef<float> values,
                                    llvm::StringRef what) const {
  const float *bad =
      llvm::find_if(values, [](float value) { return !std::isfinite(value); });
  if (bad == values.end())
    return llvm::Error::success();
  int64_t groups = groupsOf(*quantFormat(tensor), tensor.rowWidth());
  int64_t at = bad - values.begin();
  return makeError("{0}: tensor '{1}' has the {2} {3} in row {4}, group {5}; "
                   "the checkpoint is damaged",
                   files[tensor.file]->path(), nameInFile(tensor.name), what,
                   shown(*bad), row + at / groups, at % groups);
}

llvm::Error Checkpoint::readQuantised(const TensorInfo &tensor, int64_t begin,
                                      int64_t end, QuantRows &out) const {
  std::optional<schema::QuantFormat> format = quantFormat(tensor);
  assert(format && "only a quantised tensor has codes");
  if (llvm::Error error = checkRange(tensor, begin, end))
    return error;
  if (tensor.packed)
    return packedWeights->readQuantised(*tensor.packed, begin, end, out);
  int64_t width = tensor.rowWidth();
  out.resize(*format, end - begin, width);
  if (llvm::Error error = readStored(
          tensor, begin, end,
          [&](int64_t row, int64_t count, const uint8_t *bytes) {
            splitBlocks(tensor.type, bytes, count, width, row - begin, out);
            return llvm::Error::success();
          }))
    return error;
  if (llvm::Error error = checkScales(tensor, begin, out.scales, "scale"))
    return error;
  return checkScales(tensor, begin, out.offsets, "offset");
}

//===----------------------------------------------------------------------===//
// Chat template
//===----------------------------------------------------------------------===//

static constexpr uint64_t maxTemplateBytes = 1 << 20;

// "chat_template" of tokenizer_config.json: one text, or a list of named ones
// of which "default" is the one for chats.
static llvm::Expected<std::optional<std::string>>
templateOf(const Json &config, llvm::StringRef file) {
  const Json *entry = findMember(config, "chat_template");
  if (!entry || entry->is_null())
    return std::nullopt;
  if (entry->is_string())
    return entry->get<std::string>();
  if (entry->is_array())
    for (const Json &named : *entry) {
      const Json *name = findMember(named, "name");
      const Json *text = findMember(named, "template");
      if (name && text && *name == "default" && text->is_string())
        return text->get<std::string>();
    }
  return makeError("{0}: chat_template is neither a text nor a list with one "
                   "named 'default'",
                   file);
}

llvm::Expected<std::optional<std::string>> Checkpoint::chatTemplate() const {
  if (ggufFile)
    return ggufFile->string("tokenizer.chat_template");
  std::string file = join(folderPath, "chat_template.jinja");
  if (fs::exists(file)) {
    auto text = readTextFile(file, maxTemplateBytes);
    if (!text)
      return text.takeError();
    return std::move(*text);
  }
  file = join(folderPath, "tokenizer_config.json");
  if (!fs::exists(file))
    return std::nullopt;
  auto config = readJsonFile(file);
  if (!config)
    return config.takeError();
  return templateOf(*config, file);
}
