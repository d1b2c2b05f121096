// Streams over time, as characters or as SVG; see show_timeline.h.
//
// A lane is a stream's operations in order; the same lanes, drawn by the plan's
// modelled times and by those of a traced step, share one scale.
#include "show_timeline.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <span>

#include "stele/runtime/base/file.h"
#include "stele/runtime/base/format.h"
#include "stele/runtime/plan/timeline.h"
#include "trace.h"

namespace stele::cli {
namespace {

constexpr int kColumns = 96;  // of a chart in text

enum class Look { kCompute, kOut, kAhead, kFetch, kWait, kNone };

struct LookStyle {
  char letter;
  const char* color;
  const char* name;
};

const LookStyle& StyleOf(Look look) {
  static constexpr LookStyle kStyles[] = {
      {'#', "#4878a8", "computes"},
      {'o', "#a85848", "packs what fell out"},
      {'a', "#58a868", "fetches ahead"},
      {'f', "#c8a048", "fetches what is missing"},
      {'.', "#c8c8c8", "waits"},
      {' ', "#ffffff", "nothing"},
  };
  return kStyles[static_cast<int>(look)];
}

Look LookOf(const plan::Op& op) {
  switch (op.body_type()) {
    case plan::OpBody::Launch:
    case plan::OpBody::Copy:
    case plan::OpBody::Collective:
      return Look::kCompute;
    case plan::OpBody::PageOut:
      return Look::kOut;
    case plan::OpBody::PageIn:
      return op.body_as_PageIn()->ahead() ? Look::kAhead : Look::kFetch;
    case plan::OpBody::Wait:
      return Look::kWait;
    default:
      return Look::kNone;
  }
}

struct Bar {
  uint32_t op;
  Look look;
  uint64_t begin, end;
  int64_t layer;  // -1: before the first one
};

struct Lane {
  std::string name;
  std::vector<Bar> bars;
};

// Sums over one layer, or over all of them.
struct Totals {
  uint64_t begin = UINT64_MAX;
  uint64_t compute = 0, waits = 0, moves = 0, hidden = 0;
};

// One step, modelled or traced.
struct Step {
  std::vector<Lane> lanes;  // by stream
  uint64_t end = 0;
  Totals totals;
  std::map<int64_t, Totals> layers;
};

// The layer that each operation belongs to: that of its pages, or of the last
// launch before it that names one.
std::vector<int64_t> LayersOf(const plan::Function& function) {
  std::vector<int64_t> layers;
  int64_t current = -1;
  for (const plan::Op* op : *function.ops()) {
    const auto* launch = op->body_as_Launch();
    if (launch && launch->immediates() && launch->immediates()->size() > 0)
      current = launch->immediates()->Get(0);
    int64_t layer = current;
    if (const auto* in = op->body_as_PageIn()) layer = in->layer();
    if (const auto* out = op->body_as_PageOut()) layer = out->layer();
    layers.push_back(layer);
  }
  return layers;
}

Step EmptyStep(const plan::Function& function, const std::string& what) {
  Step step;
  for (uint16_t i = 0; i < function.streams(); ++i)
    step.lanes.push_back({what + (i == 0   ? " compute"
                                  : i == 1 ? " moves"
                                           : Format(" stream %u", i)),
                          {}});
  return step;
}

// When launches run, whatever their order and overlaps.
class Busy {
 public:
  explicit Busy(std::vector<Bar> bars) {
    std::erase_if(bars, [](const Bar& b) { return b.look != Look::kCompute; });
    std::ranges::sort(bars, {}, &Bar::begin);
    for (const Bar& bar : bars) {
      if (times_.empty() || bar.begin > times_.back().end)
        times_.push_back({bar.begin, bar.end, Total()});
      times_.back().end = std::max(times_.back().end, bar.end);
    }
  }
  uint64_t Between(uint64_t begin, uint64_t end) const {
    return Before(end) - Before(begin);
  }

 private:
  struct Interval {
    uint64_t begin, end, before;  // `before`: sum of those in front of it
  };
  uint64_t Total() const {
    return times_.empty()
               ? 0
               : times_.back().before + times_.back().end - times_.back().begin;
  }
  uint64_t Before(uint64_t time) const {
    auto next = std::ranges::upper_bound(times_, time, {}, &Interval::begin);
    if (next == times_.begin()) return 0;
    --next;
    return next->before + std::min(time, next->end) - next->begin;
  }

  std::vector<Interval> times_;
};

void Add(const Bar& bar, bool is_first_stream, const Busy& busy,
         Totals& totals) {
  if (bar.look == Look::kCompute) {
    totals.begin = std::min(totals.begin, bar.begin);
    totals.compute += bar.end - bar.begin;
  } else if (bar.look == Look::kWait) {
    if (is_first_stream) totals.waits += bar.end - bar.begin;
  } else {
    totals.moves += bar.end - bar.begin;
    totals.hidden += busy.Between(bar.begin, bar.end);
  }
}

void SumUp(Step& step) {
  const Busy busy(step.lanes[0].bars);
  for (size_t stream = 0; stream < step.lanes.size(); ++stream) {
    std::ranges::stable_sort(step.lanes[stream].bars, {}, &Bar::begin);
    for (const Bar& bar : step.lanes[stream].bars) {
      Add(bar, stream == 0, busy, step.totals);
      if (bar.layer >= 0) Add(bar, stream == 0, busy, step.layers[bar.layer]);
    }
  }
}

// `ops`: times of operations of the function.
Step MakeStep(const plan::Function& function, const std::string& what,
              uint64_t end, std::span<const TracedOp> ops,
              const Timeline& timeline) {
  Step step = EmptyStep(function, what);
  const auto layers = LayersOf(function);
  for (const TracedOp& op : ops) {
    const Look look = LookOf(*function.ops()->Get(op.op));
    if (look == Look::kNone || op.end == op.begin) continue;
    // Streams are the plan's, whoever's the times are.
    step.lanes[timeline.spans[op.op].stream].bars.push_back(
        {op.op, look, op.begin, op.end, layers[op.op]});
  }
  step.end = end;
  SumUp(step);
  return step;
}

Step ModelledStep(const plan::Function& function, const Timeline& timeline) {
  std::vector<TracedOp> ops;
  for (uint32_t i = 0; i < timeline.spans.size(); ++i)
    ops.push_back({i, timeline.spans[i].begin, timeline.spans[i].end});
  return MakeStep(function, "modelled", timeline.end, ops, timeline);
}

std::string Time(uint64_t nanoseconds) {
  return FormatSeconds(static_cast<double>(nanoseconds) / 1e9);
}

double Percent(uint64_t part, uint64_t whole) {
  return whole ? 100.0 * static_cast<double>(part) / static_cast<double>(whole)
               : 100.0;
}

// "12.3 ms: computes 11.1 ms, waits 1.2 ms; moves 6 ms, 5.1 ms (85%) of it
// behind launches"
std::string Summary(const Step& step) {
  const Totals& totals = step.totals;
  std::string text = Time(step.end) + ": computes " + Time(totals.compute);
  if (step.lanes.size() < 2) return text;
  return text + ", waits " + Time(totals.waits) + "; moves " +
         Time(totals.moves) + ", " + Time(totals.hidden) +
         Format(" (%.0f%%) of it behind launches",
                Percent(totals.hidden, totals.moves));
}

std::string Summary(const FunctionTrace& trace) {
  const uint64_t asked = trace.hits + trace.misses;
  return Format(
             "%zu steps; of %llu pages asked for %.1f%% were in a slot, %llu "
             "were not; ",
             trace.steps.size(), static_cast<unsigned long long>(asked),
             Percent(trace.hits, asked),
             static_cast<unsigned long long>(trace.misses)) +
         FormatBytes(trace.bytes_in) + " came in, " +
         FormatBytes(trace.bytes_out) + " went out; a step waits " +
         Time(trace.MedianWait()) + " (median)";
}

// One function with what is known of it.
struct Chart {
  const plan::Function& function;
  std::string title;
  std::vector<Step> steps;  // the modelled one, the traced one
  const FunctionTrace* trace = nullptr;
  uint64_t end = 1;  // of the longest step
};

Chart MakeChart(const plan::Plan& plan, const plan::Function& function,
                const FunctionTrace* trace) {
  Chart chart{function, "", {}, trace};
  const bool decodes = function.max_tokens() == function.max_sequences();
  chart.title =
      Printable(function.name()->string_view()) +
      Format(": %u token%s of a session at the end of %llu",
             decodes ? 1 : function.max_tokens(), decodes ? "" : "s",
             static_cast<unsigned long long>(plan.model()->context()));
  const Timeline timeline = ModelTimeline(function);
  chart.steps.push_back(ModelledStep(function, timeline));
  if (trace)
    chart.steps.push_back(MakeStep(function, "measured",
                                   trace->median().duration,
                                   trace->median().ops, timeline));
  for (const Step& step : chart.steps)
    chart.end = std::max(chart.end, step.end);
  return chart;
}

// ---- text

// What takes the most of each column's time.
std::string Letters(const Lane& lane, uint64_t end) {
  std::string text;
  const double width = static_cast<double>(end) / kColumns;
  auto bar = lane.bars.begin();
  for (int column = 0; column < kColumns; ++column) {
    const double begin = column * width;
    double share[6] = {};
    while (bar != lane.bars.end() && static_cast<double>(bar->end) <= begin)
      ++bar;
    for (auto each = bar; each != lane.bars.end() &&
                          static_cast<double>(each->begin) < begin + width;
         ++each)
      share[static_cast<int>(each->look)] +=
          std::min(static_cast<double>(each->end), begin + width) -
          std::max(static_cast<double>(each->begin), begin);
    const auto most = std::max_element(std::begin(share), std::end(share));
    text += *most > 0 ? StyleOf(static_cast<Look>(most - share)).letter : ' ';
  }
  return text;
}

// The number of each layer where its first launch begins.
std::string LayerMarks(const Step& step, uint64_t end) {
  std::string text(kColumns, ' ');
  size_t free = 0;  // column behind the last mark
  for (const auto& [layer, totals] : step.layers) {
    if (totals.begin == UINT64_MAX) continue;
    const auto column =
        static_cast<size_t>(static_cast<double>(totals.begin) /
                            static_cast<double>(end) * kColumns);
    const std::string mark = "|" + std::to_string(layer);
    if (column < free || column + mark.size() > text.size()) continue;
    text.replace(column, mark.size(), mark);
    free = column + mark.size() + 1;
  }
  return text;
}

void PrintLayers(const Chart& chart) {
  const Step& step = chart.steps.back();
  std::printf("  %5s %10s %10s %10s %10s %7s\n", "layer", "begins", "computes",
              "waits", "moves", "hidden");
  for (const auto& [layer, totals] : step.layers) {
    if (totals.begin == UINT64_MAX) continue;
    std::printf("  %5lld %10s %10s %10s %10s %6.0f%%\n",
                static_cast<long long>(layer), Time(totals.begin).c_str(),
                Time(totals.compute).c_str(), Time(totals.waits).c_str(),
                Time(totals.moves).c_str(),
                Percent(totals.hidden, totals.moves));
  }
}

void PrintChart(const Chart& chart) {
  std::printf("%s\n", chart.title.c_str());
  std::printf("  modelled %s\n", Summary(chart.steps[0]).c_str());
  if (chart.trace) {
    std::printf("  measured %s, the median step\n",
                Summary(chart.steps[1]).c_str());
    std::printf("  measured %s\n", Summary(*chart.trace).c_str());
  }
  for (const Step& step : chart.steps) {
    std::printf("  %-16s %s\n", "layer", LayerMarks(step, chart.end).c_str());
    for (const Lane& lane : step.lanes)
      std::printf("  %-16s %s\n", lane.name.c_str(),
                  Letters(lane, chart.end).c_str());
  }
  if (chart.function.streams() > 1) PrintLayers(chart);
}

void PrintText(std::span<const Chart> charts) {
  for (const Chart& chart : charts) {
    PrintChart(chart);
    std::printf("\n");
  }
  for (const Look look :
       {Look::kCompute, Look::kOut, Look::kAhead, Look::kFetch, Look::kWait})
    std::printf("%c %s   ", StyleOf(look).letter, StyleOf(look).name);
  std::printf("\n");
}

// ---- pictures

constexpr int kWidth = 1200, kLeft = 130, kLane = 26, kLine = 18;
constexpr int kMargin = 10, kRightMargin = 30;
constexpr int kTicks = 8;       // of an axis, at most
constexpr int kDigitWidth = 6;  // of a layer's number

std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '&')
      out += "&amp;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

std::string NameOf(const plan::Op& op) {
  if (const auto* launch = op.body_as_Launch())
    return Printable(launch->label()->string_view());
  if (const auto* in = op.body_as_PageIn())
    return Format(
        "layer %u into slots %u to %llu", in->layer(), in->first_slot(),
        static_cast<unsigned long long>(in->first_slot()) + in->slots() - 1);
  if (const auto* out = op.body_as_PageOut())
    return Format("layer %u", out->layer());
  if (const auto* wait = op.body_as_Wait())
    return Format("for event %u", wait->event());
  return "";
}

std::string SvgText(int x, int y, const std::string& text) {
  return Format("<text x=\"%d\" y=\"%d\">", x, y) + Escaped(text) + "</text>\n";
}

// `look` is a class of the picture's style: "small", "tick".
std::string SvgSmall(const char* look, double x, int y,
                     const std::string& text) {
  return Format("<text class=\"%s\" x=\"%.2f\" y=\"%d\">", look, x, y) +
         Escaped(text) + "</text>\n";
}

double PlaceOf(const Chart& chart, uint64_t time) {
  return kLeft + static_cast<double>(time) * (kWidth - kLeft) /
                     static_cast<double>(chart.end);
}

// The number of each layer where its first launch begins, as far as there is
// room.
std::string SvgLayers(const Chart& chart, const Step& step, int y) {
  std::string svg = SvgSmall("small", 0, y, "layer");
  double free = 0;  // behind the last number
  for (const auto& [layer, totals] : step.layers) {
    if (totals.begin == UINT64_MAX) continue;
    const double x = PlaceOf(chart, totals.begin);
    if (x < free) continue;
    const std::string number = std::to_string(layer);
    svg += SvgSmall("small", x, y, number);
    free = x + static_cast<double>((number.size() + 1) * kDigitWidth);
  }
  return svg;
}

// The shortest of 1, 2, 5, 10, ... ns that gives no more than kTicks.
uint64_t TickOf(uint64_t end) {
  uint64_t tick = 1;
  for (int i = 0; end / tick > kTicks; ++i)
    tick = tick * (i % 3 == 1 ? 5 : 4) / 2;
  return tick;
}

std::string SvgAxis(const Chart& chart, int y) {
  std::string svg = SvgSmall("small", 0, y + 14, "time");
  const uint64_t tick = TickOf(chart.end);
  for (uint64_t i = 0; i <= chart.end / tick; ++i) {
    const uint64_t time = i * tick;
    const double x = PlaceOf(chart, time);
    svg += Format("<path d=\"M%.2f %dv4\" stroke=\"#606060\"/>\n", x, y);
    svg += SvgSmall("tick", x, y + 14, time == 0 ? "0" : Time(time));
  }
  return svg;
}

std::string SvgLane(const Chart& chart, const Lane& lane, int y) {
  std::string svg = SvgText(0, y + kLane - 9, lane.name);
  for (const Bar& bar : lane.bars) {
    const LookStyle& style = StyleOf(bar.look);
    svg += Format(
               "<rect x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"%d\" "
               "fill=\"%s\"><title>",
               PlaceOf(chart, bar.begin), y,
               PlaceOf(chart, bar.end) - PlaceOf(chart, bar.begin), kLane - 4,
               style.color) +
           Escaped(style.name +
                   (": " + NameOf(*chart.function.ops()->Get(bar.op)))) +
           ", " + Time(bar.begin) + " to " + Time(bar.end) +
           "</title></rect>\n";
  }
  return svg;
}

// One chart from `y` on; moves it behind.
std::string SvgChart(const Chart& chart, int* y) {
  std::string svg;
  const auto line = [&](const std::string& text) {
    *y += kLine;
    svg += SvgText(0, *y, text);
  };
  line(chart.title);
  line("modelled " + Summary(chart.steps[0]));
  if (chart.trace) {
    line("measured " + Summary(chart.steps[1]) + ", the median step");
    line("measured " + Summary(*chart.trace));
  }
  *y += 8;
  for (const Step& step : chart.steps) {
    svg += SvgLayers(chart, step, *y + 10);
    *y += 14;
    for (const Lane& lane : step.lanes) {
      svg += SvgLane(chart, lane, *y);
      *y += kLane;
    }
  }
  svg += SvgAxis(chart, *y);
  *y += 2 * kLine;
  return svg;
}

std::string SvgLegend(int y) {
  std::string svg;
  int x = 0;
  for (const Look look :
       {Look::kCompute, Look::kOut, Look::kAhead, Look::kFetch, Look::kWait}) {
    svg += Format(
        "<rect x=\"%d\" y=\"%d\" width=\"12\" height=\"12\" "
        "fill=\"%s\"/>\n",
        x, y, StyleOf(look).color);
    svg += SvgText(x + 18, y + 11, StyleOf(look).name);
    x += 200;
  }
  return svg;
}

std::string MakeSvg(std::span<const Chart> charts) {
  int y = 0;
  std::string body;
  for (const Chart& chart : charts) body += SvgChart(chart, &y);
  body += SvgLegend(y);
  const int width = kMargin + kWidth + kRightMargin, height = y + 24;
  return Format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" "
             "height=\"%d\" viewBox=\"%d 0 %d %d\">\n",
             width, height, -kMargin, width, height) +
         "<style>text{font:13px sans-serif}.small,.tick{font-size:10px;"
         "fill:#606060}.tick{text-anchor:middle}</style>\n" +
         Format(
             "<rect x=\"%d\" width=\"%d\" height=\"%d\" "
             "fill=\"#fff\"/>\n",
             -kMargin, width, height) +
         body + "</svg>\n";
}

Status WritePicture(std::span<const Chart> charts, const std::string& output,
                    const plan::Plan& plan) {
  std::string text = MakeSvg(charts);
  if (output.ends_with(".html"))
    text = "<!doctype html>\n<meta charset=\"utf-8\">\n<title>" +
           Escaped(Printable(plan.model()->name()->string_view())) +
           ", timeline</title>\n" + text;
  return WriteFile(output, std::as_bytes(std::span<const char>(text)));
}

}  // namespace

Status ShowTimeline(const plan::Plan& plan, const std::string& output,
                    const std::string& trace) {
  std::map<std::string, FunctionTrace> traces;
  if (!trace.empty()) {
    STELE_ASSIGN_OR_RETURN(traces, ReadTrace(trace, plan));
  }
  std::vector<Chart> charts;
  for (const plan::Function* function : *plan.functions()) {
    const auto found = traces.find(function->name()->str());
    charts.push_back(MakeChart(
        plan, *function, found == traces.end() ? nullptr : &found->second));
  }
  if (!output.empty()) return WritePicture(charts, output, plan);
  PrintText(charts);
  return OkStatus();
}

}  // namespace stele::cli
