// Printing the calibration segment (calibration.h), which is JSON that anybody
// may have edited.
#include "calibration.h"

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

void PrintTable(const ordered_json& table) {
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
  PrintText(table.at("texts").at("calibration"), "calibration");
  PrintText(table.at("texts").at("gate"), "gate");
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

}  // namespace

Status PrintCalibration(const Artifact& artifact, bool json) {
  const std::string_view bytes = FindTable(artifact);
  if (bytes.empty())
    return FailedPrecondition(
        "'" + artifact.path() +
        "' has no calibration; compile with --quant auto to get one");
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
