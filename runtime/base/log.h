// What the runtime tells about its work: one line at a time, to a sink that
// the embedder may replace (default: stderr).
//
// Thread safe; lines of different threads never mix. STELE_LOG sets the level
// (error, warning, info, debug), SetLogLevel wins.
#ifndef STELE_RUNTIME_BASE_LOG_H_
#define STELE_RUNTIME_BASE_LOG_H_

#include <functional>
#include <optional>
#include <string_view>

namespace stele {

enum class LogLevel { kError = 0, kWarning, kInfo, kDebug };

using LogSink = std::function<void(LogLevel, std::string_view line)>;

std::optional<LogLevel> ParseLogLevel(std::string_view name);
void SetLogLevel(LogLevel level);
// An empty sink restores the default. The sink must not log.
void SetLogSink(LogSink sink);

bool LogEnabled(LogLevel level);
void Log(LogLevel level, std::string_view line);

}  // namespace stele

#endif  // STELE_RUNTIME_BASE_LOG_H_
