// stele inspect --timeline, with and without a trace, and the tiers of a paged
// cache.
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "fixture.h"
#include "stele/runtime/base/format.h"

namespace stele::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr uint64_t kMs = 1'000'000; // in nanoseconds

// The toy that moves pages: launches take 1 ms, moves out half of it, fetches
// ahead 0.4 ms and those of what is missing 0.3.
class Timeline : public Cli {
protected:
  Timeline() {
    builder_ = ArtifactBuilder::ToySparse(/*paging=*/true);
    for (auto &function : builder_.plan.functions)
      for (auto &op : function->ops) {
        if (op->body.type == plan::OpBody::Launch)
          op->modelled_ns = kMs;
        if (op->body.type == plan::OpBody::PageOut)
          op->modelled_ns = kMs / 2;
        if (const auto *in = op->body.AsPageIn())
          op->modelled_ns = (in->ahead ? 4 : 3) * kMs / 10;
      }
  }

  // A step of `function` as a run records it: every operation with a time takes
  // `us`, one after the other.
  json StepEvents(const std::string &function, double begin, double us) {
    json events = json::array();
    double now = begin;
    for (auto &planned : builder_.plan.functions) {
      if (planned->name != function)
        continue;
      for (size_t i = 0; i < planned->ops.size(); ++i) {
        const auto type = planned->ops[i]->body.type;
        if (type == plan::OpBody::Signal)
          continue;
        const char *category = type == plan::OpBody::Launch    ? "launch"
                               : type == plan::OpBody::PageIn  ? "page_in"
                               : type == plan::OpBody::PageOut ? "page_out"
                               : type == plan::OpBody::Wait    ? "wait"
                                                               : "select_pages";
        events.push_back({{"ph", "X"},
                          {"cat", category},
                          {"name", "x"},
                          {"pid", 1},
                          {"tid", 0},
                          {"ts", now},
                          {"dur", us},
                          {"args",
                           {{"op", i},
                            {"layer", 0},
                            {"pages", 2},
                            {"bytes", 1024},
                            {"hits", 19},
                            {"misses", 1}}}});
        now += us;
      }
    }
    events.push_back({{"ph", "X"},
                      {"cat", "step"},
                      {"name", function},
                      {"pid", 1},
                      {"tid", 0},
                      {"ts", begin},
                      {"dur", now - begin}});
    return events;
  }

  std::string Trace(const json &events) {
    return File("trace.json", json{{"traceEvents", events}}.dump());
  }
  // The error of a trace of one event, like the step of StepEvents but for an
  // edit.
  std::string ErrorOf(const std::function<void(json &)> &edit) {
    json events = StepEvents("decode", 0, 10);
    edit(events);
    const Outcome done =
        Stele({"inspect", Artifact(), "--timeline", "--trace", Trace(events)});
    EXPECT_EQ(done.code, 1) << done.out;
    return done.err;
  }
};

TEST_F(Timeline, Text) {
  const Outcome done = Stele({"inspect", Artifact(), "--timeline"});
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_THAT(
      done.out,
      StartsWith("decode: 1 token of a session at the end of 64\n"
                 "  modelled 8.6 ms: computes 8.0 ms, waits 600 us; moves 2.4 "
                 "ms, 1.8 ms (75%) of it behind launches\n"));
  EXPECT_THAT(done.out, HasSubstr("prefill: 8 tokens of a session at the end "
                                  "of 64\n"));
  // 8.6 ms on 96 columns: 11 for each launch, 6 for a move out.
  EXPECT_THAT(done.out,
              HasSubstr("  modelled compute "
                        "#################################....######"));
}

TEST_F(Timeline, Layers) {
  const Outcome done = Stele({"inspect", Artifact(), "--timeline"});
  EXPECT_THAT(done.out, HasSubstr("  layer     begins   computes      waits    "
                                  "  moves  hidden\n"));
  // Moves of layer 0: 0.9 ms under the embedding, 0.3 ms that it waits for.
  EXPECT_THAT(done.out, HasSubstr("      0     1.0 ms     3.0 ms     300 us    "
                                  " 1.2 ms     75%\n"));
}

TEST_F(Timeline, Pictures) {
  for (const char *name : {"t.svg", "t.html"}) {
    const std::string path = File(name, "");
    const Outcome done = Stele({"inspect", Artifact(), "--timeline", path});
    EXPECT_EQ(done.code, 0) << done.err;
    EXPECT_EQ(done.out, "");
    const std::string picture = ReadAll(path);
    EXPECT_THAT(picture, HasSubstr("<svg xmlns="));
    EXPECT_THAT(picture,
                HasSubstr("fetches ahead: layer 1 into slots 12 to 23"));
    EXPECT_THAT(picture, HasSubstr("</svg>\n"));
    EXPECT_THAT(picture, HasSubstr("class=\"tick\" x=\"130.00\""));
  }
  builder_.plan.functions[0]->name = "<script>&\"";
  const std::string path = File("evil.svg", "");
  EXPECT_EQ(Stele({"inspect", Artifact(), "--timeline", path}).code, 0);
  EXPECT_THAT(ReadAll(path), HasSubstr("&lt;script&gt;&amp;&quot;: 1 token"));
  EXPECT_THAT(ReadAll(path), Not(HasSubstr("<script")));
}

TEST_F(Timeline, OverATrace) {
  json events = StepEvents("decode", 0, 10);
  for (const double begin : {1000, 2000})
    for (const json &event : StepEvents("decode", begin, begin / 100))
      events.push_back(event);
  events.push_back({{"ph", "M"}, {"name", "process_name"}}); // of no interest
  const Outcome done =
      Stele({"inspect", Artifact(), "--timeline", "--trace", Trace(events)});
  EXPECT_EQ(done.code, 0) << done.err;
  const size_t ops = StepEvents("decode", 0, 1).size() - 1;
  EXPECT_THAT(
      done.out,
      HasSubstr(Format("  measured %zu us: computes 80 us, waits ", 10 * ops)));
  EXPECT_THAT(done.out, HasSubstr("of it behind launches, the median step\n"));
  EXPECT_THAT(done.out,
              HasSubstr("  measured 3 steps; of 120 pages asked for 95.0% were "
                        "in a slot, 6 were not; 12.0 KiB came in, 6.0 KiB went "
                        "out; a step waits "));
  EXPECT_THAT(done.out, HasSubstr("  measured moves "));
  // The other function was not traced.
  EXPECT_THAT(done.out.substr(done.out.find("prefill")),
              Not(HasSubstr("measured")));
}

TEST_F(Timeline, TracesAreChecked) {
  EXPECT_THAT(ErrorOf([](json &e) { e = json::array(); }),
              HasSubstr("trace.json': holds no steps; make it with stele run "
                        "--trace"));
  EXPECT_THAT(ErrorOf([](json &e) { e = "x"; }),
              HasSubstr("holds no list \"traceEvents\""));
  EXPECT_THAT(ErrorOf([](json &e) { e[0] = 7; }),
              HasSubstr("traceEvents[0] is no object"));
  EXPECT_THAT(ErrorOf([](json &e) { e[0]["ts"] = -1; }),
              HasSubstr("traceEvents[0]: \"ts\" must be a time in "
                        "microseconds, from 0 to 10^12"));
  EXPECT_THAT(ErrorOf([](json &e) { e[1]["dur"] = 1e300; }),
              HasSubstr("traceEvents[1]: \"dur\" must be a time"));
  EXPECT_THAT(ErrorOf([](json &e) { e[0]["tid"] = "x"; }),
              HasSubstr("traceEvents[0]: \"tid\" must be the number of a "
                        "stream"));
  EXPECT_THAT(ErrorOf([](json &e) { e[0]["args"]["op"] = 1000; }),
              HasSubstr("args.op 1000 is not below 28, the operations of "
                        "decode; was another artifact traced?"));
  EXPECT_THAT(ErrorOf([](json &e) { e[0]["args"]["bytes"] = -5; }),
              HasSubstr("args.bytes must be a whole number below 2^40"));
  EXPECT_THAT(ErrorOf([](json &e) { e.back()["name"] = "other"; }),
              HasSubstr("the artifact has no function \"other\"; was another "
                        "one traced?"));
  EXPECT_THAT(ErrorOf([](json &e) {
                json second = e.back();
                second["ts"] = 5;
                e.push_back(second);
              }),
              HasSubstr("the steps that begin at 0.000 and 5.000 us overlap"));
  const Outcome cut = Stele({"inspect", Artifact(), "--timeline", "--trace",
                             File("cut.json", "{\"traceEvents\": [{")});
  EXPECT_EQ(cut.code, 1);
  EXPECT_THAT(cut.err, StartsWith("error: "));
}

TEST_F(Timeline, Usage) {
  EXPECT_EQ(Stele({"inspect", Artifact(), "--trace", "x.json"}).code, 2);
  const Outcome ending = Stele({"inspect", Artifact(), "--timeline", "x.png"});
  EXPECT_EQ(ending.code, 2);
  EXPECT_THAT(ending.err, HasSubstr("--timeline x.png must end in .svg or "
                                    ".html"));
}

TEST_F(Timeline, Tiers) {
  builder_.plan.kv_caches[0]->paging->warm_tokens = 24;
  const Outcome memory = Stele({"inspect", Artifact(), "--memory"});
  EXPECT_EQ(memory.code, 0) << memory.err;
  // Of 64 tokens in cells of 8 the last cell sees one before it, and one waits:
  // 6 blocks of 512 bytes. 48 tokens fell out by then.
  EXPECT_THAT(memory.out,
              HasSubstr("kv hot                            3.0 KiB  device "
                        "memory: the last 8 tokens, 0 sink blocks, cells of "
                        "8\n"));
  EXPECT_THAT(memory.out, HasSubstr("device memory: 24 pages of 128 B for a "
                                    "session\n"));
  EXPECT_THAT(memory.out,
              HasSubstr("kv warm                           3.0 KiB  "
                        "host memory: 24 tokens as F32, 128 B "
                        "each\n"));
  EXPECT_THAT(memory.out, HasSubstr("disk, before zstd: 24 tokens as F32"));
  EXPECT_THAT(memory.out, Not(HasSubstr("at full context")));
  const Outcome overview = Stele({"inspect", Artifact()});
  EXPECT_THAT(overview.out, HasSubstr("            cold     3.0 KiB, disk"));
  const json document =
      json::parse(Stele({"inspect", Artifact(), "--json"}).out);
  EXPECT_EQ(document["kv_caches"][0]["tier_bytes"]["warm"], 3072);
}

} // namespace
} // namespace stele::test
