// stele.hpp: stele.h for C++, header only. Objects own what they hold, errors
// are exceptions of type stele::Error.
#ifndef STELE_STELE_HPP_
#define STELE_STELE_HPP_

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "stele/stele.h"

namespace stele {
// The names of the library's own classes, when it is linked statically, must
// not meet these.
inline namespace api {

class Error : public std::runtime_error {
 public:
  Error(stele_status status, const char* message)
      : std::runtime_error(message), status_(status) {}
  stele_status status() const { return status_; }

 private:
  stele_status status_;
};

inline void Check(stele_status status) {
  if (status != STELE_OK) throw Error(status, stele_last_error());
}

// A C struct with struct_size set and all else at its default.
template <typename T>
T Options() {
  T options = {};
  options.struct_size = sizeof(T);
  return options;
}

class Model {
 public:
  explicit Model(const std::string& path, const stele_model_options& options =
                                              Options<stele_model_options>()) {
    stele_model* model = nullptr;
    Check(stele_model_open(path.c_str(), &options, &model));
    model_.reset(model);
  }

  stele_model_info info() const {
    auto info = Options<stele_model_info>();
    Check(stele_model_get_info(get(), &info));
    return info;
  }

  std::vector<int32_t> Tokenize(std::string_view text) const {
    return Grow<std::vector<int32_t>>([&](int32_t* out, size_t n, size_t* has) {
      return stele_tokenize(get(), text.data(), text.size(), out, n, has);
    });
  }

  std::vector<int32_t> TokenizeChat(const std::string& messages_json) const {
    return Grow<std::vector<int32_t>>([&](int32_t* out, size_t n, size_t* has) {
      return stele_tokenize_chat(get(), messages_json.c_str(), out, n, has);
    });
  }

  std::string Detokenize(const std::vector<int32_t>& tokens) const {
    return Grow<std::string>([&](char* out, size_t n, size_t* has) {
      return stele_detokenize(get(), tokens.data(), tokens.size(), out, n, has);
    });
  }

  stele_model* get() const { return model_.get(); }

 private:
  // Calls `fill` with more room until what it has fits.
  template <typename Container, typename Fill>
  static Container Grow(Fill fill) {
    Container out(64, 0);
    for (;;) {
      size_t has = 0;
      Check(fill(out.data(), out.size(), &has));
      const bool fits = has <= out.size();
      out.resize(has);
      if (fits) return out;
    }
  }

  struct Close {
    void operator()(stele_model* model) const { stele_model_close(model); }
  };
  std::unique_ptr<stele_model, Close> model_;
};

class Engine {
 public:
  explicit Engine(const Model& model, const stele_engine_options& options =
                                          Options<stele_engine_options>()) {
    stele_engine* engine = nullptr;
    Check(stele_engine_create(model.get(), &options, &engine));
    engine_.reset(engine);
  }

  std::string memory_plan() const {
    return stele_engine_memory_plan(get(), nullptr);
  }

  stele_step_report Step() {
    auto report = Options<stele_step_report>();
    Check(stele_engine_step(get(), &report));
    return report;
  }

  // What the last step left in a named output, [rows, width].
  struct Output {
    std::vector<float> values;
    uint32_t rows = 0, width = 0;
  };
  Output ReadOutput(const std::string& name) const {
    Output output;
    const auto read = [&] {
      Check(stele_engine_output(get(), name.c_str(), output.values.data(),
                                output.values.size(), &output.rows,
                                &output.width));
    };
    read();
    output.values.resize(size_t{output.rows} * output.width);
    read();
    return output;
  }

  stele_engine* get() const { return engine_.get(); }

 private:
  struct Destroy {
    void operator()(stele_engine* engine) const {
      stele_engine_destroy(engine);
    }
  };
  std::unique_ptr<stele_engine, Destroy> engine_;
};

class Store {
 public:
  explicit Store(const std::string& folder) {
    stele_store* store = nullptr;
    Check(stele_store_open(folder.c_str(), &store));
    store_.reset(store);
  }

  std::vector<std::string> Sessions() const {
    std::vector<std::string> names;
    const auto add = [](void* user, const char* name) -> int {
      static_cast<std::vector<std::string>*>(user)->push_back(name);
      return 1;
    };
    Check(stele_store_sessions(get(), add, &names));
    return names;
  }

  void Remove(const std::string& name) {
    Check(stele_store_remove(get(), name.c_str()));
  }

  stele_store* get() const { return store_.get(); }

 private:
  struct Close {
    void operator()(stele_store* store) const { stele_store_close(store); }
  };
  std::unique_ptr<stele_store, Close> store_;
};

class Session {
 public:
  explicit Session(Engine& engine, uint64_t max_tokens = 0) {
    stele_session* session = nullptr;
    Check(stele_session_create(engine.get(), max_tokens, &session));
    session_.reset(session);
  }

  void Feed(const std::vector<int32_t>& tokens) {
    Check(stele_session_feed(get(), tokens.data(), tokens.size()));
  }

  uint64_t pending() const {
    uint64_t pending = 0;
    Check(stele_session_tokens(get(), nullptr, &pending));
    return pending;
  }

  std::vector<float> Logits(uint32_t vocabulary) const {
    std::vector<float> logits(vocabulary);
    Check(stele_session_logits(get(), logits.data(), logits.size()));
    return logits;
  }

  // Called by steps with the logits behind every token; an empty one stops
  // that. Must not throw.
  using OnLogitsRow =
      std::function<void(uint64_t position, const float* logits, size_t count)>;
  void OnLogits(OnLogitsRow row) {
    const auto call = [](void* user, uint64_t position, const float* logits,
                         size_t count) {
      (*static_cast<const OnLogitsRow*>(user))(position, logits, count);
    };
    auto next = std::make_unique<OnLogitsRow>(std::move(row));
    Check(stele_session_on_logits(get(), *next ? +call : nullptr, next.get()));
    on_logits_ = std::move(next);
  }

  stele_store_report Save(Store& store, const std::string& name) const {
    auto report = Options<stele_store_report>();
    Check(stele_session_save(get(), store.get(), name.c_str(), &report));
    return report;
  }
  stele_store_report Load(Store& store, const std::string& name) {
    auto report = Options<stele_store_report>();
    Check(stele_session_load(get(), store.get(), name.c_str(), &report));
    return report;
  }
  stele_store_report LoadPrefix(Store& store) {
    auto report = Options<stele_store_report>();
    Check(stele_session_load_prefix(get(), store.get(), &report));
    return report;
  }

  std::vector<int32_t> TokenIds() const {
    uint64_t fed = 0;
    Check(stele_session_tokens(get(), &fed, nullptr));
    std::vector<int32_t> tokens(fed);
    size_t count = 0;
    Check(stele_session_token_ids(get(), tokens.data(), tokens.size(), &count));
    return tokens;
  }
  uint64_t next_seed() const {
    uint64_t seed = 0;
    Check(stele_session_next_seed(get(), &seed));
    return seed;
  }

  void Truncate(uint64_t tokens) {
    Check(stele_session_truncate(get(), tokens));
  }
  void Cancel() { stele_session_cancel(get()); }
  void Resume() { stele_session_resume(get()); }

  // Returns false to end the answer. Must not throw.
  using OnToken = std::function<bool(int32_t token, std::string_view text)>;

  stele_finish_reason Generate(const OnToken& on_token,
                               const stele_generate_options& options =
                                   Options<stele_generate_options>()) {
    const auto call = [](void* user, int32_t token, const char* text,
                         size_t length) -> int {
      return (*static_cast<const OnToken*>(user))(token, {text, length});
    };
    stele_finish_reason reason = STELE_FINISH_LENGTH;
    Check(stele_session_generate(get(), &options, call,
                                 const_cast<OnToken*>(&on_token), &reason));
    return reason;
  }

  stele_session* get() const { return session_.get(); }

 private:
  struct Destroy {
    void operator()(stele_session* session) const {
      stele_session_destroy(session);
    }
  };
  // Before the session that calls it, so that it is destroyed after it.
  std::unique_ptr<OnLogitsRow> on_logits_;
  std::unique_ptr<stele_session, Destroy> session_;
};

}  // namespace api
}  // namespace stele

#endif  // STELE_STELE_HPP_
