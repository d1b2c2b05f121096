// Execution of statements and expressions. See interpreter.h.
#include "stele/runtime/text/jinja/interpreter.h"

#include <algorithm>
#include <utility>

#include "stele/runtime/text/jinja/builtins.h"
#include "stele/runtime/text/jinja/loop.h"
#include "stele/runtime/text/jinja/operators.h"
#include "stele/runtime/text/jinja/strings.h"

namespace stele::text::jinja {

// The variables of one block; names point into the syntax tree.
struct Scope {
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<std::string_view, Value>> variables;

  const Value* Find(std::string_view name) const {
    for (const Scope* scope = this; scope; scope = scope->parent.get()) {
      for (const auto& [mine, value] : scope->variables) {
        if (mine == name) return &value;
      }
    }
    return nullptr;
  }
  void Set(std::string_view name, Value value) {
    for (auto& [mine, old] : variables) {
      if (mine == name) {
        old = std::move(value);
        return;
      }
    }
    variables.emplace_back(name, std::move(value));
  }
};

namespace {

std::shared_ptr<Scope> Nested(const std::shared_ptr<Scope>& parent) {
  auto scope = std::make_shared<Scope>();
  scope->parent = parent;
  return scope;
}

std::string ObjectName(const Value& object) {
  return object.IsNone() ? "None" : object.TypeName() + " object";
}

Value NoAttribute(const Value& object, std::string_view name) {
  return Value::Missing("'" + ObjectName(object) + "' has no attribute '" +
                        std::string(name) + "'");
}

bool IsDunder(std::string_view name) { return name.starts_with("__"); }

[[noreturn]] void FailUnsafe(const Value& object, std::string_view name) {
  Fail("access to attribute '" + std::string(name) + "' of '" +
       object.TypeName() + "' object is unsafe");
}

std::optional<int64_t> SlicePart(const Value& value) {
  if (value.IsNone()) return std::nullopt;
  if (auto integer = value.Integer()) return integer;
  if (value.IsUndefined()) Fail(value.Why());
  Fail("slice indices must be integers or None, not '" + value.TypeName() +
       "'");
}

}  // namespace

class Interpreter::DepthGuard {
 public:
  explicit DepthGuard(Meter& meter) : meter_(meter) { meter_.Enter(); }
  ~DepthGuard() { meter_.Leave(); }

 private:
  Meter& meter_;
};

// Sends what is written to a text of its own while it lives.
class Interpreter::Capture {
 public:
  explicit Capture(Interpreter& interpreter)
      : interpreter_(interpreter),
        outer_(std::exchange(interpreter.out_, &text_)) {}
  ~Capture() { interpreter_.out_ = outer_; }
  Text Take() { return std::move(text_); }

 private:
  Interpreter& interpreter_;
  Text text_;
  Text* outer_;
};

Interpreter::Interpreter(const Dict& context,
                         const std::function<std::tm()>& now, Meter& meter)
    : context_(context), now_(now), meter_(meter) {}

Interpreter::~Interpreter() {
  for (auto& ns : namespaces_) ns->attributes = Dict();
  for (auto& scope : closures_) scope->variables.clear();
}

Text Interpreter::Run(const Block& block) {
  auto scope = std::make_shared<Scope>();
  closures_.push_back(scope);
  ExecBlock(block, scope);
  return std::move(output_);
}

// ---- statements

Interpreter::Flow Interpreter::ExecBlock(const Block& block,
                                         const ScopePtr& scope) {
  for (const auto& stmt : block) {
    Flow flow = Exec(*stmt, scope);
    if (flow != Flow::kNormal) return flow;
  }
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::Exec(const Stmt& stmt, const ScopePtr& scope) {
  line_ = stmt.line;
  meter_.Step();
  DepthGuard guard(meter_);
  switch (stmt.kind) {
    case StmtKind::kData:
      WriteText(stmt.text);
      break;
    case StmtKind::kOutput:
      for (const auto& expr : stmt.exprs) Write(Eval(*expr, scope));
      break;
    case StmtKind::kIf:
      return ExecIf(stmt, scope);
    case StmtKind::kFor:
      return ExecFor(stmt, scope);
    case StmtKind::kSet:
      Assign(stmt.targets[0], Eval(*stmt.exprs[0], scope), *scope, *scope);
      break;
    case StmtKind::kSetBlock:
      ExecSetBlock(stmt, scope);
      break;
    case StmtKind::kMacro:
      scope->Set(stmt.macro->name, MakeMacro(stmt.macro, scope));
      break;
    case StmtKind::kCallBlock:
      ExecCallBlock(stmt, scope);
      break;
    case StmtKind::kFilterBlock:
      Write(EvalFilterChain(*stmt.exprs[0], CaptureBlock(stmt.blocks[0], scope),
                            scope));
      break;
    case StmtKind::kWith:
      return ExecWith(stmt, scope);
    case StmtKind::kScope:
      return ExecBlock(stmt.blocks[0], Nested(scope));
    case StmtKind::kBreak:
      return Flow::kBreak;
    case StmtKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::ExecIf(const Stmt& stmt, const ScopePtr& scope) {
  for (size_t i = 0; i < stmt.exprs.size(); ++i) {
    if (Eval(*stmt.exprs[i], scope).Truthy()) {
      return ExecBlock(stmt.blocks[i], scope);
    }
  }
  bool has_else = stmt.blocks.size() > stmt.exprs.size();
  return has_else ? ExecBlock(stmt.blocks.back(), scope) : Flow::kNormal;
}

std::vector<Value> Interpreter::LoopItems(const Stmt& stmt,
                                          const Value& iterable,
                                          const ScopePtr& scope) {
  std::vector<Value> items = Iterate(iterable);
  if (!stmt.exprs[1]) return items;
  std::vector<Value> kept;
  for (Value& item : items) {
    ScopePtr inner = Nested(scope);
    Assign(stmt.targets[0], item, *inner, *inner);
    if (Eval(*stmt.exprs[1], inner).Truthy()) kept.push_back(std::move(item));
  }
  return kept;
}

Interpreter::Flow Interpreter::ExecFor(const Stmt& stmt,
                                       const ScopePtr& scope) {
  Value iterable = Eval(*stmt.exprs[0], scope);
  return RunLoop(stmt, LoopItems(stmt, iterable, scope), scope, 0);
}

Interpreter::Flow Interpreter::RunLoop(const Stmt& stmt,
                                       std::vector<Value> items,
                                       const ScopePtr& scope, int64_t depth) {
  if (items.empty()) return ExecBlock(stmt.blocks[1], Nested(scope));
  auto loop = std::make_shared<Loop>();
  loop->items = std::move(items);
  loop->depth0 = depth;
  if (stmt.recursive) {
    loop->recurse = [this, &stmt, scope, depth](const Value& iterable) {
      Capture capture(*this);
      RunLoop(stmt, LoopItems(stmt, iterable, scope), scope, depth + 1);
      return Value(capture.Take());
    };
  }
  // A loop that outlives its for statement is empty: it cannot keep itself.
  struct Emptier {
    Loop& loop;
    ~Emptier() {
      loop.items.clear();
      loop.changed.clear();
      loop.recurse = nullptr;
    }
  } emptier{*loop};
  for (size_t i = 0; i < loop->items.size(); ++i) {
    meter_.Step();
    loop->index0 = i;
    ScopePtr inner = Nested(scope);
    inner->Set("loop", loop);
    Assign(stmt.targets[0], loop->items[i], *inner, *inner);
    if (ExecBlock(stmt.blocks[0], inner) == Flow::kBreak) break;
  }
  return Flow::kNormal;
}

Text Interpreter::CaptureBlock(const Block& block, const ScopePtr& scope) {
  Capture capture(*this);
  ExecBlock(block, Nested(scope));
  return capture.Take();
}

void Interpreter::ExecSetBlock(const Stmt& stmt, const ScopePtr& scope) {
  Value value = CaptureBlock(stmt.blocks[0], scope);
  if (stmt.exprs[0]) value = EvalFilterChain(*stmt.exprs[0], value, scope);
  Assign(stmt.targets[0], std::move(value), *scope, *scope);
}

void Interpreter::ExecCallBlock(const Stmt& stmt, const ScopePtr& scope) {
  const Expr& call = *stmt.exprs[0];
  Value callee = Eval(*call.children[0], scope);
  Arguments arguments("the called macro");
  EvalArguments(call, scope, arguments);
  arguments.named.emplace_back("caller", MakeMacro(stmt.macro, scope));
  line_ = stmt.line;
  Write(Call(callee, arguments));
}

Interpreter::Flow Interpreter::ExecWith(const Stmt& stmt,
                                        const ScopePtr& scope) {
  ScopePtr inner = Nested(scope);
  for (size_t i = 0; i < stmt.targets.size(); ++i) {
    Assign(stmt.targets[i], Eval(*stmt.exprs[i], scope), *inner, *inner);
  }
  return ExecBlock(stmt.blocks[0], inner);
}

void Interpreter::Assign(const Target& target, Value value, Scope& assigned,
                         const Scope& scope) {
  line_ = target.line;
  if (target.kind == Target::Kind::kName) {
    assigned.Set(target.name, std::move(value));
    return;
  }
  if (target.kind == Target::Kind::kAttribute) {
    Value object = Lookup(target.name, scope);
    if (!object.AsNamespace()) {
      Fail("cannot assign the attribute '" + target.attribute + "' of '" +
           target.name + "', which is no namespace");
    }
    if (target.attribute.starts_with("_")) {
      FailUnsafe(object, target.attribute);
    }
    object.AsNamespace()->attributes.Set(Value::String(target.attribute),
                                         std::move(value), meter_);
    return;
  }
  std::vector<Value> items = Iterate(value);
  if (items.size() != target.parts.size()) {
    Fail("cannot unpack " + std::to_string(items.size()) + " values into " +
         std::to_string(target.parts.size()) + " names");
  }
  for (size_t i = 0; i < items.size(); ++i) {
    Assign(target.parts[i], std::move(items[i]), assigned, scope);
  }
}

void Interpreter::Write(const Value& value) {
  if (auto* text = value.AsText()) return WriteText(*text);
  WriteText(Str(value));
}

void Interpreter::WriteText(const Text& text) {
  if (out_ == &output_) {
    meter_.Output(text.size());
  } else {
    meter_.Memory(text.size());
  }
  out_->Append(text);
}

// ---- macros

Value Interpreter::MakeMacro(std::shared_ptr<const MacroDef> macro,
                             const ScopePtr& scope) {
  meter_.Memory(sizeof(Callable) + sizeof(Scope));
  if (closures_.back() != scope) closures_.push_back(scope);
  std::string name = macro->name;
  return MakeCallable(std::move(name),
                      [macro, scope](Interpreter& self, Arguments& arguments) {
                        return self.CallMacro(*macro, scope, arguments);
                      });
}

Value Interpreter::CallMacro(const MacroDef& macro, const ScopePtr& closure,
                             Arguments& arguments) {
  ScopePtr scope = Nested(closure);
  size_t count = macro.parameters.size();
  size_t first_default = count - macro.defaults.size();
  for (size_t i = 0; i < count; ++i) {
    const std::string& name = macro.parameters[i];
    if (const Value* value = arguments.Optional(name)) {
      scope->Set(name, *value);
    } else if (i >= first_default) {
      scope->Set(name, Eval(*macro.defaults[i - first_default], scope));
    } else {
      scope->Set(name,
                 Value::Missing("parameter '" + name + "' was not provided"));
    }
  }
  if (macro.uses_caller) {
    const Value* caller = arguments.OptionalNamed("caller");
    scope->Set("caller",
               caller ? *caller : Value::Missing("no caller defined"));
  }
  if (macro.uses_kwargs) {
    auto kwargs = std::make_shared<Dict>();
    for (auto& [name, value] : arguments.TakeNamed()) {
      kwargs->Set(Value::String(name), value, meter_);
    }
    scope->Set("kwargs", kwargs);
  }
  if (macro.uses_varargs) {
    scope->Set("varargs", MakeTuple(arguments.TakePositional(), meter_));
  }
  arguments.Done();
  Capture capture(*this);
  ExecBlock(*macro.body, scope);
  return capture.Take();
}

// ---- expressions

Value Interpreter::Eval(const Expr& expr, const ScopePtr& scope) {
  line_ = expr.line;
  meter_.Step();
  DepthGuard guard(meter_);
  auto child = [&](size_t i) { return Eval(*expr.children[i], scope); };
  switch (expr.kind) {
    case ExprKind::kConstant:
      return expr.value;
    case ExprKind::kName:
      return Lookup(expr.name, *scope);
    case ExprKind::kTuple:
      return MakeTuple(EvalAll(expr, scope), meter_);
    case ExprKind::kList:
      return MakeList(EvalAll(expr, scope), meter_);
    case ExprKind::kDict:
      return EvalDict(expr, scope);
    case ExprKind::kConcat:
      return EvalConcat(expr, scope);
    case ExprKind::kConditional:
      return EvalConditional(expr, scope);
    case ExprKind::kOr: {
      Value left = child(0);
      return left.Truthy() ? left : child(1);
    }
    case ExprKind::kAnd: {
      Value left = child(0);
      return left.Truthy() ? child(1) : left;
    }
    case ExprKind::kNot:
      return !child(0).Truthy();
    case ExprKind::kNegate:
      return Negate(child(0));
    case ExprKind::kPlus:
      return Plus(child(0));
    case ExprKind::kBinary: {
      Value left = child(0), right = child(1);
      line_ = expr.line;
      return Arithmetic(expr.name, left, right, meter_);
    }
    case ExprKind::kCompare:
      return EvalCompare(expr, scope);
    case ExprKind::kAttribute: {
      Value object = child(0);
      line_ = expr.line;
      return Attribute(object, expr.name);
    }
    case ExprKind::kItem: {
      Value object = child(0), key = child(1);
      line_ = expr.line;
      return Item(object, key);
    }
    case ExprKind::kSlice:
      return EvalSlice(expr, scope);
    case ExprKind::kCall:
      return EvalCall(expr, scope);
    case ExprKind::kFilter:
      return EvalFilter(expr, child(0), scope);
    case ExprKind::kTest: {
      Value operand = child(0);
      Arguments arguments("test '" + expr.name + "'");
      EvalArguments(expr, scope, arguments);
      line_ = expr.line;
      return Test(expr.name, operand, arguments);
    }
  }
  return {};
}

Value Interpreter::Lookup(std::string_view name, const Scope& scope) const {
  if (const Value* value = scope.Find(name)) return *value;
  if (const Value* value = context_.Find(name)) return *value;
  Value global = FindGlobal(name);
  if (!global.IsUndefined()) return global;
  return Value::Missing("'" + std::string(name) + "' is undefined");
}

std::vector<Value> Interpreter::EvalAll(const Expr& expr,
                                        const ScopePtr& scope) {
  std::vector<Value> values;
  for (const auto& child : expr.children) values.push_back(Eval(*child, scope));
  return values;
}

Value Interpreter::EvalDict(const Expr& expr, const ScopePtr& scope) {
  auto dict = std::make_shared<Dict>();
  for (size_t i = 0; i < expr.children.size(); i += 2) {
    Value key = Eval(*expr.children[i], scope);
    dict->Set(std::move(key), Eval(*expr.children[i + 1], scope), meter_);
  }
  return dict;
}

Value Interpreter::EvalConcat(const Expr& expr, const ScopePtr& scope) {
  Text text;
  for (const auto& child : expr.children) {
    text.Append(Str(Eval(*child, scope)));
  }
  return text;
}

Value Interpreter::EvalConditional(const Expr& expr, const ScopePtr& scope) {
  if (Eval(*expr.children[0], scope).Truthy()) {
    return Eval(*expr.children[1], scope);
  }
  if (expr.children[2]) return Eval(*expr.children[2], scope);
  return Value::Missing("the inline if of line " + std::to_string(expr.line) +
                        " is false and has no else");
}

Value Interpreter::EvalCompare(const Expr& expr, const ScopePtr& scope) {
  Value left = Eval(*expr.children[0], scope);
  for (size_t i = 0; i < expr.operators.size(); ++i) {
    Value right = Eval(*expr.children[i + 1], scope);
    line_ = expr.line;
    if (!Compare(expr.operators[i], left, right, meter_)) return false;
    left = std::move(right);
  }
  return true;
}

Value Interpreter::EvalSlice(const Expr& expr, const ScopePtr& scope) {
  Value object = Eval(*expr.children[0], scope);
  std::optional<int64_t> parts[3];
  for (size_t i = 0; i < 3; ++i) {
    if (expr.children[i + 1]) {
      parts[i] = SlicePart(Eval(*expr.children[i + 1], scope));
    }
  }
  line_ = expr.line;
  int64_t step = parts[2].value_or(1);
  if (object.IsUndefined()) Fail(object.Why());
  if (auto* text = object.AsText()) {
    return SliceText(*text, parts[0], parts[1], step, meter_);
  }
  auto* sequence = object.AsSequence();
  if (!sequence || !sequence->Subscriptable()) {
    Fail("'" + object.TypeName() + "' object cannot be sliced");
  }
  SliceRange range = ResolveSlice(static_cast<int64_t>(sequence->items.size()),
                                  parts[0], parts[1], step);
  std::vector<Value> items;
  for (int64_t i = 0, at = range.begin; i < range.count; ++i, at += step) {
    items.push_back(sequence->items[at]);
  }
  meter_.Step(items.size());
  return MakeSequence(sequence->kind, std::move(items), meter_);
}

void Interpreter::EvalArguments(const Expr& expr, const ScopePtr& scope,
                                Arguments& arguments) {
  for (const Argument& argument : expr.arguments) {
    Value value = Eval(*argument.value, scope);
    switch (argument.kind) {
      case Argument::Kind::kPositional:
        arguments.positional.push_back(std::move(value));
        break;
      case Argument::Kind::kKeyword:
        arguments.named.emplace_back(argument.name, std::move(value));
        break;
      case Argument::Kind::kSpread:
        for (Value& item : Iterate(value)) {
          arguments.positional.push_back(std::move(item));
        }
        break;
      case Argument::Kind::kSpreadKeywords:
        if (!value.AsDict()) Fail("the argument after ** must be a dict");
        for (const auto& [key, item] : value.AsDict()->entries()) {
          if (!key.AsText()) Fail("keywords must be strings");
          arguments.named.emplace_back(key.AsText()->bytes, item);
        }
        break;
    }
  }
}

Value Interpreter::EvalCall(const Expr& expr, const ScopePtr& scope) {
  Value callee = Eval(*expr.children[0], scope);
  auto* callable = callee.AsCallable();
  Arguments arguments(callable ? callable->name + "()" : "the call");
  EvalArguments(expr, scope, arguments);
  line_ = expr.line;
  return Call(callee, arguments);
}

Value Interpreter::Call(const Value& callee, Arguments& arguments) {
  meter_.Step();
  DepthGuard guard(meter_);
  if (auto* callable = callee.AsCallable()) {
    return callable->call(*this, arguments);
  }
  if (auto* loop = callee.AsLoop()) {
    if (!loop->recurse) Fail("the loop is not recursive and cannot be called");
    Value iterable = arguments.Required("iterable");
    arguments.Done();
    auto recurse = loop->recurse;  // lives through the call
    return recurse(iterable);
  }
  if (callee.IsUndefined()) Fail(callee.Why());
  Fail("'" + callee.TypeName() + "' object is not callable");
}

Value Interpreter::EvalFilter(const Expr& expr, const Value& operand,
                              const ScopePtr& scope) {
  Arguments arguments("filter '" + expr.name + "'");
  EvalArguments(expr, scope, arguments);
  line_ = expr.line;
  return Filter(expr.name, operand, arguments);
}

// A chain of filters whose innermost one has no operand in the source.
Value Interpreter::EvalFilterChain(const Expr& expr, const Value& innermost,
                                   const ScopePtr& scope) {
  if (!expr.children[0]) return EvalFilter(expr, innermost, scope);
  return EvalFilter(expr, EvalFilterChain(*expr.children[0], innermost, scope),
                    scope);
}

Value Interpreter::Filter(std::string_view name, const Value& operand,
                          Arguments& arguments) {
  meter_.Step();
  FilterFunction filter = FindFilter(name);
  if (!filter) Fail("there is no filter '" + std::string(name) + "'");
  return filter(*this, operand, arguments);
}

bool Interpreter::Test(std::string_view name, const Value& operand,
                       Arguments& arguments) {
  meter_.Step();
  TestFunction test = FindTest(name);
  if (!test) Fail("there is no test '" + std::string(name) + "'");
  bool result = test(*this, operand, arguments);
  arguments.Done();
  return result;
}

Value Interpreter::Attribute(const Value& object, std::string_view name) {
  if (object.IsUndefined()) Fail(object.Why());
  if (IsDunder(name)) FailUnsafe(object, name);
  if (object.AsLoop()) return LoopAttribute(object, name);
  if (auto* ns = object.AsNamespace()) {
    const Value* value = ns->attributes.Find(name);
    return value ? *value : NoAttribute(object, name);
  }
  Value method = FindMethod(object, name);
  if (!method.IsUndefined() || method.HasReason()) return method;
  if (auto* dict = object.AsDict()) {
    if (const Value* value = dict->Find(name)) return *value;
  }
  return NoAttribute(object, name);
}

Value Interpreter::Item(const Value& object, const Value& key) {
  if (object.IsUndefined()) Fail(object.Why());
  auto* dict = object.AsDict();
  if (dict && Hashable(key)) {
    if (const Value* value = dict->Find(key, meter_)) return *value;
  }
  if (auto* name = key.AsText()) return Attribute(object, name->bytes);
  auto index = key.Integer();
  auto* sequence = object.AsSequence();
  if (index && sequence && sequence->Subscriptable()) {
    auto length = static_cast<int64_t>(sequence->items.size());
    int64_t at = *index < 0 ? *index + length : *index;
    if (at >= 0 && at < length) return sequence->items[at];
  }
  if (auto* text = object.AsText(); index && text) {
    meter_.Step(text->size() / 256);
    if (auto character = CharAt(*text, *index)) return *std::move(character);
  }
  return Value::Missing(ObjectName(object) + " has no element " +
                        ToRepr(key, meter_).bytes);
}

std::vector<Value> Interpreter::Iterate(const Value& value) {
  std::vector<Value> items;
  if (auto* text = value.AsText()) {
    for (Text& character : Characters(*text, meter_)) {
      items.emplace_back(std::move(character));
    }
  } else if (auto* sequence = value.AsSequence()) {
    if (!sequence->drained) items = sequence->items;
    if (!sequence->Sized()) sequence->drained = true;
  } else if (auto* dict = value.AsDict()) {
    for (const auto& [key, item] : dict->entries()) items.push_back(key);
  } else if (!value.IsUndefined()) {
    Fail("'" + value.TypeName() + "' object is not iterable");
  }
  meter_.Step(items.size());
  meter_.Memory(items.size() * sizeof(Value));
  return items;
}

Value Interpreter::NewNamespace() {
  meter_.Memory(sizeof(Namespace));
  namespaces_.push_back(std::make_shared<Namespace>());
  return namespaces_.back();
}

}  // namespace stele::text::jinja
