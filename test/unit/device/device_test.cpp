// The host device: the ELF loader's strictness, the thread pool's barrier.
#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
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
