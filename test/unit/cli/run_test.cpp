// stele run, bench and perplexity from outside, on the toy artifact.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "fixture.h"

namespace stele::test {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

json RunJson(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "run");
  arguments.push_back("--json");
  const Outcome done = Stele(std::move(arguments));
  EXPECT_EQ(done.code, 0) << done.err;
  return json::parse(done.out);
}

TEST_F(Cli, RunPrintsTheAnswer) {
  const std::string artifact = Artifact();
  const json answer =
      RunJson({artifact, "--tokens", "5,3", "-n", "6", "--ignore-eos"});
  EXPECT_EQ(answer["prompt_tokens"], 2);
  EXPECT_EQ(answer["tokens"].size(), 6u);
  EXPECT_EQ(answer["finish_reason"], "length");
  EXPECT_TRUE(answer["stats"].contains("load_s"));
  const Outcome text =
      Stele({"run", artifact, "--tokens", "5,3", "-n", "6", "--ignore-eos"});
  EXPECT_EQ(text.out, answer["text"].get<std::string>() + "\n");
  EXPECT_THAT(text.err, StartsWith("memory plan\n"));
}

// Tokens of the toy, as --tokens takes them.
std::string Ids(int count) {
  std::string ids;
  for (int i = 0; i < count; ++i)
    ids += (i ? "," : "") + std::to_string((i * i + i) % 13 + 1);
  return ids;
}

TEST_F(Cli, RunPagesAndTraces) {
  ArtifactBuilder builder = ArtifactBuilder::ToySparse(/*paging=*/true);
  const std::string artifact = Keep(builder.Write("paged.stele"));
  const std::string file = File("trace.json", "");
  const json answer =
      RunJson({artifact, "--tokens", Ids(40), "-n", "20", "--ignore-eos",
               "--temperature", "0", "--trace", file});
  const std::string whole =
      Keep(ArtifactBuilder::ToySparse(/*paging=*/false).Write("whole.stele"));
  EXPECT_EQ(RunJson({whole, "--tokens", Ids(40), "-n", "20", "--ignore-eos",
                     "--temperature", "0"})["tokens"],
            answer["tokens"]);

  std::ifstream in(file);
  const json events = json::parse(in)["traceEvents"];
  uint64_t steps = 0, hits = 0, misses = 0, in_bytes = 0, out_bytes = 0;
  double end = 0, step_begin = 0, step_end = 0;
  for (const json &event : events) {
    const double begin = event["ts"];
    const std::string category = event["cat"];
    if (category == "step") {
      ++steps;
      EXPECT_GE(begin, step_end);
      end = step_begin = begin;
      step_end = begin + event["dur"].get<double>();
      continue;
    }
    EXPECT_GE(begin, step_begin);
    EXPECT_LE(begin + event["dur"].get<double>(), step_end);
    if (event["tid"] == 0) {
      EXPECT_GE(begin, end - 1e-3) << event;
      end = begin + event["dur"].get<double>();
    }
    if (category == "select_pages") {
      hits += event["args"]["hits"].get<uint64_t>();
      misses += event["args"]["misses"].get<uint64_t>();
    } else if (category == "page_in") {
      in_bytes += event["args"]["bytes"].get<uint64_t>();
    } else if (category == "page_out") {
      out_bytes += event["args"]["bytes"].get<uint64_t>();
    }
  }
  const json &paging = answer["stats"]["paging"];
  EXPECT_EQ(steps, answer["stats"]["steps"]);
  EXPECT_EQ(hits, paging["hits"]);
  EXPECT_EQ(misses, paging["misses"]);
  EXPECT_EQ(in_bytes, paging["bytes_in"]);
  EXPECT_EQ(out_bytes, paging["bytes_out"]);
  EXPECT_GT(misses, 0u);

  // What it was recorded for.
  const Outcome drawn =
      Stele({"inspect", artifact, "--timeline", "--trace", file});
  EXPECT_EQ(drawn.code, 0) << drawn.err;
  EXPECT_THAT(Stele({"run", artifact, "--tokens", "1", "--trace",
                     File("no/such/folder", "")})
                  .err,
              HasSubstr("cannot write '"));
  EXPECT_THAT(
      Stele({"run", artifact, "--tokens", Ids(40), "--device-memory", "1KiB"})
          .err,
      HasSubstr("--device-memory allows 1.0 KiB"));
}

TEST_F(Cli, RunTakesTextFromEverywhere) {
  const std::string artifact = Artifact();
  const std::string file = File("prompt.txt", "abc");
  const json raw = RunJson({artifact, "--raw", "-p", "abc", "-n", "3"});
  EXPECT_EQ(RunJson({artifact, "-f", file, "-n", "3"})["tokens"],
            raw["tokens"]);
  const Outcome piped =
      Stele({"run", artifact, "-", "-n", "3", "--json"}, "abc");
  EXPECT_EQ(json::parse(piped.out)["tokens"], raw["tokens"]);
}

TEST_F(Cli, RunUsesTheChatTemplateForQuestions) {
  const std::string artifact = Artifact();
  const auto prompt = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"run", artifact, "--print-prompt"});
    return Stele(std::move(arguments)).out;
  };
  EXPECT_EQ(prompt({"-p", "abc"}), "<s>U:abc\na:");
  EXPECT_EQ(prompt({"-p", "abc", "--system", "d"}), "<s>a:d\nU:abc\na:");
  EXPECT_EQ(prompt({"-p", "abc", "--raw"}), "abc");
  const std::string file = File("text.txt", "def");
  EXPECT_EQ(prompt({"-f", file}), "def");
  EXPECT_EQ(prompt({"-f", file, "--chat"}), "<s>U:def\na:");
  EXPECT_EQ(prompt({"-f", file, "-p", "abc"}), "<s>U:def\n\nabc\na:");
}

TEST_F(Cli, RunAnswersLinesInTheirOrder) {
  const std::string artifact = Artifact();
  const std::string lines =
      File("lines.jsonl", "{\"tokens\": [1, 2, 3, 4, 5, 6]}\n\n"
                          "{\"prompt\": \"abc\"}\n"
                          "{\"messages\": [{\"role\": \"user\", "
                          "\"content\": \"a\"}]}\n");
  const Outcome done =
      Stele({"run", artifact, "--prompts", lines, "-n", "4", "--ignore-eos"});
  ASSERT_EQ(done.code, 0) << done.err;
  std::istringstream out(done.out);
  std::vector<json> answers;
  for (std::string line; std::getline(out, line);)
    answers.push_back(json::parse(line));
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers[0]["tokens"],
            RunJson({artifact, "--tokens", "1,2,3,4,5,6", "-n", "4",
                     "--ignore-eos"})["tokens"]);
  EXPECT_EQ(answers[1]["tokens"], RunJson({artifact, "--raw", "-p", "abc", "-n",
                                           "4", "--ignore-eos"})["tokens"]);
}

TEST_F(Cli, RunNamesTheLineThatIsWrong) {
  const std::string artifact = Artifact();
  for (const auto &[line, message] :
       {std::pair("{\"tokens\": [1, 1.5]}", "line 2: 1.5 is not a token id"),
        std::pair("{\"tokens\": [99999999999]}",
                  "line 2: 99999999999 is not a token id"),
        std::pair("{\"tokens\": []}", "line 2 is empty"),
        std::pair("nonsense", "line 2 is not valid JSON at column 2: "),
        std::pair("{\"prompt\": 1e999}",
                  "line 2 is not valid JSON: number overflow"),
        std::pair("[1]", "line 2: expected one of"),
        std::pair("{\"song\": 1}", "line 2: \"song\" is not a request")}) {
    const std::string file =
        File("wrong.jsonl", std::string("{\"tokens\": [1]}\n") + line);
    const Outcome done = Stele({"run", artifact, "--prompts", file});
    EXPECT_EQ(done.code, 1) << line;
    EXPECT_EQ(done.out, "");
    EXPECT_THAT(done.err, StartsWith("error: "));
    EXPECT_THAT(done.err, HasSubstr(message));
  }
}

TEST_F(Cli, RunBoundsTheDepthOfJson) {
  const std::string artifact = Artifact();
  const std::string deep = std::string(300000, '[') + std::string(300000, ']');
  for (const auto &[flag, text] :
       {std::pair("--messages",
                  "[{\"role\": \"user\", \"content\": " + deep + "}]"),
        std::pair("--prompts", "{\"tokens\": " + deep + "}")}) {
    const Outcome done =
        Stele({"run", artifact, flag, File("deep.json", text)});
    EXPECT_EQ(done.code, 1) << flag;
    EXPECT_THAT(done.err, HasSubstr("JSON nests deeper than 64 levels"));
  }
  EXPECT_EQ(Stele({"run", artifact, "--messages",
                   File("strings.json", "[{\"role\": \"user\", \"content\": "
                                        "\"" +
                                            std::string(300, '[') + "\"}]"),
                   "-n", "0", "--print-prompt"})
                .code,
            0);
}

TEST_F(Cli, RunWritesTheLogitsOfThePrompt) {
  const std::string artifact = Artifact();
  const std::string file = Keep(testing::TempDir() + "logits.npy");
  const json answer =
      RunJson({artifact, "--tokens", "@" + File("ids", "5 3\n2"), "-n", "2",
               "--logits", file});
  const std::string npy = ReadAll(file);
  EXPECT_THAT(npy, StartsWith("\x93NUMPY\x01"));
  EXPECT_THAT(npy, HasSubstr("'descr': '<f4', 'fortran_order': False, "
                             "'shape': (3, 17), }"));
  EXPECT_EQ(npy.size() % 64, (3 * 17 * 4) % 64u);
  const float *last =
      reinterpret_cast<const float *>(npy.data() + npy.size() - 17 * 4);
  EXPECT_EQ(answer["tokens"][0], std::max_element(last, last + 17) - last);
}

TEST_F(Cli, RunWritesLogitsIntoAPipeThatIsThere) {
  const std::string artifact = Artifact();
  const std::string pipe =
      Keep(testing::TempDir() + std::to_string(getpid()) + "logits.pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  const int reader = open(pipe.c_str(), O_RDONLY | O_NONBLOCK);
  RunJson({artifact, "--tokens", "5,3", "-n", "1", "--logits", pipe});
  char start[6] = {};
  EXPECT_EQ(read(reader, start, sizeof start), 6);
  EXPECT_EQ(std::string_view(start, 6), "\x93NUMPY");
  close(reader);
}

TEST_F(Cli, RunRefusesWrongUsage) {
  const std::string artifact = Artifact();
  const auto code = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"run", artifact});
    return Stele(std::move(arguments)).code;
  };
  EXPECT_EQ(code({}), 2);
  EXPECT_EQ(code({"-p", "a", "--tokens", "1"}), 2);
  EXPECT_EQ(code({"-p", "a", "--raw", "--system", "b"}), 2);
  EXPECT_EQ(code({"--tokens", "1", "--threads", "0"}), 2);
  EXPECT_EQ(code({"--tokens", "1", "--device", "abacus"}), 2);
  EXPECT_EQ(code({"--tokens", "1", "--top-p", "2"}), 1);
  EXPECT_EQ(code({"--tokens", "1", "--temperature", "nan"}), 1);
  EXPECT_EQ(code({"--tokens", "1", "--sha256", "12"}), 1);
}

TEST_F(Cli, RunStopsBeforeTheStopText) {
  const std::string artifact = Artifact();
  const std::vector<std::string> run = {artifact, "--tokens", "5,3,1",
                                        "-n",     "20",       "--ignore-eos"};
  const std::string text = RunJson(run)["text"];
  ASSERT_GE(text.size(), 4u);
  auto stopped = run;
  stopped.insert(stopped.end(), {"--stop", text.substr(2, 2)});
  const json answer = RunJson(stopped);
  EXPECT_EQ(answer["finish_reason"], "stop");
  EXPECT_EQ(answer["text"], text.substr(0, text.find(text.substr(2, 2))));
  stopped.insert(stopped.end(), {"--stop", text.substr(0, 2)});
  EXPECT_EQ(RunJson(stopped)["text"], "");
}

TEST_F(Cli, InterruptEndsAProgramWith130) {
  Process bench({"bench", Artifact(), "--threads", "1", "-p", "0", "-n", "50",
                 "-r", "1000", "-b",
                 "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"});
  EXPECT_THAT(bench.Read(60), StartsWith("test      tokens"));
  bench.Interrupt();
  EXPECT_EQ(bench.Finish(), 130);
}

TEST_F(Cli, BenchHasARowForEveryCase) {
  const Outcome done = Stele({"bench", Artifact(), "-p", "4,8", "-n", "3", "-d",
                              "0,8", "-b", "1,2", "-r", "2", "--json"});
  ASSERT_EQ(done.code, 0) << done.err;
  const json rows = json::parse(done.out)["rows"];
  ASSERT_EQ(rows.size(), 12u);
  for (const json &row : rows) {
    EXPECT_LE(row["tokens_per_s"]["min"], row["tokens_per_s"]["median"]);
    EXPECT_LE(row["tokens_per_s"]["median"], row["tokens_per_s"]["max"]);
  }
  EXPECT_EQ(rows[0]["test"], "prefill");
  EXPECT_EQ(rows[2]["test"], "decode");
  EXPECT_EQ(rows[11]["depth"], 8);
  EXPECT_EQ(rows[11]["batch"], 2);
}

TEST_F(Cli, BenchComparesAMixedBatchWithAPaddedOne) {
  const Outcome done = Stele({"bench", Artifact(), "--lengths", "3,5,16", "-n",
                              "2", "-r", "1", "--json"});
  ASSERT_EQ(done.code, 0) << done.err;
  const json rows = json::parse(done.out)["rows"];
  ASSERT_EQ(rows.size(), 4u);
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i]["test"], i < 2 ? "prefill" : "decode");
    EXPECT_EQ(rows[i]["tokens"], i < 2 ? 8 : 2); // per sequence
    // 3 + 5 + 16 of 3 x 16
    EXPECT_EQ(rows[i]["useful_work"], i % 2 == 0 ? 1.0 : 0.5);
  }
}

TEST_F(Cli, PerplexityOfItselfAgrees) {
  const std::string artifact = Artifact();
  const std::string text = File("text.txt", "abcdefghi abc abd fgh ::abba\n");
  const Outcome done =
      Stele({"perplexity", artifact, "-f", text, "--context", "8", "--stride",
             "4", "--reference", artifact, "--json"});
  ASSERT_EQ(done.code, 0) << done.err;
  const json result = json::parse(done.out);
  const Outcome ids = Stele({"tokenize", artifact, "-f", text, "--json"});
  EXPECT_EQ(result["tokens"], json::parse(ids.out)["ids"].size() - 1);
  EXPECT_EQ(result["perplexity"], result["reference_perplexity"]);
  EXPECT_EQ(result["next_token_agreement"], 1.0);
  EXPECT_NEAR(result["kl_mean"].get<double>(), 0, 1e-9);
}

TEST_F(Cli, PerplexityDependsOnTheContextOnly) {
  const std::string artifact = Artifact();
  const std::string text = File("text.txt", "abcdefghi abc abd fgh ::abba\n");
  const auto nll = [&](const char *context, const char *stride) {
    const Outcome done = Stele({"perplexity", artifact, "-f", text, "--context",
                                context, "--stride", stride, "--json"});
    EXPECT_EQ(done.code, 0) << done.err;
    return json::parse(done.out)["nll"].get<double>();
  };
  // One window holds the whole text.
  EXPECT_EQ(nll("64", "64"), nll("64", "1"));
  EXPECT_NE(nll("8", "8"), nll("8", "2"));
  EXPECT_EQ(Stele({"perplexity", artifact, "-f", text, "--context", "4",
                   "--stride", "8"})
                .code,
            1);
}

// A folder of the test's own for --store.
class CliStore : public Cli {
protected:
  CliStore() { EXPECT_NE(mkdtemp(folder_.data()), nullptr); }
  ~CliStore() override { std::filesystem::remove_all(folder_); }

  json Say(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), artifact_);
    arguments.insert(arguments.end(),
                     {"--store", folder_ + "/store", "--ignore-eos"});
    return RunJson(std::move(arguments));
  }
  std::string Refused(std::vector<std::string> arguments, int code = 1) {
    arguments.insert(arguments.begin(), {"run", artifact_});
    arguments.insert(arguments.end(), {"--store", folder_ + "/store"});
    const Outcome done = Stele(std::move(arguments));
    EXPECT_EQ(done.code, code) << done.out;
    return done.err;
  }

  std::string artifact_ = Artifact();
  std::string folder_ = testing::TempDir() + "cli-store-XXXXXX";
};

// An answer in three runs is the answer of one: its logits and its draws go on.
TEST_F(CliStore, SessionsGoOnWhereTheyStopped) {
  const std::vector<std::string> sampling = {"--temperature", "2", "--seed",
                                             "9"};
  std::vector<std::string> whole = {artifact_, "--tokens", "5,3,8,1,2",
                                    "-n",      "15",       "--ignore-eos"};
  whole.insert(whole.end(), sampling.begin(), sampling.end());
  const json expected = RunJson(whole);

  std::vector<std::string> begin = {"--session", "a",  "--tokens",
                                    "5,3,8,1,2", "-n", "6"};
  begin.insert(begin.end(), sampling.begin(), sampling.end());
  const json first = Say(begin);
  const json second = Say({"--session", "a", "-n", "4", "--temperature", "2"});
  const json third = Say({"--session", "a", "-n", "5", "--temperature", "2"});
  json tokens = first["tokens"];
  for (const json *part : {&second, &third})
    for (const json &token : (*part)["tokens"])
      tokens.push_back(token);
  EXPECT_EQ(tokens, expected["tokens"]);
  EXPECT_EQ(third["prompt_tokens"], 15);
  // All but the last token, which no step had taken, was there.
  EXPECT_EQ(third["stats"]["store"]["tokens_reused"], 14);
}

TEST_F(CliStore, PromptsOfManyRunsShareTheirBeginnings) {
  const json first = Say({"--tokens", "1,2,3,4,5,6,7,8,9,10", "-n", "1"});
  EXPECT_EQ(first["stats"]["store"]["tokens_reused"], 0);
  EXPECT_EQ(first["stats"]["store"]["pages_written"], 2);
  const std::string other = "1,2,3,4,5,6,7,8,11,12";
  const json second = Say({"--tokens", other, "-n", "4"});
  EXPECT_EQ(second["stats"]["store"]["tokens_reused"], 8);
  EXPECT_EQ(second["stats"]["store"]["pages_read"], 2);
  EXPECT_EQ(second["tokens"], RunJson({artifact_, "--tokens", other, "-n", "4",
                                       "--ignore-eos"})["tokens"]);
  const Outcome stats = Stele({"run", artifact_, "--tokens", other, "-n", "1",
                               "--stats", "--store", folder_ + "/store"});
  EXPECT_THAT(stats.err, HasSubstr("store: 8 tokens reused, 2 pages read"));
}

// Two turns in two runs: the second sees the first, with its answer.
TEST_F(CliStore, ConversationsAreRenderedWhole) {
  const json first = Say({"--session", "talk", "-p", "abc", "-n", "5"});
  const Outcome prompt =
      Stele({"run", artifact_, "--store", folder_ + "/store", "--session",
             "talk", "-p", "de", "--print-prompt"});
  EXPECT_EQ(prompt.out,
            "<s>U:abc\na:" + first["text"].get<std::string>() + "\nU:de\na:");
  const std::string messages =
      File("talk.json",
           json::array({{{"role", "user"}, {"content", "abc"}},
                        {{"role", "assistant"}, {"content", first["text"]}},
                        {{"role", "user"}, {"content", "de"}}})
               .dump());
  const json second = Say({"--session", "talk", "-p", "de", "-n", "5"});
  EXPECT_EQ(second["tokens"], RunJson({artifact_, "--messages", messages, "-n",
                                       "5", "--ignore-eos"})["tokens"]);
  EXPECT_THAT(Refused({"--session", "talk", "--tokens", "1"}),
              HasSubstr("is a conversation"));
  EXPECT_THAT(Refused({"--session", "talk", "-p", "a", "--system", "b"}),
              HasSubstr("--system is too late"));
}

// A chat of two turns is two chats of one turn.
TEST_F(CliStore, ChatsGoOnUnderTheirName) {
  const auto chat = [&](const std::string &input,
                        std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"chat", artifact_, "-n", "6", "--context",
                                 "64", "--temperature", "2", "--ignore-eos"});
    const Outcome done = Stele(flags, input);
    EXPECT_EQ(done.code, 0) << done.err;
    return done.out;
  };
  const std::string store = folder_ + "/store";
  const std::string expected = chat("abc\nde\n", {"--seed", "4"});
  const std::string first =
      chat("abc\n", {"--seed", "4", "--store", store, "--session", "talk"});
  const std::string second =
      chat("de\n/stats\n", {"--store", store, "--session", "talk"});
  EXPECT_THAT(first + second, StartsWith(expected));
  EXPECT_THAT(second, HasSubstr("store: "));
  EXPECT_THAT(second, Not(HasSubstr("store: 0 tokens reused")));
  Say({"--session", "text", "--tokens", "1,2", "-n", "1"});
  const Outcome text = Stele({"chat", artifact_, "--context", "64", "--store",
                              store, "--session", "text"});
  EXPECT_EQ(text.code, 1);
  EXPECT_THAT(text.err, HasSubstr("'text' is a text"));
}

// Each fork answers as the one session would have, which stays as it was.
TEST_F(CliStore, ForksLeaveTheSessionAsItWas) {
  const std::vector<std::string> greedy = {"--temperature", "0", "-n", "6"};
  const auto say = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), greedy.begin(), greedy.end());
    return Say(std::move(arguments));
  };
  Say({"--session", "text", "--tokens", "1,2,3,4,5,6,7", "-n", "0"});
  for (const std::string question : {"8", "9", "6,5"}) {
    const std::string name = std::string("f") + question[0];
    const json fork =
        say({"--session", "text", "--fork",
             name + std::to_string(question.size()), "--tokens", question});
    EXPECT_EQ(fork["stats"]["store"]["tokens_reused"], 7);
    std::vector<std::string> whole = {
        artifact_, "--tokens", "1,2,3,4,5,6,7," + question, "--ignore-eos"};
    whole.insert(whole.end(), greedy.begin(), greedy.end());
    EXPECT_EQ(fork["tokens"], RunJson(whole)["tokens"]);
  }
  // A fork is a session like any other.
  const json on = say({"--session", "f81"});
  EXPECT_EQ(on["prompt_tokens"], 7 + 1 + 6);
  EXPECT_THAT(
      Refused({"--session", "text", "--fork", "f81", "--tokens", "8"}),
      HasSubstr("session 'f81' in '" + folder_ + "/store' is there already"));
  EXPECT_THAT(
      Refused({"--session", "none", "--fork", "new", "--tokens", "8"}),
      HasSubstr("session 'none' in '" + folder_ + "/store' was never saved"));
  EXPECT_THAT(Refused({"--session", "text", "--fork", "../x"}),
              HasSubstr("--fork '../x'"));
  EXPECT_THAT(Refused({"--fork", "new", "--tokens", "8"}, 2),
              HasSubstr("--session"));
}

TEST_F(CliStore, RefusalsNameTheSession) {
  EXPECT_THAT(Refused({"--session", "none"}),
              HasSubstr("session 'none' in '" + folder_));
  EXPECT_THAT(Refused({"--session", "../x", "-p", "a"}),
              HasSubstr("--session '../x'"));
  EXPECT_THAT(Refused({"--session", "a", "--prompts", "x"}, 2),
              HasSubstr("--prompts"));
  EXPECT_THAT(Refused({"--tokens", "1", "--logits", "x.npy"}, 2),
              HasSubstr("--logits"));
  EXPECT_EQ(Stele({"run", artifact_, "-p", "a", "--session", "a"}).code, 2);
  Say({"--session", "mine", "--tokens", "1,2", "-n", "1"});
  EXPECT_THAT(Refused({"--session", "mine", "-p", "a"}),
              HasSubstr("is no conversation"));
  builder_.plan.producer = "another";
  const std::string other = Keep(builder_.Write("other.stele"));
  const Outcome done = Stele({"run", other, "--tokens", "1", "--session",
                              "mine", "--store", folder_ + "/store"});
  EXPECT_EQ(done.code, 1);
  EXPECT_THAT(done.err, HasSubstr("'mine'"));
  EXPECT_THAT(done.err, HasSubstr("another artifact"));
  EXPECT_THAT(done.err, HasSubstr(other));
}

} // namespace
} // namespace stele::test
