// Tokenises without an artifact: imports the tokenizer of a folder or GGUF
// file, loads it and prints what it does, for comparison with Hugging Face's
// tokenizers (test/e2e/tokenizer_diff.py).
//
//   tokenizer_probe SOURCE encode FILE     ids, one text in, one line out
//   tokenizer_probe SOURCE lines FILE      the same for every text of a file of
//                                          NUL-terminated texts
//   tokenizer_probe SOURCE decode FILE     text of the ids of every line, each
//                                          text terminated by NUL
//   tokenizer_probe SOURCE stream FILE     the same through StreamDecoder
//   tokenizer_probe SOURCE segment FILE    writes the segment to FILE
//   tokenizer_probe SOURCE time FILE       milliseconds to load and to encode
#include <chrono>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <string>

#include "stele/compiler/Import/Gguf.h"
#include "stele/compiler/Import/Tokenizer.h"
#include "stele/runtime/text/tokenizer.h"

namespace {

using stele::text::StreamDecoder;
using stele::text::Tokenizer;

constexpr int64_t kAnyVocab = 1 << 22;

double Milliseconds() {
  return std::chrono::duration<double, std::milli>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

[[noreturn]] void Fail(const std::string &message) {
  std::cerr << "error: " << message << "\n";
  std::exit(1);
}

std::vector<uint8_t> Import(const std::string &source) {
  namespace checkpoint = stele::checkpoint;
  const auto take = [](llvm::Expected<std::vector<uint8_t>> segment) {
    if (!segment)
      Fail(llvm::toString(segment.takeError()));
    return *std::move(segment);
  };
  if (!source.ends_with(".gguf")) {
    return take(checkpoint::importHfTokenizer(source, kAnyVocab));
  }
  auto file = checkpoint::InputFile::open(source);
  if (!file)
    Fail(llvm::toString(file.takeError()));
  auto gguf = checkpoint::GgufFile::read(**file);
  if (!gguf)
    Fail(llvm::toString(gguf.takeError()));
  return take(checkpoint::importGgufTokenizer(**gguf, kAnyVocab));
}

std::vector<int32_t> Encode(const Tokenizer &tokenizer, std::string_view text) {
  auto ids = tokenizer.Encode(text);
  if (!ids.ok())
    Fail(ids.status().message());
  return *std::move(ids);
}

void Print(const std::vector<int32_t> &ids) {
  std::string line;
  for (const int32_t id : ids)
    line += std::to_string(id) + " ";
  std::cout << line << "\n";
}

void DecodeLines(const Tokenizer &tokenizer, const std::string &text,
                 bool stream) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    const std::vector<int32_t> ids(std::istream_iterator<int32_t>(fields), {});
    std::string decoded;
    if (stream) {
      StreamDecoder decoder(tokenizer, /*skip_special_tokens=*/false);
      for (const int32_t id : ids)
        decoded += decoder.Push(id);
      decoded += decoder.Finish();
    } else {
      decoded = tokenizer.Decode(ids, /*skip_special_tokens=*/false);
    }
    std::cout << decoded << '\0';
  }
}

} // namespace

int main(int argc, char **argv) {
  if (argc != 4)
    Fail("usage: tokenizer_probe SOURCE MODE FILE");
  const std::vector<uint8_t> segment = Import(argv[1]);
  const std::string mode = argv[2];
  if (mode == "segment") {
    std::ofstream(argv[3], std::ios::binary)
        .write(reinterpret_cast<const char *>(segment.data()),
               static_cast<std::streamsize>(segment.size()));
    return 0;
  }
  const double begin = Milliseconds();
  auto loaded = Tokenizer::Load(segment);
  const double end = Milliseconds();
  if (!loaded.ok())
    Fail(loaded.status().message());
  const Tokenizer &tokenizer = **loaded;
  std::ifstream file(argv[3], std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  if (mode == "encode") {
    Print(Encode(tokenizer, text));
  } else if (mode == "lines") {
    for (size_t at = 0; at < text.size();) {
      const size_t stop = text.find('\0', at);
      Print(Encode(tokenizer, std::string_view(text).substr(at, stop - at)));
      at = stop + 1;
    }
  } else if (mode == "decode" || mode == "stream") {
    DecodeLines(tokenizer, text, mode == "stream");
  } else if (mode == "time") {
    const double start = Milliseconds();
    const size_t ids = Encode(tokenizer, text).size();
    std::cout << "load " << end - begin << " ms, segment " << segment.size()
              << " bytes, " << ids << " tokens in " << Milliseconds() - start
              << " ms\n";
  } else {
    Fail("unknown mode " + mode);
  }
}
