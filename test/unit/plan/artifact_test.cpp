// What an artifact must be: every rule of runtime/plan broken once, with the
// message that a user sees.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>

#include "artifact_builder.h"
#include "stele/runtime/base/hash.h"
#include "stele/runtime/plan/artifact.h"
#include "test_kernels.h"

namespace stele::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

Status Open(std::span<const uint8_t> bytes,
            const ArtifactOptions &options = {}) {
  return Artifact::FromBytes(bytes, "toy.stele", options).status();
}

// The status of the toy after `edit` of its builder.
template <typename Edit> Status OpenEdited(Edit edit) {
  ArtifactBuilder builder = ArtifactBuilder::Toy();
  edit(builder);
  return Open(builder.Build());
}

plan::LaunchT &LaunchOf(ArtifactBuilder &builder, size_t op) {
  return *builder.plan.functions[0]->ops[op]->body.AsLaunch();
}

template <typename Body>
void Insert(plan::FunctionT &function, Body body, plan::OpBody type,
            size_t at) {
  auto op = std::make_unique<plan::OpT>();
  op->body.type = type;
  op->body.value = new Body(std::move(body));
  function.ops.insert(function.ops.begin() + static_cast<long>(at),
                      std::move(op));
}

// Page moves in front of op `at` of a function of the toy, whose cache gets
// Paging and 4 staging slots. Ops 1 and 2 append to and attend over layer 0,
// ops 3 and 4 layer 1.
class PageMoves {
public:
  PageMoves(ArtifactBuilder &builder, size_t at, size_t function = 0)
      : function(*builder.plan.functions[function]), at(at) {
    if (!builder.plan.kv_caches[0]->paging)
      builder.AddPaging();
    builder.plan.kv_caches[0]->slots = 4;
    this->function.streams = 2;
  }
  ~PageMoves() {
    for (auto &buffer : function.buffers) {
      buffer->first_op = 0;
      buffer->last_op = function.ops.size() - 1;
    }
  }

  PageMoves &select(uint32_t layer, uint32_t slots) {
    plan::SelectPagesT select;
    select.layer = layer;
    select.slots = slots;
    return add(select, plan::OpBody::SelectPages);
  }
  PageMoves &pageIn(uint32_t layer, uint32_t first, uint32_t slots,
                    uint16_t stream = 0, bool ahead = false) {
    plan::PageInT move;
    move.ahead = ahead;
    move.layer = layer;
    move.first_slot = first;
    move.slots = slots;
    move.stream = stream;
    return add(move, plan::OpBody::PageIn);
  }
  PageMoves &pageOut(uint32_t layer, uint16_t stream) {
    plan::PageOutT move;
    move.layer = layer;
    move.max_pages = 2 * kKvHeads;
    move.stream = stream;
    return add(move, plan::OpBody::PageOut);
  }
  // Holds the other stream until what was issued on this one is over.
  PageMoves &sync(uint16_t stream = 0) {
    plan::WaitT wait;
    wait.stream = 1 - stream;
    plan::SignalT signal;
    signal.stream = stream;
    signal.event = wait.event = function.events++;
    return add(signal, plan::OpBody::Signal).add(wait, plan::OpBody::Wait);
  }
  PageMoves &skip() {
    ++at;
    return *this;
  }

private:
  template <typename Body> PageMoves &add(Body body, plan::OpBody type) {
    Insert(function, std::move(body), type, at++);
    return *this;
  }

  plan::FunctionT &function;
  size_t at;
};

// A schedule of both functions: pages leave first, layer 0 fetches ahead and
// corrects in the first one, and layer 1 takes two of its slots.
void SchedulePages(ArtifactBuilder &builder) {
  for (size_t function : {0, 1})
    PageMoves(builder, 0, function).pageOut(0, 1).pageOut(1, 1).sync(1);
  PageMoves(builder, 6)
      .pageIn(0, 0, 3, 1, true)
      .select(0, 3)
      .sync()
      .pageIn(0, 0, 3, 1)
      .sync(1)
      .skip()
      .skip()
      .select(1, 2)
      .sync()
      .pageIn(1, 1, 2, 1)
      .sync(1);
}

TEST(Artifact, ToyOpens) {
  ArtifactBuilder builder = ArtifactBuilder::Toy();
  const std::string path = builder.Write("opens.stele");
  ArtifactOptions options;
  options.verify_weights = true;
  auto artifact = Artifact::Open(path, options);
  ASSERT_TRUE(artifact.ok()) << artifact.status().message();
  EXPECT_EQ((*artifact)->plan().model()->vocab_size(), 17u);
  EXPECT_EQ((*artifact)->segment(0).size(), builder.segments[0].size());
  unlink(path.c_str());
}

TEST(Artifact, HeaderIsChecked) {
  const AlignedBytes good = ArtifactBuilder::Toy().Build();
  const auto with = [&](size_t offset, uint8_t value) {
    AlignedBytes bytes(good);
    bytes[offset] = value;
    return Open(bytes).message();
  };
  EXPECT_THAT(with(0, 'X'), HasSubstr("'toy.stele': the magic bytes at offset "
                                      "0 are not those of a .stele artifact; "
                                      "make one with `stele compile"));
  EXPECT_THAT(with(12, 1), HasSubstr("other byte order; compile it on this"));
  EXPECT_THAT(with(16, 0), HasSubstr("header.total_size is "));
  EXPECT_THAT(with(30, 1), HasSubstr("header.flatbuffer_size "));
  EXPECT_THAT(with(40, good[40] ^ 1),
              HasSubstr("SHA-256 is not header.sha256; the artifact is "
                        "damaged or was edited"));
}

TEST(Artifact, OtherVersionsShowBothAndTheProducer) {
  AlignedBytes bytes = ArtifactBuilder::Toy().Build();
  bytes[8] = 2;
  EXPECT_THAT(Open(bytes).message(),
              HasSubstr("artifact format 2.2, written by artifact_builder 1; "
                        "this runtime reads 1.0 to 1.2; update stele"));
  bytes[8] = 0;
  EXPECT_THAT(Open(bytes).message(), HasSubstr("compile the checkpoint again"));
  bytes[8] = 1;
  bytes[10] = 7;
  EXPECT_THAT(Open(bytes).message(), HasSubstr("artifact format 1.7"));
  EXPECT_EQ(Open(bytes).code(), StatusCode::kUnsupported);
}

TEST(Artifact, DigestPin) {
  const AlignedBytes bytes = ArtifactBuilder::Toy().Build();
  ArtifactOptions options;
  options.sha256 = Sha256(bytes);
  EXPECT_TRUE(Open(bytes, options).ok());
  (*options.sha256)[0] ^= 1;
  EXPECT_THAT(Open(bytes, options).message(), HasSubstr("another artifact"));
}

TEST(Artifact, WithoutExecutableSegmentItDoesNotLoad) {
  const Status status = OpenEdited([](ArtifactBuilder &b) {
    b.plan.segments.pop_back();
    b.segments.pop_back();
  });
  EXPECT_THAT(status.message(),
              HasSubstr("plan.segments: no executable segment; the runtime "
                        "holds no kernels of its own"));
}

TEST(Artifact, ChecksumsOfCodeAlwaysOfWeightsOnRequest) {
  ArtifactBuilder builder = ArtifactBuilder::Toy();
  AlignedBytes bytes = builder.Build();
  bytes[builder.plan.segments[0]->offset + 5] ^= 1;
  EXPECT_TRUE(Open(bytes).ok());
  ArtifactOptions options;
  options.verify_weights = true;
  EXPECT_THAT(Open(bytes, options).message(),
              HasSubstr("segment \"weights\" has XXH3 "));
  bytes[builder.plan.segments[1]->offset + 5] ^= 1;
  EXPECT_THAT(Open(bytes).message(), HasSubstr("segment \"code\" has XXH3 "));
}

TEST(Artifact, PaddingIsZeroAndNothingIsLeftOver) {
  ArtifactBuilder builder = ArtifactBuilder::Toy();
  AlignedBytes bytes = builder.Build();
  bytes[builder.plan.segments[1]->offset - 1] = 1;
  EXPECT_THAT(Open(bytes).message(), HasSubstr("padding byte at offset "));
  bytes[builder.plan.segments[1]->offset - 1] = 0;
  AlignedBytes longer(bytes.size() + 4096);
  std::memcpy(longer.data(), bytes.data(), bytes.size());
  Reseal({longer.data(), longer.size()});
  EXPECT_THAT(Open(longer).message(), HasSubstr("belong to no segment"));
}

// The toy with its weights in a file of their own, which is not written.
ArtifactBuilder ToyWithExternalWeights() {
  ArtifactBuilder builder = ArtifactBuilder::Toy();
  const std::vector<uint8_t> &weights = builder.segments[0];
  plan::SegmentT &segment = *builder.plan.segments[0];
  segment.storage = plan::Storage::External;
  segment.external_path = std::to_string(getpid()) + "w.bin";
  segment.length = weights.size();
  segment.xxh3 = Xxh3(weights);
  const Sha256Digest digest = Sha256(weights);
  segment.sha256.assign(digest.begin(), digest.end());
  return builder;
}

TEST(Artifact, ExternalWeights) {
  ArtifactBuilder builder = ToyWithExternalWeights();
  const std::vector<uint8_t> weights = builder.segments[0];
  plan::SegmentT &segment = *builder.plan.segments[0];
  const std::string path = builder.Write("external.stele");
  EXPECT_EQ(Artifact::Open(path).status().code(), StatusCode::kNotFound);
  const std::string beside = testing::TempDir() + segment.external_path;
  ASSERT_TRUE(WriteFile(beside, std::as_bytes(std::span(weights))).ok());
  ArtifactOptions options;
  options.verify_weights = true;
  auto artifact = Artifact::Open(path, options);
  EXPECT_TRUE(artifact.ok()) << artifact.status().message();
  ASSERT_TRUE(
      WriteFile(beside, std::as_bytes(std::span(weights).first(9))).ok());
  EXPECT_THAT(Artifact::Open(path).status().message(),
              HasSubstr("does not fit the 9 B of its external file"));
  unlink(beside.c_str());
  unlink(path.c_str());
  segment.external_path = "../w.bin";
  EXPECT_THAT(Open(builder.Build()).message(),
              HasSubstr("\"../w.bin\" is not a plain file name"));
}

TEST(Artifact, DigestPinCoversExternalWeights) {
  ArtifactBuilder builder = ToyWithExternalWeights();
  std::vector<uint8_t> weights = builder.segments[0];
  plan::SegmentT &segment = *builder.plan.segments[0];
  const std::string beside = testing::TempDir() + segment.external_path;
  const auto write = [&] {
    return WriteFile(beside, std::as_bytes(std::span(weights)));
  };
  ASSERT_TRUE(write().ok());
  const std::string path = testing::TempDir() + "pinned.stele";
  const auto open = [&](bool pin, bool verify) {
    const AlignedBytes bytes = builder.Build();
    ArtifactOptions options;
    if (pin)
      options.sha256 = Sha256(bytes);
    options.verify_weights = verify;
    return Artifact::FromBytes(bytes, path, options).status();
  };
  EXPECT_TRUE(open(true, true).ok()) << open(true, true).message();

  weights.push_back(0); // behind the segment, so that only SHA-256 sees it
  ASSERT_TRUE(write().ok());
  EXPECT_TRUE(open(false, false).ok());
  for (const bool pin : {true, false})
    EXPECT_THAT(open(pin, !pin).message(),
                AllOf(HasSubstr("the external file '" + segment.external_path +
                                "' has SHA-256 "),
                      HasSubstr(", the plan says ")));

  segment.sha256.clear(); // as format 1.0 had it
  EXPECT_TRUE(open(false, true).ok());
  EXPECT_THAT(open(true, false).message(),
              HasSubstr("segment \"weights\" has none for its external file"));
  segment.sha256.assign(31, 0);
  EXPECT_THAT(open(false, false).message(),
              HasSubstr("sha256: 31 bytes; a SHA-256 has 32"));
  unlink(beside.c_str());
}

// Robustness case 49. A plan is as deep as its schema, in which no table holds
// one of its own kind, and fields that the schema does not have are not
// followed. What grows is breadth: many offsets may name one table, and tables
// in tables multiply.
class Bomb {
public:
  template <typename T>
  flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<T>>>
  repeat(flatbuffers::Offset<T> item, size_t count) {
    return flat.CreateVector(std::vector<flatbuffers::Offset<T>>(count, item));
  }

  flatbuffers::Offset<plan::Target> target(size_t features) {
    const auto name = flat.CreateString("t");
    const auto list = repeat(flat.CreateString("f"), features);
    plan::TargetBuilder target(flat);
    target.add_name(name);
    target.add_isa(name);
    target.add_features(list);
    return target.Finish();
  }

  flatbuffers::Offset<plan::Function> function(size_t ops) {
    const auto name = flat.CreateString("f");
    const auto buffers =
        flat.CreateVector<flatbuffers::Offset<plan::Buffer>>({});
    const auto list =
        repeat(plan::CreateOp(flat, toy.plan.functions[0]->ops[0].get()), ops);
    const auto outputs =
        flat.CreateVector<flatbuffers::Offset<plan::Output>>({});
    plan::FunctionBuilder function(flat);
    function.add_name(name);
    function.add_buffers(buffers);
    function.add_ops(list);
    function.add_outputs(outputs);
    return function.Finish();
  }

  // An artifact without segments.
  Status open(flatbuffers::Offset<plan::Target> target, size_t targets,
              flatbuffers::Offset<plan::Function> function, size_t functions) {
    const auto producer = flat.CreateString("bomb");
    const auto model = plan::CreateModelInfo(flat, toy.plan.model.get());
    const auto target_list = repeat(target, targets);
    const auto segments =
        flat.CreateVector<flatbuffers::Offset<plan::Segment>>({});
    const auto tensors =
        flat.CreateVector<flatbuffers::Offset<plan::Tensor>>({});
    const auto caches =
        flat.CreateVector<flatbuffers::Offset<plan::KvCache>>({});
    const auto executables =
        flat.CreateVector<flatbuffers::Offset<plan::Executable>>({});
    const auto function_list = repeat(function, functions);
    plan::PlanBuilder root(flat);
    root.add_producer(producer);
    root.add_model(model);
    root.add_targets(target_list);
    root.add_segments(segments);
    root.add_tensors(tensors);
    root.add_kv_caches(caches);
    root.add_executables(executables);
    root.add_functions(function_list);
    plan::FinishPlanBuffer(flat, root.Finish());

    schema::ArtifactHeader header = HeaderOf(toy.Build());
    header.flatbuffer_size = flat.GetSize();
    AlignedBytes bytes(sizeof header + flat.GetSize());
    std::memcpy(bytes.data(), &header, sizeof header);
    std::memcpy(bytes.data() + sizeof header, flat.GetBufferPointer(),
                flat.GetSize());
    Reseal({bytes.data(), bytes.size()});
    return Open(bytes);
  }

private:
  ArtifactBuilder toy = ArtifactBuilder::Toy();
  flatbuffers::FlatBufferBuilder flat;
};

constexpr const char *kMalformed =
    "'toy.stele': the FlatBuffer is malformed; the artifact is damaged or was "
    "edited: copy it again or compile it again";

TEST(Artifact, Case49_TablesThatMultiply) {
  const auto open = [](size_t ops, size_t functions) {
    Bomb bomb;
    const auto target = bomb.target(1);
    return bomb.open(target, 1, bomb.function(ops), functions);
  };
  // 24 KB, and some 20 million tables.
  const Status status = open(2000, 2000);
  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_EQ(status.message(), kMalformed);
  // As many as a large model has: past the structure, on to what they mean.
  EXPECT_THAT(open(10, 10).message(),
              HasSubstr("'toy.stele': plan.segments: no executable"));
}

// The verifier counts tables, and reads the strings of each.
TEST(Artifact, Case49_StringsThatManyTablesShare) {
  const auto open = [](size_t features, size_t targets) {
    Bomb bomb;
    const auto target = bomb.target(features);
    return bomb.open(target, targets, bomb.function(1), 1);
  };
  const Status status = open(4'000'000, 400'000);
  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_EQ(status.message(), kMalformed);
  EXPECT_EQ(open(1, 65).message(), kMalformed);
  EXPECT_THAT(open(1, 64).message(),
              HasSubstr("'toy.stele': plan.segments: no executable"));
}

// One row for each rule of a plan: an edit that breaks it, and what is said.
struct Rule {
  const char *name;
  void (*edit)(ArtifactBuilder &);
  const char *message;
};

class PlanRule : public testing::TestWithParam<Rule> {};

TEST_P(PlanRule, IsChecked) {
  const Status status = OpenEdited(GetParam().edit);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("'toy.stele': plan."),
                                      HasSubstr(GetParam().message)));
  EXPECT_THAT(status.code(),
              testing::AnyOf(StatusCode::kDataLoss, StatusCode::kUnsupported));
}

std::unique_ptr<plan::QuantFormatT> Quant(uint32_t bits, uint32_t group) {
  auto quant = std::make_unique<plan::QuantFormatT>();
  quant->bits = bits;
  quant->group = group;
  return quant;
}

using B = ArtifactBuilder;
const Rule kRules[] = {
    {"Vocabulary", [](B &b) { b.plan.model->vocab_size = 0; },
     "model.vocab_size: 0 is not in 1.."},
    {"Context", [](B &b) { b.plan.model->context = 1ull << 40; },
     "model.context: 1099511627776 is not in 1..2147483647"},
    {"Eos", [](B &b) { b.plan.model->eos_ids = {17}; },
     "model.eos_ids[0]: 17 is not below 17"},
    {"Temperature", [](B &b) { b.plan.model->temperature = 0.0f / 0.0f; },
     "model.temperature: "},
    {"Targets", [](B &b) { b.plan.targets.clear(); }, "targets: is empty"},
    {"SegmentTarget", [](B &b) { b.plan.segments[0]->targets = {1}; },
     "segments[0] \"weights\".targets: 1 is not below 1"},
    {"SegmentTargets", [](B &b) { b.plan.segments[0]->targets = {0, 0}; },
     "segments[0] \"weights\".targets: 2 targets, the plan has fewer"},
    {"Parameters",
     [](B &b) {
       auto &parameters = b.plan.executables[0]->entries[0]->parameters;
       while (parameters.size() < 65)
         parameters.push_back(
             std::make_unique<plan::ParameterT>(*parameters[0]));
     },
     "entries[0] \"test_embed\".parameters: 65 parameters, 64 allowed"},
    {"Immediates",
     [](B &b) {
       b.plan.executables[0]->entries[1]->immediates.resize(
           17, plan::ImmediateKind::Layer);
     },
     "entries[1] \"test_append\".immediates: 17 immediates, 16 allowed"},
    {"SyntheticCode",
     [](B &b) { b.plan.segments[1]->storage = plan::Storage::Synthetic; },
     "only weights may live outside the file"},
    {"TwoTokenizers",
     [](B &b) {
       for (int i = 0; i < 2; ++i) {
         auto segment = std::make_unique<plan::SegmentT>();
         segment->name = "tokenizer";
         segment->kind = plan::SegmentKind::Tokenizer;
         b.plan.segments.push_back(std::move(segment));
         b.segments.push_back({1});
       }
     },
     "more than one tokenizer"},
    {"TensorSegment", [](B &b) { b.plan.tensors[0]->segment = 9; },
     "tensors[0] \"embedding\".segment: 9 is not below 2"},
    {"TensorInCode", [](B &b) { b.plan.tensors[0]->segment = 1; },
     "segment: 1 holds no weights"},
    {"TensorOffset", [](B &b) { b.plan.tensors[0]->offset = 32; },
     "offset: 32 is not a multiple of 64"},
    {"TensorPastEnd", [](B &b) { b.plan.tensors[0]->offset = 1 << 20; },
     "passes the segment's end"},
    {"TensorLength", [](B &b) { b.plan.tensors[0]->length -= 4; },
     "but shape, dtype and layout require 544"},
    {"TensorOverflow",
     [](B &b) { b.plan.tensors[0]->shape = {1ull << 40, 1ull << 40}; },
     "the size that shape requires overflows"},
    {"TensorRank", [](B &b) { b.plan.tensors[0]->shape.clear(); },
     "shape: 0 dimensions"},
    {"TensorQuantLayout", [](B &b) { b.plan.tensors[0]->quant = Quant(4, 32); },
     "but shape, layout and quant do not go together"},
    {"TensorQuantLength",
     [](B &b) {
       b.plan.tensors[0]->shape = {33, 40};
       b.plan.tensors[0]->layout = "panel_q4";
       b.plan.tensors[0]->quant = Quant(4, 32);
     },
     "but shape, dtype and layout require 1536"},
    {"TensorQuantBits", [](B &b) { b.plan.tensors[0]->quant = Quant(3, 32); },
     ".quant: 3 bits in groups of 32 are not known to this runtime"},
    {"TensorQuantGroup", [](B &b) { b.plan.tensors[0]->quant = Quant(4, 48); },
     ".quant: 4 bits in groups of 48 are not known to this runtime"},
    {"TensorQuantScale",
     [](B &b) {
       b.plan.tensors[0]->quant = Quant(4, 32);
       b.plan.tensors[0]->quant->scale = plan::QuantReal::None;
     },
     ".quant: 4 bits in groups of 32 are not known to this runtime"},
    {"TensorQuantOffset",
     [](B &b) {
       b.plan.tensors[0]->quant = Quant(4, 32);
       b.plan.tensors[0]->quant->offset = static_cast<plan::QuantReal>(9);
     },
     ".quant.offset: 9"},
    {"TensorLayout", [](B &b) { b.plan.tensors[0]->layout = "spiral"; },
     "layout: \"spiral\" is not known to this runtime; update stele"},
    {"TensorsOverlap", [](B &b) { b.plan.tensors[1]->offset = 64; },
     "\"embedding\" and \"output\" overlap"},
    {"PageBytes", [](B &b) { b.plan.kv_caches[0]->page_bytes = 64; },
     "page_bytes: 64 but a page of K and V needs 128"},
    {"CacheLayers", [](B &b) { b.plan.kv_caches[0]->layers = 0; },
     "layers: 0 is not in 1.."},
    {"CacheType", [](B &b) { b.plan.kv_caches[0]->dtype = plan::DType::I4; },
     "I4 pages are not known to this runtime"},
    // 2 x 4 tokens x (4 codes and a scale), in whole lines.
    {"CacheScales",
     [](B &b) {
       b.plan.kv_caches[0]->dtype = plan::DType::I8;
       b.plan.kv_caches[0]->page_bytes = 32;
     },
     "page_bytes: 32 but a page of K and V needs 64"},
    {"CacheHeads", [](B &b) { b.plan.kv_caches[0]->kv_heads = 4; },
     "the cache's kv_heads is 4, the kernel was compiled for 2"},
    {"CacheBlock",
     [](B &b) {
       b.plan.kv_caches[0]->block_tokens = 2;
       b.plan.kv_caches[0]->page_bytes = 64;
     },
     "the cache's block_tokens is 2, the kernel was compiled for 4"},
    {"StateBytes",
     [](B &b) {
       b.plan.kv_caches[0]->features = 8;
       b.plan.kv_caches[0]->block_tokens = 0;
     },
     "page_bytes: 128 but a state needs 704"},
    {"StateBlock", [](B &b) { b.plan.kv_caches[0]->features = 8; },
     "block_tokens: 4 but a state is of a whole sequence"},
    {"StateTransient",
     [](B &b) {
       b.plan.kv_caches[0]->features = 8;
       b.plan.kv_caches[0]->block_tokens = 0;
       b.plan.kv_caches[0]->transient = true;
     },
     "transient: a state is all that is kept of a past"},
    {"StateKeyIndex",
     [](B &b) {
       b.plan.kv_caches[0]->features = 8;
       b.plan.kv_caches[0]->block_tokens = 0;
       b.plan.kv_caches[0]->key_index = true;
     },
     "key_index: a state has none"},
    {"StateType",
     [](B &b) {
       b.plan.kv_caches[0]->features = 8;
       b.plan.kv_caches[0]->block_tokens = 0;
       b.plan.kv_caches[0]->dtype = plan::DType::BF16;
     },
     "dtype: BF16 states are not known to this runtime; update stele"},
    {"StateFeatures",
     [](B &b) { b.plan.kv_caches[0]->features = (1u << 16) + 1; },
     "features: 65537 is not in 1.."},
    {"CacheFeatures",
     [](B &b) {
       for (auto &entry : b.plan.executables[0]->entries)
         for (auto &parameter : entry->parameters)
           if (parameter->kind == plan::BindingKind::KvCache)
             parameter->features = 8;
     },
     "the cache's features is 0, the kernel was compiled for 8"},
    {"CacheKeyIndex", [](B &b) { b.plan.kv_caches[0]->key_index = true; },
     "the cache's key_index is 1, the kernel was compiled for 0"},
    {"CacheValueIndex",
     [](B &b) {
       b.plan.kv_caches[0]->key_index = b.plan.kv_caches[0]->value_index = true;
       for (auto &entry : b.plan.executables[0]->entries)
         for (auto &parameter : entry->parameters)
           parameter->key_index = parameter->kind == plan::BindingKind::KvCache;
     },
     "the cache's value_index is 1, the kernel was compiled for 0"},
    {"ValueIndexAlone", [](B &b) { b.plan.kv_caches[0]->value_index = true; },
     "value_index: there is no key_index"},
    {"CodeSegment", [](B &b) { b.plan.executables[0]->segment = 0; },
     "executables[0] \"kernels\".segment: 0 holds no code"},
    {"SymbolTwice",
     [](B &b) { b.plan.executables[0]->entries[1]->symbol = "test_embed"; },
     "entries[1] \"test_embed\".symbol: is there twice"},
    {"WritesWeights",
     [](B &b) {
       b.plan.executables[0]->entries[0]->parameters[0]->access =
           plan::Access::ReadWrite;
     },
     "parameters[0].access: weights are never written"},
    {"TokenLimit",
     [](B &b) { b.plan.executables[0]->entries[0]->token_limit = 16; },
     "token_limit: 16 is below the vocabulary of 17"},
    {"ContextLimit",
     [](B &b) { b.plan.executables[0]->entries[0]->context_limit = 63; },
     "context_limit: 63 is below the context of 64"},
    {"NoFunctions", [](B &b) { b.plan.functions.clear(); },
     "functions: is empty"},
    {"Ranks", [](B &b) { b.plan.functions[0]->ranks = 2; },
     "ranks: 2 ranks, this runtime runs one"},
    {"Sequences", [](B &b) { b.plan.functions[0]->max_sequences = 5; },
     "max_sequences: 5 is not in 1..4"},
    {"BufferLength", [](B &b) { b.plan.functions[0]->buffers[0]->length = 4; },
     "length: 4 is not max_rows * row_elements * size(dtype)"},
    {"BufferPastArena",
     [](B &b) { b.plan.functions[0]->buffers[0]->offset = 1 << 20; },
     "passes the arena's end"},
    {"BuffersOverlap",
     [](B &b) { b.plan.functions[0]->buffers[1]->offset = 64; },
     "\"x\" and \"y\" overlap while both are live"},
    {"Lifetime", [](B &b) { b.plan.functions[0]->buffers[0]->last_op = 1; },
     "buffer \"x\" is used by op 2 outside its lifetime 0..1"},
    {"BufferDevice", [](B &b) { b.plan.functions[0]->buffers[0]->device = 1; },
     "device: ordinal 1, this runtime drives one device"},
    {"LaunchExecutable", [](B &b) { LaunchOf(b, 0).executable = 3; },
     "executable: 3 is not below 1"},
    {"LaunchEntry", [](B &b) { LaunchOf(b, 0).entry = 4; },
     "entry: 4 is not below 4"},
    {"LaunchArity", [](B &b) { LaunchOf(b, 0).bindings.pop_back(); },
     "bindings: 1 bindings, kernel test_embed takes 2"},
    {"BindingKind",
     [](B &b) { LaunchOf(b, 0).bindings[1]->kind = plan::BindingKind::Tensor; },
     "Tensor, but the kernel's parameter is a Buffer"},
    {"BindingIndex", [](B &b) { LaunchOf(b, 0).bindings[1]->index = 3; },
     "bindings[1].index: 3 is not below 3"},
    {"TensorIndex", [](B &b) { LaunchOf(b, 0).bindings[0]->index = 2; },
     "bindings[0].index: 2 is not below 2, the number of tensors"},
    {"CacheIndex", [](B &b) { LaunchOf(b, 1).bindings[1]->index = 1; },
     "bindings[1].index: 1 is not below 1, the number of kv_caches"},
    {"ReadBeforeWrite",
     [](B &b) {
       b.plan.functions[0]->buffers[1]->first_op = 1;
       LaunchOf(b, 1).bindings[0]->index = 1;
     },
     "buffer \"y\" is read before it is written"},
    {"TooSmall",
     [](B &b) {
       b.plan.executables[0]->entries[0]->parameters[1]->bytes_per_token = 33;
     },
     "has 128 bytes, the kernel needs 132"},
    {"SizeOverflow",
     [](B &b) {
       b.plan.executables[0]->entries[0]->parameters[1]->bytes_per_token =
           UINT64_MAX;
     },
     "the bytes that the kernel needs overflow"},
    {"InPlace",
     [](B &b) {
       b.plan.executables[0]->entries[2]->parameters[0]->in_place = false;
     },
     "is the buffer that bindings[2] writes, which this kernel does not allow"},
    {"Scratch", [](B &b) { b.plan.functions[0]->scratch_bytes = 8; },
     "scratch_bytes: 8 but kernel test_attend needs 32"},
    {"Shared",
     [](B &b) {
       b.plan.executables[0]->entries[2]->shared_bytes_per_token = 64;
       b.plan.functions[0]->shared_bytes = 64;
     },
     "shared_bytes: 64 but kernel test_attend needs 64 for each of"},
    {"SharedOverflows",
     [](B &b) {
       b.plan.executables[0]->entries[2]->shared_bytes_per_token = ~0ull;
     },
     "shared_bytes: 0 but kernel test_attend needs 18446744073709551615"},
    {"SharedIsAbsurd",
     [](B &b) { b.plan.functions[0]->shared_bytes = 1ull << 50; },
     "shared_bytes: 1125899906842624 is beyond any memory"},
    {"ImmediateCount", [](B &b) { LaunchOf(b, 1).immediates.clear(); },
     "immediates: 0 immediates, kernel test_append takes 1"},
    {"LayerRange", [](B &b) { LaunchOf(b, 1).immediates = {2}; },
     "immediates[0]: layer 2 is not below 2, the cache's layers"},
    {"LayerNegative", [](B &b) { LaunchOf(b, 1).immediates = {-1}; },
     "layer -1 is not below 2"},
    {"CopyLength",
     [](B &b) {
       plan::CopyT copy;
       copy.source = 0;
       copy.destination = 1;
       copy.length = 129;
       Insert(*b.plan.functions[0], copy, plan::OpBody::Copy, 2);
       for (auto &buffer : b.plan.functions[0]->buffers)
         ++buffer->last_op;
     },
     "ops[2].length: 129 passes the end of buffer 0"},
    {"Wait",
     [](B &b) {
       Insert(*b.plan.functions[0], plan::WaitT(), plan::OpBody::Wait, 0);
       b.plan.functions[0]->events = 1;
     },
     "ops[0].event: 0 is waited for before it is signalled"},
    {"WaitEvent",
     [](B &b) {
       Insert(*b.plan.functions[0], plan::WaitT(), plan::OpBody::Wait, 0);
     },
     "ops[0].event: 0 is not below 0, the number of events"},
    {"SignalTwice",
     [](B &b) {
       b.plan.functions[0]->events = 1;
       for (int i = 0; i < 2; ++i)
         Insert(*b.plan.functions[0], plan::SignalT(), plan::OpBody::Signal, 0);
     },
     "ops[1].event: 0 is signalled twice"},
    {"CacheSlots", [](B &b) { b.plan.kv_caches[0]->slots = 1u << 30; },
     "slots: 1073741824 is beyond any memory"},
    {"Collective",
     [](B &b) {
       Insert(*b.plan.functions[0], plan::CollectiveT(),
              plan::OpBody::Collective, 5);
       for (auto &buffer : b.plan.functions[0]->buffers)
         buffer->last_op = 6;
     },
     "ops[5]: this runtime does not run Collective; update stele"},
    {"PageInStream",
     [](B &b) {
       SchedulePages(b);
       b.plan.functions[0]->ops[6]->body.AsPageIn()->stream = 0;
     },
     "ops[6].stream: 0; this runtime moves pages on stream 1 and does all else "
     "on stream 0"},
    {"PageOutStream",
     [](B &b) {
       SchedulePages(b);
       b.plan.functions[0]->ops[1]->body.AsPageOut()->stream = 0;
     },
     "ops[1].stream: 0; this runtime moves pages on stream 1"},
    {"LaunchStream",
     [](B &b) {
       SchedulePages(b);
       LaunchOf(b, 4).stream = 1;
     },
     "ops[4].stream: 1; this runtime moves pages on stream 1"},
    {"SelectStream",
     [](B &b) {
       SchedulePages(b);
       b.plan.functions[0]->ops[7]->body.AsSelectPages()->stream = 1;
     },
     "ops[7].stream: 1; this runtime moves pages on stream 1"},
    {"PageMaximum",
     [](B &b) {
       SchedulePages(b);
       b.plan.functions[0]->ops[0]->body.AsPageOut()->max_pages = 3;
     },
     "ops[0].max_pages: 3 but 4 fall out at a time"},
    {"PagesOfAnotherCache",
     [](B &b) {
       SchedulePages(b);
       b.plan.kv_caches[0]->paging.reset();
     },
     "ops[0].cache: 0 is not paged"},
    {"PagesStay",
     [](B &b) {
       SchedulePages(b);
       auto &ops = b.plan.functions[0]->ops;
       ops.erase(ops.begin() + 1);
       for (auto &buffer : b.plan.functions[0]->buffers)
         buffer->last_op = ops.size() - 1;
     },
     "operation 20 uses layer 1 of a paged cache, whose pages none moves out"},
    {"PageNotFetched",
     [](B &b) {
       SchedulePages(b);
       b.plan.functions[0]->ops[10]->body.AsPageIn()->ahead = true;
     },
     "takes slots of pages that operation 6 fetched and no launch has read"},
    {"PageAheadOfNothing",
     [](B &b) { PageMoves(b, 1).pageIn(0, 0, 2, 0, true); },
     "operation 1 fetches ahead for layer 0, where nothing is selected"},
    {"PageCorrectedElsewhere",
     [](B &b) {
       SchedulePages(b);
       b.plan.functions[0]->ops[10]->body.AsPageIn()->first_slot = 1;
     },
     "ops[10]: fetches into slots from 1 on, operation 6 ahead of it into 3 "
     "slots from 0 on"},
    {"PagingOfStates",
     [](B &b) {
       b.AddPaging();
       b.plan.kv_caches[0]->transient = true;
     },
     "paging: only pages of keys and values that later steps read can fall "
     "out"},
    {"PagingGrid",
     [](B &b) {
       b.AddPaging();
       b.plan.kv_caches[0]->paging->grid_tokens = 6;
     },
     "paging.grid_tokens: 6 is not a multiple of the block of 4"},
    {"PagingNoGrid",
     [](B &b) {
       b.AddPaging();
       b.plan.kv_caches[0]->paging->grid_tokens = 0;
     },
     "paging.grid_tokens: 0 is not in 1.."},
    {"PagingHot",
     [](B &b) {
       b.AddPaging();
       b.plan.kv_caches[0]->paging->hot_tokens = 12;
     },
     "paging.hot_tokens: 12 is not a multiple of the grid of 8"},
    {"PagingSinks",
     [](B &b) {
       b.AddPaging();
       b.plan.kv_caches[0]->paging->sink_blocks = 1u << 31;
     },
     "paging.sink_blocks: 2147483648 is beyond any context"},
    {"PagingWarm",
     [](B &b) {
       b.AddPaging();
       b.plan.kv_caches[0]->paging->warm_tokens = 1ull << 40;
     },
     "paging.warm_tokens: 1099511627776 is beyond any context"},
    {"PagingWarmType",
     [](B &b) {
       b.AddPaging();
       b.plan.kv_caches[0]->paging->warm_dtype = plan::DType::F16;
     },
     "paging.warm_dtype: F16 for F32 pages is not known to this runtime"},
    {"PagingWarmBytes",
     [](B &b) {
       b.AddPaging();
       b.plan.kv_caches[0]->paging->warm_page_bytes = kPageBytes + 1;
     },
     "paging.warm_page_bytes: 129 but a record needs 128"},
    {"PagingCode",
     [](B &b) {
       b.AddPaging();
       b.plan.kv_caches[0]->paging->executable = 1;
     },
     "paging.executable: 1 is not below 1, the number of executables"},
    {"PagingPack",
     [](B &b) {
       b.AddPaging();
       b.plan.kv_caches[0]->paging->pack = 5;
     },
     "paging.pack: 5 is not below 5, the number of entries"},
    {"PagingPackTakes",
     [](B &b) {
       b.AddPaging();
       b.plan.kv_caches[0]->paging->pack = 0;
     },
     "paging.pack: kernel test_embed does not take a buffer of 128 bytes and "
     "write one of 128, and nothing else"},
    {"PagingUnpackTakes",
     [](B &b) {
       b.AddPaging();
       b.plan.executables[0]->entries[4]->parameters[1]->bytes_per_token = 1;
     },
     "paging.pack: kernel test_pack does not take a buffer"},
    {"PagingScratch",
     [](B &b) {
       b.AddPaging();
       b.plan.executables[0]->entries[4]->scratch_bytes = 64;
     },
     "and nothing else"},
    {"ModelledTime",
     [](B &b) { b.plan.functions[0]->ops[1]->modelled_ns = 1ull << 40; },
     "ops[1].modelled_ns: 1099511627776 is longer than any step"},
    {"PageLayer", [](B &b) { PageMoves(b, 1).select(2, 1); },
     "ops[1].layer: 2 is not below 2, the number of the cache's layers"},
    {"PageSlots", [](B &b) { PageMoves(b, 1).select(0, 0); },
     "ops[1].slots: 0 is not in 1.."},
    {"PageSelection", [](B &b) { PageMoves(b, 0).select(0, 1); },
     "ops[0].selection: 0 is read before it is written"},
    {"PageNotSelected",
     [](B &b) { PageMoves(b, 1).select(1, 2).pageIn(0, 0, 2); },
     "ops[2]: fetches pages of layer 0 that no operation selects before it"},
    {"PageSelectionSize",
     [](B &b) { PageMoves(b, 1).select(0, 2).pageIn(0, 0, 3); },
     "ops[2]: fetches into 3 slots, operation 1 selects for 2"},
    {"PageSelectionStream",
     [](B &b) { PageMoves(b, 1).select(0, 2).pageIn(0, 0, 2, 1); },
     "ops[2]: does not wait for operation 1 of another stream, which selects"},
    {"PageCapacity", [](B &b) { PageMoves(b, 1).select(0, 2).pageIn(0, 3, 2); },
     "ops[2]: ends at slot 5, the cache has 4"},
    {"PageArrival",
     [](B &b) { PageMoves(b, 1).select(0, 2).sync().pageIn(0, 0, 2, 1); },
     "ops[6] \"attend 0\": does not wait for operation 4 of another stream, "
     "which fetches"},
    {"PageTakenUnread",
     [](B &b) {
       PageMoves(b, 1).select(0, 2).pageIn(0, 0, 2).select(1, 2).pageIn(1, 1,
                                                                        2);
     },
     "ops[4]: takes slots of pages that operation 2 fetched and no launch has "
     "read"},
    {"PageTakenWhileRead",
     [](B &b) {
       PageMoves(b, 1)
           .select(0, 2)
           .pageIn(0, 0, 2)
           .select(1, 2)
           .sync()
           .skip()
           .skip()
           .pageIn(1, 1, 2, 1);
     },
     "ops[8]: takes slots of pages without a wait for operation 7, which reads "
     "them"},
    {"PageGone",
     [](B &b) {
       PageMoves(b, 1)
           .select(1, 2)
           .pageIn(1, 0, 2)
           .skip()
           .skip()
           .skip()
           .skip()
           .select(0, 2)
           .pageIn(0, 1, 2);
       LaunchOf(b, 3).immediates[0] = LaunchOf(b, 4).immediates[0] = 1;
       std::swap(b.plan.functions[0]->ops[6], b.plan.functions[0]->ops[8]);
       std::swap(b.plan.functions[0]->ops[6], b.plan.functions[0]->ops[7]);
     },
     "\"attend 1\": reads pages whose slots operation 7 has taken"},
    {"PageNeverRead",
     [](B &b) { PageMoves(b, 5).select(0, 2).pageIn(0, 0, 2); },
     "ops: operation 6 fetches pages that no launch reads"},
    {"PageOutTooLate", [](B &b) { PageMoves(b, 2).pageOut(0, 1); },
     "ops[2]: comes behind operation 1, which uses pages of its layer"},
    {"PageOutUnseen", [](B &b) { PageMoves(b, 1).pageOut(0, 1); },
     "ops[2] \"append 0\": does not wait for operation 1 of another stream, "
     "which moves out"},
    {"Stream", [](B &b) { LaunchOf(b, 0).stream = 1; },
     "stream: 1 is not below 1"},
    {"NoLogits", [](B &b) { b.plan.functions[0]->outputs.clear(); },
     "no output is named \"logits\""},
    {"OutputRole",
     [](B &b) {
       b.plan.functions[0]->buffers[2]->role = plan::BufferRole::Temporary;
     },
     "does not have the role Output"},
    {"LogitsWidth",
     [](B &b) {
       b.plan.model->vocab_size = 16;
       b.plan.model->eos_ids = {};
     },
     "17 logits in a row, the vocabulary has 16"},
};

INSTANTIATE_TEST_SUITE_P(All, PlanRule, testing::ValuesIn(kRules),
                         [](const auto &info) { return info.param.name; });

} // namespace
} // namespace stele::test
