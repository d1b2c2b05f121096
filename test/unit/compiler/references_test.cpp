// stele-add-references: the weights that it makes are the mean queries turned
// by every distance, by the reference's own rotation, for every kind of rope.
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "stele/compiler/Transforms/Passes.h"
#include "stele/dialects/Lm/LmConstants.h"
#include "stele/dialects/Lm/LmOps.h"
#include "stele/dialects/Lm/reference/Reference.h"
#include "gtest/gtest.h"
#include <random>

using namespace mlir;
using namespace stele;

namespace {

struct Case {
  int64_t headDim;
  std::string rope;            // empty: none
  int64_t context, begin, end; // distances that are expected
};

std::string sparseModule(const Case &c) {
  std::string dim = std::to_string(c.headDim);
  std::string rows = "tensor<?x" + std::to_string(4 * c.headDim) + "xf32>";
  std::string rope = c.rope.empty() ? "" : " rope(" + c.rope + ")";
  std::string select =
      " <block = 16, local = 1, adjacent = 1, sink = 1, select = top_k(2), "
      "estimate = mean_key>";
  return "!c = !lm.kv_cache<layers = 1, heads = 2, head_dim = " + dim +
         R"(, block = 16, f32, key_index = true>
module attributes {lm.model = #lm.model<architecture = "llama", name = "t", vocab = 35, hidden = 64, layers = 1, heads = 4, kv_heads = 2, head_dim = )" +
         dim + ", context_length = " + std::to_string(c.context) +
         R"(, trained_context = 1048576, parameters = 1>} {
  func.func @forward(%x: )" +
         rows +
         R"(, %b: !lm.batch, %c: !c) -> !lm.selection<heads = 2, block = 16> {
    %c1 = lm.kv_append %x, %x, %c, %b layer 0)" +
         rope + " : " + rows + ", " + rows + R"(, !c
    %s = lm.select_blocks %x, %c1, %b layer 0 heads 4 scale 0.5)" +
         select + rope + " : " + rows +
         R"(, !c -> !lm.selection<heads = 2, block = 16>
    return %s : !lm.selection<heads = 2, block = 16>
  }
})";
}

SmallVector<float> randomValues(int64_t count) {
  std::mt19937 random(5);
  SmallVector<float> values;
  for (int64_t i = 0; i < count; ++i)
    values.push_back(std::normal_distribution<float>()(random));
  return values;
}

// The mean of a row of queries, turned by each distance. An attention factor is
// the kernel's.
std::vector<double> turned(ArrayRef<float> query, lm::RopeAttr rope,
                           const Case &c) {
  lm::reference::Rope plain;
  if (rope) {
    SmallVector<float> frequencies = lm::inverseFrequencies(rope);
    plain.frequencies = {frequencies.begin(), frequencies.end()};
  }
  std::vector<double> sum(query.size());
  for (int64_t distance = c.begin; distance < c.end; ++distance) {
    std::vector<double> row(query.begin(), query.end());
    lm::reference::rotate(row.data(), plain, distance);
    for (size_t d = 0; d < row.size(); ++d)
      sum[d] += row[d] / double(c.end - c.begin);
  }
  return sum;
}

const Case kCases[] = {
    {64, "", 8192, 0, 1},
    {64, "#lm.rope<theta = 1.0e+05, dims = 64>", 8192, 256, 4096},
    {80, "#lm.rope<theta = 1.0e+04, dims = 32>", 2048, 128, 2048},
    {96,
     "#lm.rope<theta = 1.0e+04, dims = 96, scaling = #lm.linear<factor = 4.0>>",
     8192, 256, 4096},
    {128,
     "#lm.rope<theta = 5.0e+05, dims = 128, scaling = #lm.llama3<factor = 8.0, "
     "low_freq_factor = 1.0, high_freq_factor = 4.0, original = 8192>>",
     131072, 256, 4096},
    {64,
     "#lm.rope<theta = 1.0e+06, dims = 64, scaling = #lm.yarn<factor = 4.0, "
     "original = 32768, attention_factor = 1.1386294361119891>, dual_chunk = "
     "#lm.dual_chunk<chunk = 1024, local = 256, original = 1024>>",
     131072, 64, 1024},
};

TEST(AddReferences, AveragesOverDistances) {
  for (const Case &c : kCases) {
    SCOPED_TRACE(c.rope);
    MLIRContext context;
    context.loadDialect<lm::LmDialect, func::FuncDialect>();
    OwningOpRef<ModuleOp> module =
        parseSourceString<ModuleOp>(sparseModule(c), &context);
    ASSERT_TRUE(module);
    SmallVector<float> queries = randomValues(2 * c.headDim);
    auto type =
        RankedTensorType::get({2, c.headDim}, Float32Type::get(&context));
    Attribute layer = DenseElementsAttr::get(type, ArrayRef(queries));
    (*module)->setAttr(lm::LmDialect::meanQueriesAttrName,
                       ArrayAttr::get(&context, layer));
    PassManager manager(&context);
    manager.addPass(compiler::createAddReferences());
    ASSERT_TRUE(succeeded(manager.run(*module)));

    lm::KvAppendOp append;
    module->walk([&](lm::KvAppendOp op) { append = op; });
    ASSERT_TRUE(append.getReferenceAttr());
    auto weight =
        module->lookupSymbol<lm::WeightOp>(append.getReferenceAttr().getAttr());
    SmallVector<float> made(
        cast<DenseElementsAttr>(*weight.getValue()).getValues<float>());
    for (int64_t g = 0; g < 2; ++g) {
      auto row = ArrayRef(queries).slice(g * c.headDim, c.headDim);
      std::vector<double> want = turned(row, append.getRopeAttr(), c);
      for (int64_t d = 0; d < c.headDim; ++d)
        ASSERT_NEAR(made[g * c.headDim + d], want[d], 1e-5) << g << " " << d;
    }
  }
}

} // namespace
