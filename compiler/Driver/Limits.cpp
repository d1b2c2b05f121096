// The roofline of a plan; see Limits.h.

#include "stele/compiler/Driver/Limits.h"
#include "stele/dialects/Lm/LmAttrs.h"
#include "stele/dialects/Lm/LmDialect.h"
#include "stele/dialects/Plan/PlanOps.h"
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

/// Pages of one layer and KV head for one sequence of `context` tokens.
static int64_t pagesOf(PageShapeAttr page, int64_t context) {
  return page.getFeatures() ? 1 : llvm::divideCeil(context, page.getBlock());
}

static int64_t bytesOfCache(ModuleOp plan, StringRef target, int64_t context) {
  int64_t bytes = 0;
  for (auto cache : plan.getOps<KvCacheOp>())
    if (cache.getTarget() == target)
      bytes += int64_t(cache.getLayers()) * cache.getPage().getHeads() *
               cache.getPage().getPageBytes() *
               pagesOf(cache.getPage(), context);
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
      weights + bytesOfCache(plan, target.name, model.getContextLength());
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
    text += llvm::formatv("; weights and a context of {0} are {1:f1} GiB, its "
                          "memory {2:f1} GiB",
                          model.getContextLength(),
                          double(limits.bytes) / (1 << 30),
                          double(target.limits.memoryBytes) / (1 << 30))
                .str();
  return text;
}
