// The log's level and sink; see log.h.
#include "stele/runtime/base/log.h"

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <utility>

namespace stele {
namespace {

constexpr std::array<std::string_view, 4> kNames = {"error", "warning", "info",
                                                    "debug"};

LogLevel LevelFromEnvironment() {
  const char* value = std::getenv("STELE_LOG");
  const auto level = value ? ParseLogLevel(value) : std::nullopt;
  return level.value_or(LogLevel::kWarning);
}

std::atomic<LogLevel>& Level() {
  static std::atomic<LogLevel> level = LevelFromEnvironment();
  return level;
}

std::mutex& SinkMutex() {
  static std::mutex mutex;
  return mutex;
}

LogSink& Sink() {
  static LogSink sink;
  return sink;
}

}  // namespace

std::optional<LogLevel> ParseLogLevel(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i)
    if (kNames[i] == name) return static_cast<LogLevel>(i);
  return std::nullopt;
}

void SetLogLevel(LogLevel level) { Level() = level; }

void SetLogSink(LogSink sink) {
  std::lock_guard lock(SinkMutex());
  Sink() = std::move(sink);
}

bool LogEnabled(LogLevel level) { return level <= Level().load(); }

void Log(LogLevel level, std::string_view line) {
  if (!LogEnabled(level)) return;
  std::lock_guard lock(SinkMutex());
  if (Sink()) return Sink()(level, line);
  const std::string_view name = kNames[static_cast<size_t>(level)];
  std::fprintf(stderr, "%.*s: %.*s\n", static_cast<int>(name.size()),
               name.data(), static_cast<int>(line.size()), line.data());
}

}  // namespace stele
