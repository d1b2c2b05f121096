// Small tokenizer segments for tests, described in a few lines.
#ifndef STELE_TEST_UNIT_TEXT_TOKENIZER_BUILDER_H_
#define STELE_TEST_UNIT_TEXT_TOKENIZER_BUILDER_H_

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "stele/runtime/text/tokenizer.h"
#include "stele/schema/tokenizer_generated.h"

namespace stele::text {

struct TokenizerBuilder {
  // A byte-level vocabulary: the 256 bytes are ids 0 to 255.
  static TokenizerBuilder ByteLevel() {
    TokenizerBuilder builder;
    builder.t.byte_level = true;
    builder.t.decoder->kind = schema::DecoderKind::ByteLevel;
    for (int byte = 0; byte < 256; ++byte) {
      builder.Token(std::string(1, static_cast<char>(byte)));
    }
    return builder;
  }
  // A SentencePiece-style one: <unk>, then <0x00> to <0xFF> as ids 1 to 256.
  static TokenizerBuilder Spm() {
    TokenizerBuilder builder;
    builder.Added("<unk>", true);
    for (int byte = 0; byte < 256; ++byte) {
      char name[8];
      std::snprintf(name, sizeof(name), "<0x%02X>", byte);
      builder.Token(name, schema::TokenType::Byte);
    }
    builder.t.unk_id = 0;
    builder.t.byte_fallback = true;
    builder.t.fuse_unk = true;
    builder.t.decoder->kind = schema::DecoderKind::Spm;
    builder.t.decoder->replacement = "\u2581";
    builder.t.decoder->byte_fallback = true;
    builder.t.decoder->strip_start = 1;
    builder.Normalizer(schema::NormalizerKind::Prepend).content = "\u2581";
    schema::NormalizerT &replace =
        builder.Normalizer(schema::NormalizerKind::Replace);
    replace.pattern = " ";
    replace.content = "\u2581";
    return builder;
  }

  TokenizerBuilder() {
    t.offsets.push_back(0);
    t.decoder = std::make_unique<schema::DecoderT>();
  }

  uint32_t Token(std::string_view bytes,
                 schema::TokenType type = schema::TokenType::Normal) {
    t.bytes.insert(t.bytes.end(), bytes.begin(), bytes.end());
    t.offsets.push_back(static_cast<uint32_t>(t.bytes.size()));
    t.types.push_back(type);
    texts.emplace_back(bytes);
    return static_cast<uint32_t>(t.types.size() - 1);
  }
  // A merge of two tokens into a new one (or one that is there already).
  uint32_t Merge(std::string_view left, std::string_view right) {
    const std::string whole = std::string(left) + std::string(right);
    const uint32_t a = Id(left), b = Id(right);
    uint32_t result = 0;
    while (result < texts.size() && texts[result] != whole)
      ++result;
    if (result == texts.size())
      Token(whole);
    for (const uint32_t id : {a, b, result})
      t.merges.push_back(id);
    return result;
  }
  schema::AddedTokenT &Added(std::string_view content, bool special) {
    t.added_tokens.push_back(std::make_unique<schema::AddedTokenT>());
    schema::AddedTokenT &added = *t.added_tokens.back();
    added.id = Token(content, schema::TokenType::Literal);
    added.content = content;
    added.special = special;
    return added;
  }
  schema::NormalizerT &Normalizer(schema::NormalizerKind kind) {
    t.normalizers.push_back(std::make_unique<schema::NormalizerT>());
    t.normalizers.back()->kind = kind;
    return *t.normalizers.back();
  }
  schema::PreTokenizerT &PreTokenizer(schema::PreTokenizerKind kind) {
    t.pre_tokenizers.push_back(std::make_unique<schema::PreTokenizerT>());
    t.pre_tokenizers.back()->kind = kind;
    return *t.pre_tokenizers.back();
  }
  uint32_t Id(std::string_view text) const {
    for (uint32_t id = 0; id < texts.size(); ++id) {
      if (texts[id] == text)
        return id;
    }
    throw std::logic_error("no token " + std::string(text));
  }

  std::vector<uint8_t> Segment() const {
    flatbuffers::FlatBufferBuilder builder;
    schema::FinishTokenizerBuffer(builder,
                                  schema::CreateTokenizer(builder, &t));
    return {builder.GetBufferPointer(),
            builder.GetBufferPointer() + builder.GetSize()};
  }
  Result<std::unique_ptr<Tokenizer>> Load() const {
    return Tokenizer::Load(Segment());
  }

  schema::TokenizerT t;
  std::vector<std::string> texts; // of the tokens, by id
};

} // namespace stele::text

#endif // STELE_TEST_UNIT_TEXT_TOKENIZER_BUILDER_H_
