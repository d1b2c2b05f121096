// The program `stele` from outside, on artifacts of the toy model: what each
// verb prints, to the byte, and its exit codes. (test/e2e does the same with
// compiled models.)
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "fixture.h"
#include "stele/runtime/base/format.h"
#include "stele/runtime/base/hash.h"
#include "test_kernels.h"

namespace stele::test {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST_F(Cli, Tokenize) {
  const std::string artifact = Artifact();
  Outcome done = Stele({"tokenize", artifact}, "abc a</s>\n");
  EXPECT_EQ(done.out, "16 5 13 3 0 15\n");
  EXPECT_EQ(done.err, "");
  EXPECT_EQ(done.code, 0);
  const std::string file = File("text", "Ua:z");
  done = Stele({"tokenize", artifact, "-f", file, "--json"});
  EXPECT_EQ(done.out, "{\"ids\":[12,3,14,2]}\n");
  EXPECT_EQ(done.code, 0);
}

TEST_F(Cli, TokenizeDecodes) {
  const std::string artifact = Artifact();
  Outcome done = Stele({"tokenize", artifact, "--decode"}, "16 5,13\n3 0");
  EXPECT_EQ(done.out, "abc a</s>");
  EXPECT_EQ(done.code, 0);
  done = Stele({"tokenize", artifact, "--decode", "--json"}, "15 3");
  EXPECT_EQ(done.out, "{\"text\":\"\\na\"}\n");
  done = Stele({"tokenize", artifact, "--decode"}, "1 x");
  EXPECT_EQ(done.err, "error: standard input: 'x' is not a token id\n");
  EXPECT_EQ(done.code, 1);
}

TEST_F(Cli, TokenizeRefusesIdsOutsideTheVocabulary) {
  for (const char *ids : {"1 17", "1 -2"}) {
    const Outcome done = Stele({"tokenize", Artifact(), "--decode"}, ids);
    EXPECT_EQ(done.out, "");
    EXPECT_THAT(done.err, HasSubstr("is not in the vocabulary of 0 to 16"));
    EXPECT_EQ(done.code, 1);
  }
}

TEST_F(Cli, ResultsThatCannotBeWrittenAreFailures) {
  const std::string artifact = Artifact();
  for (const char *verb : {"inspect", "verify", "doctor", "run"}) {
    std::string command = std::string(STELE_PROGRAM) + " " + verb;
    if (command.ends_with("run"))
      command += " --tokens 3 -n 1";
    if (!command.ends_with("doctor"))
      command += " " + artifact;
    EXPECT_EQ(system((command + " > /dev/full 2> /dev/null").c_str()), 1 << 8)
        << command;
  }
}

TEST_F(Cli, TokenizeNeedsATokenizer) {
  builder_ = ArtifactBuilder::Toy();
  const std::string artifact = Artifact();
  const Outcome done = Stele({"tokenize", artifact}, "x");
  EXPECT_EQ(done.out, "");
  EXPECT_EQ(done.err, "error: '" + artifact +
                          "' has no tokenizer; compile a checkpoint with "
                          "tokenizer.json\n");
  EXPECT_EQ(done.code, 1);
}

TEST_F(Cli, VerifyPrintsWhatItChecked) {
  const std::string artifact = Artifact();
  const std::string file = ReadAll(artifact);
  const schema::ArtifactHeader header =
      HeaderOf({reinterpret_cast<const uint8_t *>(file.data()), file.size()});
  Sha256Digest digest;
  std::copy_n(header.sha256, digest.size(), digest.begin());
  const auto &segments = builder_.plan.segments;
  const auto segment = [&](int i, const char *kind) {
    return Format("segment %d   %s '%s': %s, XXH3 %016llx\n", i, kind,
                  segments[i]->name.c_str(),
                  FormatBytes(segments[i]->length).c_str(),
                  static_cast<unsigned long long>(segments[i]->xxh3));
  };
  const Outcome done = Stele({"verify", artifact});
  EXPECT_EQ(done.out,
            "header      format 1.2, " + FormatBytes(file.size()) +
                "\nplan        SHA-256 " + ToHex(digest) +
                "\n            2 functions, 12 ops, 6 buffers, 2 tensors\n" +
                segment(0, "Weights") + segment(1, "Executable") +
                segment(2, "Tokenizer") +
                "tokenizer   17 ids\ntemplate    'default', " +
                FormatBytes(sizeof kTemplate - 1) + "\nok\n");
  EXPECT_EQ(done.err, "");
  EXPECT_EQ(done.code, 0);
}

TEST_F(Cli, VerifyFindsOneFlippedBitOfTheWeights) {
  const std::string artifact = Artifact();
  std::string bytes = ReadAll(artifact);
  bytes[builder_.plan.segments[0]->offset + 5] ^= 4;
  const std::string flipped = File("flipped.stele", bytes);
  const Outcome done = Stele({"verify", flipped});
  EXPECT_EQ(done.code, 1);
  EXPECT_THAT(done.err, StartsWith("error: '" + flipped + "'"));
  EXPECT_THAT(done.err, HasSubstr("weights"));
  EXPECT_EQ(done.out.find("ok"), std::string::npos);
}

TEST_F(Cli, VerifyTakesADigestPin) {
  const std::string artifact = Artifact();
  const std::string bytes = ReadAll(artifact);
  const std::string right = ToHex(
      Sha256({reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()}));
  EXPECT_THAT(Stele({"verify", artifact, "--sha256", right}).out,
              HasSubstr("file        SHA-256 as given\n"));
  const std::string wrong(64, '0');
  EXPECT_EQ(Stele({"verify", artifact, "--sha256", wrong}).code, 1);
  EXPECT_EQ(Stele({"verify", artifact, "--sha256", "12"}).code, 1);
}

TEST_F(Cli, InspectMemory) {
  const Outcome done = Stele({"inspect", Artifact(), "--memory"});
  EXPECT_EQ(done.code, 0);
  const auto length = [&](int i) {
    return FormatBytes(builder_.plan.segments[i]->length);
  };
  const auto arena = [&](int i) {
    return FormatBytes(builder_.plan.functions[i]->arena_bytes);
  };
  std::string expected;
  const auto row = [&](const char *name, const std::string &bytes,
                       const char *note) {
    expected += Format("%-28s %12s  %s\n", name, bytes.c_str(), note);
  };
  row("weights", length(0), "mapped");
  row("code", length(1), "mapped");
  row("tokenizer", length(2), "mapped");
  for (int i : {0, 1}) {
    const std::string name = builder_.plan.functions[i]->name;
    row((name + " arena").c_str(), arena(i),
        "the largest arena of a target is allocated");
    row((name + " scratch").c_str(), "32 B", "for each worker");
  }
  // 2 layers, 2 heads, K and V, 4 floats; 64 tokens.
  row("kv a token", "128 B", "");
  row("kv at full context", "8.0 KiB", "64 tokens of one sequence");
  EXPECT_EQ(done.out, expected);
}

TEST_F(Cli, InspectKernels) {
  const Outcome done = Stele({"inspect", Artifact(), "--kernels"});
  EXPECT_EQ(done.code, 0);
  std::string expected;
  const auto row = [&](const char *begin, const char *weight,
                       const char *chosen, const char *kernel) {
    expected += Format("%s  %-28s  %-30s  %s\n", begin, weight, chosen, kernel);
  };
  row("target     launches      scratch", "weight", "chosen by", "kernel");
  row("x86-64-v2         2          0 B", "F32, 32.00 bits", "", "test_embed");
  row("x86-64-v2         4          0 B", "", "", "test_append");
  row("x86-64-v2         4         32 B", "", "", "test_attend");
  row("x86-64-v2         2          0 B", "F32, 32.00 bits", "", "test_logits");
  EXPECT_EQ(done.out, expected);
}

TEST_F(Cli, InspectPlan) {
  const Outcome done = Stele({"inspect", Artifact(), "--plan"});
  EXPECT_EQ(done.code, 0);
  EXPECT_THAT(done.out,
              StartsWith("tensor @embedding: F32 [17,8] rows in 'weights' at "
                         "0, 544 bytes\n"));
  EXPECT_THAT(done.out, HasSubstr("function decode: 4 tokens, 4 sequences, 4 "
                                  "logit rows, arena "));
  EXPECT_THAT(done.out,
              HasSubstr("  buffer %x: F32 [4, 8] at 0, ops 0 to 4\n"));
  EXPECT_THAT(done.out,
              HasSubstr("     0  launch test_embed(@embedding, out %x)  ; "));
  EXPECT_THAT(done.out, HasSubstr("launch test_append(%x, out #kv) [0]  ; "));
}

TEST_F(Cli, InspectJson) {
  const Outcome done = Stele({"inspect", Artifact(), "--json"});
  EXPECT_EQ(done.code, 0);
  const auto document = nlohmann::json::parse(done.out);
  EXPECT_EQ(document["format"], "1.2");
  EXPECT_EQ(document["model"]["vocab_size"], kVocabulary);
  EXPECT_EQ(document["segments"].size(), 3u);
  EXPECT_EQ(document["segments"][2]["kind"], "Tokenizer");
  EXPECT_EQ(document["tensors"][0]["shape"], nlohmann::json({17, 8}));
  EXPECT_EQ(document["kv_caches"][0]["bytes_at_context"], 8192);
  EXPECT_EQ(document["kernels"][2]["launches"], 4);
  EXPECT_EQ(document["functions"][1]["name"], "prefill");
  EXPECT_EQ(document["functions"][1]["ops"].size(), 6u);
  uint64_t bytes = 0;
  for (const auto &segment : builder_.plan.segments)
    bytes += segment->length;
  EXPECT_EQ(document["targets"][0]["bytes"], bytes);
}

TEST_F(Cli, InspectOverview) {
  const Outcome done = Stele({"inspect", Artifact()});
  EXPECT_EQ(done.code, 0);
  EXPECT_THAT(done.out, StartsWith("model       toy, toy, f32 arithmetic\n"));
  EXPECT_THAT(done.out,
              HasSubstr("context     64 tokens planned, 64 trained\n"));
  EXPECT_THAT(done.out, HasSubstr("function    prefill on x86-64-v2: up to 8 "
                                  "tokens of 4 sequences, 6 ops, arena "));
  EXPECT_THAT(done.out,
              HasSubstr("KV cache    kv: F32, pages of 4 tokens, 128 B a "
                        "token\ntokenizer   17 ids, 1 chat templates\n"));
}

TEST_F(Cli, InspectTakesOneView) {
  const Outcome done = Stele({"inspect", Artifact(), "--plan", "--json"});
  EXPECT_EQ(done.code, 2);
  EXPECT_EQ(done.err,
            "stele inspect: one of --json, --memory, --kernels, --plan, "
            "--calibration, --timeline\n"
            "usage: stele inspect OUT.stele [--json | --memory | --kernels | "
            "--plan | --calibration [--json] | --timeline [FILE.svg|.html] "
            "[--trace FILE]]\n");
}

TEST(CliDoctor, SaysWhatIsThere) {
  const Outcome json = Stele({"doctor", "--json"});
  EXPECT_EQ(json.code, 0);
  const auto report = nlohmann::json::parse(json.out);
  EXPECT_GT(report["cpu"]["usable"], 0);
  EXPECT_GT(report["memory"]["total_bytes"], 1 << 20);
  EXPECT_TRUE(report["cuda"]["devices"].is_array());
  const Outcome text = Stele({"doctor"});
  EXPECT_EQ(text.code, 0);
  for (const auto &missing : report["missing"])
    EXPECT_THAT(text.out,
                HasSubstr("missing    " + missing.get<std::string>() + "\n"));
}

TEST(CliUsage, EveryVerbHasHelpWithAnExample) {
  for (const char *verb : {"run", "chat", "inspect", "bench", "perplexity",
                           "tokenize", "verify", "doctor"}) {
    const Outcome done = Stele({verb, "--help"});
    EXPECT_EQ(done.code, 0) << verb;
    EXPECT_THAT(done.out, StartsWith(std::string("usage: stele ") + verb));
    EXPECT_THAT(done.out, HasSubstr("Example: "));
    const Outcome wrong = Stele({verb, "--no-such-flag"});
    EXPECT_EQ(wrong.code, 2) << verb;
    EXPECT_THAT(wrong.err, HasSubstr(std::string("usage: stele ") + verb));
    EXPECT_EQ(wrong.out, "");
  }
}

TEST(CliUsage, MissingFilesAreNamed) {
  for (const char *verb : {"inspect", "tokenize", "verify", "chat"}) {
    const Outcome done = Stele({verb, "absent.stele"});
    EXPECT_EQ(done.code, 1) << verb;
    EXPECT_THAT(done.err, StartsWith("error: "));
    EXPECT_THAT(done.err, HasSubstr("absent.stele"));
    EXPECT_EQ(done.out, "");
  }
}

// ---- chat

// The answer of `run` to a conversation.
std::string RunMessages(const std::string &artifact, const std::string &file) {
  const Outcome done =
      Stele({"run", artifact, "--messages", file, "-n", "6", "--json"});
  EXPECT_EQ(done.code, 0) << done.err;
  return nlohmann::json::parse(done.out)["text"];
}

TEST_F(Cli, ChatAnswersAsRunDoes) {
  const std::string artifact = Artifact();
  const std::string saved = File("saved.json", "");
  const Outcome done = Stele({"chat", artifact, "-n", "6"},
                             "abc\n\n  cd e \n/save " + saved + "\n/stats\n");
  EXPECT_EQ(done.code, 0) << done.err;
  auto messages = nlohmann::ordered_json::parse(ReadAll(saved));
  ASSERT_EQ(messages.size(), 4u);
  EXPECT_EQ(messages[2]["content"], "cd e");
  std::string printed;
  for (const int turn : {0, 1}) {
    nlohmann::ordered_json asked(messages.begin(),
                                 messages.begin() + 2 * turn + 1);
    const std::string answer =
        RunMessages(artifact, File("asked.json", asked.dump()));
    EXPECT_EQ(messages[2 * turn + 1]["content"], answer);
    printed += answer + "\n";
  }
  EXPECT_THAT(done.out, StartsWith(printed + "conversation  4 messages, "));
}

TEST_F(Cli, ChatDraftsWithLookup) {
  const std::string artifact = Artifact(), turns = "abcabc\n cd e\n";
  const std::vector<std::string> chat = {"chat", artifact,        "-n",
                                         "6",    "--temperature", "0"};
  std::vector<std::string> drafting = chat;
  drafting.insert(drafting.end(), {"--lookup", "4"});
  const Outcome plain = Stele(chat, turns), drafted = Stele(drafting, turns);
  EXPECT_EQ(drafted.code, 0) << drafted.err;
  EXPECT_EQ(drafted.out, plain.out);
  drafting.back() = "257";
  EXPECT_EQ(Stele(drafting, turns).code, 2);
}

TEST_F(Cli, ChatKeepsWhatTheSessionHolds) {
  const Outcome done = Stele({"chat", Artifact(), "-n", "6"},
                             "abc\n/stats\nd\n/stats\n/reset\nd\n/stats\n");
  EXPECT_EQ(done.code, 0) << done.err;
  // <s> U : ab c \n a : is 8 tokens.
  EXPECT_THAT(done.out, HasSubstr("last prompt   8 tokens, 0 of them kept"));
  const size_t second = done.out.find("conversation  4 messages");
  ASSERT_NE(second, std::string::npos);
  const size_t reset = done.out.find("conversation  2 messages", second);
  ASSERT_NE(reset, std::string::npos);
  // The whole first turn was kept for the second one.
  EXPECT_EQ(done.out.substr(second, reset - second).find(" 0 of them kept"),
            std::string::npos);
}

TEST_F(Cli, ChatCommandsThatFailSaySoAndChatGoesOn) {
  const std::string bad = File("bad.json", "{\"role\": 1}");
  const Outcome done =
      Stele({"chat", Artifact(), "-n", "2", "--system", "b"},
            "/what\n/save\n/load " + bad + "\n/load absent.json\n/help\n");
  EXPECT_EQ(done.code, 1);
  EXPECT_THAT(done.err,
              HasSubstr("error: there is no command '/what'; /help lists them\n"
                        "error: /save needs a file name\n"
                        "error: '" +
                        bad + "' is not an array of messages\nerror: "));
  EXPECT_THAT(done.err, HasSubstr("absent.json"));
  EXPECT_THAT(done.out, StartsWith("/help         this text\n"));
}

TEST_F(Cli, ChatRefusesAConversationThatIsTooLong) {
  const Outcome done =
      Stele({"chat", Artifact(), "-n", "2"}, std::string(100, 'd') + "\nab\n");
  EXPECT_EQ(done.code, 1);
  EXPECT_THAT(done.err,
              HasSubstr("error: the conversation is 106 tokens long, the chat "
                        "was planned for 64; /reset, or start with a larger "
                        "--context\n"));
  // The next turn works, without the refused one.
  EXPECT_FALSE(done.out.empty());
}

TEST_F(Cli, ChatInterruptStopsTheAnswerOnly) {
  builder_.plan.model->context = 1 << 18;
  Process chat(
      {"chat", Artifact(), "--context", "256K", "-n", "256K", "--ignore-eos"});
  chat.Write("abc\n");
  chat.Read(100); // it is answering
  chat.Interrupt();
  chat.Write("/reset\n/stats\n");
  EXPECT_EQ(chat.Finish(), 0) << chat.Errors();
  EXPECT_THAT(chat.rest(), HasSubstr("\nconversation  0 messages"));
  EXPECT_LT(chat.rest().size(), 1u << 17);
}

} // namespace
} // namespace stele::test
