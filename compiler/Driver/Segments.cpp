// Packed weights of an artifact (Segments.h).

#include "stele/compiler/Driver/Segments.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "stele/compiler/Codegen/Host/WeightLayout.h"
#include "stele/compiler/Import/Errors.h"

using namespace mlir;
using namespace stele;
using namespace stele::compiler;
using namespace stele::plan_ir;
using checkpoint::makeError;

/// Rows [begin, end) of a tensor that is made of rows of the checkpoint's.
static llvm::Error readSources(TensorOp tensor,
                               const checkpoint::Checkpoint &checkpoint,
                               int64_t columns, int64_t begin, int64_t end,
                               float *out) {
  int64_t first = 0; // of this segment, among the tensor's rows
  for (auto source : tensor.getSegments()->getAsRange<lm::SegmentAttr>()) {
    int64_t from = std::max(begin, first);
    int64_t to = std::min(end, first + source.getRows());
    if (from < to) {
      const checkpoint::TensorInfo *info = checkpoint.find(source.getSource());
      if (!info)
        return makeError("{0}: tensor {1}, of which @{2} is made, is not "
                         "there; is this the checkpoint that the module came "
                         "from?",
                         checkpoint.path(), source.getSource(),
                         tensor.getSymName());
      if (info->rowWidth() != columns)
        return makeError("{0}: tensor {1} has shape {2}, @{3} takes rows of "
                         "{4} elements from it",
                         checkpoint.path(), source.getSource(),
                         checkpoint::describeShape(info->shape),
                         tensor.getSymName(), columns);
      int64_t skip = source.getFirstRow() - first;
      if (llvm::Error error = checkpoint.readRows(
              *info, from + skip, to + skip, out + (from - begin) * columns))
        return error;
    }
    first += source.getRows();
  }
  return llvm::Error::success();
}

static llvm::Error readValue(DenseFPElementsAttr value, int64_t columns,
                             int64_t begin, int64_t end, float *out) {
  auto floats = value.getValues<float>();
  std::copy(floats.begin() + begin * columns, floats.begin() + end * columns,
            out);
  return llvm::Error::success();
}

static llvm::Error writeTensor(TensorOp tensor,
                               const checkpoint::Checkpoint &checkpoint,
                               llvm::raw_ostream &out) {
  RankedTensorType type = tensor.getTensorType();
  int64_t rows = type.getDimSize(0);
  int64_t columns = type.getNumElements() / rows;
  PackedType packed =
      type.getElementType().isBF16() ? PackedType::BF16 : PackedType::F32;
  if (packed == PackedType::F32 && !type.getElementType().isF32())
    return makeError("tensor @{0} has an element type that cannot be packed; "
                     "use f32 or bf16",
                     tensor.getSymName());
  auto value = dyn_cast_or_null<DenseFPElementsAttr>(tensor.getValueAttr());
  if (!value && !tensor.getSegments())
    return makeError("tensor @{0} has neither segments nor a value; compile "
                     "from a phase before the artifact",
                     tensor.getSymName());
  return packWeight(
      tensor.getLayout(), packed, rows, columns,
      [&](int64_t begin, int64_t end, float *to) {
        return value ? readValue(value, columns, begin, end, to)
                     : readSources(tensor, checkpoint, columns, begin, end, to);
      },
      out);
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
            uint64_t start = out.tell();
            for (TensorOp tensor : tensors) {
              TensorOp each = tensor;
              out.write_zeros(start + each.getOffset() - out.tell());
              if (llvm::Error error = writeTensor(each, checkpoint, out))
                return error;
            }
            return llvm::Error::success();
          }};
}
