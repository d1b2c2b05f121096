// The roofline of a plan; see Limits.h.

#include "stele/compiler/Driver/Limits.h"
#include "stele/compiler/Targets/Sizes.h"
#include "stele/dialects/Lm/LmAttrs.h"
#include "stele/dialects/Lm/LmDialect.h"
#include "stele/dialects/Plan/PlanOps.h"
#include "stele/schema/key_index.h"
#include "stele/schema/kv_page.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace stele;
using namespace stele::compiler;
using namespace stele::plan_ir;

static int64_t bytesOfWeights(ModuleOp plan) {
  int64_t bytes = 0;
  for (auto segment : plan.getOps<SegmentOp>())
    if (segment.getKind() == SegmentKind::Weights)
      bytes += segment.getLength().value_or(0);
  return bytes;
}

/// Pages, slots and records of one sequence of `blocks` blocks.
static int64_t bytesOfPagedBlocks(KvCacheOp cache, int64_t blocks) {
  PageShapeAttr page = cache.getPage();
  PagingAttr paging = cache.getPagingAttr();
  const int64_t block = page.getBlock();
  const int64_t pages = int64_t(cache.getLayers()) * page.getHeads();
  int64_t hot = schema::KvHotBlocks(blocks, paging.getHot(), paging.getGrid(),
                                    paging.getSinks(), block);
  int64_t fallen =
      int64_t(schema::KvFallen((blocks - 1) * block, paging.getHot(),
                               paging.getGrid(), paging.getSinks(), block)) -
      paging.getSinks();
  int64_t warm = paging.getWarmTokens() > 0
                     ? std::min<int64_t>(fallen, paging.getWarmTokens() / block)
                     : fallen;
  return (hot * pages + cache.getSlots()) * page.getPageBytes() +
         warm * pages * paging.getWarmBytes();
}

/// What one sequence of `context` tokens takes of memory; not what is on disk.
static int64_t bytesOfCache(KvCacheOp cache, int64_t context) {
  PageShapeAttr page = cache.getPage();
  const int64_t pages = int64_t(cache.getLayers()) * page.getHeads();
  if (page.getFeatures())
    return pages * page.getPageBytes();
  const int64_t blocks = llvm::divideCeil(context, page.getBlock());
  int64_t index =
      page.getKeyIndex()
          ? pages * schema::KeyIndexRowBytes(blocks, page.getHeadDim(),
                                             page.getValueIndex())
          : 0;
  return index + (cache.getPagingAttr() ? bytesOfPagedBlocks(cache, blocks)
                                        : blocks * pages * page.getPageBytes());
}

static int64_t bytesOfCaches(ModuleOp plan, StringRef target, int64_t context) {
  int64_t bytes = 0;
  for (auto cache : plan.getOps<KvCacheOp>())
    if (cache.getTarget() == target)
      bytes += bytesOfCache(cache, context);
  return bytes;
}

static lm::ModelAttr modelOf(ModuleOp plan) {
  return plan->getAttrOfType<lm::ModelAttr>(lm::LmDialect::modelAttrName);
}

static StringRef arithmeticOf(ModuleOp plan) {
  auto arithmetic = plan->getAttrOfType<lm::ArithmeticAttr>(
      lm::LmDialect::arithmeticAttrName);
  return lm::stringifyArithmetic(arithmetic ? arithmetic.getValue()
                                            : lm::Arithmetic::F32);
}

static int64_t operationsPerSecond(const MachineLimits &limits,
                                   StringRef arithmetic) {
  if (arithmetic == "int8")
    return limits.int8PerSecond;
  return arithmetic == "bf16" ? limits.bf16PerSecond : limits.f32PerSecond;
}

SpeedLimits compiler::limitsOf(ModuleOp plan, const Target &target) {
  lm::ModelAttr model = modelOf(plan);
  int64_t weights = bytesOfWeights(plan);
  SpeedLimits limits;
  limits.decode = double(target.limits.memoryBytesPerSecond) /
                  std::max<int64_t>(weights, 1);
  limits.prefill =
      double(operationsPerSecond(target.limits, arithmeticOf(plan))) /
      (2.0 * std::max<int64_t>(model.getParameters(), 1));
  limits.bytes =
      weights + bytesOfCaches(plan, target.name, model.getContextLength());
  return limits;
}

std::string compiler::describeLimits(ModuleOp plan, const Target &target) {
  SpeedLimits limits = limitsOf(plan, target);
  lm::ModelAttr model = modelOf(plan);
  std::string text = llvm::formatv(
      "{0} as described: decode at most {1:f0} tokens/s (memory), prefill at "
      "most {2:f0} tokens/s ({3})",
      target.name, limits.decode, limits.prefill, arithmeticOf(plan));
  if (limits.bytes > target.limits.memoryBytes)
    text += llvm::formatv("; weights and a context of {0} are {1}, its memory "
                          "{2}",
                          model.getContextLength(), showBytes(limits.bytes),
                          showBytes(target.limits.memoryBytes))
                .str();
  return text;
}
