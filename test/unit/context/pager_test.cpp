// The pager against a plain model of what every page holds: random selections
// over random steps of several sequences, some of which fail.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <set>

#include "stele/runtime/context/pager.h"
#include "stele/schema/block_selection.h"
#include "stele/schema/kv_page.h"

namespace stele::test {
namespace {

using testing::HasSubstr;

constexpr uint32_t kLayers = 4, kHeads = 3, kBlock = 4;
constexpr uint64_t kBlocks = 160; // of the longest sequence
constexpr uint64_t kPageBytes = 16, kRecordBytes = 8;
// A page that no one has written is as bad as one of another block.
constexpr uint64_t kNan = UINT64_MAX;

PagingShape ShapeOf(uint64_t hot, uint64_t grid, uint64_t sinks,
                    uint32_t slots) {
  PagingShape shape;
  shape.cache.layers = kLayers;
  shape.cache.kv_heads = kHeads;
  shape.cache.block_tokens = kBlock;
  shape.cache.page_bytes = kPageBytes;
  shape.hot_tokens = hot;
  shape.grid_tokens = grid;
  shape.sink_blocks = sinks;
  shape.record_bytes = kRecordBytes;
  shape.slots = slots;
  shape.selection_words = schema::SelectionWords(kBlocks);
  return shape;
}

// What page `row` of a block holds; a record of it holds the complement.
uint64_t Content(uint64_t sequence, uint64_t row, uint64_t block) {
  return (sequence * kLayers * kHeads + row) * kBlocks + block + 1;
}

uint64_t Load(const std::byte *at) {
  uint64_t value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

void Store(std::byte *at, uint64_t value) {
  std::memcpy(at, &value, sizeof(value));
}

void Invert(const std::byte *from, std::byte *to) { Store(to, ~Load(from)); }

struct Sequence {
  uint64_t id, position = 0;
  std::unique_ptr<PageTable> pages;
  std::unique_ptr<PagedContext> context;
};

// Which blocks a sequence selects, [layer][head].
using Kept = std::vector<std::vector<std::set<uint32_t>>>;

class Machine {
public:
  // `warm`: memory for the records of so many blocks of a sequence; 0: for all.
  Machine(const PagingShape &shape, uint32_t sequences, uint32_t sections,
          uint64_t warm = 0)
      : shape(shape), sections(sections),
        warm(warm ? warm : shape.RecordBlocks(kTokens)),
        hot(*PagePool::Create(shape.cache,
                              sequences * shape.HotBlocks(kTokens))),
        records(*PagePool::Create(RecordShape(shape), sequences * this->warm)) {
    const uint64_t pooled = hot.blocks() * shape.cache.pages_per_block();
    const auto nan = static_cast<int32_t>(pooled + sequences * shape.slots);
    memory.resize((nan + 1) * kPageBytes);
    record_memory.resize(records.blocks() * shape.cache.pages_per_block() *
                         kRecordBytes);
    Store(&memory[nan * kPageBytes], kNan);
    pager = std::make_unique<Pager>(
        shape, &hot, &records,
        Pager::Memory{memory.data(), nan, record_memory.data(), Invert, Invert,
                      *RecordCompressor::Create(kRecordBytes)},
        sequences);
    nan_page = nan;
    for (uint32_t i = 0; i < sequences; ++i)
      free_slots.push_back(static_cast<int32_t>(pooled + i * shape.slots));
  }

  static CacheShape RecordShape(const PagingShape &shape) {
    CacheShape result = shape.cache;
    result.page_bytes = kRecordBytes;
    return result;
  }

  Sequence Begin(uint64_t id) {
    Sequence sequence{id, 0, nullptr, nullptr};
    sequence.pages =
        std::make_unique<PageTable>(&hot, kBlocks, shape.HotBlocks(kTokens));
    const uint64_t blocks = shape.RecordBlocks(kTokens);
    std::unique_ptr<ColdFile> cold;
    if (warm < blocks)
      cold = *ColdFile::Create(testing::TempDir(), blocks * kLayers * kHeads);
    sequence.context = std::make_unique<PagedContext>(
        pager.get(), sequence.pages.get(), free_slots.back(), blocks, warm,
        std::move(cold));
    free_slots.pop_back();
    return sequence;
  }

  uint64_t At(const Sequence &sequence, uint64_t row, uint64_t block) const {
    return Load(
        &memory[static_cast<uint64_t>(sequence.pages->page(row, block)) *
                kPageBytes]);
  }

  bool IsHot(uint64_t block, uint64_t position) const {
    const uint64_t cell = position / shape.grid_tokens * shape.grid_tokens;
    return block < shape.sink_blocks ||
           (block + 1) * kBlock + shape.hot_tokens > cell;
  }

  // A step of `tokens` tokens of each sequence through all layers. What a layer
  // reads must be there when it reads it, all else of what fell out must not.
  void Step(const std::vector<Sequence *> &batch,
            const std::vector<uint64_t> &tokens, std::mt19937 &random,
            bool fails) {
    std::vector<int32_t> offsets{0}, positions;
    std::vector<PagedPart> parts;
    for (size_t s = 0; s < batch.size(); ++s) {
      Sequence &sequence = *batch[s];
      Grow(sequence, tokens[s]);
      for (uint64_t i = 0; i < tokens[s]; ++i)
        positions.push_back(static_cast<int32_t>(sequence.position + i));
      offsets.push_back(static_cast<int32_t>(positions.size()));
      parts.push_back({sequence.context.get(), sequence.position});
    }
    SteleBatch view{};
    view.sequences = static_cast<int32_t>(batch.size());
    view.tokens = static_cast<int32_t>(positions.size());
    view.q_offsets = offsets.data();
    view.positions = positions.data();
    pager->BeginStep(parts);
    const uint32_t slots = shape.slots / sections;
    const uint32_t last = fails ? random() % kLayers : kLayers;
    for (uint32_t layer = 0; layer < kLayers && layer <= last; ++layer) {
      ASSERT_TRUE(
          pager->PageOut(layer, kHeads * shape.grid_tokens / kBlock).ok());
      const uint32_t first = layer % sections * slots;
      if (random() % 4 != 0)
        ASSERT_TRUE(pager->PageIn(layer, first, slots, true).ok());
      std::vector<std::set<std::pair<uint32_t, uint32_t>>> wanted;
      const std::vector<uint32_t> selection =
          Select(batch, tokens, slots, random, &wanted);
      ASSERT_TRUE(pager->Select(layer, selection.data(), view, slots).ok());
      const Status status = pager->PageIn(layer, first, slots, false);
      ASSERT_TRUE(status.ok()) << status.message();
      for (size_t s = 0; s < batch.size(); ++s)
        Check(*batch[s], layer, first, slots, wanted[s]);
    }
    pager->EndStep(!fails);
    for (size_t s = 0; s < batch.size() && !fails; ++s)
      batch[s]->position += tokens[s];
    for (size_t s = 0; s < batch.size() && fails; ++s)
      batch[s]->pages->Truncate(batch[s]->position);
  }

  // A whole cell a step.
  void RunTo(Sequence *sequence, uint64_t position, std::mt19937 &random) {
    while (sequence->position < position)
      Step({sequence}, {16}, random, false);
  }

  void Grow(Sequence &sequence, uint64_t tokens) {
    const uint64_t before = sequence.pages->blocks();
    sequence.pages->Grow(sequence.position + tokens);
    for (uint64_t block = before; block < sequence.pages->blocks(); ++block)
      for (uint64_t row = 0; row < kLayers * kHeads; ++row)
        Store(&memory[sequence.pages->page(row, block) * kPageBytes],
              Content(sequence.id, row, block));
  }

  // Random choices of every query block, together no more than there are slots
  // for. What a query block does not reach is garbage.
  std::vector<uint32_t>
  Select(const std::vector<Sequence *> &batch,
         const std::vector<uint64_t> &tokens, uint32_t slots,
         std::mt19937 &random,
         std::vector<std::set<std::pair<uint32_t, uint32_t>>> *wanted) {
    const uint64_t words = shape.selection_words;
    uint64_t total = 0;
    for (const uint64_t count : tokens)
      total += count;
    std::vector<uint32_t> selection(total * kHeads * words);
    for (uint32_t &word : selection)
      word = random();
    uint64_t first = 0;
    for (size_t s = 0; s < batch.size(); ++s) {
      auto &units = wanted->emplace_back();
      const Sequence &sequence = *batch[s];
      for (uint64_t t = 0; t < tokens[s]; ++t) {
        const uint64_t position = sequence.position + t;
        if (t != 0 && position % kBlock != 0)
          continue;
        for (uint32_t head = 0; head < kHeads; ++head) {
          uint32_t *row = selection.data() +
                          schema::SelectionRow(first + t, kHeads, head, words);
          for (uint32_t block = 0; block < position / kBlock + 1; ++block) {
            row[block / 32] &= ~(1u << block % 32);
            const bool is_hot = IsHot(block, sequence.position);
            const bool keeps =
                is_hot ? random() % 2 == 0
                       : random() % 8 == 0 && (units.size() < slots ||
                                               units.contains({head, block}));
            if (!keeps)
              continue;
            row[block / 32] |= 1u << block % 32;
            if (!is_hot)
              units.insert({head, block});
          }
        }
      }
      first += tokens[s];
    }
    return selection;
  }

  void Check(const Sequence &sequence, uint32_t layer, uint32_t first,
             uint32_t slots,
             const std::set<std::pair<uint32_t, uint32_t>> &wanted) {
    for (uint32_t head = 0; head < kHeads; ++head)
      for (uint64_t block = 0; block < sequence.pages->blocks(); ++block) {
        const uint64_t row = layer * kHeads + head;
        const uint64_t expected = Content(sequence.id, row, block);
        const uint64_t found = At(sequence, row, block);
        if (IsHot(block, sequence.position) ||
            wanted.contains({head, static_cast<uint32_t>(block)})) {
          ASSERT_EQ(found, expected) << "block " << block;
        } else {
          ASSERT_TRUE(found == kNan || found == expected) << "block " << block;
        }
        if (!IsHot(block, sequence.position) &&
            wanted.contains({head, static_cast<uint32_t>(block)}))
          ++needed;
      }
    // All of it is in the layer's slots: another layer may take the others.
    for (const auto &[head, block] : wanted) {
      const int64_t slot =
          (sequence.pages->page(layer * kHeads + head, block) -
           static_cast<int64_t>(hot.blocks() * kLayers * kHeads)) %
          shape.slots;
      ASSERT_TRUE(slot >= first && slot < first + slots);
    }
  }

  static constexpr uint64_t kTokens = kBlocks * kBlock;
  const PagingShape shape;
  const uint32_t sections;
  const uint64_t warm;
  PagePool hot, records;
  std::vector<std::byte> memory, record_memory;
  std::unique_ptr<Pager> pager;
  int32_t nan_page;
  std::vector<int32_t> free_slots;
  uint64_t needed = 0;
};

// As many tokens as a step may take: not beyond its cell.
uint64_t DrawTokens(const Machine &machine, const Sequence &sequence,
                    std::mt19937 &random) {
  const uint64_t grid = machine.shape.grid_tokens;
  const uint64_t room = std::min(grid - sequence.position % grid,
                                 Machine::kTokens - sequence.position);
  return random() % 3 == 0 ? 1 : random() % room + 1;
}

TEST(Pager, HoldsWhatIsReadWhenItIsRead) {
  for (uint32_t seed = 0; seed < 24; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const uint64_t grid = kBlock << random() % 3;
    const uint64_t window = grid * (random() % 4);
    const uint32_t sections = random() % kLayers + 1;
    const uint32_t slots = (random() % 20 + 1) * sections;
    const PagingShape shape = ShapeOf(window, grid, random() % 4, slots);
    // Every third time, a file holds most records.
    const uint64_t warm = seed % 3 ? 0 : 2 * shape.CellBlocks() + random() % 16;
    Machine machine(shape, 2, sections, warm);
    Sequence a = machine.Begin(0), b = machine.Begin(1);
    bool failed = false;
    while (!failed && a.position < Machine::kTokens) {
      std::vector<Sequence *> batch{&a};
      if (b.position < Machine::kTokens && random() % 2)
        batch.insert(batch.begin() + random() % 2, &b);
      std::vector<uint64_t> tokens;
      for (const Sequence *sequence : batch)
        tokens.push_back(DrawTokens(machine, *sequence, random));
      machine.Step(batch, tokens, random, random() % 8 == 0);
      failed = testing::Test::HasFatalFailure();
    }
    ASSERT_FALSE(failed);
    const PagingWork &work = machine.pager->work();
    EXPECT_EQ(work.hits + work.misses, machine.needed);
    EXPECT_GT(work.misses, 0u);
    EXPECT_EQ(work.bytes_in, (work.misses + work.ahead) * kRecordBytes);
    EXPECT_EQ(work.bytes_out, work.packed * kRecordBytes);
    EXPECT_EQ(work.cooled > 0, warm > 0);
    EXPECT_EQ(work.bytes_from_file > 0, warm > 0);
    // Each page fell out once, or more often where a step failed.
    EXPECT_GE(work.packed, (shape.Fallen(a.position - 1) - shape.sink_blocks) *
                               kLayers * kHeads);
  }
}

// The slots that a decode selects from step to step keep what they hold.
TEST(Pager, KeepsWhatWasChosenLately) {
  std::mt19937 random(1);
  Machine machine(ShapeOf(16, 16, 1, 40), 1, kLayers);
  Sequence sequence = machine.Begin(0);
  machine.RunTo(&sequence, 160, random);
  std::vector<uint32_t> selection(kHeads * machine.shape.selection_words);
  const std::vector<int32_t> offsets{0, 1}, positions{160};
  SteleBatch view{};
  view.sequences = view.tokens = 1;
  view.q_offsets = offsets.data();
  view.positions = positions.data();
  const auto decode = [&](uint32_t bits) {
    sequence.pages->Grow(161);
    const PagedPart part{sequence.context.get(), 160};
    machine.pager->BeginStep({&part, 1});
    EXPECT_TRUE(machine.pager->PageOut(0, 100).ok());
    selection[0] = bits;
    EXPECT_TRUE(machine.pager->Select(0, selection.data(), view, 10).ok());
    EXPECT_TRUE(machine.pager->PageIn(0, 0, 10, false).ok());
    machine.pager->EndStep(true);
    return machine.pager->work().misses;
  };
  const uint64_t before = decode(0b11110);
  decode(0b1111100000);
  EXPECT_EQ(decode(0b1100011110), before + 5); // all ten are there
  EXPECT_EQ(decode(0b10000000110), before + 6);
  EXPECT_EQ(decode(0b11110), before + 6); // the longest unused went
}

TEST(Pager, GoesBackToWhatItStillHas) {
  std::mt19937 random(1);
  Machine machine(ShapeOf(32, 16, 1, 12), 1, 1);
  Sequence sequence = machine.Begin(0);
  machine.RunTo(&sequence, 160, random);
  // Fallen behind 144 - 32, the cell of the last step; what a step from 144 on
  // sees is still there.
  EXPECT_TRUE(sequence.context->CanGoBack(160));
  EXPECT_TRUE(sequence.context->CanGoBack(144));
  EXPECT_FALSE(sequence.context->CanGoBack(143));
  sequence.pages->Truncate(150);
  sequence.position = 150;
  machine.Step({&sequence}, {10}, random, false);
  sequence.context->Clear();
  EXPECT_EQ(sequence.pages->blocks(), 0u);
  sequence.position = 0;
  machine.RunTo(&sequence, 320, random);
}

TEST(Pager, SaysWhenTheScheduleIsTooSmall) {
  std::mt19937 random(1);
  Machine machine(ShapeOf(16, 16, 0, 8), 1, 1);
  Sequence sequence = machine.Begin(0);
  machine.RunTo(&sequence, 80, random);
  const std::vector<int32_t> offsets{0, 1}, positions{80};
  SteleBatch view{};
  view.sequences = view.tokens = 1;
  view.q_offsets = offsets.data();
  view.positions = positions.data();
  std::vector<uint32_t> selection(kHeads * machine.shape.selection_words, ~0u);
  sequence.pages->Grow(81);
  const PagedPart part{sequence.context.get(), 80};
  machine.pager->BeginStep({&part, 1});
  EXPECT_THAT(machine.pager->PageOut(2, 11).message(),
              HasSubstr("12 pages of layer 2 fall out"));
  EXPECT_TRUE(machine.pager->PageOut(2, 12).ok());
  EXPECT_THAT(
      machine.pager->Select(2, selection.data(), view, 8).message(),
      HasSubstr("layer 2 selects 48 pages of a sequence that are not in "));
  machine.pager->EndStep(false);
}

} // namespace
} // namespace stele::test
