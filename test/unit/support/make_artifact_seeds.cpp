// Writes the seeds of fuzz_artifact: plans of the toy's bytes that between them
// use every table of the format. Made again by hand when a table is added:
//
//   build/bin/make_artifact_seeds test/fuzz/corpus/artifact
#include <cstdio>
#include <string>

#include "artifact_builder.h"
#include "stele/runtime/base/file.h"
#include "test_kernels.h"

namespace stele::test {
namespace {

// Bytes of the toy's weights segment up to the page that the code starts at.
constexpr size_t kWeightsPage = 4096;

plan::TensorT &AddTensor(ArtifactBuilder &builder, const char *name,
                         std::vector<uint64_t> shape, const char *layout,
                         uint64_t offset, uint64_t length) {
  builder.segments[0].resize(kWeightsPage);
  auto tensor = std::make_unique<plan::TensorT>();
  tensor->name = name;
  tensor->shape = std::move(shape);
  tensor->layout = layout;
  tensor->offset = offset;
  tensor->length = length;
  builder.plan.tensors.push_back(std::move(tensor));
  return *builder.plan.tensors.back();
}

template <typename Body>
void Append(plan::FunctionT &function, Body body, plan::OpBody type) {
  auto op = std::make_unique<plan::OpT>();
  op->body.type = type;
  op->body.value = new Body(std::move(body));
  function.ops.push_back(std::move(op));
  for (auto &buffer : function.buffers)
    buffer->last_op = function.ops.size() - 1;
}

// One panel of 32 rows and one step of 8 columns: 32 f16 scales, 32 f32
// offsets, 32 x 8 codes of 4 bits.
void Quantised(ArtifactBuilder &builder) {
  plan::TensorT &tensor = AddTensor(builder, "codes", {32, 8}, "panel_q4", 2048,
                                    32 * 2 + 32 * 4 + 32 * 4);
  tensor.quant = std::make_unique<plan::QuantFormatT>();
  tensor.quant->bits = 4;
  tensor.quant->group = 32;
  tensor.quant->offset = plan::QuantReal::F32;
}

void Bf16(ArtifactBuilder &builder) {
  AddTensor(builder, "half", {3, 5}, "panel_bf16", 2048, 16 * 6 * 2).dtype =
      plan::DType::BF16;
  builder.plan.model->arithmetic = "bf16";
}

void Segments(ArtifactBuilder &builder) {
  auto calibration = std::make_unique<plan::SegmentT>();
  calibration->name = "calibration";
  calibration->kind = plan::SegmentKind::Calibration;
  calibration->targets = {0};
  // In front of the code: behind it, it would lie past the end.
  builder.plan.segments.insert(builder.plan.segments.begin() + 1,
                               std::move(calibration));
  builder.segments.emplace(builder.segments.begin() + 1);
  builder.plan.executables[0]->segment = 2;
  auto made = std::make_unique<plan::SegmentT>();
  made->name = "made up";
  made->storage = plan::Storage::Synthetic;
  made->seed = 7;
  made->length = 64;
  made->targets = {0};
  builder.plan.segments.push_back(std::move(made));
  builder.segments.push_back({});
}

void Streams(ArtifactBuilder &builder) {
  plan::FunctionT &function = *builder.plan.functions[0];
  function.streams = 2;
  function.events = 1;
  plan::SignalT signal;
  Append(function, signal, plan::OpBody::Signal);
  plan::WaitT wait;
  wait.stream = 1;
  Append(function, wait, plan::OpBody::Wait);
  plan::CopyT copy;
  copy.source = 1;
  copy.destination = 0;
  copy.length = 64;
  copy.stream = 1;
  Append(function, copy, plan::OpBody::Copy);
  for (auto &buffer : function.buffers)
    buffer->first_op = 0;
}

// Of the model that attends to chosen blocks. One function and cells of a
// block, so that the plan fits in front of the toy's segments and pages fall
// out early.
void Pages(ArtifactBuilder &builder) {
  builder = ArtifactBuilder::ToySparse(/*paging=*/true);
  plan::PagingT &paging = *builder.plan.kv_caches[0]->paging;
  paging.hot_tokens = paging.grid_tokens = kBlock;
  builder.plan.functions.erase(builder.plan.functions.begin());
}

int Run(const std::string &folder) {
  const std::pair<const char *, void (*)(ArtifactBuilder &)> seeds[] = {
      {"toy", [](ArtifactBuilder &) {}},
      {"quantised", Quantised},
      {"bf16", Bf16},
      {"segments", Segments},
      {"streams", Streams},
      {"pages", Pages},
  };
  for (const auto &[name, edit] : seeds) {
    ArtifactBuilder builder = ArtifactBuilder::Toy();
    edit(builder);
    const AlignedBytes bytes = builder.Build();
    const std::span<const uint8_t> flatbuffer =
        std::span<const uint8_t>(bytes).subspan(
            sizeof(schema::ArtifactHeader), HeaderOf(bytes).flatbuffer_size);
    const Status status =
        WriteFile(folder + "/" + name, std::as_bytes(flatbuffer));
    if (!status.ok()) {
      std::fprintf(stderr, "%s\n", status.message().c_str());
      return 1;
    }
  }
  return 0;
}

} // namespace
} // namespace stele::test

int main(int argc, char **argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_artifact_seeds FOLDER\n");
    return 2;
  }
  return stele::test::Run(argv[1]);
}
