// Packed weights of an artifact (Segments.h).

#include "stele/compiler/Driver/Segments.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "stele/compiler/Codegen/Host/WeightLayout.h"
#include "stele/compiler/Import/Errors.h"
#include "stele/compiler/Quantise/Quantise.h"
#include "llvm/Support/EndianStream.h"

using namespace mlir;
using namespace stele;
using namespace stele::compiler;
using namespace stele::plan_ir;
using checkpoint::makeError;

static SmallVector<lm::SegmentAttr> sourcesOf(TensorOp tensor) {
  return llvm::to_vector(tensor.getSegments()->getAsRange<lm::SegmentAttr>());
}

/// Hands `read` the pieces that rows [begin, end) of a weight are made of: a
/// tensor of the checkpoint, which of its rows, and which row of the weight the
/// first of them is.
static llvm::Error forEachSource(
    ArrayRef<lm::SegmentAttr> sources, StringRef name,
    const checkpoint::Checkpoint &checkpoint, int64_t columns, int64_t begin,
    int64_t end,
    llvm::function_ref<llvm::Error(const checkpoint::TensorInfo &, int64_t from,
                                   int64_t to, int64_t row)>
        read) {
  int64_t first = 0; // of this segment, among the weight's rows
  for (lm::SegmentAttr source : sources) {
    int64_t from = std::max(begin, first);
    int64_t to = std::min(end, first + source.getRows());
    if (from < to) {
      const checkpoint::TensorInfo *info = checkpoint.find(source.getSource());
      if (!info)
        return makeError("{0}: tensor {1}, of which @{2} is made, is not "
                         "there; is this the checkpoint that the module came "
                         "from?",
                         checkpoint.path(),
                         checkpoint.nameInFile(source.getSource()), name);
      if (info->rowWidth() != columns)
        return makeError("{0}: tensor {1} has shape {2}, @{3} takes rows of "
                         "{4} elements from it",
                         checkpoint.path(),
                         checkpoint.nameInFile(source.getSource()),
                         checkpoint::describeShape(info->shape), name, columns);
      int64_t skip = source.getFirstRow() - first;
      if (llvm::Error error = read(*info, from + skip, to + skip, from))
        return error;
    }
    first += source.getRows();
  }
  return llvm::Error::success();
}

llvm::Error compiler::readSources(ArrayRef<lm::SegmentAttr> sources,
                                  StringRef name,
                                  const checkpoint::Checkpoint &checkpoint,
                                  int64_t columns, int64_t begin, int64_t end,
                                  float *out) {
  return forEachSource(sources, name, checkpoint, columns, begin, end,
                       [&](const checkpoint::TensorInfo &info, int64_t from,
                           int64_t to, int64_t row) {
                         return checkpoint.readRows(
                             info, from, to, out + (row - begin) * columns);
                       });
}

static llvm::Error readValue(DenseFPElementsAttr value, int64_t columns,
                             int64_t begin, int64_t end, float *out) {
  auto floats = value.getValues<float>();
  std::copy(floats.begin() + begin * columns, floats.begin() + end * columns,
            out);
  return llvm::Error::success();
}

/// The numbers of a weight: where they come from, times its scales.
class FloatReader {
public:
  FloatReader(TensorOp tensor, const checkpoint::Checkpoint &checkpoint,
              int64_t columns)
      : tensor(tensor), checkpoint(checkpoint), columns(columns),
        rowScale(toFloats(tensor.getRowScaleAttr())),
        columnScale(toFloats(tensor.getColumnScaleAttr())) {}

  llvm::Error operator()(int64_t begin, int64_t end, float *out) {
    auto value = dyn_cast_or_null<DenseFPElementsAttr>(tensor.getValueAttr());
    if (llvm::Error error =
            value ? readValue(value, columns, begin, end, out)
                  : readSources(sourcesOf(tensor), tensor.getSymName(),
                                checkpoint, columns, begin, end, out))
      return error;
    for (int64_t row = begin; row < end; ++row, out += columns) {
      if (!rowScale.empty())
        for (int64_t column = 0; column < columns; ++column)
          out[column] *= rowScale[row];
      if (!columnScale.empty())
        for (int64_t column = 0; column < columns; ++column)
          out[column] *= columnScale[column];
    }
    return llvm::Error::success();
  }

  static std::vector<float> toFloats(ElementsAttr elements) {
    if (!elements)
      return {};
    auto values = cast<DenseElementsAttr>(elements).getValues<float>();
    return {values.begin(), values.end()};
  }

private:
  TensorOp tensor;
  const checkpoint::Checkpoint &checkpoint;
  int64_t columns;
  std::vector<float> rowScale, columnScale;
};

/// Puts `part` where `row` is the first of its rows.
static void copyRows(const checkpoint::QuantRows &part, int64_t row,
                     int64_t columns, int64_t groups,
                     checkpoint::QuantRows &out) {
  llvm::copy(part.codes, out.codes.begin() + row * columns);
  llvm::copy(part.scales, out.scales.begin() + row * groups);
  if (!part.offsets.empty()) // else symmetric
    llvm::copy(part.offsets, out.offsets.begin() + row * groups);
}

/// Rows of a quantised weight as the checkpoint stores them.
static llvm::Error readCodes(TensorOp tensor,
                             const checkpoint::Checkpoint &checkpoint,
                             int64_t columns, int64_t begin, int64_t end,
                             checkpoint::QuantRows &out) {
  const schema::QuantFormat format = tensor.getQuantAttr().getFormat();
  out.resize(format, end - begin, columns);
  checkpoint::QuantRows part;
  return forEachSource(
      sourcesOf(tensor), tensor.getSymName(), checkpoint, columns, begin, end,
      [&](const checkpoint::TensorInfo &info, int64_t from, int64_t to,
          int64_t row) -> llvm::Error {
        if (checkpoint.quantFormat(info) != format)
          return makeError("{0}: tensor {1} is not quantised as @{2} says; is "
                           "this the checkpoint that the module came from?",
                           checkpoint.path(), info.name, tensor.getSymName());
        if (llvm::Error error = checkpoint.readQuantised(info, from, to, part))
          return error;
        copyRows(part, row - begin, columns,
                 checkpoint::groupsOf(format, columns), out);
        return llvm::Error::success();
      });
}

/// Says which tensor it was, and keeps the kind of error.
static llvm::Error nameOverflow(llvm::Error error, TensorOp tensor,
                                int64_t begin) {
  const bool isHalf = error.isA<ScaleOverflow>();
  std::string message = llvm::formatv(
      "tensor @{0} from row {1} on: {2}; store it unquantised "
      "with --quant none",
      tensor.getSymName(), begin, llvm::toString(std::move(error)));
  if (!isHalf)
    return llvm::createStringError(message);
  return llvm::make_error<ScaleOverflow>(
      std::move(message), std::vector<std::string>{tensor.getSymName().str()});
}

static llvm::Error writeQuantised(TensorOp tensor,
                                  const checkpoint::Checkpoint &checkpoint,
                                  int64_t rows, int64_t columns,
                                  llvm::raw_ostream &out) {
  const schema::QuantFormat format = tensor.getQuantAttr().getFormat();
  lm::RoundingAttr rounding = tensor.getRoundingAttr();
  FloatReader readFloats(tensor, checkpoint, columns);
  std::vector<float> importance =
      FloatReader::toFloats(tensor.getImportanceAttr());
  RoundingOptions options;
  if (rounding)
    options = {rounding.getKind() == lm::RoundingKind::Clipped,
               rounding.getPerChannel(), importance};
  std::vector<float> floats;
  auto read = [&](int64_t begin, int64_t end,
                  checkpoint::QuantRows &to) -> llvm::Error {
    if (!rounding)
      return readCodes(tensor, checkpoint, columns, begin, end, to);
    floats.resize((end - begin) * columns);
    if (llvm::Error error = readFloats(begin, end, floats.data()))
      return error;
    if (llvm::Error error =
            quantise(format, options, end - begin, columns, floats.data(), to))
      return nameOverflow(std::move(error), tensor, begin);
    return llvm::Error::success();
  };
  return packQuantised(tensor.getLayout(), format, rows, columns, read, out);
}

/// A prepared table of integers, such as an order of columns.
static llvm::Error writeIntegers(DenseIntElementsAttr value,
                                 llvm::raw_ostream &out) {
  for (int32_t element : value.getValues<int32_t>())
    llvm::support::endian::write<int32_t>(out, element,
                                          llvm::endianness::little);
  return llvm::Error::success();
}

static llvm::Error writeTensor(TensorOp tensor,
                               const checkpoint::Checkpoint &checkpoint,
                               llvm::raw_ostream &out) {
  RankedTensorType type = tensor.getTensorType();
  int64_t rows = type.getDimSize(0);
  int64_t columns = type.getNumElements() / rows;
  if (!tensor.getValueAttr() && !tensor.getSegments())
    return makeError("tensor @{0} has neither segments nor a value; compile "
                     "from a phase before the artifact",
                     tensor.getSymName());
  if (tensor.getQuantAttr())
    return writeQuantised(tensor, checkpoint, rows, columns, out);
  if (auto value =
          dyn_cast_or_null<DenseIntElementsAttr>(tensor.getValueAttr());
      value && type.getElementType().isInteger(32))
    return writeIntegers(value, out);
  PackedType packed =
      type.getElementType().isBF16() ? PackedType::BF16 : PackedType::F32;
  if (packed == PackedType::F32 && !type.getElementType().isF32())
    return makeError("tensor @{0} has an element type that cannot be packed; "
                     "use f32 or bf16",
                     tensor.getSymName());
  FloatReader read(tensor, checkpoint, columns);
  return packWeight(tensor.getLayout(), packed, rows, columns, read, out);
}

/// Writes the tensors in the order of their places. Where scales overflow, goes
/// on with the next, so that one error names all of them.
static llvm::Error writeTensors(ArrayRef<TensorOp> tensors,
                                const checkpoint::Checkpoint &checkpoint,
                                llvm::raw_ostream &out) {
  const uint64_t start = out.tell();
  std::vector<std::string> overflown;
  std::string message; // of the first
  for (TensorOp tensor : tensors) {
    out.write_zeros(start + tensor.getOffset() - out.tell());
    llvm::Error error = llvm::handleErrors(
        writeTensor(tensor, checkpoint, out), [&](const ScaleOverflow &each) {
          if (overflown.empty())
            message = each.message();
          llvm::append_range(overflown, each.weights);
        });
    if (error)
      return error;
  }
  if (overflown.empty())
    return llvm::Error::success();
  return llvm::make_error<ScaleOverflow>(std::move(message),
                                         std::move(overflown));
}

SegmentBytes compiler::makeWeights(SegmentOp segment,
                                   const checkpoint::Checkpoint &checkpoint) {
  auto module = segment->getParentOfType<ModuleOp>();
  std::vector<TensorOp> tensors;
  for (auto tensor : module.getOps<TensorOp>())
    if (tensor.getSegment() == segment.getSymName())
      tensors.push_back(tensor);
  llvm::sort(tensors, [](TensorOp a, TensorOp b) {
    return a.getOffset() < b.getOffset();
  });
  return {uint64_t(segment.getLength().value_or(0)),
          [tensors, &checkpoint](llvm::raw_ostream &out) -> llvm::Error {
            return writeTensors(tensors, checkpoint, out);
          }};
}
