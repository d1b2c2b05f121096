// The same as embed.c, through the C++ wrapper.
//
//   embed_cpp MODEL.stele ID...
#include "stele/stele.hpp"

#include <cstdio>
#include <cstdlib>

int main(int argc, char **argv) try {
  if (argc < 3) {
    std::fprintf(stderr, "usage: embed_cpp MODEL.stele ID...\n");
    return 2;
  }
  stele::Model model(argv[1]);
  auto options = stele::Options<stele_engine_options>();
  options.session_tokens = 32;
  stele::Engine engine(model, options);
  std::fputs(engine.memory_plan().c_str(), stderr);

  stele::Session session(engine);
  std::vector<int32_t> prompt;
  for (int i = 2; i < argc; ++i)
    prompt.push_back(std::atoi(argv[i]));
  session.Feed(prompt);

  auto generate = stele::Options<stele_generate_options>();
  generate.max_tokens = 8;
  const auto reason = session.Generate(
      [](int32_t token, std::string_view text) {
        std::printf("%d ", token);
        std::fwrite(text.data(), 1, text.size(), stderr);
        return true;
      },
      generate);
  std::printf("(%d)\n", static_cast<int>(reason));
  return 0;
} catch (const stele::Error &error) {
  std::fprintf(stderr, "error: %s\n", error.what());
  return 1;
}
