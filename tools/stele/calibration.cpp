// Printing the calibration segment (calibration.h), which is JSON that anybody
// may have edited.
#include "calibration.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string_view>

#include "stele/runtime/text/json.h"

namespace stele::cli {
namespace {

using nlohmann::ordered_json;

std::string_view FindTable(const Artifact& artifact) {
  const auto& segments = *artifact.plan().segments();
  for (uint32_t i = 0; i < segments.size(); ++i)
    if (segments.Get(i)->kind() == plan::SegmentKind::Calibration) {
      const auto bytes = artifact.segment(i);
      return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }
  return {};
}

void PrintText(const ordered_json& text, const char* what) {
  std::printf("%-12s %s, %lld tokens, SHA-256 %.16s...\n", what,
              text.at("name").get<std::string>().c_str(),
              text.at("tokens").get<long long>(),
              text.at("sha256").get<std::string>().c_str());
}

void PrintNumber(const ordered_json& row, const char* name) {
  const auto found = row.find(name);
  if (found == row.end() || found->is_null())
    std::printf(" %11s", "-");
  else
    std::printf(" %11.3g", found->get<double>());
}

void PrintTexts(const ordered_json& table) {
  PrintText(table.at("texts").at("calibration"), "calibration");
  PrintText(table.at("texts").at("gate"), "gate");
}

void PrintWeights(const ordered_json& table) {
  const ordered_json& perplexity = table.at("perplexity");
  std::printf(
      "perplexity   %.4f unquantised, %.4f quantised: %+.2f%%, allowed "
      "%.2f%%%s\n",
      perplexity.at("unquantised").get<double>(),
      perplexity.at("quantised").get<double>(),
      100 * table.at("loss").get<double>(),
      100 * table.at("max_loss").get<double>(),
      table.at("met").get<bool>() ? "" : ", NOT MET");
  std::printf("bits         %.3f per weight, measured in %s arithmetic\n",
              table.at("bits_per_weight").get<double>(),
              table.at("arithmetic").get<std::string>().c_str());
  PrintTexts(table);
  std::printf("\n%-22s %6s %11s %11s %11s  %s\n", "format", "bits", "alpha",
              "error", "sensitivity", "weight");
  for (const ordered_json& row : table.at("weights")) {
    std::printf("%-22s %6.3f", row.at("format").get<std::string>().c_str(),
                row.at("bits").get<double>());
    for (const char* name : {"alpha", "error", "sensitivity"})
      PrintNumber(row, name);
    std::printf("  %s\n", row.at("name").get<std::string>().c_str());
  }
}

// One character for a share: the more, the darker.
char Shade(double share) {
  constexpr std::string_view kShades = " .:-=+*#%@";
  const double step = share * static_cast<double>(kShades.size());
  return kShades[static_cast<size_t>(std::clamp(step, 0.0, 9.0))];
}

// What heads read: layers downwards, their heads across.
void PrintPicture(const ordered_json& heads) {
  std::printf(
      "\nkeys read by each head: ' ' below 10%%, then . : - = + * # %%, "
      "@ from 90%% on\n");
  long long layer = -1;
  for (const ordered_json& head : heads) {
    const auto here = head.at("layer").get<long long>();
    if (here != layer) std::printf("%s%5lld |", layer < 0 ? "" : "|\n", here);
    layer = here;
    std::printf("%c", Shade(head.at("read").get<double>()));
  }
  std::printf("%s", layer < 0 ? "" : "|\n");
}

void PrintAttention(const ordered_json& table) {
  const ordered_json& perplexity = table.at("perplexity");
  const ordered_json& budget = table.at("budget");
  std::printf("attention    %s, asked for %s; windows of %lld tokens\n",
              budget.at("used").get<std::string>().c_str(),
              budget.at("asked").get<std::string>().c_str(),
              table.at("window").get<long long>());
  std::printf("perplexity   %.4f dense, %.4f sparse: %+.2f%%, allowed %.2f%%\n",
              perplexity.at("dense").get<double>(),
              perplexity.at("sparse").get<double>(),
              100 * table.at("loss").get<double>(),
              100 * table.at("max_loss").get<double>());
  std::printf("kept mass    %.4f, needed %.4f, by %.1f%% of the keys%s\n",
              table.at("kept_mass").get<double>(),
              table.at("min_kept_mass").get<double>(),
              100 * table.at("read").get<double>(),
              table.at("met").get<bool>() ? "" : "; NOT MET");
  PrintTexts(table);
  PrintPicture(table.at("heads"));
  std::printf("\n%5s %5s %7s %11s %11s %11s %11s\n", "layer", "head", "KV head",
              "target", "kept mass", "read", "growth");
  for (const ordered_json& head : table.at("heads")) {
    std::printf("%5lld %5lld %7lld", head.at("layer").get<long long>(),
                head.at("head").get<long long>(),
                head.at("kv_head").get<long long>());
    for (const char* name : {"target", "kept_mass", "read", "growth"})
      PrintNumber(head, name);
    std::printf("\n");
  }
}

void PrintTable(const ordered_json& table) {
  const auto kind = table.find("kind");
  if (kind != table.end() && kind->get<std::string>() == "attention")
    PrintAttention(table);
  else
    PrintWeights(table);
}

}  // namespace

Status PrintCalibration(const Artifact& artifact, bool json) {
  const std::string_view bytes = FindTable(artifact);
  if (bytes.empty())
    return FailedPrecondition(
        "'" + artifact.path() +
        "' has no calibration; compile with --quant auto, or --attention "
        "sparse and --calibrate, to get one");
  const std::string where = "the calibration of '" + artifact.path() + "'";
  STELE_ASSIGN_OR_RETURN(const ordered_json table,
                         text::ParseJson(bytes, where));
  try {
    if (json)
      std::printf("%s\n", table.dump().c_str());
    else
      PrintTable(table);
  } catch (const ordered_json::exception& error) {
    return DataLoss(where +
                    " is not what this version prints: " + error.what());
  }
  return OkStatus();
}

}  // namespace stele::cli
