// stele verify: every check that opening makes, and every checksum.
#include <cstdio>

#include "cli.h"
#include "prompts.h"
#include "stele/runtime/base/format.h"
#include "stele/runtime/base/hash.h"
#include "stele/schema/artifact_header.h"
#include "verbs.h"

namespace stele::cli {
namespace {

void PrintSegment(uint32_t index, const plan::Segment& segment) {
  const std::string where = segment.storage() == plan::Storage::External
                                ? " in " + segment.external_path()->str()
                                : "";
  std::printf("segment %u   %s '%s'%s: ", index,
              plan::EnumNameSegmentKind(segment.kind()),
              segment.name()->c_str(), where.c_str());
  if (segment.storage() == plan::Storage::Synthetic)
    std::printf("synthetic, no bytes to check\n");
  else
    std::printf("%s, XXH3 %016llx\n", FormatBytes(segment.length()).c_str(),
                static_cast<unsigned long long>(segment.xxh3()));
}

void PrintPlan(const Artifact& artifact) {
  const plan::Plan& plan = artifact.plan();
  uint64_t ops = 0, buffers = 0;
  for (const plan::Function* function : *plan.functions()) {
    ops += function->ops()->size();
    buffers += function->buffers()->size();
  }
  std::printf("header      format %u.%u, %s\n", schema::kFormatMajor,
              artifact.format_minor(),
              FormatBytes(artifact.file_size()).c_str());
  std::printf("plan        SHA-256 %s\n", ToHex(artifact.digest()).c_str());
  std::printf("            %u functions, %llu ops, %llu buffers, %u tensors\n",
              plan.functions()->size(), static_cast<unsigned long long>(ops),
              static_cast<unsigned long long>(buffers), plan.tensors()->size());
}

// The tokenizer and the chat templates are read as `run` reads them.
Status CheckText(const Artifact& artifact) {
  STELE_ASSIGN_OR_RETURN(const auto tokenizer, LoadTokenizer(artifact));
  if (!tokenizer) {
    std::printf("tokenizer   none\n");
    return OkStatus();
  }
  std::printf("tokenizer   %u ids\n", tokenizer->vocab_size());
  for (const text::NamedTemplate& chat : tokenizer->chat_templates()) {
    auto parsed = text::ChatTemplate::Parse(chat.text, {});
    if (!parsed.ok()) return parsed.status();
    std::printf("template    '%s', %s\n", std::string(chat.name).c_str(),
                FormatBytes(chat.text.size()).c_str());
  }
  return OkStatus();
}

Status Verify(ModelFlags flags) {
  flags.verify = true;
  STELE_ASSIGN_OR_RETURN(const auto artifact, flags.Open());
  PrintPlan(*artifact);
  const auto& segments = *artifact->plan().segments();
  for (uint32_t i = 0; i < segments.size(); ++i)
    PrintSegment(i, *segments.Get(i));
  if (!flags.sha256.empty()) std::printf("file        SHA-256 as given\n");
  return CheckText(*artifact);
}

}  // namespace

int RunVerify(int argc, char** argv) {
  CLI::App app("Check an artifact and every checksum in it");
  ModelFlags flags;
  flags.AddTo(app, true);
  if (auto code = Parse(app, argc, argv, "OUT.stele [--sha256 HEX]",
                        "stele verify smollm2.stele"))
    return *code;
  if (Status status = Verify(flags); !status.ok()) return Fail(status);
  std::printf("ok\n");
  return kDone;
}

}  // namespace stele::cli
