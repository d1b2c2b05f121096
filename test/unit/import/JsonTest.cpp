// The strict JSON reader: what it keeps, what it refuses, and where it says.
#include "stele/compiler/Import/Json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

using namespace stele::checkpoint;

static std::string errorOf(llvm::StringRef text, JsonLimits limits = {}) {
  auto json = parseJson(text, "f.json", limits);
  return json ? "none" : llvm::toString(json.takeError());
}

TEST(Json, KeepsOrderAndTypes) {
  auto json = parseJson(R"({"z": 1, "a": [-2, 2.5, true, null, "é\n"]})", "f");
  ASSERT_TRUE(bool(json)) << llvm::toString(json.takeError());
  EXPECT_EQ(json->dump(), R"({"z":1,"a":[-2,2.5,true,null,"é\n"]})");
  EXPECT_TRUE((*json)["a"][0].is_number_integer());
  EXPECT_TRUE((*json)["z"].is_number_unsigned());
  EXPECT_EQ(findMember(*json, "b"), nullptr);
  ASSERT_NE(findMember(*json, "z"), nullptr);
}

TEST(Json, NamesTheDuplicateKey) {
  EXPECT_EQ(errorOf("{\"a\": 1,\n \"b\": {}, \"a\": 2}"),
            "f.json:2:13: duplicate key 'a'");
  EXPECT_EQ(errorOf("{\"a\": 1, \"\\u0061\": 2}"),
            "f.json:1:17: duplicate key 'a'");
}

TEST(Json, LimitsDepth) {
  std::string deep(100000, '[');
  EXPECT_EQ(errorOf(deep), "f.json:1:65: nested deeper than 64 levels");
  EXPECT_EQ(errorOf("[[1]]", {.depth = 2}), "none");
  EXPECT_EQ(errorOf("[[[1]]]", {.depth = 2}),
            "f.json:1:3: nested deeper than 2 levels");
}

TEST(Json, LimitsSize) {
  EXPECT_EQ(errorOf("[1, 2]", {.bytes = 5}),
            "f.json: 6 bytes of JSON, more than the 5 accepted here");
}

TEST(Json, RefusesWhatIsNotJson) {
  EXPECT_THAT(errorOf(""), testing::StartsWith("f.json:1:1: syntax error"));
  EXPECT_THAT(errorOf("{\"a\": 1} x"), testing::StartsWith("f.json:1:10: "));
  EXPECT_THAT(errorOf("{\"theta\": NaN}"),
              testing::HasSubstr("invalid literal"));
  EXPECT_EQ(errorOf("[1e400]"), "f.json:1:7: number overflow parsing '1e400'");
  EXPECT_THAT(errorOf("[1,]"), testing::HasSubstr("unexpected ']'"));
}

TEST(Json, RefusesBadUtf8) {
  EXPECT_THAT(errorOf("[\"\xff\"]"),
              testing::HasSubstr("ill-formed UTF-8 byte"));
  EXPECT_THAT(errorOf("[\"\xc0\xaf\"]"),
              testing::HasSubstr("ill-formed UTF-8 byte"));
  EXPECT_THAT(errorOf("[\"\xed\xa0\x80\"]"), // a surrogate
              testing::HasSubstr("ill-formed UTF-8 byte"));
  EXPECT_THAT(errorOf(R"(["\ud800"])"), testing::HasSubstr("surrogate"));
}

// A vocabulary must not take quadratic time: this is 300,000 keys.
TEST(Json, ReadsLargeObjects) {
  std::string text = "{";
  for (int i = 0; i < 300000; ++i)
    text +=
        (i ? ",\"k" : "\"k") + std::to_string(i) + "\":" + std::to_string(i);
  text += "}";
  auto json = parseJson(text, "f");
  ASSERT_TRUE(bool(json));
  EXPECT_EQ(json->size(), 300000u);
}

TEST(Json, ShowsLongValuesShortened) {
  EXPECT_EQ(shown(Json::array({1, "a"})), "[1,\"a\"]");
  EXPECT_EQ(shown(Json(std::string(1000, 'x'))),
            "\"" + std::string(79, 'x') + "...");
}
