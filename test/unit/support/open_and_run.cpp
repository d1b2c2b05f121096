// See open_and_run.h.
#include "open_and_run.h"

#include <memory>
#include <vector>

#include "artifact_builder.h"
#include "stele/runtime/engine/engine.h"

namespace stele::test {

bool OpenAndRun(std::span<const uint8_t> bytes) {
  return OpenAndRun(bytes, *ToyDevice(1));
}

bool OpenAndRun(std::span<const uint8_t> bytes,
                std::unique_ptr<Device> device) {
  auto artifact = Artifact::FromBytes(bytes, "toy.stele");
  if (!artifact.ok())
    return false;
  auto model = Model::Load(*artifact, std::move(device));
  if (!model.ok())
    return false;
  EngineOptions options;
  options.max_sessions = 2;
  options.session_tokens = 16;
  options.host_memory = 64 << 20;
  auto engine = Engine::Create(*model, options);
  if (!engine.ok())
    return false;
  const int32_t last = static_cast<int32_t>((*model)->info().vocab_size()) - 1;
  const std::vector<int32_t> prompt = {0, last, 1, 2, 3, last, 5, 6, 7, 0, 1};
  std::vector<std::unique_ptr<Session>> sessions;
  for (int i = 0; i < 2; ++i) {
    auto session = (*engine)->NewSession();
    if (!session.ok())
      return false;
    sessions.push_back(*std::move(session));
    if (!sessions.back()->Feed(prompt).ok())
      return false;
  }
  for (int step = 0; step < 4; ++step)
    if (!(*engine)->Step().ok())
      return false;
  for (auto &session : sessions)
    if (!session->Feed({&last, 1}).ok())
      return false;
  return (*engine)->Step().ok();
}

} // namespace stele::test
