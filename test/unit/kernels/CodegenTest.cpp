// HostCodegen and WeightLayout: what they refuse, what an image holds, how
// panels are packed.
#include <cstring>
#include <set>

#include "Harness.h"
#include "stele/compiler/Codegen/Host/Templates.h"
#include "stele/compiler/Codegen/Host/WeightLayout.h"
#include "gmock/gmock.h"

namespace stele::test {
namespace {

using compiler::HostCodegen;
using testing::ElementsAre;
using testing::HasSubstr;

std::unique_ptr<HostCodegen> makeCodegen(llvm::StringRef isa = "x86-64-v3") {
  auto codegen = HostCodegen::create(isa, {});
  EXPECT_TRUE(bool(codegen));
  return std::move(*codegen);
}

KernelInstance addInstance(int width) {
  return {"add", {{"width", width}}, {}};
}

TEST(HostCodegen, NamesWhatIsWrongWithAnInstance) {
  auto codegen = makeCodegen();
  auto message = [&](const KernelInstance &instance) {
    return llvm::toString(codegen->add(instance));
  };
  EXPECT_EQ(message({"add", {}, {}}),
            "kernel template add needs the integer constant width");
  EXPECT_EQ(message({"add", {{"width", 4}, {"widht", 4}}, {}}),
            "kernel template add has no constant widht; the nearest is width");
  EXPECT_EQ(message({"add", {}, {{"width", 4.0}}}),
            "kernel template add needs the integer constant width");
  EXPECT_EQ(message({"add", {{"width", int64_t(1) << 31}}, {}}),
            "kernel template add: constant width = 2147483648 does not fit 32 "
            "bits");
  EXPECT_EQ(message({"linear_bf61", {}, {}}),
            "no kernel template linear_bf61 for x86-64-v3; the nearest is "
            "linear_bf16");
  EXPECT_EQ(
      llvm::toString(HostCodegen::create("x86-64-v2", {}).takeError()),
      "no host kernels for the ISA level x86-64-v2; there are x86-64-v3 and "
      "x86-64-v4");
}

TEST(HostCodegen, LinksAllInstancesIntoOneStrictImage) {
  auto codegen = makeCodegen();
  for (int width : {1, 2, 2, 3})
    ASSERT_FALSE(bool(codegen->add(addInstance(width))));
  auto image = codegen->link();
  ASSERT_TRUE(bool(image)) << llvm::toString(image.takeError());
  auto loaded = ElfImage::Load(
      {reinterpret_cast<const uint8_t *>(image->data()), image->size()});
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  for (int width : {1, 2, 3})
    EXPECT_NE((*loaded)->Find(addInstance(width).symbol()), nullptr);
  EXPECT_EQ((*loaded)->Find(addInstance(4).symbol()), nullptr);
}

TEST(HostCodegen, GivesTheSameBytesForTheSameInstances) {
  auto build = [](const std::vector<KernelInstance> &instances, unsigned jobs) {
    auto codegen = llvm::cantFail(
        HostCodegen::create("x86-64-v3", {}, compiler::ObjectCache("")));
    llvm::cantFail(codegen->add(instances, jobs));
    EXPECT_EQ(codegen->numCached(), 0u);
    return llvm::cantFail(codegen->link());
  };
  KernelInstance one = addInstance(1), two = addInstance(2),
                 three = addInstance(3);
  std::vector<char> image = build({one, two, three}, 1);
  EXPECT_EQ(build({three, one, two, one}, 1), image);
  EXPECT_EQ(build({two, three, one}, 3), image);
}

TEST(HostCodegen, SaysWhatIsWrongWithOneOfMany) {
  auto codegen = makeCodegen();
  std::vector<KernelInstance> instances = {
      addInstance(1), {"add", {}, {}}, {"sub", {}, {}}, addInstance(2)};
  // The first of them by symbol, whichever thread was faster.
  EXPECT_EQ(llvm::toString(codegen->add(instances, 4)),
            "kernel template add needs the integer constant width");
}

TEST(HostCodegen, SymbolsFollowFromConstantsAlone) {
  KernelInstance a{"t", {{"b", 1}, {"a", -2}}, {{"eps", 1e-5}}};
  EXPECT_EQ(a.symbol(), "t__a_m2__b_1__eps_x3727c5ac");
}

// Every row of kernels-templates/selection.inc names a template that exists for
// the least ISA level it promises.
TEST(Selection, NamesTemplatesThatExist) {
  std::set<std::pair<std::string, std::string>> known;
  for (const compiler::TemplateBitcode &entry : compiler::hostTemplates())
    known.emplace(entry.name, entry.isa);
  int rows = 0;
  auto check = [&](const char *templateName, const char *isa) {
    ++rows;
    EXPECT_TRUE(known.count({templateName, isa}))
        << templateName << " for " << isa;
  };
#define STELE_TILE(name, value)
#define STELE_KERNEL(operation, arithmetic, isa, features, kernel, layout,     \
                     ...)                                                      \
  check(kernel, isa);
#include "../../../kernels-templates/selection.inc"
#undef STELE_KERNEL
#undef STELE_TILE
  EXPECT_GT(rows, 0);
}

std::vector<float> asFloats(const std::vector<char> &bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

TEST(WeightLayout, PutsSixteenRowsIntoAPanel) {
  const int rows = 18, columns = 2;
  std::vector<float> values;
  for (int i = 0; i < rows * columns; ++i)
    values.push_back(float(i));
  std::vector<float> packed =
      asFloats(Pack("panel_f32", false, values, rows, columns));
  ASSERT_EQ(packed.size(), 2u * columns * 16);
  EXPECT_EQ(packed[0], 0);           // row 0, column 0
  EXPECT_EQ(packed[1], 2);           // row 1, column 0
  EXPECT_EQ(packed[16 + 1], 3);      // row 1, column 1
  EXPECT_EQ(packed[32 + 1], 17 * 2); // second panel: row 17
  EXPECT_EQ(packed[32 + 2], 0);      // padding
}

TEST(WeightLayout, AlternatesThePanelsOfGateAndUp) {
  // Two halves of 17 rows: each takes two panels.
  std::vector<float> values(34);
  for (int i = 0; i < 34; ++i)
    values[i] = float(i + 1);
  std::vector<float> packed =
      asFloats(Pack("panel_f32_glu", false, values, 34, 1));
  ASSERT_EQ(packed.size(), 4u * 16);
  EXPECT_EQ(packed[0], 1);
  EXPECT_EQ(packed[16], 18);
  EXPECT_EQ(packed[32], 17);
  EXPECT_EQ(packed[48], 34);
  EXPECT_EQ(packed[33], 0);
}

TEST(WeightLayout, RoundsToTheNearestEvenBf16) {
  std::vector<float> values = {1.0f, 1.00390625f, 1.01171875f};
  std::vector<char> bytes = Pack("rows", true, values, 1, 3);
  std::vector<uint16_t> packed(3);
  std::memcpy(packed.data(), bytes.data(), bytes.size());
  EXPECT_THAT(packed, ElementsAre(0x3f80, 0x3f80, 0x3f82));
}

TEST(WeightLayout, HandsOnTheReadersError) {
  std::string bytes;
  llvm::raw_string_ostream stream(bytes);
  llvm::Error error = compiler::packWeight(
      "rows", compiler::PackedType::F32, 4, 4,
      [](int64_t, int64_t, float *) {
        return llvm::createStringError("no such row");
      },
      stream);
  EXPECT_EQ(llvm::toString(std::move(error)), "no such row");
  auto odd =
      compiler::packedBytes("panel_bf16_glu", compiler::PackedType::BF16, 3, 4);
  EXPECT_THAT(llvm::toString(odd.takeError()), HasSubstr("does not fit"));
  auto unknown =
      compiler::packedBytes("tiles", compiler::PackedType::F32, 3, 4);
  EXPECT_EQ(llvm::toString(unknown.takeError()),
            "unknown weight layout \"tiles\"");
}

} // namespace
} // namespace stele::test
