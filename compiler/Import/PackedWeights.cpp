// See PackedWeights.h. The published layouts, with in and out for the columns
// and rows of the matrix and p = 32 / bits codes a word, the first in its low
// bits:
//
//   AWQ                 qweight[in, out / p]  qzeros[groups, out / p]
//   GPTQ                qweight[in / p, out]  qzeros[groups, out / p]
//   compressed-tensors  weight_packed[out, in / p]
//                       weight_zero_point[out / p, groups], or int8 [out,
//                       groups], or int8 [1] for the whole matrix
//
// AWQ's words hold their outputs in the order 0 2 4 6 1 3 5 7. Scales are
// [groups, out], those of compressed-tensors [out, groups] or [1]; its codes
// and zero points are signed and stored with 2^(bits - 1) added.
#include "stele/compiler/Import/PackedWeights.h"
#include "stele/compiler/Import/Dequantise.h"
#include "stele/compiler/Import/Errors.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/MathExtras.h"
#include <bit>
#include <cmath>
#include <numeric>

using namespace stele::checkpoint;
using stele::schema::QuantFormat;

// Matrices kept unpacked: a fused gate and up are read in turns.
static constexpr size_t maxKept = 2;

llvm::Error PackedPart::read(std::vector<uint8_t> &bytes) const {
  bytes.resize(info.bytes);
  return file->read(info.offset, info.bytes, bytes.data());
}

//===----------------------------------------------------------------------===//
// Finding the parts
//===----------------------------------------------------------------------===//

namespace {

// The names of the parts, after the module's own name and a dot.
struct PartNames {
  llvm::StringLiteral codes, scales, zeros, groups, shape;
};

// Makes a PackedWeight of the parts of one module; errors name file and tensor.
class WeightReader {
public:
  WeightReader(const QuantConfig &config, const PartNames &names,
               llvm::StringRef module, llvm::StringMap<PackedPart> &parts)
      : config(config), names(names), parts(parts) {
    weight.module = module.str();
    weight.method = config.method;
    weight.zerosMinusOne = config.zerosMinusOne;
  }

  llvm::Expected<PackedWeight> read() {
    if (llvm::Error error = takeParts())
      return std::move(error);
    if (llvm::Error error = config.method == QuantMethod::Awq ? readAwq()
                            : config.method == QuantMethod::Gptq
                                ? readGptq()
                                : readCompressedTensors())
      return std::move(error);
    if (llvm::Error error = readGroups())
      return std::move(error);
    return std::move(weight);
  }

private:
  // The part of that name, removed from the list.
  std::optional<PackedPart> take(llvm::StringRef name) {
    auto it = parts.find((weight.module + "." + name).str());
    if (name.empty() || it == parts.end())
      return std::nullopt;
    PackedPart part = it->second;
    parts.erase(it);
    return part;
  }

  llvm::Error takeParts() {
    weight.codes = *take(names.codes);
    if (auto scales = take(names.scales))
      weight.scales = *scales;
    else
      return makeError("{0}: tensor '{1}.{2}' is missing, '{3}' needs it",
                       weight.codes.file->path(), weight.module, names.scales,
                       weight.codes.info.name);
    weight.zeros = take(names.zeros);
    groupIndex = take(names.groups);
    shape = take(names.shape);
    if (llvm::Error error = expectMatrix(weight.codes))
      return error;
    return expectType(weight.codes, {ElementType::I32});
  }

  llvm::Error expectMatrix(const PackedPart &part) {
    if (part.info.shape.size() == 2 && part.info.bytes > 0)
      return llvm::Error::success();
    return fail(part, "has shape {0}, a matrix is needed",
                describeShape(part.info.shape));
  }

  template <typename... Args>
  llvm::Error fail(const PackedPart &part, const char *format, Args &&...args) {
    return makeError("{0}: tensor '{1}' {2}", part.file->path(), part.info.name,
                     llvm::formatv(format, std::forward<Args>(args)...).str());
  }

  llvm::Error expectType(const PackedPart &part,
                         llvm::ArrayRef<ElementType> types) {
    if (llvm::is_contained(types, part.info.type))
      return llvm::Error::success();
    std::string allowed;
    llvm::ListSeparator separator(" or ");
    for (ElementType type : types)
      allowed += (llvm::StringRef(separator) + name(type)).str();
    return fail(part, "is {0}, {1} is needed", name(part.info.type), allowed);
  }

  llvm::Error expectShape(const PackedPart &part,
                          llvm::ArrayRef<int64_t> wanted) {
    if (llvm::ArrayRef(part.info.shape) == wanted)
      return llvm::Error::success();
    return fail(part,
                "has shape {0}, {1} is needed: {2} bits, weight {3}, {4} "
                "groups a row",
                describeShape(part.info.shape), describeShape(wanted),
                weight.bits, describeShape({weight.rows, weight.columns}),
                weight.groups);
  }

  int64_t perWord() const { return 32 / weight.bits; }

  void setGroups(const QuantScheme &scheme) {
    groupSize = scheme.groupSize ? scheme.groupSize
                                 : std::max<int64_t>(weight.columns, 1);
    weight.groups = llvm::divideCeil(weight.columns, groupSize);
  }

  // Scales of any float type, [groups, out] or [out, groups].
  llvm::Error checkScales(llvm::ArrayRef<int64_t> wanted) {
    if (llvm::Error error =
            expectType(weight.scales,
                       {ElementType::F16, ElementType::BF16, ElementType::F32}))
      return error;
    return expectShape(weight.scales, wanted);
  }

  llvm::Error zerosMissing() {
    return makeError("{0}: tensor '{1}.{2}' is missing, the scheme has zero "
                     "points",
                     weight.codes.file->path(), weight.module, names.zeros);
  }

  llvm::Error checkZeros(llvm::ArrayRef<int64_t> wanted) {
    if (llvm::Error error = expectType(*weight.zeros, {ElementType::I32}))
      return error;
    return expectShape(*weight.zeros, wanted);
  }

  llvm::Error readAwq() {
    if (llvm::Error error = expectMatrix(weight.scales))
      return error;
    const QuantScheme &scheme = config.schemes.front();
    weight.bits = scheme.bits;
    weight.columns = weight.codes.info.shape[0];
    weight.rows = weight.scales.info.shape[1];
    setGroups(scheme);
    int64_t words = llvm::divideCeil(weight.rows, perWord());
    if (llvm::Error error = expectShape(weight.codes, {weight.columns, words}))
      return error;
    if (llvm::Error error = checkScales({weight.groups, weight.rows}))
      return error;
    if (!weight.zeros)
      return scheme.zeroPoints ? zerosMissing() : llvm::Error::success();
    return checkZeros({weight.groups, words});
  }

  llvm::Error readGptq() {
    if (llvm::Error error = expectMatrix(weight.scales))
      return error;
    const QuantScheme &scheme = config.schemes.front();
    weight.bits = scheme.bits;
    weight.rows = weight.scales.info.shape[1];
    weight.columns = weight.codes.info.shape[0] * perWord();
    if (!config.dynamic.empty()) {
      if (llvm::Error error = inferScheme())
        return error;
    } else {
      setGroups(scheme);
    }
    if (llvm::Error error = expectShape(
            weight.codes, {weight.columns / perWord(), weight.rows}))
      return error;
    if (llvm::Error error = checkScales({weight.groups, weight.rows}))
      return error;
    if (!weight.zeros)
      return zerosMissing();
    return checkZeros(
        {weight.groups, int64_t(llvm::divideCeil(weight.rows, perWord()))});
  }

  // With `dynamic`: columns and groups are those of g_idx and scales.
  llvm::Error inferScheme() {
    if (!groupIndex || groupIndex->info.shape.size() != 1)
      return fail(weight.codes,
                  "needs a vector '{0}.{1}', because quantization_config has "
                  "`dynamic`",
                  weight.module, names.groups);
    weight.columns = groupIndex->info.shape[0];
    weight.groups = weight.scales.info.shape[0];
    for (int64_t bits : {4, 8})
      if (weight.columns == weight.codes.info.shape[0] * (32 / bits)) {
        weight.bits = bits;
        return llvm::Error::success();
      }
    return fail(weight.codes,
                "has shape {0}, which holds {1} columns in neither 4 nor 8 "
                "bits",
                describeShape(weight.codes.info.shape), weight.columns);
  }

  llvm::Error readCompressedTensors() {
    auto scheme = schemeOf(config, weight.module);
    if (!scheme)
      return makeError("{0}: {1}", weight.codes.file->path(),
                       llvm::toString(scheme.takeError()));
    weight.bits = (*scheme)->bits;
    if (llvm::Error error = readShape())
      return error;
    setGroups(**scheme);
    weight.perTensor = (*scheme)->perTensor;
    if (llvm::Error error =
            expectShape(weight.codes,
                        {weight.rows,
                         int64_t(llvm::divideCeil(weight.columns, perWord()))}))
      return error;
    const llvm::SmallVector<int64_t, 2> wanted =
        weight.perTensor
            ? llvm::SmallVector<int64_t, 2>{1}
            : llvm::SmallVector<int64_t, 2>{weight.rows, weight.groups};
    if (llvm::Error error = checkScales(wanted))
      return error;
    if (!weight.zeros)
      return (*scheme)->zeroPoints ? zerosMissing() : llvm::Error::success();
    if (!(*scheme)->zeroPoints)
      return fail(*weight.zeros, "has no place in a symmetric scheme");
    if (weight.perTensor || weight.zeros->info.type == ElementType::I8) {
      if (llvm::Error error = expectType(*weight.zeros, {ElementType::I8}))
        return error;
      return expectShape(*weight.zeros, wanted);
    }
    if (llvm::Error error =
            expectType(*weight.zeros, {ElementType::I32, ElementType::I8}))
      return error;
    return checkZeros(
        {int64_t(llvm::divideCeil(weight.rows, perWord())), weight.groups});
  }

  // weight_shape holds [out, in].
  llvm::Error readShape() {
    if (!shape)
      return makeError("{0}: tensor '{1}.{2}' is missing, '{3}' needs it",
                       weight.codes.file->path(), weight.module, names.shape,
                       weight.codes.info.name);
    if (llvm::Error error =
            expectType(*shape, {ElementType::I64, ElementType::I32}))
      return error;
    if (shape->info.shape != llvm::ArrayRef<int64_t>{2})
      return fail(*shape, "has shape {0}, [2] is needed",
                  describeShape(shape->info.shape));
    std::vector<uint8_t> bytes;
    if (llvm::Error error = shape->read(bytes))
      return error;
    auto value = [&](int i) -> int64_t {
      using namespace llvm::support::endian;
      return shape->info.type == ElementType::I64
                 ? int64_t(read64le(&bytes[8 * i]))
                 : int32_t(read32le(&bytes[4 * i]));
    };
    weight.rows = value(0);
    weight.columns = value(1);
    // A word holds at most eight codes, so this also keeps sizes in bounds.
    int64_t words = weight.codes.info.shape[1];
    if (weight.rows != weight.codes.info.shape[0] || weight.columns < 0 ||
        int64_t(llvm::divideCeil(uint64_t(weight.columns), perWord())) != words)
      return fail(*shape,
                  "says {0}, '{1}' of shape {2} holds no such weight "
                  "in {3} bits",
                  describeShape({weight.rows, weight.columns}),
                  weight.codes.info.name,
                  describeShape(weight.codes.info.shape), weight.bits);
    return llvm::Error::success();
  }

  llvm::Error groupsInOrder() {
    for (int64_t column = 0; column < weight.columns; ++column)
      weight.groupOfColumn[column] = column / groupSize;
    return llvm::Error::success();
  }

  // The group of every column, from g_idx or from their size.
  llvm::Error readGroups() {
    weight.groupOfColumn.resize(weight.columns);
    if (!groupIndex)
      return groupsInOrder();
    if (llvm::Error error = expectType(*groupIndex, {ElementType::I32}))
      return error;
    if (llvm::Error error = expectShape(*groupIndex, {weight.columns}))
      return error;
    std::vector<uint8_t> bytes;
    if (llvm::Error error = groupIndex->read(bytes))
      return error;
    std::vector<int32_t> &groups = weight.groupOfColumn;
    for (int64_t column = 0; column < weight.columns; ++column)
      groups[column] = llvm::support::endian::read32le(&bytes[4 * column]);
    // compressed-tensors writes -1 everywhere for "no order".
    if (weight.method == QuantMethod::CompressedTensors &&
        llvm::all_of(groups, [](int32_t g) { return g == -1; }))
      return groupsInOrder();
    for (auto [column, group] : llvm::enumerate(groups))
      if (group < 0 || group >= weight.groups)
        return fail(*groupIndex,
                    "has the group {0} at column {1}; groups 0 to "
                    "{2} are there",
                    group, column, weight.groups - 1);
    return llvm::Error::success();
  }

  const QuantConfig &config;
  const PartNames &names;
  llvm::StringMap<PackedPart> &parts;
  std::optional<PackedPart> groupIndex, shape;
  int64_t groupSize = 0;
  PackedWeight weight;
};

} // namespace

//===----------------------------------------------------------------------===//
// Unpacking
//===----------------------------------------------------------------------===//

namespace {
// A matrix of codes as its words hold it: [rows, columns], packed along the
// rows or the columns.
struct WordMatrix {
  int64_t rows, columns;
  int64_t bits;
  bool alongRows; // a word holds codes of one column
  bool awqOrder = false;
};
} // namespace

// out[rows, columns], or [columns, rows] when `transposed`.
static std::vector<uint8_t> unpackWords(const WordMatrix &matrix,
                                        llvm::ArrayRef<uint8_t> words,
                                        bool transposed) {
  static constexpr int awqOrder[8] = {0, 4, 1, 5, 2, 6, 3, 7};
  static constexpr int inOrder[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  const int *places = matrix.awqOrder ? awqOrder : inOrder;
  const bool alongRows = matrix.alongRows;
  const int bits = matrix.bits;
  const int64_t perWord = 32 / bits;
  const uint32_t mask = (1 << bits) - 1;
  const int64_t along = alongRows ? matrix.rows : matrix.columns;
  const int64_t wordsAlong = llvm::divideCeil(along, perWord);
  const int64_t wordRows = alongRows ? wordsAlong : matrix.rows;
  const int64_t wordColumns = alongRows ? matrix.columns : wordsAlong;
  const int64_t rowStep = transposed ? 1 : matrix.columns;
  const int64_t columnStep = transposed ? matrix.rows : 1;
  const int64_t step = alongRows ? rowStep : columnStep;
  std::vector<uint8_t> out(matrix.rows * matrix.columns);
  // By value: a byte that is written may alias whatever is held by reference.
  auto unpackOne = [=, base = out.data()](int64_t wordRow, int64_t wordColumn) {
    uint32_t word = llvm::support::endian::read32le(
        &words[4 * (wordRow * wordColumns + wordColumn)]);
    int64_t first = (alongRows ? wordRow : wordColumn) * perWord;
    uint8_t *to = alongRows ? base + first * rowStep + wordColumn * columnStep
                            : base + wordRow * rowStep + first * columnStep;
    int64_t count = std::min(perWord, along - first);
    for (int64_t i = 0; i < count; ++i)
      to[i * step] = word >> (places[i] * bits) & mask;
  };
  // In tiles, so that neither side of a transposition leaves the cache.
  constexpr int64_t tile = 64;
  for (int64_t top = 0; top < wordRows; top += tile)
    for (int64_t left = 0; left < wordColumns; left += tile)
      for (int64_t row = top; row < std::min(top + tile, wordRows); ++row)
        for (int64_t column = left; column < std::min(left + tile, wordColumns);
             ++column)
          unpackOne(row, column);
  return out;
}

static llvm::Error readCodes(const PackedWeight &weight,
                             std::vector<uint8_t> &out) {
  std::vector<uint8_t> words;
  if (llvm::Error error = weight.codes.read(words))
    return error;
  WordMatrix matrix{weight.columns, weight.rows, weight.bits,
                    /*alongRows=*/weight.method == QuantMethod::Gptq,
                    /*awqOrder=*/weight.method == QuantMethod::Awq};
  bool transposed = weight.method != QuantMethod::CompressedTensors;
  if (!transposed)
    std::swap(matrix.rows, matrix.columns);
  out = unpackWords(matrix, words, transposed);
  return llvm::Error::success();
}

// [rows, groups], checked to be numbers that give numbers.
static llvm::Error readScales(const PackedWeight &weight,
                              std::vector<float> &out) {
  std::vector<uint8_t> bytes;
  if (llvm::Error error = weight.scales.read(bytes))
    return error;
  std::vector<float> stored(weight.perTensor ? 1 : weight.rows * weight.groups);
  dequantise(weight.scales.info.type, bytes.data(), stored.size(),
             stored.data());
  if (weight.perTensor) {
    out.assign(weight.rows * weight.groups, stored.front());
  } else if (weight.method == QuantMethod::CompressedTensors) {
    out = std::move(stored);
  } else {
    out.resize(stored.size());
    for (int64_t group = 0; group < weight.groups; ++group)
      for (int64_t row = 0; row < weight.rows; ++row)
        out[row * weight.groups + group] = stored[group * weight.rows + row];
  }
  // Codes are less than 256 apart from their zero point.
  auto bad = llvm::find_if(
      out, [](float scale) { return !std::isfinite(scale * 256); });
  if (bad == out.end())
    return llvm::Error::success();
  int64_t at = bad - out.begin();
  return makeError("{0}: tensor '{1}' has the scale {2} for row {3}, group {4} "
                   "of the weight; the checkpoint is damaged",
                   weight.scales.file->path(), weight.scales.info.name,
                   shown(*bad), at / weight.groups, at % weight.groups);
}

// [rows, groups], as codes.
static llvm::Error readZeros(const PackedWeight &weight,
                             std::vector<uint8_t> &out) {
  int64_t middle = 1 << (weight.bits - 1), mask = (1 << weight.bits) - 1;
  if (!weight.zeros) {
    out.assign(weight.rows * weight.groups, middle);
    return llvm::Error::success();
  }
  std::vector<uint8_t> bytes;
  if (llvm::Error error = weight.zeros->read(bytes))
    return error;
  if (weight.zeros->info.type == ElementType::I8) {
    out = std::move(bytes);
    for (uint8_t &zero : out)
      zero += middle;
    if (weight.perTensor)
      out.assign(weight.rows * weight.groups, uint8_t(out.front()));
    return llvm::Error::success();
  }
  bool isCompressed = weight.method == QuantMethod::CompressedTensors;
  WordMatrix matrix{weight.groups, weight.rows, weight.bits,
                    /*alongRows=*/isCompressed,
                    /*awqOrder=*/weight.method == QuantMethod::Awq};
  if (isCompressed)
    std::swap(matrix.rows, matrix.columns);
  out = unpackWords(matrix, bytes, /*transposed=*/!isCompressed);
  if (weight.zerosMinusOne)
    for (uint8_t &zero : out)
      zero = (zero + 1) & mask;
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Choosing a format
//===----------------------------------------------------------------------===//

// The columns sorted by group, or nothing when they are.
static std::vector<int32_t> sortedByGroup(llvm::ArrayRef<int32_t> groups) {
  if (llvm::is_sorted(groups))
    return {};
  std::vector<int32_t> order(groups.size());
  std::iota(order.begin(), order.end(), 0);
  llvm::sort(order, [&](int32_t a, int32_t b) {
    return std::pair(groups[a], a) < std::pair(groups[b], b);
  });
  return order;
}

static int32_t groupAt(const PackedWeight &weight, int64_t place) {
  return weight
      .groupOfColumn[weight.order.empty() ? place : weight.order[place]];
}

// The widest group of the formats, at most 128 and no wider than a row needs,
// that never crosses from one stored group into another; 0 when there is none.
static uint32_t formatGroup(const PackedWeight &weight) {
  for (uint32_t group : {128, 64, 32, 16}) {
    bool fits = group == 16 || group / 2 < weight.columns;
    for (int64_t begin = 0; fits && begin < weight.columns; begin += group) {
      int64_t last = std::min<int64_t>(begin + group, weight.columns) - 1;
      fits = groupAt(weight, begin) == groupAt(weight, last);
    }
    if (fits)
      return group;
  }
  return 0;
}

static bool isHalf(float value) { return float(_Float16(value)) == value; }

// 16 bits of a float's 24: the product with a code of 8 bits is exact.
static bool isShort(float value) {
  return (std::bit_cast<uint32_t>(value) & 0xff) == 0;
}

static llvm::Error chooseFormat(PackedWeight &weight) {
  weight.order = sortedByGroup(weight.groupOfColumn);
  std::vector<float> scales;
  std::vector<uint8_t> zeros;
  if (llvm::Error error = readScales(weight, scales))
    return error;
  if (llvm::Error error = readZeros(weight, zeros))
    return error;
  QuantFormat format;
  format.bits = weight.bits;
  format.group = formatGroup(weight);
  format.scale = llvm::all_of(scales, isHalf) ? QuantFormat::Real::kF16
                                              : QuantFormat::Real::kF32;
  bool symmetric = llvm::all_of(
      zeros, [&](uint8_t zero) { return zero == 1 << (weight.bits - 1); });
  if (!symmetric)
    format.offset = QuantFormat::Real::kF32;
  if (format.group && (symmetric || llvm::all_of(scales, isShort)))
    weight.format = format;
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// The collection
//===----------------------------------------------------------------------===//

static const PartNames &partNames(QuantMethod method) {
  static constexpr PartNames words = {"qweight", "scales", "qzeros", "g_idx",
                                      ""};
  static constexpr PartNames packed = {"weight_packed", "weight_scale",
                                       "weight_zero_point", "weight_g_idx",
                                       "weight_shape"};
  return method == QuantMethod::CompressedTensors ? packed : words;
}

llvm::Expected<std::unique_ptr<PackedWeights>>
PackedWeights::collect(const QuantConfig &config,
                       llvm::ArrayRef<std::unique_ptr<InputFile>> files,
                       std::vector<TensorInfo> &tensors) {
  const PartNames &names = partNames(config.method);
  llvm::StringMap<PackedPart> parts;
  std::vector<std::string> modules; // in the order of the file
  for (const TensorInfo &tensor : tensors) {
    parts.try_emplace(tensor.name,
                      PackedPart{tensor, files[tensor.file].get()});
    llvm::StringRef module = tensor.name;
    if (module.consume_back(names.codes) && module.consume_back("."))
      modules.push_back(module.str());
  }
  auto result = std::make_unique<PackedWeights>();
  for (llvm::StringRef module : modules) {
    if (std::string what = whatIgnores(config, module); !what.empty())
      return makeError(
          "{0}: '{1}' is stored quantised, but quantization_config says {2}; "
          "one of the two is from another checkpoint",
          parts.find((module + "." + names.codes).str())->second.file->path(),
          module, what);
    auto weight = WeightReader(config, names, module, parts).read();
    if (!weight)
      return weight.takeError();
    if (llvm::Error error = chooseFormat(*weight))
      return std::move(error);
    result->weights.push_back(std::move(*weight));
  }
  llvm::erase_if(tensors, [&](const TensorInfo &tensor) {
    return !parts.contains(tensor.name);
  });
  for (auto [index, weight] : llvm::enumerate(result->weights)) {
    TensorInfo tensor = weight.codes.info;
    tensor.name = weight.module + ".weight";
    tensor.type = weight.scales.info.type;
    tensor.shape = {weight.rows, weight.columns};
    tensor.packed = index;
    tensors.push_back(std::move(tensor));
  }
  return std::move(result);
}

llvm::Expected<std::shared_ptr<const PackedWeights::Unpacked>>
PackedWeights::unpack(unsigned index) const {
  std::lock_guard<std::mutex> lock(mutex);
  auto found =
      llvm::find_if(kept, [&](auto &entry) { return entry.first == index; });
  if (found != kept.end()) {
    kept.splice(kept.begin(), kept, found);
    return kept.front().second;
  }
  auto unpacked = std::make_shared<Unpacked>();
  if (llvm::Error error = readCodes(weights[index], unpacked->codes))
    return std::move(error);
  if (llvm::Error error = readScales(weights[index], unpacked->scales))
    return std::move(error);
  if (llvm::Error error = readZeros(weights[index], unpacked->zeros))
    return std::move(error);
  kept.emplace_front(index, std::move(unpacked));
  if (kept.size() > maxKept)
    kept.pop_back();
  return kept.front().second;
}

llvm::Error PackedWeights::readRows(unsigned index, int64_t begin, int64_t end,
                                    float *out) const {
  const PackedWeight &weight = weights[index];
  auto unpacked = unpack(index);
  if (!unpacked)
    return unpacked.takeError();
  for (int64_t row = begin; row < end; ++row)
    for (int64_t column = 0; column < weight.columns; ++column) {
      int64_t group = row * weight.groups + weight.groupOfColumn[column];
      int code = (*unpacked)->codes[row * weight.columns + column];
      *out++ =
          (*unpacked)->scales[group] * float(code - (*unpacked)->zeros[group]);
    }
  return llvm::Error::success();
}

llvm::Error PackedWeights::readQuantised(unsigned index, int64_t begin,
                                         int64_t end, QuantRows &out) const {
  const PackedWeight &weight = weights[index];
  auto unpacked = unpack(index);
  if (!unpacked)
    return unpacked.takeError();
  out.resize(*weight.format, end - begin, weight.columns);
  uint8_t *to = out.codes.data();
  for (int64_t row = begin; row < end; ++row, to += weight.columns) {
    const uint8_t *from = &(*unpacked)->codes[row * weight.columns];
    if (weight.order.empty())
      std::copy_n(from, weight.columns, to);
    else
      for (auto [place, column] : llvm::enumerate(weight.order))
        to[place] = from[column];
  }
  size_t at = 0;
  for (int64_t row = begin; row < end; ++row)
    for (int64_t place = 0; place < weight.columns;
         place += weight.format->group, ++at) {
      int64_t group = row * weight.groups + groupAt(weight, place);
      float scale = (*unpacked)->scales[group];
      out.scales[at] = scale;
      if (!out.offsets.empty())
        out.offsets[at] = -(scale * float((*unpacked)->zeros[group]));
    }
  return llvm::Error::success();
}
