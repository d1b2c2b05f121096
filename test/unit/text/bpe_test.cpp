// The merge loops against the definition of BPE.
#include "stele/runtime/text/bpe.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace stele::text {
namespace {

using Symbols = std::vector<uint32_t>;
using Merges = std::map<std::pair<uint32_t, uint32_t>, MergeTable::Merge>;

// Merge the lowest rank's leftmost pair until there is none.
Symbols MergeByDefinition(const Merges &merges, Symbols symbols) {
  while (true) {
    size_t best = symbols.size();
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto at = [&](size_t k) {
        return merges.find({symbols[k], symbols[k + 1]});
      };
      if (at(i) == merges.end())
        continue;
      if (best == symbols.size() ||
          at(i)->second.rank < at(best)->second.rank) {
        best = i;
      }
    }
    if (best == symbols.size())
      return symbols;
    symbols[best] = merges.at({symbols[best], symbols[best + 1]}).result;
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
}

// Random merges in which, as in a vocabulary, equal results have equal parts'
// text: the text of a token is its number in base 4, with a leading 1.
Merges RandomMerges(std::mt19937 &random, bool equal_ranks) {
  std::vector<std::string> texts = {"a", "b", "c", "d"};
  std::map<std::string, uint32_t> ids = {
      {"a", 0}, {"b", 1}, {"c", 2}, {"d", 3}};
  Merges merges;
  for (uint32_t rank = 0; rank < 200; ++rank) {
    const uint32_t left = random() % texts.size();
    const uint32_t right = random() % texts.size();
    const std::string text = texts[left] + texts[right];
    if (text.size() > 12)
      continue;
    const auto [it, added] =
        ids.try_emplace(text, static_cast<uint32_t>(texts.size()));
    if (added)
      texts.push_back(text);
    merges[{left, right}] = {equal_ranks ? it->second : rank, it->second};
  }
  return merges;
}

TEST(BpeTest, FollowsTheDefinition) {
  std::mt19937 random(3);
  for (int round = 0; round < 400; ++round) {
    const Merges merges = RandomMerges(random, round % 2 == 0);
    MergeTable table(merges.size());
    for (const auto &[pair, merge] : merges) {
      table.Add(pair.first, pair.second, merge);
    }
    // On both sides of the limit between the two loops.
    for (const size_t size : {1, 2, 7, 48, 49, 200}) {
      Symbols symbols(size);
      for (uint32_t &symbol : symbols)
        symbol = random() % 4;
      const Symbols expected = MergeByDefinition(merges, symbols);
      table.Apply(symbols);
      ASSERT_EQ(symbols, expected) << "round " << round << ", size " << size;
    }
  }
}

TEST(BpeTest, LetsALaterMergeOfAPairCount) {
  MergeTable table(2);
  table.Add(1, 2, {0, 3});
  table.Add(1, 2, {7, 4});
  EXPECT_EQ(table.Find(1, 2)->result, 4u);
  EXPECT_EQ(table.Find(1, 2)->rank, 7u);
  EXPECT_EQ(table.Find(2, 1), nullptr);
}

TEST(BpeTest, MergesAMillionSymbols) {
  // a a -> A, A A -> B, ...: every symbol takes part in every level.
  MergeTable table(20);
  for (uint32_t i = 0; i < 20; ++i)
    table.Add(i, i, {i, i + 1});
  Symbols symbols(1 << 20, 0);
  table.Apply(symbols);
  EXPECT_EQ(symbols, Symbols{20});
}

} // namespace
} // namespace stele::text
