// The syntax tree of a template. Built once by the parser, never changed after:
// one template may be rendered by many threads.
#ifndef STELE_RUNTIME_TEXT_JINJA_AST_H_
#define STELE_RUNTIME_TEXT_JINJA_AST_H_

#include <memory>
#include <string>
#include <vector>

#include "stele/runtime/text/jinja/value.h"

namespace stele::text::jinja {

struct Expr;
struct Stmt;
using ExprPtr = std::unique_ptr<Expr>;
using Block = std::vector<std::unique_ptr<Stmt>>;

enum class ExprKind {
  kConstant,     // value
  kName,         // name
  kTuple,        // children
  kList,         // children
  kDict,         // children: key, value, key, value, ...
  kConcat,       // children, joined by ~
  kConditional,  // children: test, then, else (may be null)
  kOr,           // children: left, right
  kAnd,
  kNot,  // children: operand
  kNegate,
  kPlus,
  kBinary,     // name: the operator; children: left, right
  kCompare,    // children: first, then one per operators[]
  kAttribute,  // children: object; name
  kItem,       // children: object, index
  kSlice,   // children: object, begin, end, step (each but object may be null)
  kCall,    // children: callee; arguments
  kFilter,  // children: operand (null in a filter block); name; arguments
  kTest,    // children: operand; name; arguments
};

struct Argument {
  enum class Kind { kPositional, kKeyword, kSpread, kSpreadKeywords };
  Kind kind;
  std::string name;  // of a keyword
  ExprPtr value;
};

struct Expr {
  ExprKind kind;
  int line;
  int depth = 1;  // levels of expressions below, this one included
  std::string name;
  Value value;
  std::vector<ExprPtr> children;
  std::vector<std::string> operators;
  std::vector<Argument> arguments;
};

// What an assignment assigns to.
struct Target {
  enum class Kind { kName, kTuple, kAttribute };
  Kind kind;
  int line;
  std::string name;       // the variable, or the namespace of an attribute
  std::string attribute;  // of a namespace
  std::vector<Target> parts;
};

// A macro, or the body of a call block.
struct MacroDef {
  std::string name;
  std::vector<std::string> parameters;
  std::vector<ExprPtr> defaults;  // of the last parameters
  bool uses_varargs = false;
  bool uses_kwargs = false;
  bool uses_caller = false;
  std::shared_ptr<const Block> body;
};

enum class StmtKind {
  kData,         // text
  kOutput,       // exprs
  kIf,           // exprs[i] guards blocks[i]; one more block is the else
  kFor,          // target in exprs[0] if exprs[1] (may be null); body, else
  kSet,          // target = exprs[0]
  kSetBlock,     // target = body, through the filter exprs[0] (may be null)
  kMacro,        // macro
  kCallBlock,    // exprs[0] is the call; macro is its caller()
  kFilterBlock,  // body through exprs[0]
  kWith,         // targets[i] = exprs[i]; body
  kScope,        // body (the generation tag)
  kBreak,
  kContinue,
};

struct Stmt {
  StmtKind kind;
  int line;
  Text text;
  std::vector<ExprPtr> exprs;
  std::vector<Block> blocks;
  std::vector<Target> targets;
  bool recursive = false;
  std::shared_ptr<const MacroDef> macro;
};

}  // namespace stele::text::jinja

#endif  // STELE_RUNTIME_TEXT_JINJA_AST_H_
