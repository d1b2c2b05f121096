// Interpreter: renders one syntax tree once.
//
// It walks the tree; everything it reaches is one of its own values, so there
// is no way out of the sandbox to guard. Not thread safe; one per render.
#ifndef STELE_RUNTIME_TEXT_JINJA_INTERPRETER_H_
#define STELE_RUNTIME_TEXT_JINJA_INTERPRETER_H_

#include <ctime>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "stele/runtime/text/jinja/ast.h"
#include "stele/runtime/text/jinja/callable.h"
#include "stele/runtime/text/jinja/meter.h"
#include "stele/runtime/text/jinja/value.h"

namespace stele::text::jinja {

struct Scope;

class Interpreter {
 public:
  // `context` holds the variables the template starts with, `now` answers
  // strftime_now(). Both must outlive the interpreter.
  Interpreter(const Dict& context, const std::function<std::tm()>& now,
              Meter& meter);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  Text Run(const Block& block);
  // Where it is, or was when it threw an Error.
  int line() const { return line_; }

  // For builtins.
  Meter& meter() { return meter_; }
  std::tm Now() const { return now_(); }
  Value Attribute(const Value& object, std::string_view name);
  Value Item(const Value& object, const Value& key);
  Value Call(const Value& callee, Arguments& arguments);
  Value Filter(std::string_view name, const Value& operand,
               Arguments& arguments);
  bool Test(std::string_view name, const Value& operand, Arguments& arguments);
  // The items of anything that can be iterated; drains an iterator.
  std::vector<Value> Iterate(const Value& value);
  Text Str(const Value& value) { return ToStr(value, meter_); }
  Value NewNamespace();

 private:
  using ScopePtr = std::shared_ptr<Scope>;
  enum class Flow { kNormal, kBreak, kContinue };
  class DepthGuard;
  class Capture;

  Flow ExecBlock(const Block& block, const ScopePtr& scope);
  Flow Exec(const Stmt& stmt, const ScopePtr& scope);
  Flow ExecIf(const Stmt& stmt, const ScopePtr& scope);
  Flow ExecFor(const Stmt& stmt, const ScopePtr& scope);
  Flow RunLoop(const Stmt& stmt, std::vector<Value> items,
               const ScopePtr& scope, int64_t depth);
  std::vector<Value> LoopItems(const Stmt& stmt, const Value& iterable,
                               const ScopePtr& scope);
  void ExecSetBlock(const Stmt& stmt, const ScopePtr& scope);
  void ExecCallBlock(const Stmt& stmt, const ScopePtr& scope);
  Flow ExecWith(const Stmt& stmt, const ScopePtr& scope);
  void Assign(const Target& target, Value value, Scope& assigned,
              const Scope& scope);
  Text CaptureBlock(const Block& block, const ScopePtr& scope);
  Value MakeMacro(std::shared_ptr<const MacroDef> macro, const ScopePtr& scope);
  Value CallMacro(const MacroDef& macro, const ScopePtr& closure,
                  Arguments& arguments);

  Value Eval(const Expr& expr, const ScopePtr& scope);
  std::vector<Value> EvalAll(const Expr& expr, const ScopePtr& scope);
  Value EvalDict(const Expr& expr, const ScopePtr& scope);
  Value EvalConcat(const Expr& expr, const ScopePtr& scope);
  Value EvalConditional(const Expr& expr, const ScopePtr& scope);
  Value EvalCompare(const Expr& expr, const ScopePtr& scope);
  Value EvalSlice(const Expr& expr, const ScopePtr& scope);
  Value EvalCall(const Expr& expr, const ScopePtr& scope);
  Value EvalFilter(const Expr& expr, const Value& operand,
                   const ScopePtr& scope);
  Value EvalFilterChain(const Expr& expr, const Value& innermost,
                        const ScopePtr& scope);
  void EvalArguments(const Expr& expr, const ScopePtr& scope,
                     Arguments& arguments);

  Value Lookup(std::string_view name, const Scope& scope) const;
  void Write(const Value& value);
  void WriteText(const Text& text);

  const Dict& context_;
  const std::function<std::tm()>& now_;
  Meter& meter_;
  int line_ = 1;
  Text output_;
  Text* out_ = &output_;
  // Values that may form cycles; emptied at the end.
  std::vector<std::shared_ptr<Namespace>> namespaces_;
  std::vector<ScopePtr> closures_;
};

}  // namespace stele::text::jinja

#endif  // STELE_RUNTIME_TEXT_JINJA_INTERPRETER_H_
