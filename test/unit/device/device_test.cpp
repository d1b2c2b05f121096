// The host device: the ELF loader's strictness, the thread pool's barrier.
#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <map>
#include <numeric>

#include "artifact_builder.h"
#include "stele/runtime/device/host/cpu_features.h"
#include "stele/runtime/device/host/elf_loader.h"
#include "stele/runtime/device/host/host_device.h"
#include "stele/runtime/device/host/thread_pool.h"

namespace stele::test {
namespace {

using testing::HasSubstr;

std::vector<uint8_t> ToyElf() { return ArtifactBuilder::Toy().segments[1]; }

// A view of a struct inside the image's bytes, to read and to edit.
template <typename T> T &At(std::vector<uint8_t> &bytes, uint64_t offset) {
  return *reinterpret_cast<T *>(&bytes[offset]);
}

Elf64_Phdr &Segment(std::vector<uint8_t> &elf, uint32_t type) {
  const auto &header = At<Elf64_Ehdr>(elf, 0);
  for (int i = 0; i < header.e_phnum; ++i) {
    auto &segment =
        At<Elf64_Phdr>(elf, header.e_phoff + i * sizeof(Elf64_Phdr));
    if (segment.p_type == type)
      return segment;
  }
  ADD_FAILURE() << "no segment of type " << type;
  return At<Elf64_Phdr>(elf, header.e_phoff);
}

std::string LoadMessage(const std::vector<uint8_t> &elf) {
  return ElfImage::Load(elf).status().message();
}

TEST(ElfImage, FindsFunctions) {
  auto image = ElfImage::Load(ToyElf());
  ASSERT_TRUE(image.ok()) << image.status().message();
  EXPECT_NE((*image)->Find("test_embed"), nullptr);
  EXPECT_NE((*image)->Find("test_logits"), nullptr);
  EXPECT_EQ((*image)->Find("test_absent"), nullptr);
}

TEST(ElfImage, RefusesWhatItDoesNotNeed) {
  const std::vector<uint8_t> good = ToyElf();
  auto elf = good;
  elf[0] = 0;
  EXPECT_THAT(LoadMessage(elf), HasSubstr("no ELF header"));
  elf = good;
  At<Elf64_Ehdr>(elf, 0).e_machine = EM_AARCH64;
  EXPECT_THAT(LoadMessage(elf), HasSubstr("not a 64-bit x86-64"));
  elf = good;
  Segment(elf, PT_LOAD).p_flags = PF_R | PF_W | PF_X;
  EXPECT_THAT(LoadMessage(elf), HasSubstr("writable and executable"));
  elf = good;
  Segment(elf, PT_LOAD).p_filesz = 1ull << 40;
  EXPECT_THAT(LoadMessage(elf), HasSubstr("passes the end of the image"));
  elf = good;
  Segment(elf, PT_DYNAMIC).p_type = PT_TLS;
  EXPECT_THAT(LoadMessage(elf), HasSubstr("segment type 7 is not allowed"));
  elf = good;
  Segment(elf, PT_DYNAMIC).p_type = PT_NULL;
  EXPECT_THAT(LoadMessage(elf), HasSubstr("no dynamic section"));
  elf = good;
  At<Elf64_Dyn>(elf, Segment(elf, PT_DYNAMIC).p_offset).d_tag = DT_NEEDED;
  EXPECT_THAT(LoadMessage(elf), HasSubstr("dynamic tag 0x1 is not allowed"));
}

TEST(ElfImage, CutOrFlippedItNeverCrashes) {
  const std::vector<uint8_t> good = ToyElf();
  for (size_t size = 0; size < good.size(); size += 7)
    (void)ElfImage::Load(std::span(good).first(size));
  size_t loaded = 0;
  for (size_t at = 0; at < good.size(); ++at) {
    auto elf = good;
    elf[at] ^= 1 << at % 8;
    loaded += ElfImage::Load(elf).ok();
  }
  EXPECT_GT(loaded, 0u); // bytes of code do not matter to the loader
  EXPECT_LT(loaded, good.size());
}

class Pool : public testing::TestWithParam<uint32_t> {};

TEST_P(Pool, BarriersSeparateRounds) {
  auto pool = ThreadPool::Create(GetParam());
  ASSERT_TRUE(pool.ok());
  struct Shared {
    ThreadPool *pool;
    std::vector<int> cells; // one per worker, read by all behind a barrier
    std::atomic<int> wrong{0};
  } shared{pool->get(), std::vector<int>(GetParam()), {}};
  for (int run = 0; run < 20; ++run)
    (*pool)->Run(
        [](void *context, uint32_t worker) {
          auto &s = *static_cast<Shared *>(context);
          for (int round = 0; round < 50; ++round) {
            s.cells[worker] = round;
            s.pool->Barrier();
            for (int cell : s.cells)
              s.wrong += cell != round;
            s.pool->Barrier();
          }
        },
        &shared);
  EXPECT_EQ(shared.wrong, 0);
}

INSTANTIATE_TEST_SUITE_P(Workers, Pool, testing::Values(1, 2, 4));

TEST(HostDevice, CopiesInOrderWithLaunches) {
  auto device = HostDevice::Create(2);
  ASSERT_TRUE(device.ok());
  auto memory = (*device)->Allocate(64, "test");
  ASSERT_TRUE(memory.ok());
  std::byte *data = memory->data();
  ASSERT_TRUE(
      (*device)->CopyFromHost(data, std::as_bytes(std::span("abc", 3))).ok());
  ProgramSpec spec;
  spec.steps = {SignalStep{0, 0}, WaitStep{0, 0},
                CopyStep{data + 8, data, 3, 0},
                CopyStep{data + 16, data + 8, 3, 0}};
  auto program = (*device)->Prepare(std::move(spec));
  ASSERT_TRUE(program.ok());
  ASSERT_TRUE((*program)->Run(SteleBatch{}).ok());
  char out[4] = {};
  ASSERT_TRUE(
      (*device)
          ->CopyToHost(std::as_writable_bytes(std::span(out, 3)), data + 16)
          .ok());
  EXPECT_STREQ(out, "abc");
}

// Moves numbers between cells by the layer's number, and fails when told to.
class FakeMover : public PageMover {
public:
  Status Select(uint32_t layer, const uint32_t *selection, const SteleBatch &,
                uint32_t slots) override {
    selected[layer] = *selection + slots;
    return At("select", layer);
  }
  Status PageIn(uint32_t layer, uint32_t first, uint32_t slots,
                bool ahead) override {
    in[layer] = ahead ? out[layer] : selected[layer];
    in[layer] += first + slots;
    return At("in", layer);
  }
  Status PageOut(uint32_t layer, uint32_t max_pages) override {
    out[layer] = *hot + max_pages;
    return At("out", layer);
  }
  Status At(const char *what, uint32_t layer) {
    const std::string now = what + std::to_string(layer);
    ++calls[now];
    return now == failing ? Unavailable(now + " failed") : OkStatus();
  }

  const uint32_t *hot = nullptr;
  std::string failing;
  std::array<uint32_t, 8> selected{}, in{}, out{};
  std::map<std::string, int> calls;
};

// Cells in device memory, and a program of eight layers in two streams whose
// every result depends on the order of its moves and copies:
//
//   stream 1  out, in ahead, signal                wait, in, signal
//   stream 0                  wait, copy, select, signal           wait, copy
class TwoStreams {
public:
  explicit TwoStreams(uint32_t threads) {
    device = *HostDevice::Create(threads);
    memory = *device->Allocate(256, "test");
    cells = reinterpret_cast<uint32_t *>(memory.data());
    std::fill_n(cells, 64, 0);
    mover.hot = cells;
    ProgramSpec spec;
    spec.streams = 2;
    spec.events = 32;
    spec.mover = &mover;
    for (uint32_t layer = 0; layer < 8; ++layer) {
      const uint32_t event = 4 * layer;
      // Cell 0 is what the layer before left.
      spec.steps.push_back(PageOutStep{layer, 1, 1});
      spec.steps.push_back(PageInStep{layer, 2, 3, true, 1});
      spec.steps.push_back(SignalStep{event, 1});
      spec.steps.push_back(WaitStep{event, 0});
      spec.steps.push_back(Copy(layer, 1));
      spec.steps.push_back(SelectPagesStep{layer, cells + 1, 4, 0});
      spec.steps.push_back(SignalStep{event + 1, 0});
      spec.steps.push_back(WaitStep{event + 1, 1});
      spec.steps.push_back(PageInStep{layer, 5, 6, false, 1});
      spec.steps.push_back(SignalStep{event + 2, 1});
      spec.steps.push_back(WaitStep{event + 2, 0});
      spec.steps.push_back(Copy(layer, 0));
      spec.steps.push_back(SignalStep{event + 3, 0});
      spec.steps.push_back(WaitStep{event + 3, 1});
    }
    program = *device->Prepare(std::move(spec));
  }
  CopyStep Copy(uint32_t layer, int cell) {
    return {cells + cell, &mover.in[layer], sizeof(uint32_t), 0};
  }

  std::unique_ptr<HostDevice> device;
  DeviceMemory memory;
  uint32_t *cells;
  FakeMover mover;
  std::unique_ptr<Program> program;
};

class Streams : public testing::TestWithParam<uint32_t> {};

TEST_P(Streams, KeepTheOrderOfTheirEvents) {
  TwoStreams test(GetParam());
  uint32_t expected = 0;
  for (int run = 0; run < 40; ++run) {
    ASSERT_TRUE(test.program->Run(SteleBatch{}).ok());
    // Out adds 1, in ahead 2 + 3, select 4, in 5 + 6.
    expected += 8 * (1 + 2 + 3 + 4 + 5 + 6);
    ASSERT_EQ(test.cells[0], expected) << "run " << run;
  }
}

TEST_P(Streams, HandOnTheErrorOfAMove) {
  TwoStreams test(GetParam());
  for (const char *failing : {"out0", "in3", "select5", "in7"}) {
    test.mover.failing = failing;
    test.mover.calls.clear();
    const Status status = test.program->Run(SteleBatch{});
    EXPECT_EQ(status.code(), StatusCode::kUnavailable);
    EXPECT_EQ(status.message(), std::string(failing) + " failed");
    // What comes behind it does not move.
    EXPECT_EQ(test.mover.calls.count("in7"), failing == std::string("in7"));
    test.mover.failing.clear();
    EXPECT_TRUE(test.program->Run(SteleBatch{}).ok());
  }
}

INSTANTIATE_TEST_SUITE_P(Workers, Streams, testing::Values(1, 2, 4));

TEST(HostDevice, LaunchesOnOneStreamBesidePaging) {
  auto device = HostDevice::Create(1);
  ASSERT_TRUE(device.ok());
  FakeMover mover;
  ProgramSpec spec;
  spec.name = "decode_1";
  spec.streams = 2;
  spec.mover = &mover;
  spec.steps.push_back(PageOutStep{0, 1, 1});
  LaunchStep launch{};
  launch.label = "attention";
  launch.stream = 1;
  spec.steps.push_back(launch);
  EXPECT_THAT((*device)->Prepare(spec).status().message(),
              HasSubstr("launches attention on stream 1 beside paging steps"));
}

TEST(HostDevice, SaysWhatItCannotAllocate) {
  auto device = HostDevice::Create(1);
  ASSERT_TRUE(device.ok());
  EXPECT_THAT((*device)->Allocate(UINT64_MAX, "KV pages").status().message(),
              HasSubstr("for KV pages"));
}

TEST(CpuFeatures, KnowsItsOwnNames) {
  EXPECT_TRUE(CpuHas("x86-64-v2"));
  EXPECT_FALSE(CpuHas("avx9000"));
  EXPECT_FALSE(KnownCpuFeatures().empty());
}

} // namespace
} // namespace stele::test
