// What tests of the program `stele` share: running it, and a toy artifact with
// a tokenizer of 17 tokens and a chat template.
#ifndef STELE_TEST_UNIT_CLI_FIXTURE_H_
#define STELE_TEST_UNIT_CLI_FIXTURE_H_

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "artifact_builder.h"
#include "tokenizer_builder.h"

namespace stele::test {

// A child process with pipes to its standard streams.
class Process {
public:
  explicit Process(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), STELE_PROGRAM);
    std::vector<char *> argv;
    for (std::string &argument : arguments)
      argv.push_back(argument.data());
    argv.push_back(nullptr);
    int in[2], out[2];
    EXPECT_EQ(pipe2(in, O_CLOEXEC), 0);
    EXPECT_EQ(pipe2(out, O_CLOEXEC), 0);
    // Messages go to a file: nobody reads two pipes at a time here.
    errors_ = tmpfile();
    pid_ = fork();
    if (pid_ == 0) {
      dup2(in[0], STDIN_FILENO);
      dup2(out[1], STDOUT_FILENO);
      dup2(fileno(errors_), STDERR_FILENO);
      execv(STELE_PROGRAM, argv.data());
      _exit(127);
    }
    close(in[0]);
    close(out[1]);
    in_ = in[1];
    out_ = out[0];
  }
  ~Process() {
    if (in_ >= 0)
      close(in_);
    close(out_);
    fclose(errors_);
  }

  void Write(const std::string &text) {
    EXPECT_EQ(write(in_, text.data(), text.size()),
              static_cast<ssize_t>(text.size()));
  }
  void Interrupt() { kill(pid_, SIGINT); }

  // Up to `count` bytes of its output; fewer only at the end.
  std::string Read(size_t count = SIZE_MAX) {
    std::string text;
    char buffer[4096];
    while (text.size() < count) {
      const ssize_t got =
          read(out_, buffer, std::min(sizeof buffer, count - text.size()));
      if (got <= 0)
        break;
      text.append(buffer, got);
    }
    return text;
  }

  // Closes its input, and waits.
  int Finish() {
    close(in_);
    in_ = -1;
    rest_ = Read();
    int status = 0;
    waitpid(pid_, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  const std::string &rest() const { return rest_; }
  std::string Errors() const {
    rewind(errors_);
    std::string text;
    for (int c; (c = fgetc(errors_)) != EOF;)
      text += static_cast<char>(c);
    return text;
  }

private:
  pid_t pid_ = -1;
  int in_ = -1, out_ = -1;
  FILE *errors_;
  std::string rest_;
};

struct Outcome {
  int code;
  std::string out;
  std::string err;
};

inline Outcome Stele(std::vector<std::string> arguments,
                     const std::string &input = "") {
  Process process(std::move(arguments));
  process.Write(input);
  const int code = process.Finish();
  return {code, process.rest(), process.Errors()};
}

inline constexpr char kTemplate[] =
    "{{ bos_token }}{% for m in messages %}"
    "{{ 'U' if m.role == 'user' else 'a' }}:{{ m.content }}\n"
    "{% endfor %}{% if add_generation_prompt %}a:{% endif %}";

// 17 tokens, as many as the toy model has.
inline std::vector<uint8_t> ToyTokenizer() {
  text::TokenizerBuilder builder;
  builder.Added("</s>", true);
  builder.Added("<s>", true);
  builder.t.unk_id = static_cast<int32_t>(builder.Token("?"));
  for (const char *token :
       {"a", "b", "c", "d", "e", "f", "g", "h", "i", "U", " ", ":", "\n"})
    builder.Token(token);
  builder.Merge("a", "b");
  builder.t.decoder->kind = text::schema::DecoderKind::Spm;
  builder.t.decoder->replacement = "\u2581";
  builder.t.eos_id = 0;
  builder.t.bos_id = 1;
  auto bos = std::make_unique<text::schema::NamedTokenT>();
  bos->name = "bos_token";
  bos->content = "<s>";
  builder.t.named_tokens.push_back(std::move(bos));
  auto chat = std::make_unique<text::schema::ChatTemplateT>();
  chat->name = "default";
  chat->text = kTemplate;
  builder.t.chat_templates.push_back(std::move(chat));
  return builder.Segment();
}

inline ArtifactBuilder ToyWithText() {
  ArtifactBuilder builder = ArtifactBuilder::Toy();
  auto segment = std::make_unique<plan::SegmentT>();
  segment->name = "tokenizer";
  segment->kind = plan::SegmentKind::Tokenizer;
  segment->targets = {0};
  builder.plan.segments.push_back(std::move(segment));
  builder.segments.push_back(ToyTokenizer());
  return builder;
}

class Cli : public testing::Test {
protected:
  ~Cli() override {
    for (const std::string &path : paths_)
      unlink(path.c_str());
  }

  std::string Keep(std::string path) {
    paths_.push_back(path);
    return path;
  }
  std::string Artifact() { return Keep(builder_.Write("cli.stele")); }
  std::string File(const std::string &name, const std::string &text) {
    const std::string path =
        testing::TempDir() + std::to_string(getpid()) + name;
    std::ofstream(path, std::ios::binary) << text;
    return Keep(path);
  }

  ArtifactBuilder builder_ = ToyWithText();

private:
  std::vector<std::string> paths_;
};

inline std::string ReadAll(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

} // namespace stele::test

#endif // STELE_TEST_UNIT_CLI_FIXTURE_H_
