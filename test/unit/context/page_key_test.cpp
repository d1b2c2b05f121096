// The key chain against values from Python's hashlib, and what changes it.
#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "stele/runtime/context/page_key.h"

namespace stele {
namespace {

PageSource Source() {
  PageSource source;
  std::iota(source.artifact.begin(), source.artifact.end(), uint8_t{0});
  source.format = "f32";
  source.policy = "dense";
  source.producer = "any";
  source.salt = "s";
  return source;
}

// sha256 over (length, tag, length, value) of each field, lengths of 8 bytes.
TEST(PageKey, IsTheHashOfTaggedFields) {
  const PageKey root = RootKey(Source());
  EXPECT_EQ(ToHex(root),
            "4bc30bb7935b5cf502af8c45b93849d56a3d97dee03372722d37f0188e14aba0");
  const std::vector<int32_t> tokens = {1, -2, 65536};
  EXPECT_EQ(ToHex(ChildKey(root, tokens)),
            "3a1e9a8f178e60b7cac86f9b1a999fe8240c9fecb50ee4f145ff35c94a646669");
}

TEST(PageKey, DependsOnEveryField) {
  std::set<PageKey> keys = {RootKey(Source())};
  const auto add = [&](auto change) {
    PageSource source = Source();
    change(source);
    EXPECT_TRUE(keys.insert(RootKey(source)).second);
  };
  add([](PageSource &s) { s.artifact[31] ^= 1; });
  add([](PageSource &s) { s.adapter = "a"; });
  add([](PageSource &s) { s.format = "f16"; });
  add([](PageSource &s) { s.policy = "densep"; }); // not the next field's
  add([](PageSource &s) { s.producer = "roducer"; });
  add([](PageSource &s) { s.salt = ""; });
}

TEST(PageKey, DependsOnAllThatCameBefore) {
  const PageKey root = RootKey(Source());
  const std::vector<int32_t> a = {1, 2}, b = {1, 3};
  EXPECT_NE(ChildKey(ChildKey(root, a), b), ChildKey(ChildKey(root, b), b));
  EXPECT_NE(ChildKey(root, a), ChildKey(root, std::span(a).first(1)));
}

} // namespace
} // namespace stele
