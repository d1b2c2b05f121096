// The names of pages: who computes the same page finds the same name.
//
// Place on the road: a stored page is found by the SHA-256 of all that decides
// its bits. A chain of keys, one a block, is an index of prefixes: sequences
// that begin alike have equal keys up to where they part, whichever session or
// process computed them.
#ifndef STELE_RUNTIME_CONTEXT_PAGE_KEY_H_
#define STELE_RUNTIME_CONTEXT_PAGE_KEY_H_

#include <cstdint>
#include <span>
#include <string>

#include "stele/runtime/base/hash.h"

namespace stele {

using PageKey = Sha256Digest;

// What decides a page's bits, but for its tokens and those before them.
struct PageSource {
  Sha256Digest artifact = {};
  std::string adapter;   // weights added to the artifact's; empty: none
  std::string format;    // how a page's bytes are laid out
  std::string policy;    // how attention and linears are computed
  std::string producer;  // which of several programs that differ in last bits
  std::string salt;      // keeps users apart that must not share
};

// The key in front of the first block.
PageKey RootKey(const PageSource& source);
// The key of the block that holds `tokens` and follows the one of `parent`.
PageKey ChildKey(const PageKey& parent, std::span<const int32_t> tokens);

}  // namespace stele

#endif  // STELE_RUNTIME_CONTEXT_PAGE_KEY_H_
