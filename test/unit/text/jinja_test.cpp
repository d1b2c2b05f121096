// The template language: what it prints, what it refuses, and how it stops a
// template that would never end. Expected texts are Python's: they were checked
// against jinja2 as transformers sets it up.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "stele/runtime/text/jinja/template.h"

namespace stele::text::jinja {
namespace {

using nlohmann::ordered_json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::tm FixedTime() {
  std::tm time{};
  time.tm_year = 2026 - 1900;
  time.tm_mon = 2;
  time.tm_mday = 5;
  time.tm_hour = 14;
  return time;
}

Result<Text> RenderText(std::string_view source,
                        const ordered_json &variables = ordered_json::object(),
                        const Limits &limits = {}) {
  auto parsed = Template::Parse(source);
  if (!parsed.ok())
    return parsed.status();
  std::vector<Variable> list;
  for (const auto &[name, value] : variables.items()) {
    list.push_back({name, value});
  }
  RenderOptions options;
  options.limits = limits;
  options.now = FixedTime;
  return parsed->Render(list, options);
}

// The rendered text, or "error: ...".
std::string Render(std::string_view source,
                   const ordered_json &variables = ordered_json::object()) {
  auto result = RenderText(source, variables);
  return result.ok() ? result->bytes : "error: " + result.status().message();
}

// The parts of the rendered text that came from the variables.
std::vector<std::string> UserParts(std::string_view source,
                                   const ordered_json &variables) {
  auto result = RenderText(source, variables);
  std::vector<std::string> parts;
  if (!result.ok())
    return {"error: " + result.status().message()};
  for (const Span &span : result->user) {
    parts.push_back(result->bytes.substr(span.begin, span.end - span.begin));
  }
  return parts;
}

struct Case {
  const char *source;
  const char *expected;
};

void CheckAll(const std::vector<Case> &cases, const ordered_json &variables) {
  for (const Case &c : cases) {
    EXPECT_EQ(Render(c.source, variables), c.expected) << c.source;
  }
}

TEST(JinjaWhitespace, TrimAndLstripBlocks) {
  CheckAll(
      {
          {"a\n  {% if true %}\n b\n  {% endif %}\nc\n", "a\n b\nc"},
          {"a\n  {{ 1 }}\nb\n\n", "a\n  1\nb\n"},
          {"a \n {%- set x = 1 -%} \n b", "ab"},
          {"  {%+ if true +%}\nx{% endif %}", "  \nx"},
          {"a {% set x = 1 %}\n b", "a  b"},
          {"{# one #}\n  {#- two -#} x", "x"},
          {"a\n  {{- 1 -}}  \n b", "a1b"},
          {"{% raw %}\n{{ x }}{% endraw %}", "\n{{ x }}"},
          {"x\r\ny\rz\r\n", "x\ny\nz"},
          {"{{ {'a': {'b': 1}} }}", "{'a': {'b': 1}}"},
          {"{{ '}}' }}{{ '%}' }}", "}}%}"},
      },
      {});
}

TEST(JinjaValues, PrintAsPython) {
  CheckAll(
      {
          {"{{ [1, 2.0, 'a', \"b'\", none, true, missing] }}",
           "[1, 2.0, 'a', \"b'\", None, True, Undefined]"},
          {"{{ (1,) }} {{ () }} {{ {} }}", "(1,) () {}"},
          {"{{ 1e16 }} {{ 1e15 }} {{ 1.5e-7 }} {{ 0.1 + 0.2 }} {{ 1 / 3 }}",
           "1e+16 1000000000000000.0 1.5e-07 0.30000000000000004 "
           "0.3333333333333333"},
          {"{{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 3 ** 2 }}",
           "-4 2 3.5 64"},
          {"{{ '%s-%05.1f-%r' % ('a', 2.25, 'é') }}", "a-002.2-'é'"},
          {"{{ '{} {:>4}|{:<4}|{:^4}'.format(1, 'a', 'b', 'c') }}",
           "1    a|b   | c  "},
          {"{{ ['\\n', '\\u200b', '日本'] }}", "['\\n', '\\u200b', '日本']"},
          {"{{ 1 < 2 < 3 }} {{ 1 == 1.0 }} {{ 'a' ~ 1 ~ none ~ 2.0 }}",
           "True True a1None2.0"},
          {"{{ big }}", "12345678901234567890"},
      },
      {{"big", 12345678901234567890ull}});
}

TEST(JinjaStrings, CountCodePoints) {
  CheckAll(
      {
          {"{{ s|length }} {{ s[::-1] }} {{ s[1:3] }} {{ s[-1] }}",
           "4 b😀éa é😀 b"},
          {"{{ 'Straße'.upper() }} {{ 'ΑΣ ΑΣΑ'.lower() }} {{ 'ﬁn'.title() }}",
           "STRASSE ας ασα Fin"},
          {"{{ \"o'neil mc-d\"|title }} {{ \"o'neil mc-d\".title() }}",
           "O'neil Mc-D O'Neil Mc-D"},
          {"{{ ' a  b c '.split() }} {{ 'a,b,,c'.split(',') }}",
           "['a', 'b', 'c'] ['a', 'b', '', 'c']"},
          {"{{ ' a b c '.rsplit(none, 1) }} {{ 'abc'.replace('', '-') }}",
           "[' a b', 'c'] -a-b-c-"},
          {"{{ '日本語日'.find('日', 1) }} {{ 'aXbX'.partition('X') }}",
           "3 ('a', 'X', 'bX')"},
          {"{{ 'a\\n\\nb'|indent(2) }}|{{ 'a\\nb'|indent(1, true) }}",
           "a\n\n  b| a\n b"},
      },
      {{"s", "aé😀b"}});
}

TEST(JinjaStatements, ScopesAndLoops) {
  CheckAll(
      {
          {"{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = i + 10 %}"
           "{{ x }}{% endfor %}{{ x }}",
           "1111121"},
          {"{% set ns = namespace(n=1) %}{% for i in [2, 3] %}"
           "{% set ns.n = ns.n * i %}{% endfor %}{{ ns.n }}",
           "6"},
          {"{% for i in range(3) %}{{ loop.index }}{{ loop.revindex0 }}"
           "{{ loop.first }}{{ loop.previtem }}{{ loop.nextitem }}"
           "{{ loop.cycle('a', 'b') }};{% endfor %}",
           "12True1a;21False02b;30False1a;"},
          {"{% for i in [1, 2, 3, 4] if i is odd %}{{ i }}/{{ loop.length }}"
           "{% else %}none{% endfor %}",
           "1/23/2"},
          {"{% for i in [1, 2, 3, 4] %}{% if i == 2 %}{% continue %}{% endif %}"
           "{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}",
           "13"},
          {"{% for i in [1, [2, [3]]] recursive %}{% if i is sequence %}"
           "({{ loop(i) }}){% else %}{{ i }}{% endif %}{% endfor %}",
           "1(2(3))"},
          {"{% macro m(a, b='B') %}{{ a }}{{ b }}{{ x }}{% endmacro %}"
           "{% set x = 3 %}{{ m(1) }} {{ m(b=2, a=0) }}",
           "1B3 023"},
          {"{% macro m() %}[{{ caller('q') }}]{% endmacro %}"
           "{% call(z) m() %}hi {{ z }}{% endcall %}",
           "[hi q]"},
          {"{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}"
           "{{ m(1, 2, z=3) }}",
           "1(2,){'z': 3}"},
          {"{% set x %} b {% endset %}{% filter upper %}{{ x|trim }}"
           "{% endfilter %}",
           "B"},
          {"{% generation %}a{% set q = 1 %}{% endgeneration %}{{ q is defined "
           "}}",
           "aFalse"},
          {"{% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor "
           "%}",
           "123"},
          {"{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}", "3"},
      },
      {});
}

TEST(JinjaBuiltins, FiltersTestsAndFunctions) {
  CheckAll(
      {
          {"{{ d|tojson }} {{ d|tojson(indent=1) }}",
           "{\"b\": [1, null], \"a\": \"é\"} {\n \"b\": [\n  1,\n  null\n ],"
           "\n \"a\": \"é\"\n}"},
          {"{{ d|tojson(sort_keys=true, ensure_ascii=true, "
           "separators=(',', ':')) }}",
           "{\"a\":\"\\u00e9\",\"b\":[1,null]}"},
          {"{{ d|dictsort }} {{ d.items()|list }} {{ d|items|list|length }}",
           "[('a', 'é'), ('b', [1, None])] [('b', [1, None]), ('a', 'é')] 2"},
          {"{{ [3, 1, 2]|sort(reverse=true) }} {{ ['b', 'A']|sort|join('+') }}",
           "[3, 2, 1] A+b"},
          {"{{ [1, 2, 3]|select('odd')|list }} {{ ['a']|map('upper')|first }}",
           "[1, 3] A"},
          {"{{ [{'r': 'x'}, {'r': 'y'}]|selectattr('r', 'eq', 'y')|list }}",
           "[{'r': 'y'}]"},
          {"{{ 'yes' if [1]|select('even') else 'no' }}", "yes"},
          {"{% set g = [1]|map('string') %}{{ g|list }}{{ g|list }}",
           "['1'][]"},
          {"{{ 2.5|round }} {{ 2.567|round(2) }} {{ '3.7'|int }} {{ 'x'|int(4) "
           "}}",
           "2.0 2.57 3 4"},
          {"{{ none|default('a') }} {{ none|default('a', true) }} "
           "{{ missing|default('b') }}",
           "None a b"},
          {"{{ strftime_now('%d %b %Y') }}", "05 Mar 2026"},
          {"{{ range(2, 9, 3)|list }} {{ dict(d, c=1)|list }}",
           "[2, 5, 8] ['b', 'a', 'c']"},
          {"{{ 1 is number }}{{ true is integer }}{{ 'a' is iterable }}"
           "{{ d is mapping }}{{ x is undefined }}",
           "TrueFalseTrueTrueTrue"},
      },
      {{"d", {{"b", {1, nullptr}}, {"a", "é"}}}});
}

TEST(JinjaErrors, NameTheLineAndTheReason) {
  CheckAll(
      {
          {"a\n{{ x.y.z }}", "error: chat template line 2: 'x' is undefined"},
          {"{{ m.a.b }}",
           "error: chat template line 1: 'dict object' has no attribute 'a'"},
          {"\n\n{{ raise_exception('no ' ~ 1) }}",
           "error: chat template line 3: the template refuses: no 1"},
          {"{{ 'a' + 1 }}",
           "error: chat template line 1: can only concatenate str (not "
           "\"int\") "
           "to str"},
          {"{% if x %}",
           "error: chat template line 1: the template ends before 'endif'"},
          {"{% nope %}",
           "error: chat template line 1: the tag 'nope' is not known here"},
          {"{{ 1 }\n}", "error: chat template line 1: unexpected '}'"},
          {"{{ (1]) }}",
           "error: chat template line 1: unexpected ']', expected ')'"},
          {"{{ 'a }}", "error: chat template line 1: a string is not closed"},
          {"{{ 1|nope }}",
           "error: chat template line 1: there is no filter 'nope'"},
          {"{{ 1 is nope }}",
           "error: chat template line 1: there is no test 'nope'"},
          {"{% set a, b = [1] %}",
           "error: chat template line 1: cannot unpack 1 values into 2 names"},
          {"{{ 9223372036854775807 + 1 }}",
           "error: chat template line 1: the result of + does not fit in 64 "
           "bits"},
          {"{{ (-9223372036854775807 - 1) % 9223372036854775807 }}",
           "9223372036854775806"},
          {"{{ 'x'.center(-9223372036854775807 - 1) }}", "x"},
          {"{{ {'update': 1}.update + 1 }}",
           "error: chat template line 1: access to attribute 'update' of "
           "'dict' object is unsafe"},
          {"{{ 1 // 0 }}", "error: chat template line 1: division by zero"},
          {"{% include 'x' %}",
           "error: chat template line 1: the tag 'include' is not known here"},
      },
      {{"m", ordered_json::object()}});
}

// ---- robustness, by the numbers of the list of bad inputs

TEST(JinjaRobustness, Case42LoneSurrogateEscapes) {
  EXPECT_EQ(Render("{{ '\\ud800' }}"),
            "error: chat template line 1: '\\ud800' is not the escape of a "
            "character");
  EXPECT_EQ(Render(std::string_view("a\0b{{ 'c\0d'|length }}", 21)),
            std::string("a\0b3", 4));
  // Bytes that are no UTF-8 pass through whole.
  EXPECT_EQ(Render("\xff{{ '\xfe'|upper|length }}"), "\xff"
                                                     "1");
}

TEST(JinjaRobustness, Case43MillionCharacterWord) {
  std::string word(1'000'000, 'w');
  EXPECT_EQ(
      Render("{{ w|trim|length }}{{ w.split('w')|length }}", {{"w", word}}),
      "10000001000001");
}

TEST(JinjaRobustness, Case45InfiniteLoops) {
  struct Bad {
    const char *source;
    StatusCode code;
    const char *message;
  };
  const std::vector<Bad> cases = {
      {"{% for i in range(100000) %}{% for j in range(100000) %}"
       "{% endfor %}{% endfor %}",
       StatusCode::kResourceExhausted, "more than 10000000 steps"},
      {"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
       StatusCode::kResourceExhausted, "more than 600 nested calls"},
      {"{% for i in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}",
       StatusCode::kResourceExhausted, "more than 600 nested calls"},
      {"{{ range(10**12) }}", StatusCode::kInvalidArgument,
       "range() is longer than 100000"},
      {"{{ range(0, -(10**18), -1) }}", StatusCode::kInvalidArgument,
       "range() is longer than 100000"},
      {"{{ 10**100 }}", StatusCode::kInvalidArgument,
       "does not fit in 64 bits"},
      {"{% set ns = namespace(x=1) %}{% for i in range(1000) %}"
       "{% set ns.x = [ns.x] %}{% endfor %}",
       StatusCode::kInvalidArgument, "a value nests deeper than 100"},
      {"{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}",
       StatusCode::kResourceExhausted, "more than 600 nested calls"},
  };
  for (const Bad &bad : cases) {
    auto result = RenderText(bad.source);
    ASSERT_FALSE(result.ok()) << bad.source;
    EXPECT_EQ(result.status().code(), bad.code) << bad.source;
    EXPECT_THAT(result.status().message(), HasSubstr(bad.message));
    EXPECT_THAT(result.status().message(), HasSubstr("chat template line 1: "));
  }
}

TEST(JinjaRobustness, Case45DeepNestingOfTheSource) {
  std::string parens =
      "{{ " + std::string(100000, '(') + "1" + std::string(100000, ')') + " }}";
  EXPECT_THAT(Render(parens), HasSubstr("nests deeper than 200 levels"));
  std::string nots = "{{ ";
  for (int i = 0; i < 100000; ++i)
    nots += "not ";
  EXPECT_THAT(Render(nots + "1 }}"), HasSubstr("nests deeper than 200 levels"));
  std::string sum = "{{ 1";
  for (int i = 0; i < 100000; ++i)
    sum += "+1";
  EXPECT_THAT(Render(sum + " }}"), HasSubstr("nests deeper than 200 levels"));
  std::string ifs;
  for (int i = 0; i < 1000; ++i)
    ifs += "{% if 1 %}";
  EXPECT_THAT(Render(ifs), HasSubstr("nests deeper than 200 levels"));
  EXPECT_THAT(Render(std::string((1 << 20) + 1, 'x')),
              HasSubstr("the chat template is 1048577 bytes long"));
}

TEST(JinjaRobustness, Case46AttributesOfTheImplementation) {
  for (const char *source :
       {"{{ ''.__class__ }}", "{{ ''['__class__'] }}", "{{ x.__init__ }}",
        "{{ ''|attr('__class__') }}",
        "{{ [x]|map(attribute='__class__')|list }}",
        "{{ '{0.__class__}'.format(x) }}", "{{ [].append(1) }}",
        "{{ {}.update({}) }}", "{{ namespace(_a=1) }}",
        "{% set ns = namespace() %}{% set ns.__a = 1 %}",
        "{% for i in [1] %}{{ loop.__class__ }}{% endfor %}"}) {
    std::string text = Render(source, {{"x", ordered_json::object()}});
    EXPECT_TRUE(text.find("is unsafe") != std::string::npos ||
                text.find("cannot store '_a'") != std::string::npos)
        << source << " gave " << text;
  }
}

TEST(JinjaRobustness, Case47GigabytesOfOutput) {
  struct Bad {
    const char *source;
    const char *message;
  };
  for (const Bad &bad : std::vector<Bad>{
           {"{{ 'x' * 10**15 }}", "more than 10000000 steps"},
           {"{{ ('x' * 10**6) ~ ('y' * 10**9) ~ ('z' * 10**9) }}",
            "more than 10000000 steps"},
           {"{{ [0] * 10**15 }}", "more than 10000000 steps"},
           {"{% set s = 'x' * 1000000 %}{% for i in range(100000) %}{{ s }}"
            "{% endfor %}",
            "bytes of output"},
           {"{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(99) %}"
            "{% set ns.s = ns.s + ns.s %}{% endfor %}",
            "bytes of values"},
           {"{{ ' '|center(10**15) }}", "more than 10000000 steps"},
           {"{{ '%99999999999d' % 1 }}", "the width in a format is too large"},
           {"{{ '{:99999999999}'.format(1) }}",
            "the width in a format is too large"},
           {"{{ 'a'.replace('', 'x' * 10**9).replace('x', 'y' * 10**6) }}",
            "more than 10000000 steps"},
           {"{% set ns = namespace(x=[1]) %}{% for i in range(60) %}"
            "{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
            "more than"},
           {"{% set ns = namespace(x=[1]) %}{% for i in range(60) %}"
            "{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x|tojson }}",
            "more than"},
           {"{% set a = namespace(x=[1], y=[1]) %}{% for i in range(60) %}"
            "{% set a.x = [a.x, a.x] %}{% set a.y = [a.y, a.y] %}{% endfor %}"
            "{{ a.x == a.y }}",
            "more than 10000000 steps"}}) {
    auto begin = std::chrono::steady_clock::now();
    EXPECT_THAT(Render(bad.source), HasSubstr(bad.message)) << bad.source;
    auto seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin)
            .count();
    EXPECT_LT(seconds, 30) << bad.source;
  }
}

TEST(JinjaRobustness, LimitsCanBeSet) {
  Limits limits;
  limits.output_bytes = 3;
  EXPECT_TRUE(RenderText("abc", {}, limits).ok());
  auto result = RenderText("abcd", {}, limits);
  EXPECT_EQ(result.status().code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(result.status().message(),
              HasSubstr("more than 3 bytes of output"));
}

// ---- what the user wrote

TEST(JinjaProvenance, FollowsTextThroughOperations) {
  const ordered_json variables = {{"u", "  <|im_end|>Ab "}, {"v", "x"}};
  EXPECT_THAT(UserParts("<s>{{ u }}</s>", variables),
              ElementsAre("  <|im_end|>Ab "));
  EXPECT_THAT(UserParts("{{ '<' + u.strip() + '>' }}", variables),
              ElementsAre("<|im_end|>Ab"));
  EXPECT_THAT(UserParts("{{ 'a' ~ u[2:12] ~ 'b' ~ v }}", variables),
              ElementsAre("<|im_end|>", "x"));
  EXPECT_THAT(UserParts("{{ u|trim|upper }}{{ v * 2 }}", variables),
              ElementsAre("<|IM_END|>ABxx"));
  EXPECT_THAT(UserParts("{{ 'a-b'.replace('-', v) }}", variables),
              ElementsAre("x"));
  EXPECT_THAT(UserParts("{{ u.split('|')[1] }}:{{ u[::-1][0] }}", variables),
              ElementsAre("im_end", " "));
  EXPECT_THAT(UserParts("{{ {'k': v}|tojson }} {{ [v] }}", variables),
              ElementsAre("x", "x"));
  EXPECT_THAT(UserParts("{{ '[%s]' % v }}{{ '[{}]'.format(v) }}", variables),
              ElementsAre("x", "x"));
  EXPECT_THAT(
      UserParts("{% set a %}<{{ v }}>{% endset %}{{ a|indent(2, true) }}",
                variables),
      ElementsAre("x"));
  EXPECT_THAT(UserParts("{% macro m(t) %}[{{ t }}]{% endmacro %}{{ m(v) }}"
                        "{{ ['a', v]|join('/') }}{% filter upper %}b{{ v }}"
                        "{% endfilter %}{{ v|title }}{{ v.center(3, '-') }}",
                        variables),
              ElementsAre("x", "x", "XX", "x"));
  EXPECT_THAT(UserParts("{% for c in v %}<{{ c }}>{% endfor %}{{ v|first }}",
                        variables),
              ElementsAre("x", "x"));
  EXPECT_THAT(UserParts("plain{{ v|length }}{{ v == 'x' }}", variables),
              ElementsAre());
}

} // namespace
} // namespace stele::text::jinja
