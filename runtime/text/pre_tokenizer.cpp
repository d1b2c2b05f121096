// The steps of pre-tokenisers; see pre_tokenizer.h.
#include "stele/runtime/text/pre_tokenizer.h"

#include <algorithm>

#include "stele/runtime/text/splitter.h"
#include "stele/runtime/text/unicode.h"

namespace stele::text {
namespace {

using schema::PrependScheme;
using schema::PreTokenizerKind;
using schema::SplitBehavior;
using schema::Splitter;

std::optional<NamedSplitter> Named(Splitter splitter) {
  switch (splitter) {
    case Splitter::Gpt2:
      return NamedSplitter::kGpt2;
    case Splitter::Llama3:
      return NamedSplitter::kLlama3;
    case Splitter::Qwen2:
      return NamedSplitter::kQwen2;
    default:
      return std::nullopt;
  }
}

std::string TextOf(const flatbuffers::String* string) {
  return string ? string->str() : std::string();
}

template <typename Enum>
bool Known(Enum value) {
  return value >= Enum::MIN && value <= Enum::MAX;
}

std::string ReplaceSpaces(std::string_view text, std::string_view by) {
  std::string out;
  out.reserve(text.size() + text.size() / 2);
  for (const char c : text) {
    if (c == ' ') {
      out += by;
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

Result<PreTokenizer> PreTokenizer::Load(const schema::Tokenizer& tokenizer) {
  PreTokenizer pre_tokenizer;
  for (const schema::PreTokenizer* step : *tokenizer.pre_tokenizers()) {
    STELE_ASSIGN_OR_RETURN(Step loaded, LoadStep(*step));
    pre_tokenizer.steps_.push_back(std::move(loaded));
  }
  return pre_tokenizer;
}

Result<PreTokenizer::Step> PreTokenizer::LoadStep(
    const schema::PreTokenizer& source) {
  Step step;
  step.kind = source.kind();
  step.splitter = source.splitter();
  step.behavior = source.behavior();
  step.invert = source.invert();
  step.individual = source.individual();
  step.scheme = source.prepend_scheme();
  step.split = source.split();
  step.pattern = TextOf(source.pattern());
  step.replacement = TextOf(source.replacement());
  if (!Known(step.kind) || !Known(step.splitter) || !Known(step.behavior) ||
      !Known(step.scheme)) {
    return Unsupported(
        "tokenizer: a pre-tokenizer of a kind that this runtime does not know; "
        "use a newer stele");
  }
  if (step.kind == PreTokenizerKind::Split &&
      step.splitter == Splitter::Regex) {
    STELE_ASSIGN_OR_RETURN(step.regex, Regex::Compile(step.pattern));
  }
  if (step.kind == PreTokenizerKind::Metaspace &&
      (step.replacement.empty() || !IsValidUtf8(step.replacement))) {
    return DataLoss(
        "tokenizer: a Metaspace pre-tokenizer without a replacement character; "
        "compile the checkpoint again");
  }
  return step;
}

Status PreTokenizer::Split(std::string_view text, bool at_start,
                           const Sink& sink) const {
  return Run(0, text, at_start, sink);
}

Status PreTokenizer::Run(size_t index, std::string_view text, bool at_start,
                         const Sink& sink) const {
  if (text.empty()) return OkStatus();
  if (index == steps_.size()) {
    sink(text);
    return OkStatus();
  }
  const Step& step = steps_[index];
  switch (step.kind) {
    case PreTokenizerKind::Split: {
      const bool covers = Named(step.splitter).has_value();
      const bool keeps_all =
          step.behavior == SplitBehavior::Isolated ||
          (step.behavior == SplitBehavior::Removed && step.invert);
      if (covers && keeps_all) return RunNamed(index, text, at_start, sink);
      std::vector<Cut> cuts;
      STELE_RETURN_IF_ERROR(FindMatches(step, text, cuts));
      if (step.invert) {
        for (Cut& cut : cuts) cut.match = !cut.match;
      }
      return RunCuts(index, text, std::move(cuts), step.behavior, at_start,
                     sink);
    }
    case PreTokenizerKind::Digits: {
      std::vector<Cut> cuts;
      STELE_RETURN_IF_ERROR(FindMatches(step, text, cuts));
      return RunCuts(
          index, text, std::move(cuts),
          step.individual ? SplitBehavior::Isolated : SplitBehavior::Contiguous,
          at_start, sink);
    }
    case PreTokenizerKind::PrefixSpace: {
      if (text[0] == ' ') return Run(index + 1, text, at_start, sink);
      std::string spaced;
      spaced.reserve(text.size() + 1);
      spaced += ' ';
      spaced += text;
      return Run(index + 1, spaced, at_start, sink);
    }
    case PreTokenizerKind::Metaspace:
      return RunMetaspace(index, text, at_start, sink);
  }
  return Internal("pre-tokenizer step of an unchecked kind");
}

// A named splitter matches everywhere: its matches are the pieces.
Status PreTokenizer::RunNamed(size_t index, std::string_view text,
                              bool at_start, const Sink& sink) const {
  const NamedSplitter splitter = *Named(steps_[index].splitter);
  while (!text.empty()) {
    const size_t size = MatchSplitter(splitter, text);
    STELE_RETURN_IF_ERROR(Run(index + 1, text.substr(0, size), at_start, sink));
    text.remove_prefix(size);
    at_start = false;
  }
  return OkStatus();
}

// Covers `text` with matches and what lies between them.
Status PreTokenizer::FindMatches(const Step& step, std::string_view text,
                                 std::vector<Cut>& cuts) {
  size_t covered = 0;
  const auto match = [&](size_t begin, size_t end) {
    if (covered < begin) cuts.push_back({{covered, begin}, false});
    cuts.push_back({{begin, end}, true});
    covered = end;
  };
  if (step.kind == PreTokenizerKind::Digits) {
    for (size_t at = 0; at < text.size();) {
      const CodePoint c = FirstCodePoint(text.substr(at));
      if (IsNumber(c.value)) match(at, at + c.size);
      at += c.size;
    }
  } else if (step.regex) {
    STELE_RETURN_IF_ERROR(step.regex->FindAll(text, match));
  } else if (const auto named = Named(step.splitter)) {
    for (size_t at = 0; at < text.size();) {
      const size_t size = MatchSplitter(*named, text.substr(at));
      match(at, at + size);
      at += size;
    }
  } else if (!step.pattern.empty()) {
    for (size_t at = text.find(step.pattern); at != std::string_view::npos;
         at = text.find(step.pattern, at + step.pattern.size())) {
      match(at, at + step.pattern.size());
    }
  }
  if (covered < text.size()) cuts.push_back({{covered, text.size()}, false});
  return OkStatus();
}

Status PreTokenizer::RunCuts(size_t index, std::string_view text,
                             std::vector<Cut> cuts, SplitBehavior behavior,
                             bool at_start, const Sink& sink) const {
  // Joins neighbours in place where the behaviour says so.
  std::vector<Cut> joined;
  const auto join_if = [&](auto&& joins) {
    for (const Cut& cut : cuts) {
      if (!joined.empty() && joins(joined.back().match, cut.match)) {
        joined.back().span.begin =
            std::min(joined.back().span.begin, cut.span.begin);
        joined.back().span.end = std::max(joined.back().span.end, cut.span.end);
        joined.back().match = cut.match;
      } else {
        joined.push_back(cut);
      }
    }
    cuts = std::move(joined);
  };
  switch (behavior) {
    case SplitBehavior::Isolated:
      break;
    case SplitBehavior::Removed:
      std::erase_if(cuts, [](const Cut& cut) { return cut.match; });
      break;
    case SplitBehavior::Contiguous:
      join_if([](bool previous, bool current) { return previous == current; });
      break;
    case SplitBehavior::MergedWithPrevious:
      join_if([](bool previous, bool current) { return current && !previous; });
      break;
    case SplitBehavior::MergedWithNext:
      std::reverse(cuts.begin(), cuts.end());
      join_if([](bool next, bool current) { return current && !next; });
      std::reverse(cuts.begin(), cuts.end());
      break;
  }
  for (const Cut& cut : cuts) {
    STELE_RETURN_IF_ERROR(Run(
        index + 1, text.substr(cut.span.begin, cut.span.end - cut.span.begin),
        at_start && cut.span.begin == 0, sink));
  }
  return OkStatus();
}

Status PreTokenizer::RunMetaspace(size_t index, std::string_view text,
                                  bool at_start, const Sink& sink) const {
  const Step& step = steps_[index];
  std::string marked = ReplaceSpaces(text, step.replacement);
  const bool prepend = step.scheme == PrependScheme::Always ||
                       (step.scheme == PrependScheme::First && at_start);
  if (prepend && !marked.starts_with(step.replacement)) {
    marked.insert(0, step.replacement);
  }
  if (!step.split) return Run(index + 1, marked, at_start, sink);
  // Cuts before every replacement character.
  const std::string_view rest = marked;
  for (size_t begin = 0; begin < rest.size();) {
    const size_t end =
        std::min(rest.find(step.replacement, begin + 1), rest.size());
    STELE_RETURN_IF_ERROR(Run(index + 1, rest.substr(begin, end - begin),
                              at_start && begin == 0, sink));
    begin = end;
  }
  return OkStatus();
}

}  // namespace stele::text
