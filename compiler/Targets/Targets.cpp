// Reads target descriptions and finds the one of this machine (Targets.h).

#include "stele/compiler/Targets/Targets.h"
#include "stele/compiler/Import/Errors.h"
#include "stele/compiler/Import/Json.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/TargetParser/Host.h"

using namespace stele;
using namespace stele::compiler;
using checkpoint::findMember;
using checkpoint::Json;
using checkpoint::makeError;

namespace {

struct EmbeddedTarget {
  llvm::StringLiteral name;
  llvm::StringLiteral json;
};

// Oldest to newest; generated from the JSON files by CMakeLists.txt.
constexpr EmbeddedTarget embeddedTargets[] = {
#include "stele/compiler/Targets/Embedded.inc"
};

/// Reads the members of one JSON object and refuses what it does not know.
class ObjectReader {
public:
  ObjectReader(const Json &object, llvm::StringRef where)
      : object(object), where(where.str()) {}

  llvm::Error text(llvm::StringRef key, std::string &out) {
    const Json *value = take(key);
    if (!value || !value->is_string() || value->get<std::string>().empty())
      return fail(key, value, "a non-empty text");
    out = value->get<std::string>();
    return llvm::Error::success();
  }

  llvm::Error positive(llvm::StringRef key, int64_t limit, int64_t &out) {
    const Json *value = take(key);
    if (!value || !value->is_number_unsigned() || value->get<uint64_t>() < 1 ||
        value->get<uint64_t>() > uint64_t(limit))
      return fail(key, value,
                  llvm::formatv("a whole number in 1..{0}", limit).str());
    out = value->get<int64_t>();
    return llvm::Error::success();
  }

  llvm::Expected<const Json *> child(llvm::StringRef key) {
    const Json *value = take(key);
    if (!value || !value->is_object())
      return fail(key, value, "an object");
    return value;
  }

  llvm::Expected<const Json *> array(llvm::StringRef key) {
    const Json *value = take(key);
    if (!value || !value->is_array())
      return fail(key, value, "a list");
    return value;
  }

  /// An error that names a member nobody asked for.
  llvm::Error finish() const {
    for (const auto &member : object.items())
      if (!llvm::is_contained(taken, member.key()))
        return makeError("{0}: \"{1}\" is not a member of a target "
                         "description; known: {2}",
                         where, member.key(), llvm::join(taken, ", "));
    return llvm::Error::success();
  }

private:
  llvm::Error fail(llvm::StringRef key, const Json *value,
                   llvm::StringRef wanted) const {
    return makeError("{0}: \"{1}\" is {2}; it must be {3} "
                     "(docs/adding-a-target.md)",
                     where, key, value ? checkpoint::shown(*value) : "missing",
                     wanted);
  }

  const Json *take(llvm::StringRef key) {
    taken.push_back(key.str());
    return findMember(object, key);
  }

  const Json &object;
  std::string where;
  std::vector<std::string> taken;
};

constexpr int64_t maxTokens = 1 << 20;
// Beyond any machine, and below what products with it could overflow.
constexpr int64_t maxMemoryBytes = int64_t(1) << 50;
constexpr int64_t maxPerSecond = int64_t(1) << 60;
constexpr int64_t maxNanoseconds = 1'000'000'000;

} // namespace

static llvm::Expected<TokenBucket> readBucket(const Json &json,
                                              llvm::StringRef where) {
  if (!json.is_object())
    return makeError("{0}: a bucket must be an object", where);
  TokenBucket bucket;
  ObjectReader reader(json, where);
  if (llvm::Error error = reader.text("name", bucket.name))
    return error;
  if (llvm::Error error = reader.positive("tokens", maxTokens, bucket.tokens))
    return error;
  if (llvm::Error error =
          reader.positive("sequences", bucket.tokens, bucket.sequences))
    return error;
  if (llvm::Error error =
          reader.positive("logit_rows", bucket.tokens, bucket.logitRows))
    return error;
  if (llvm::Error error = reader.finish())
    return error;
  return bucket;
}

/// Member `key` of the description: an object of numbers and nothing else.
static llvm::Error
readNumbers(ObjectReader &reader, llvm::StringRef file, llvm::StringRef key,
            llvm::ArrayRef<std::tuple<const char *, int64_t, int64_t *>> list) {
  llvm::Expected<const Json *> object = reader.child(key);
  if (!object)
    return object.takeError();
  ObjectReader numbers(**object,
                       llvm::formatv("{0}: \"{1}\"", file, key).str());
  for (auto [name, limit, out] : list)
    if (llvm::Error error = numbers.positive(name, limit, *out))
      return error;
  return numbers.finish();
}

static llvm::Error readLimits(ObjectReader &reader, llvm::StringRef file,
                              MachineLimits &limits) {
  if (llvm::Error error = readNumbers(
          reader, file, "memory",
          {{"bytes", maxMemoryBytes, &limits.memoryBytes},
           {"bytes_per_second", maxPerSecond, &limits.memoryBytesPerSecond}}))
    return error;
  if (llvm::Error error =
          readNumbers(reader, file, "operations_per_second",
                      {{"f32", maxPerSecond, &limits.f32PerSecond},
                       {"bf16", maxPerSecond, &limits.bf16PerSecond},
                       {"int8", maxPerSecond, &limits.int8PerSecond}}))
    return error;
  return readNumbers(
      reader, file, "paging",
      {{"link_bytes_per_second", maxPerSecond, &limits.linkBytesPerSecond},
       {"link_nanoseconds", maxNanoseconds, &limits.linkNanoseconds},
       {"pack_bytes_per_second", maxPerSecond, &limits.packBytesPerSecond},
       {"unpack_bytes_per_second", maxPerSecond, &limits.unpackBytesPerSecond},
       {"disk_bytes_per_second", maxPerSecond, &limits.diskBytesPerSecond}});
}

static llvm::Expected<Target> readTarget(const Json &json,
                                         llvm::StringRef file) {
  if (!json.is_object())
    return makeError("{0}: a target description must be an object", file);
  Target target;
  target.source = file.str();
  ObjectReader reader(json, file);
  if (llvm::Error error = reader.text("name", target.name))
    return error;
  if (llvm::Error error = reader.text("isa", target.isa))
    return error;
  if (llvm::Error error = reader.text("arithmetic", target.arithmetic))
    return error;
  if (target.arithmetic != "f32" && target.arithmetic != "bf16")
    return makeError("{0}: \"arithmetic\" is \"{1}\"; it must be f32 or bf16",
                     file, target.arithmetic);

  llvm::Expected<const Json *> features = reader.array("features");
  if (!features)
    return features.takeError();
  for (const Json &feature : **features) {
    if (!feature.is_string())
      return makeError("{0}: \"features\" must be texts", file);
    target.features.push_back(feature.get<std::string>());
  }

  if (llvm::Error error = readLimits(reader, file, target.limits))
    return error;

  llvm::Expected<const Json *> buckets = reader.array("buckets");
  if (!buckets)
    return buckets.takeError();
  for (const Json &entry : **buckets) {
    llvm::Expected<TokenBucket> bucket =
        readBucket(entry, (file + ": \"buckets\"").str());
    if (!bucket)
      return bucket.takeError();
    if (!target.buckets.empty() &&
        target.buckets.back().tokens >= bucket->tokens)
      return makeError("{0}: \"buckets\" must ascend by tokens; {1} follows "
                       "{2}",
                       file, bucket->tokens, target.buckets.back().tokens);
    target.buckets.push_back(std::move(*bucket));
  }
  if (target.buckets.empty())
    return makeError("{0}: \"buckets\" is empty; give at least one", file);
  if (llvm::Error error = reader.finish())
    return error;
  return target;
}

static llvm::Expected<Target> readEmbedded(const EmbeddedTarget &embedded) {
  llvm::Expected<Json> json =
      checkpoint::parseJson(embedded.json, embedded.name);
  if (!json)
    return json.takeError();
  return readTarget(*json, embedded.name);
}

/// Whether this CPU runs code of a psABI level (x86-64-v3, x86-64-v4).
static bool hostHasLevel(llvm::StringRef isa,
                         const llvm::StringMap<bool> &features) {
  static constexpr llvm::StringLiteral v3[] = {"avx2", "bmi",   "bmi2", "f16c",
                                               "fma",  "lzcnt", "movbe"};
  static constexpr llvm::StringLiteral v4[] = {
      "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"};
  auto has = [&](llvm::StringRef name) { return features.lookup(name); };
  if (isa == "x86-64-v3")
    return llvm::all_of(v3, has);
  return isa == "x86-64-v4" && llvm::all_of(v3, has) && llvm::all_of(v4, has);
}

static llvm::Expected<Target> findHostTarget() {
  llvm::StringMap<bool> features = llvm::sys::getHostCPUFeatures();
  for (const EmbeddedTarget &embedded : llvm::reverse(embeddedTargets)) {
    llvm::Expected<Target> target = readEmbedded(embedded);
    if (!target)
      return target.takeError();
    if (hostHasLevel(target->isa, features) &&
        llvm::all_of(target->features, [&](const std::string &feature) {
          return features.lookup(feature);
        }))
      return target;
  }
  return makeError("target host: this CPU ({0}) is below x86-64-v3 (AVX2, FMA, "
                   "BMI2); name the target of the machine that will run the "
                   "artifact: {1}",
                   llvm::sys::getHostCPUName(),
                   llvm::join(targetNames(), ", "));
}

std::vector<llvm::StringRef> compiler::targetNames() {
  std::vector<llvm::StringRef> names;
  for (const EmbeddedTarget &embedded : embeddedTargets)
    names.push_back(embedded.name);
  return names;
}

llvm::Expected<Target> compiler::findTarget(llvm::StringRef nameOrFile) {
  if (nameOrFile == "host")
    return findHostTarget();
  for (const EmbeddedTarget &embedded : embeddedTargets)
    if (embedded.name == nameOrFile)
      return readEmbedded(embedded);
  if (!nameOrFile.contains('/') && !nameOrFile.ends_with(".json"))
    return makeError("target \"{0}\" is not known; use host, {1}, or the path "
                     "of a description (.json)",
                     nameOrFile, llvm::join(targetNames(), ", "));
  llvm::Expected<Json> json = checkpoint::readJsonFile(nameOrFile);
  if (!json)
    return json.takeError();
  return readTarget(*json, nameOrFile);
}
