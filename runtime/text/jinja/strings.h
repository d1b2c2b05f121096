// Python's str operations on Text. All keep track of the user's bytes and
// charge what they build.
#ifndef STELE_RUNTIME_TEXT_JINJA_STRINGS_H_
#define STELE_RUNTIME_TEXT_JINJA_STRINGS_H_

#include <optional>
#include <vector>

#include "stele/runtime/text/jinja/meter.h"
#include "stele/runtime/text/jinja/text.h"

namespace stele::text::jinja {

enum class Side { kBoth, kLeft, kRight };

// Strips `chars`, or whitespace if null.
Text Strip(const Text& text, const Text* chars, Side side, Meter& meter);
// Splits at `separator`, or at runs of whitespace if null; at most `most` times
// unless negative; counted from the right if `from_right`.
std::vector<Text> Split(const Text& text, const Text* separator, int64_t most,
                        bool from_right, Meter& meter);
std::vector<Text> SplitLines(const Text& text, bool keep_ends, Meter& meter);
Text Replace(const Text& text, const Text& from, const Text& to, int64_t most,
             Meter& meter);
Text Join(const Text& separator, const std::vector<Text>& parts, Meter& meter);
Text Repeat(const Text& text, int64_t times, Meter& meter);
// Code points begin, begin + step, ... of Python's slice rules.
Text SliceText(const Text& text, std::optional<int64_t> begin,
               std::optional<int64_t> end, int64_t step, Meter& meter);
// The code point at a possibly negative index, if there is one.
std::optional<Text> CharAt(const Text& text, int64_t index);
std::vector<Text> Characters(const Text& text, Meter& meter);

Text Upper(const Text& text, Meter& meter);
Text Lower(const Text& text, Meter& meter);
Text SwapCase(const Text& text, Meter& meter);
Text Capitalize(const Text& text, Meter& meter);
// str.title: a capital after every character that has no case.
Text Title(const Text& text, Meter& meter);
// Jinja's title filter: a capital after space, - ( { [ <.
Text TitleWords(const Text& text, Meter& meter);
Text EscapeHtml(const Text& text, Meter& meter);

// isupper() or islower(): some letter has that case and none the other.
bool IsInCase(const Text& text, bool upper);

// Pads with `fill` to `width` code points; `side` is where the text goes.
Text Pad(const Text& text, int64_t width, const Text& fill, Side side,
         Meter& meter);

// The first (or last) place of `needle` within code points [begin, end), as an
// index of code points; -1 if none.
int64_t Find(const Text& text, const Text& needle, std::optional<int64_t> begin,
             std::optional<int64_t> end, bool from_right);

// What [begin:end:step] means for a row of `length`: the indices it visits.
struct SliceRange {
  int64_t begin;
  int64_t step;
  int64_t count;
};
SliceRange ResolveSlice(int64_t length, std::optional<int64_t> begin,
                        std::optional<int64_t> end, int64_t step);

// int() and float() of a string; nothing if it is not a number.
std::optional<int64_t> ParseInt(const Text& text, int64_t base);
std::optional<double> ParseFloat(const Text& text);

}  // namespace stele::text::jinja

#endif  // STELE_RUNTIME_TEXT_JINJA_STRINGS_H_
