// Wires the steps of tokenisation together; see tokenizer.h.
#include "stele/runtime/text/tokenizer.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "stele/runtime/text/added_tokens.h"
#include "stele/runtime/text/detokenizer.h"
#include "stele/runtime/text/normalizer.h"
#include "stele/runtime/text/piece_encoder.h"
#include "stele/runtime/text/pre_tokenizer.h"
#include "stele/runtime/text/unicode.h"
#include "stele/runtime/text/vocabulary.h"
#include "stele/schema/tokenizer_generated.h"

namespace stele::text {
namespace {

using schema::NormalizerKind;

Status Corrupt(const std::string& what) {
  return DataLoss("tokenizer: " + what + "; compile the checkpoint again");
}

struct Normalizer {
  NormalizerKind kind = {};
  std::optional<Regex> regex;
  std::string pattern;
  std::string content;
};

Result<Normalizer> LoadNormalizer(const schema::Normalizer& source) {
  Normalizer step;
  step.kind = source.kind();
  if (step.kind > NormalizerKind::MAX) {
    return Unsupported(
        "tokenizer: a normalizer of a kind that this runtime does not know; "
        "use a newer stele");
  }
  if (source.pattern()) step.pattern = source.pattern()->str();
  if (source.content()) step.content = source.content()->str();
  if (!IsValidUtf8(step.content)) {
    return Corrupt("the text that a normalizer inserts is not UTF-8");
  }
  if (source.regex()) {
    STELE_ASSIGN_OR_RETURN(step.regex, Regex::Compile(step.pattern));
  }
  return step;
}

Result<std::string> ReplaceAll(const Normalizer& step, std::string_view text) {
  std::string out;
  size_t copied = 0;
  const auto replace = [&](size_t begin, size_t end) {
    out.append(text, copied, begin - copied);
    out += step.content;
    copied = end;
  };
  if (step.regex) {
    STELE_RETURN_IF_ERROR(step.regex->FindAll(text, replace));
  } else if (!step.pattern.empty()) {
    for (size_t at = text.find(step.pattern); at != std::string_view::npos;
         at = text.find(step.pattern, at + step.pattern.size())) {
      replace(at, at + step.pattern.size());
    }
  }
  out.append(text, copied);
  return out;
}

Result<std::string> Apply(const Normalizer& step, std::string text) {
  switch (step.kind) {
    case NormalizerKind::Nfc:
      return NormalizeUnicode(text, NormalForm::kNfc);
    case NormalizerKind::Nfd:
      return NormalizeUnicode(text, NormalForm::kNfd);
    case NormalizerKind::Nfkc:
      return NormalizeUnicode(text, NormalForm::kNfkc);
    case NormalizerKind::Nfkd:
      return NormalizeUnicode(text, NormalForm::kNfkd);
    case NormalizerKind::Prepend:
      return text.empty() ? text : step.content + text;
    case NormalizerKind::Replace:
      return ReplaceAll(step, text);
  }
  return Internal("normalizer of an unchecked kind");
}

// The parts of ascending `spans` that lie in [begin, end), relative to begin.
std::vector<Span> Clip(std::span<const Span> spans, size_t begin, size_t end) {
  std::vector<Span> clipped;
  auto it =
      std::partition_point(spans.begin(), spans.end(),
                           [&](const Span& span) { return span.end <= begin; });
  for (; it != spans.end() && it->begin < end; ++it) {
    clipped.push_back(
        {std::max(it->begin, begin) - begin, std::min(it->end, end) - begin});
  }
  return clipped;
}

}  // namespace

class Tokenizer::Impl {
 public:
  static Result<std::unique_ptr<const Impl>> Load(
      std::span<const uint8_t> flatbuffer);

  Result<std::vector<int32_t>> Encode(std::string_view text,
                                      const EncodeOptions& options) const;
  bool InRange(int32_t id) const {
    return id >= 0 && static_cast<uint32_t>(id) < vocabulary->size();
  }
  void Push(int32_t id, bool skip_special, Detokenizer& detokenizer,
            std::string& out) const;

  std::unique_ptr<Vocabulary> vocabulary;
  std::vector<Normalizer> normalizers;
  std::optional<PreTokenizer> pre_tokenizer;
  PieceOptions piece_options;
  DetokenizerOptions decoder;
  std::vector<AddedToken> added_tokens;  // by content, as it was written
  std::optional<AddedTokenMatcher> raw_tokens;
  std::optional<AddedTokenMatcher> normalized_tokens;
  // Added tokens decode to the form that is looked for.
  std::unordered_map<uint32_t, std::string> decoded_forms;
  std::vector<int32_t> prefix, suffix;
  std::optional<int32_t> bos, eos, pad;
  std::vector<std::string> strings;  // storage of the views below
  std::vector<NamedToken> named_tokens;
  std::vector<NamedTemplate> chat_templates;

 private:
  Status LoadModel(const schema::Tokenizer& source);
  Status LoadAddedTokens(const schema::Tokenizer& source);
  Status LoadDecoder(const schema::Decoder& source);
  Status LoadIds(const schema::Tokenizer& source);
  Status LoadTemplates(const schema::Tokenizer& source);
  Result<std::optional<int32_t>> OptionalId(const char* field,
                                            int32_t id) const;

  Result<std::string> Normalize(std::string_view text, bool prepend) const;
  Result<std::vector<Span>> NormalizeSpans(std::string_view text,
                                           std::span<const Span> literal,
                                           std::string_view normalized) const;
  Status EncodeText(std::string_view text, bool at_start,
                    const AddedTokenMatcher::Filter& filter,
                    PieceEncoder& encoder, std::vector<int32_t>& ids) const;
};

Result<std::unique_ptr<const Tokenizer::Impl>> Tokenizer::Impl::Load(
    std::span<const uint8_t> flatbuffer) {
  flatbuffers::Verifier verifier(flatbuffer.data(), flatbuffer.size());
  if (!schema::VerifyTokenizerBuffer(verifier)) {
    return Corrupt("the segment is not a valid tokenizer");
  }
  const schema::Tokenizer& source = *schema::GetTokenizer(flatbuffer.data());
  auto impl = std::make_unique<Impl>();
  STELE_RETURN_IF_ERROR(impl->LoadModel(source));
  STELE_RETURN_IF_ERROR(impl->LoadAddedTokens(source));
  STELE_RETURN_IF_ERROR(impl->LoadDecoder(*source.decoder()));
  STELE_RETURN_IF_ERROR(impl->LoadIds(source));
  STELE_RETURN_IF_ERROR(impl->LoadTemplates(source));
  return std::unique_ptr<const Impl>(std::move(impl));
}

Status Tokenizer::Impl::LoadModel(const schema::Tokenizer& source) {
  STELE_ASSIGN_OR_RETURN(vocabulary, Vocabulary::Load(source));
  for (const schema::Normalizer* step : *source.normalizers()) {
    STELE_ASSIGN_OR_RETURN(Normalizer loaded, LoadNormalizer(*step));
    normalizers.push_back(std::move(loaded));
  }
  STELE_ASSIGN_OR_RETURN(pre_tokenizer, PreTokenizer::Load(source));
  STELE_ASSIGN_OR_RETURN(const std::optional<int32_t> unk,
                         OptionalId("unk_id", source.unk_id()));
  piece_options.ignore_merges = source.ignore_merges();
  piece_options.byte_fallback = source.byte_fallback();
  piece_options.fuse_unk = source.fuse_unk();
  if (unk) piece_options.unk = static_cast<uint32_t>(*unk);
  return OkStatus();
}

Status Tokenizer::Impl::LoadAddedTokens(const schema::Tokenizer& source) {
  std::vector<AddedToken> raw, normalized;
  for (const schema::AddedToken* token : *source.added_tokens()) {
    AddedToken added{.id = token->id(),
                     .content = token->content()->str(),
                     .special = token->special(),
                     .lstrip = token->lstrip(),
                     .rstrip = token->rstrip(),
                     .single_word = token->single_word(),
                     .normalized = token->normalized()};
    if (added.content.empty() || !IsValidUtf8(added.content)) {
      return Corrupt("added token " + std::to_string(added.id) +
                     " is empty or not UTF-8");
    }
    added_tokens.push_back(added);
    if (!added.normalized) {
      raw.push_back(std::move(added));
      continue;
    }
    STELE_ASSIGN_OR_RETURN(std::string content, Normalize(added.content, true));
    if (content != added.content) decoded_forms[added.id] = content;
    added.content = std::move(content);
    if (!added.content.empty()) normalized.push_back(std::move(added));
  }
  std::sort(added_tokens.begin(), added_tokens.end(),
            [](const AddedToken& a, const AddedToken& b) {
              return a.content < b.content;
            });
  raw_tokens.emplace(std::move(raw));
  normalized_tokens.emplace(std::move(normalized));
  return OkStatus();
}

Status Tokenizer::Impl::LoadDecoder(const schema::Decoder& source) {
  decoder.kind = source.kind();
  if (decoder.kind > schema::DecoderKind::MAX) {
    return Unsupported(
        "tokenizer: a decoder of a kind that this runtime does not know; use a "
        "newer stele");
  }
  const bool byte_level = decoder.kind == schema::DecoderKind::ByteLevel;
  if (byte_level != vocabulary->byte_level()) {
    return Corrupt("the decoder does not suit the vocabulary");
  }
  if (source.replacement()) decoder.replacement = source.replacement()->str();
  decoder.byte_fallback = source.byte_fallback();
  decoder.strip_start = source.strip_start();
  return OkStatus();
}

Result<std::optional<int32_t>> Tokenizer::Impl::OptionalId(const char* field,
                                                           int32_t id) const {
  if (id == -1) return std::optional<int32_t>();
  if (!InRange(id)) {
    return Corrupt(std::string(field) + " is " + std::to_string(id) +
                   ", the vocabulary ends at " +
                   std::to_string(vocabulary->size()));
  }
  return std::optional<int32_t>(id);
}

Status Tokenizer::Impl::LoadIds(const schema::Tokenizer& source) {
  STELE_ASSIGN_OR_RETURN(bos, OptionalId("bos_id", source.bos_id()));
  STELE_ASSIGN_OR_RETURN(eos, OptionalId("eos_id", source.eos_id()));
  STELE_ASSIGN_OR_RETURN(pad, OptionalId("pad_id", source.pad_id()));
  const auto read = [&](const flatbuffers::Vector<uint32_t>& from,
                        std::vector<int32_t>& to) {
    for (const uint32_t id : from) {
      if (id >= vocabulary->size()) {
        return Corrupt("an id around every text is " + std::to_string(id) +
                       ", the vocabulary ends at " +
                       std::to_string(vocabulary->size()));
      }
      to.push_back(static_cast<int32_t>(id));
    }
    return OkStatus();
  };
  STELE_RETURN_IF_ERROR(read(*source.prefix_ids(), prefix));
  return read(*source.suffix_ids(), suffix);
}

Status Tokenizer::Impl::LoadTemplates(const schema::Tokenizer& source) {
  strings.reserve(
      2 * (source.named_tokens()->size() + source.chat_templates()->size()));
  const auto keep = [&](const flatbuffers::String& string) -> std::string_view {
    return strings.emplace_back(string.str());
  };
  for (const schema::NamedToken* token : *source.named_tokens()) {
    named_tokens.push_back({keep(*token->name()), keep(*token->content())});
  }
  for (const schema::ChatTemplate* chat : *source.chat_templates()) {
    chat_templates.push_back({keep(*chat->name()), keep(*chat->text())});
  }
  for (const std::string& string : strings) {
    if (!IsValidUtf8(string)) {
      return Corrupt("a named token or chat template is not UTF-8");
    }
  }
  return OkStatus();
}

Result<std::string> Tokenizer::Impl::Normalize(std::string_view text,
                                               bool prepend) const {
  std::string out(text);
  for (const Normalizer& step : normalizers) {
    if (step.kind == NormalizerKind::Prepend && !prepend) continue;
    STELE_ASSIGN_OR_RETURN(out, Apply(step, std::move(out)));
  }
  return out;
}

// Where the literal spans of `text` lie in `normalized`. Where normalisation
// reached across their ends nothing is sure, and all of the text is literal: a
// lost control token is a worse answer, a smuggled one a breach.
Result<std::vector<Span>> Tokenizer::Impl::NormalizeSpans(
    std::string_view text, std::span<const Span> literal,
    std::string_view normalized) const {
  std::vector<Span> spans;
  std::string whole;
  size_t done = 0;
  const auto advance = [&](size_t to) -> Status {
    const bool first = done == 0 && to > 0;
    STELE_ASSIGN_OR_RETURN(const std::string part,
                           Normalize(text.substr(done, to - done), first));
    whole += part;
    done = to;
    return OkStatus();
  };
  for (const Span& span : literal) {
    STELE_RETURN_IF_ERROR(advance(span.begin));
    const size_t begin = whole.size();
    STELE_RETURN_IF_ERROR(advance(span.end));
    spans.push_back({begin, whole.size()});
  }
  STELE_RETURN_IF_ERROR(advance(text.size()));
  if (whole != normalized) return std::vector<Span>{{0, normalized.size()}};
  return spans;
}

// A stretch between the added tokens that match raw text.
Status Tokenizer::Impl::EncodeText(std::string_view text, bool at_start,
                                   const AddedTokenMatcher::Filter& filter,
                                   PieceEncoder& encoder,
                                   std::vector<int32_t>& ids) const {
  std::string storage;
  std::string_view normalized = text;
  if (!normalizers.empty()) {
    STELE_ASSIGN_OR_RETURN(storage, Normalize(text, true));
    normalized = storage;
  }
  const auto encode = [&](std::string_view part, bool start) {
    return pre_tokenizer->Split(
        part, start, [&](std::string_view piece) { encoder.Encode(piece); });
  };
  if (normalized_tokens->empty()) return encode(normalized, at_start);
  AddedTokenMatcher::Filter inner = filter;
  std::vector<Span> spans;
  if (!filter.literal.empty()) {
    STELE_ASSIGN_OR_RETURN(spans,
                           NormalizeSpans(text, filter.literal, normalized));
    inner.literal = spans;
  }
  Status status;
  normalized_tokens->Split(
      normalized, inner, [&](Span span, const AddedToken* token) {
        if (!status.ok()) return;
        if (token) {
          ids.push_back(static_cast<int32_t>(token->id));
        } else {
          status = encode(normalized.substr(span.begin, span.end - span.begin),
                          at_start && span.begin == 0);
        }
      });
  return status;
}

Result<std::vector<int32_t>> Tokenizer::Impl::Encode(
    std::string_view text, const EncodeOptions& options) const {
  std::vector<Span> literal(options.literal.begin(), options.literal.end());
  std::string sanitized;
  if (!IsValidUtf8(text)) {
    std::vector<size_t> positions;
    for (const Span& span : literal) {
      positions.push_back(span.begin);
      positions.push_back(span.end);
    }
    sanitized = SanitizeUtf8(text, &positions);
    for (size_t i = 0; i < literal.size(); ++i) {
      literal[i] = {positions[2 * i], positions[2 * i + 1]};
    }
    text = sanitized;
  }
  std::vector<int32_t> ids;
  if (options.add_special_tokens) ids = prefix;
  PieceEncoder encoder(*vocabulary, piece_options, text.size(), ids);
  Status status;
  raw_tokens->Split(
      text, {options.parse_special_tokens, literal},
      [&](Span span, const AddedToken* token) {
        if (!status.ok()) return;
        if (token) {
          ids.push_back(static_cast<int32_t>(token->id));
          return;
        }
        const std::vector<Span> inside = Clip(literal, span.begin, span.end);
        status = EncodeText(
            text.substr(span.begin, span.end - span.begin), span.begin == 0,
            {options.parse_special_tokens, inside}, encoder, ids);
      });
  if (!status.ok()) return status;
  if (options.add_special_tokens) {
    ids.insert(ids.end(), suffix.begin(), suffix.end());
  }
  return ids;
}

void Tokenizer::Impl::Push(int32_t id, bool skip_special,
                           Detokenizer& detokenizer, std::string& out) const {
  if (!InRange(id)) return;
  const auto token = static_cast<uint32_t>(id);
  const schema::TokenType type = vocabulary->type(token);
  if (type == schema::TokenType::Hole) return;
  if (skip_special && vocabulary->special(token)) return;
  if (type == schema::TokenType::Byte && decoder.byte_fallback) {
    detokenizer.PushByte(static_cast<char>(vocabulary->ByteOf(token)), out);
    return;
  }
  const auto form = decoded_forms.find(token);
  detokenizer.Push(
      form == decoded_forms.end() ? vocabulary->bytes(token) : form->second,
      out);
}

Tokenizer::Tokenizer(std::unique_ptr<const Impl> impl)
    : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

Result<std::unique_ptr<Tokenizer>> Tokenizer::Load(
    std::span<const uint8_t> flatbuffer) {
  STELE_ASSIGN_OR_RETURN(std::unique_ptr<const Impl> impl,
                         Impl::Load(flatbuffer));
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(impl)));
}

Result<std::vector<int32_t>> Tokenizer::Encode(
    std::string_view text, const EncodeOptions& options) const {
  return impl_->Encode(text, options);
}

std::string Tokenizer::Decode(std::span<const int32_t> ids,
                              bool skip_special_tokens) const {
  std::string text;
  Detokenizer detokenizer(impl_->decoder, Detokenizer::ByteRuns::kWhole);
  for (const int32_t id : ids) {
    impl_->Push(id, skip_special_tokens, detokenizer, text);
  }
  detokenizer.Finish(text);
  return text;
}

uint32_t Tokenizer::vocab_size() const { return impl_->vocabulary->size(); }

bool Tokenizer::IsSpecial(int32_t id) const {
  return impl_->InRange(id) &&
         impl_->vocabulary->special(static_cast<uint32_t>(id));
}

std::string_view Tokenizer::TokenText(int32_t id) const {
  if (!impl_->InRange(id)) return {};
  return impl_->vocabulary->bytes(static_cast<uint32_t>(id));
}

std::optional<int32_t> Tokenizer::FindAddedToken(
    std::string_view content) const {
  const auto& tokens = impl_->added_tokens;
  const auto it =
      std::lower_bound(tokens.begin(), tokens.end(), content,
                       [](const AddedToken& token, std::string_view wanted) {
                         return token.content < wanted;
                       });
  if (it == tokens.end() || it->content != content) return std::nullopt;
  return static_cast<int32_t>(it->id);
}

std::optional<int32_t> Tokenizer::bos_id() const { return impl_->bos; }
std::optional<int32_t> Tokenizer::eos_id() const { return impl_->eos; }
std::optional<int32_t> Tokenizer::pad_id() const { return impl_->pad; }
std::span<const NamedToken> Tokenizer::named_tokens() const {
  return impl_->named_tokens;
}
std::span<const NamedTemplate> Tokenizer::chat_templates() const {
  return impl_->chat_templates;
}

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer,
                             bool skip_special_tokens)
    : tokenizer_(tokenizer),
      skip_special_tokens_(skip_special_tokens),
      detokenizer_(std::make_unique<Detokenizer>(
          tokenizer.impl_->decoder, Detokenizer::ByteRuns::kPartial)) {}
StreamDecoder::~StreamDecoder() = default;

std::string StreamDecoder::Push(int32_t id) {
  std::string out;
  tokenizer_.impl_->Push(id, skip_special_tokens_, *detokenizer_, out);
  return out;
}

std::string StreamDecoder::Finish() {
  std::string out;
  detokenizer_->Finish(out);
  return out;
}

}  // namespace stele::text
