// Recursive descent over the tokens, with Jinja's precedence. See parser.h.
#include "stele/runtime/text/jinja/parser.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <initializer_list>
#include <set>

#include "stele/runtime/text/jinja/builtins.h"
#include "stele/runtime/text/jinja/lexer.h"

namespace stele::text::jinja {
namespace {

using Names = std::initializer_list<std::string_view>;

class Parser {
 public:
  explicit Parser(std::string_view source) : tokens_(Tokenize(source)) {}

  ParsedTemplate Run() {
    ParsedTemplate parsed;
    parsed.block = ParseBlock({});
    parsed.unknown = std::move(unknown_);
    parsed.unknown_line = unknown_line_;
    return parsed;
  }

 private:
  // Counts the recursion of the parser itself.
  class Guard {
   public:
    explicit Guard(Parser& parser) : parser_(parser) {
      if (++parser_.depth_ > kMaxTemplateDepth) parser_.FailDepth();
    }
    ~Guard() { --parser_.depth_; }

   private:
    Parser& parser_;
  };

  const Token& Current() const { return tokens_[at_]; }
  const Token& Ahead() const {
    return tokens_[std::min(at_ + 1, tokens_.size() - 1)];
  }
  Token Next() {
    Token token = Current();
    if (token.kind != TokenKind::kEnd) ++at_;
    return token;
  }
  bool SkipOperator(std::string_view text) {
    if (!Current().IsOperator(text)) return false;
    ++at_;
    return true;
  }
  bool SkipName(std::string_view text) {
    if (!Current().IsName(text)) return false;
    ++at_;
    return true;
  }

  [[noreturn]] void FailAt(int line, std::string message) const {
    throw SyntaxError{std::move(message), line};
  }
  [[noreturn]] void FailDepth() const {
    FailAt(Current().line, "nests deeper than " +
                               std::to_string(kMaxTemplateDepth) + " levels");
  }
  static std::string Describe(const Token& token);
  [[noreturn]] void FailExpected(std::string_view wanted) const {
    FailAt(Current().line, "expected '" + std::string(wanted) + "', got " +
                               Describe(Current()));
  }
  void ExpectOperator(std::string_view text) {
    if (!SkipOperator(text)) FailExpected(text);
  }
  void ExpectName(std::string_view text) {
    if (!SkipName(text)) FailExpected(text);
  }
  std::string ExpectIdentifier() {
    if (Current().kind != TokenKind::kName) FailExpected("name");
    return Next().text;
  }
  void ExpectBlockEnd() {
    if (Current().kind != TokenKind::kBlockEnd) FailExpected("%}");
    ++at_;
  }

  void NoteUnknown(std::string_view what, const Expr& expr) {
    if (!unknown_.empty()) return;
    unknown_ = "there is no " + std::string(what) + " '" + expr.name + "'";
    unknown_line_ = expr.line;
  }

  ExprPtr Make(ExprKind kind, int line) const {
    auto expr = std::make_unique<Expr>();
    expr->kind = kind;
    expr->line = line;
    return expr;
  }
  // Adds a child and keeps the depth, which bounds the evaluator's recursion.
  void Add(Expr& parent, ExprPtr child) const {
    if (child) Deepen(parent, *child);
    parent.children.push_back(std::move(child));
  }
  void Deepen(Expr& parent, const Expr& child) const {
    parent.depth = std::max(parent.depth, child.depth + 1);
    if (parent.depth > kMaxTemplateDepth) FailDepth();
  }

  // Statements.
  Block ParseBlock(Names end_tags);
  Block ParseBody(Names end_tags);
  std::unique_ptr<Stmt> MakeStmt(StmtKind kind) const;
  std::unique_ptr<Stmt> ParseStatement();
  std::unique_ptr<Stmt> ParseOutput();
  std::unique_ptr<Stmt> ParsePrint();
  std::unique_ptr<Stmt> ParseIf();
  std::unique_ptr<Stmt> ParseFor();
  std::unique_ptr<Stmt> ParseLoopControl(StmtKind kind);
  std::unique_ptr<Stmt> ParseSet();
  std::unique_ptr<Stmt> ParseMacro();
  std::unique_ptr<Stmt> ParseCallBlock();
  std::unique_ptr<Stmt> ParseFilterBlock();
  std::unique_ptr<Stmt> ParseWith();
  std::unique_ptr<Stmt> ParseGeneration();
  void ParseSignature(MacroDef& macro);
  void ParseMacroBody(MacroDef& macro, std::string_view end_tag);
  Target ParseTarget(bool allow_attribute);
  Target ParseTargetItem(bool allow_attribute);

  // Expressions, loosest binding first.
  ExprPtr ParseTuple(bool with_conditional, Names ends = {},
                     bool in_parentheses = false);
  bool AtTupleEnd(Names ends) const;
  ExprPtr ParseExpression(bool with_conditional = true);
  ExprPtr ParseConditional();
  ExprPtr ParseOr();
  ExprPtr ParseAnd();
  ExprPtr ParseNot();
  ExprPtr ParseCompare();
  bool TakeComparison(std::string& op);
  ExprPtr ParseSum();
  ExprPtr ParseConcat();
  ExprPtr ParseProduct();
  ExprPtr ParsePower();
  ExprPtr ParseUnary(bool with_filters = true);
  ExprPtr ParsePrimary();
  ExprPtr ParseNameOrConstant();
  ExprPtr ParseString();
  ExprPtr ParseNumber();
  ExprPtr ParseList();
  ExprPtr ParseDict();
  ExprPtr ParsePostfix(ExprPtr expr);
  ExprPtr ParseAttribute(ExprPtr object);
  ExprPtr ParseSubscript(ExprPtr object);
  ExprPtr ParseFilters(ExprPtr expr);
  ExprPtr ParseFilter(ExprPtr operand);
  ExprPtr ParseTest(ExprPtr operand);
  ExprPtr ParseCall(ExprPtr callee);
  void ParseArguments(Expr& call);
  ExprPtr MakeBinary(std::string op, ExprPtr left, ExprPtr right) const;

  std::vector<Token> tokens_;
  size_t at_ = 0;
  std::string unknown_;  // see ParsedTemplate
  int unknown_line_ = 0;
  int depth_ = 0;
  int loops_ = 0;  // for statements around this point, within one macro
  std::vector<MacroDef*> macros_;  // macros around this point
};

std::string Parser::Describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kEnd:
      return "the end of the template";
    case TokenKind::kBlockEnd:
      return "'%}'";
    case TokenKind::kVariableEnd:
      return "'}}'";
    case TokenKind::kString:
      return "a string";
    default:
      return "'" + token.text + "'";
  }
}

// ---- statements

std::unique_ptr<Stmt> Parser::MakeStmt(StmtKind kind) const {
  auto stmt = std::make_unique<Stmt>();
  stmt->kind = kind;
  stmt->line = Current().line;
  return stmt;
}

// Statements up to a tag named in `end_tags`, whose name becomes the current
// token; up to the end of the template if there are none.
Block Parser::ParseBlock(Names end_tags) {
  Guard guard(*this);
  Block block;
  while (Current().kind != TokenKind::kEnd) {
    if (Current().kind == TokenKind::kData) {
      auto stmt = MakeStmt(StmtKind::kData);
      stmt->text = Text(Next().text);
      block.push_back(std::move(stmt));
    } else if (Current().kind == TokenKind::kVariableBegin) {
      ++at_;
      block.push_back(ParseOutput());
    } else {
      ++at_;  // a block begins
      if (std::any_of(end_tags.begin(), end_tags.end(),
                      [&](auto tag) { return Current().IsName(tag); })) {
        return block;
      }
      block.push_back(ParseStatement());
      ExpectBlockEnd();
    }
  }
  if (end_tags.size()) {
    FailAt(Current().line, "the template ends before '" +
                               std::string(*(end_tags.end() - 1)) + "'");
  }
  return block;
}

// The rest of an opening tag, then the block it opens.
Block Parser::ParseBody(Names end_tags) {
  SkipOperator(":");
  ExpectBlockEnd();
  return ParseBlock(end_tags);
}

std::unique_ptr<Stmt> Parser::ParseStatement() {
  if (Current().kind != TokenKind::kName) FailExpected("tag name");
  const std::string& tag = Current().text;
  if (tag == "if") return ParseIf();
  if (tag == "for") return ParseFor();
  if (tag == "set") return ParseSet();
  if (tag == "macro") return ParseMacro();
  if (tag == "call") return ParseCallBlock();
  if (tag == "filter") return ParseFilterBlock();
  if (tag == "with") return ParseWith();
  if (tag == "print") return ParsePrint();
  if (tag == "generation") return ParseGeneration();
  if (tag == "break") return ParseLoopControl(StmtKind::kBreak);
  if (tag == "continue") return ParseLoopControl(StmtKind::kContinue);
  FailAt(Current().line, "the tag '" + tag + "' is not known here");
}

std::unique_ptr<Stmt> Parser::ParseOutput() {
  auto stmt = MakeStmt(StmtKind::kOutput);
  stmt->exprs.push_back(ParseTuple(true));
  if (Current().kind != TokenKind::kVariableEnd) FailExpected("}}");
  ++at_;
  return stmt;
}

std::unique_ptr<Stmt> Parser::ParsePrint() {
  auto stmt = MakeStmt(StmtKind::kOutput);
  ++at_;
  while (Current().kind != TokenKind::kBlockEnd) {
    if (!stmt->exprs.empty()) ExpectOperator(",");
    stmt->exprs.push_back(ParseExpression());
  }
  return stmt;
}

std::unique_ptr<Stmt> Parser::ParseIf() {
  auto stmt = MakeStmt(StmtKind::kIf);
  ++at_;
  for (;;) {
    stmt->exprs.push_back(ParseTuple(false));
    stmt->blocks.push_back(ParseBody({"elif", "else", "endif"}));
    if (!SkipName("elif")) break;
  }
  if (SkipName("else")) stmt->blocks.push_back(ParseBody({"endif"}));
  ExpectName("endif");
  return stmt;
}

std::unique_ptr<Stmt> Parser::ParseFor() {
  auto stmt = MakeStmt(StmtKind::kFor);
  ++at_;
  stmt->targets.push_back(ParseTarget(false));
  ExpectName("in");
  stmt->exprs.push_back(ParseTuple(false, {"recursive"}));
  stmt->exprs.push_back(SkipName("if") ? ParseExpression() : nullptr);
  stmt->recursive = SkipName("recursive");
  ++loops_;
  stmt->blocks.push_back(ParseBody({"endfor", "else"}));
  --loops_;
  stmt->blocks.push_back(SkipName("else") ? ParseBody({"endfor"}) : Block());
  ExpectName("endfor");
  return stmt;
}

std::unique_ptr<Stmt> Parser::ParseLoopControl(StmtKind kind) {
  auto stmt = MakeStmt(kind);
  std::string tag = Next().text;
  if (!loops_) FailAt(stmt->line, "'" + tag + "' outside of a loop");
  return stmt;
}

std::unique_ptr<Stmt> Parser::ParseSet() {
  auto stmt = MakeStmt(StmtKind::kSet);
  ++at_;
  stmt->targets.push_back(ParseTarget(true));
  if (SkipOperator("=")) {
    stmt->exprs.push_back(ParseTuple(true));
    return stmt;
  }
  stmt->kind = StmtKind::kSetBlock;
  ExprPtr filter;
  while (SkipOperator("|")) filter = ParseFilter(std::move(filter));
  stmt->exprs.push_back(std::move(filter));
  stmt->blocks.push_back(ParseBody({"endset"}));
  ExpectName("endset");
  return stmt;
}

void Parser::ParseSignature(MacroDef& macro) {
  ExpectOperator("(");
  while (!Current().IsOperator(")")) {
    if (!macro.parameters.empty()) ExpectOperator(",");
    macro.parameters.push_back(ExpectIdentifier());
    if (SkipOperator("=")) {
      macro.defaults.push_back(ParseExpression());
    } else if (!macro.defaults.empty()) {
      FailAt(Current().line, "the parameter '" + macro.parameters.back() +
                                 "' needs a default, as the one before has");
    }
  }
  ExpectOperator(")");
}

void Parser::ParseMacroBody(MacroDef& macro, std::string_view end_tag) {
  int loops = std::exchange(loops_, 0);
  macros_.push_back(&macro);
  macro.body = std::make_shared<const Block>(ParseBody({end_tag}));
  macros_.pop_back();
  loops_ = loops;
  ExpectName(end_tag);
}

std::unique_ptr<Stmt> Parser::ParseMacro() {
  auto stmt = MakeStmt(StmtKind::kMacro);
  auto macro = std::make_shared<MacroDef>();
  ++at_;
  macro->name = ExpectIdentifier();
  ParseSignature(*macro);
  ParseMacroBody(*macro, "endmacro");
  stmt->macro = std::move(macro);
  return stmt;
}

std::unique_ptr<Stmt> Parser::ParseCallBlock() {
  auto stmt = MakeStmt(StmtKind::kCallBlock);
  auto macro = std::make_shared<MacroDef>();
  ++at_;
  macro->name = "caller";
  if (Current().IsOperator("(")) ParseSignature(*macro);
  stmt->exprs.push_back(ParseExpression());
  if (stmt->exprs[0]->kind != ExprKind::kCall) {
    FailAt(stmt->line, "the call tag needs a call");
  }
  ParseMacroBody(*macro, "endcall");
  stmt->macro = std::move(macro);
  return stmt;
}

std::unique_ptr<Stmt> Parser::ParseFilterBlock() {
  auto stmt = MakeStmt(StmtKind::kFilterBlock);
  ++at_;
  ExprPtr filter = ParseFilter(nullptr);
  while (SkipOperator("|")) filter = ParseFilter(std::move(filter));
  stmt->exprs.push_back(std::move(filter));
  stmt->blocks.push_back(ParseBody({"endfilter"}));
  ExpectName("endfilter");
  return stmt;
}

std::unique_ptr<Stmt> Parser::ParseWith() {
  auto stmt = MakeStmt(StmtKind::kWith);
  ++at_;
  while (Current().kind != TokenKind::kBlockEnd) {
    if (!stmt->targets.empty()) ExpectOperator(",");
    stmt->targets.push_back(ParseTargetItem(false));
    ExpectOperator("=");
    stmt->exprs.push_back(ParseExpression());
  }
  stmt->blocks.push_back(ParseBody({"endwith"}));
  ExpectName("endwith");
  return stmt;
}

// transformers' {% generation %} marks the assistant's tokens for training; for
// rendering it is only a scope.
std::unique_ptr<Stmt> Parser::ParseGeneration() {
  auto stmt = MakeStmt(StmtKind::kScope);
  ++at_;
  int loops = std::exchange(loops_, 0);
  stmt->blocks.push_back(ParseBody({"endgeneration"}));
  loops_ = loops;
  ExpectName("endgeneration");
  return stmt;
}

Target Parser::ParseTarget(bool allow_attribute) {
  Guard guard(*this);
  Target first = ParseTargetItem(allow_attribute);
  if (!Current().IsOperator(",")) return first;
  Target tuple{Target::Kind::kTuple, first.line, "", "", {}};
  tuple.parts.push_back(std::move(first));
  while (SkipOperator(",")) {
    if (Current().kind != TokenKind::kName && !Current().IsOperator("(")) break;
    if (Current().IsName("in")) break;
    tuple.parts.push_back(ParseTargetItem(allow_attribute));
  }
  return tuple;
}

Target Parser::ParseTargetItem(bool allow_attribute) {
  int line = Current().line;
  if (SkipOperator("(")) {
    Target inner = ParseTarget(allow_attribute);
    ExpectOperator(")");
    return inner;
  }
  static const std::set<std::string_view> kReserved = {"true", "false", "none",
                                                       "True", "False", "None"};
  std::string name = ExpectIdentifier();
  if (kReserved.count(name)) FailAt(line, "cannot assign to '" + name + "'");
  if (allow_attribute && SkipOperator(".")) {
    return {Target::Kind::kAttribute, line, name, ExpectIdentifier(), {}};
  }
  return {Target::Kind::kName, line, name, "", {}};
}

// ---- expressions

bool Parser::AtTupleEnd(Names ends) const {
  const Token& token = Current();
  return token.kind == TokenKind::kVariableEnd ||
         token.kind == TokenKind::kBlockEnd || token.IsOperator(")") ||
         std::any_of(ends.begin(), ends.end(),
                     [&](auto name) { return token.IsName(name); });
}

// One expression, or several between commas.
ExprPtr Parser::ParseTuple(bool with_conditional, Names ends,
                           bool in_parentheses) {
  ExprPtr tuple = Make(ExprKind::kTuple, Current().line);
  bool has_comma = false;
  while (!AtTupleEnd(ends)) {
    Add(*tuple, ParseExpression(with_conditional));
    if (!SkipOperator(",")) break;
    has_comma = true;
  }
  if (has_comma || (tuple->children.empty() && in_parentheses)) return tuple;
  if (tuple->children.empty()) FailExpected("expression");
  return std::move(tuple->children[0]);
}

ExprPtr Parser::ParseExpression(bool with_conditional) {
  Guard guard(*this);
  return with_conditional ? ParseConditional() : ParseOr();
}

ExprPtr Parser::ParseConditional() {
  ExprPtr expr = ParseOr();
  while (Current().IsName("if")) {
    ExprPtr conditional = Make(ExprKind::kConditional, Next().line);
    Add(*conditional, ParseOr());
    Add(*conditional, std::move(expr));
    Add(*conditional, SkipName("else") ? ParseExpression() : nullptr);
    expr = std::move(conditional);
  }
  return expr;
}

ExprPtr Parser::ParseOr() {
  ExprPtr left = ParseAnd();
  while (Current().IsName("or")) {
    ExprPtr expr = Make(ExprKind::kOr, Next().line);
    Add(*expr, std::move(left));
    Add(*expr, ParseAnd());
    left = std::move(expr);
  }
  return left;
}

ExprPtr Parser::ParseAnd() {
  ExprPtr left = ParseNot();
  while (Current().IsName("and")) {
    ExprPtr expr = Make(ExprKind::kAnd, Next().line);
    Add(*expr, std::move(left));
    Add(*expr, ParseNot());
    left = std::move(expr);
  }
  return left;
}

ExprPtr Parser::ParseNot() {
  Guard guard(*this);
  if (!Current().IsName("not")) return ParseCompare();
  ExprPtr expr = Make(ExprKind::kNot, Next().line);
  Add(*expr, ParseNot());
  return expr;
}

bool Parser::TakeComparison(std::string& op) {
  static const std::set<std::string_view> kComparisons = {"==", "!=", "<",
                                                          "<=", ">",  ">="};
  if (Current().kind == TokenKind::kOperator &&
      kComparisons.count(Current().text)) {
    op = Next().text;
    return true;
  }
  if (SkipName("in")) {
    op = "in";
    return true;
  }
  if (Current().IsName("not") && Ahead().IsName("in")) {
    at_ += 2;
    op = "not in";
    return true;
  }
  return false;
}

ExprPtr Parser::ParseCompare() {
  int line = Current().line;
  ExprPtr first = ParseSum();
  std::string op;
  if (!TakeComparison(op)) return first;
  ExprPtr expr = Make(ExprKind::kCompare, line);
  Add(*expr, std::move(first));
  do {
    expr->operators.push_back(op);
    Add(*expr, ParseSum());
  } while (TakeComparison(op));
  return expr;
}

ExprPtr Parser::MakeBinary(std::string op, ExprPtr left, ExprPtr right) const {
  ExprPtr expr = Make(ExprKind::kBinary, left->line);
  expr->name = std::move(op);
  Add(*expr, std::move(left));
  Add(*expr, std::move(right));
  return expr;
}

ExprPtr Parser::ParseSum() {
  ExprPtr left = ParseConcat();
  while (Current().IsOperator("+") || Current().IsOperator("-")) {
    std::string op = Next().text;
    left = MakeBinary(std::move(op), std::move(left), ParseConcat());
  }
  return left;
}

ExprPtr Parser::ParseConcat() {
  ExprPtr first = ParseProduct();
  if (!Current().IsOperator("~")) return first;
  ExprPtr expr = Make(ExprKind::kConcat, Current().line);
  Add(*expr, std::move(first));
  while (SkipOperator("~")) Add(*expr, ParseProduct());
  return expr;
}

ExprPtr Parser::ParseProduct() {
  ExprPtr left = ParsePower();
  while (Current().IsOperator("*") || Current().IsOperator("/") ||
         Current().IsOperator("//") || Current().IsOperator("%")) {
    std::string op = Next().text;
    left = MakeBinary(std::move(op), std::move(left), ParsePower());
  }
  return left;
}

// Jinja's ** binds to the left.
ExprPtr Parser::ParsePower() {
  ExprPtr left = ParseUnary();
  while (SkipOperator("**")) {
    left = MakeBinary("**", std::move(left), ParseUnary());
  }
  return left;
}

ExprPtr Parser::ParseUnary(bool with_filters) {
  Guard guard(*this);
  ExprPtr expr;
  if (Current().IsOperator("-") || Current().IsOperator("+")) {
    bool negate = Current().text == "-";
    expr = Make(negate ? ExprKind::kNegate : ExprKind::kPlus, Next().line);
    Add(*expr, ParseUnary(false));
  } else {
    expr = ParsePrimary();
  }
  expr = ParsePostfix(std::move(expr));
  return with_filters ? ParseFilters(std::move(expr)) : std::move(expr);
}

ExprPtr Parser::ParseNameOrConstant() {
  Token token = Next();
  ExprPtr expr = Make(ExprKind::kConstant, token.line);
  if (token.text == "true" || token.text == "True") {
    expr->value = true;
  } else if (token.text == "false" || token.text == "False") {
    expr->value = false;
  } else if (token.text == "none" || token.text == "None") {
    expr->value = None{};
  } else {
    expr->kind = ExprKind::kName;
    for (MacroDef* macro : macros_) {
      macro->uses_varargs |= token.text == "varargs";
      macro->uses_kwargs |= token.text == "kwargs";
      macro->uses_caller |= token.text == "caller";
    }
    expr->name = std::move(token.text);
  }
  return expr;
}

ExprPtr Parser::ParseString() {
  ExprPtr expr = Make(ExprKind::kConstant, Current().line);
  std::string text;
  while (Current().kind == TokenKind::kString) text += Next().text;
  expr->value = Value::String(std::move(text));
  return expr;
}

ExprPtr Parser::ParseNumber() {
  Token token = Next();
  ExprPtr expr = Make(ExprKind::kConstant, token.line);
  if (token.kind == TokenKind::kFloat) {
    expr->value = std::strtod(token.text.c_str(), nullptr);
    return expr;
  }
  const char* begin = token.text.data();
  const char* end = begin + token.text.size();
  int base = 10;
  if (token.text.size() > 2 && token.text[0] == '0') {
    char marker = static_cast<char>(std::tolower(token.text[1]));
    base = marker == 'x' ? 16 : marker == 'o' ? 8 : marker == 'b' ? 2 : 10;
    if (base != 10) begin += 2;
  }
  int64_t number = 0;
  auto [stop, error] = std::from_chars(begin, end, number, base);
  if (error != std::errc() || stop != end) {
    FailAt(token.line, "'" + token.text + "' is not an integer of 64 bits");
  }
  expr->value = number;
  return expr;
}

ExprPtr Parser::ParsePrimary() {
  const Token& token = Current();
  switch (token.kind) {
    case TokenKind::kName:
      return ParseNameOrConstant();
    case TokenKind::kString:
      return ParseString();
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return ParseNumber();
    default:
      break;
  }
  if (SkipOperator("(")) {
    ExprPtr expr = ParseTuple(true, {}, true);
    ExpectOperator(")");
    return expr;
  }
  if (token.IsOperator("[")) return ParseList();
  if (token.IsOperator("{")) return ParseDict();
  FailAt(token.line, "unexpected " + Describe(token));
}

ExprPtr Parser::ParseList() {
  ExprPtr list = Make(ExprKind::kList, Next().line);
  while (!Current().IsOperator("]")) {
    if (!list->children.empty()) {
      ExpectOperator(",");
      if (Current().IsOperator("]")) break;
    }
    Add(*list, ParseExpression());
  }
  ExpectOperator("]");
  return list;
}

ExprPtr Parser::ParseDict() {
  ExprPtr dict = Make(ExprKind::kDict, Next().line);
  while (!Current().IsOperator("}")) {
    if (!dict->children.empty()) {
      ExpectOperator(",");
      if (Current().IsOperator("}")) break;
    }
    Add(*dict, ParseExpression());
    ExpectOperator(":");
    Add(*dict, ParseExpression());
  }
  ExpectOperator("}");
  return dict;
}

ExprPtr Parser::ParsePostfix(ExprPtr expr) {
  for (;;) {
    if (Current().IsOperator(".")) {
      expr = ParseAttribute(std::move(expr));
    } else if (Current().IsOperator("[")) {
      expr = ParseSubscript(std::move(expr));
    } else if (Current().IsOperator("(")) {
      expr = ParseCall(std::move(expr));
    } else {
      return expr;
    }
  }
}

ExprPtr Parser::ParseAttribute(ExprPtr object) {
  int line = Next().line;
  if (Current().kind == TokenKind::kInteger) {
    ExprPtr item = Make(ExprKind::kItem, line);
    Add(*item, std::move(object));
    Add(*item, ParseNumber());
    return item;
  }
  ExprPtr attribute = Make(ExprKind::kAttribute, line);
  Add(*attribute, std::move(object));
  attribute->name = ExpectIdentifier();
  return attribute;
}

// object[index], or object[begin:end:step] with any part left out.
ExprPtr Parser::ParseSubscript(ExprPtr object) {
  ExprPtr item = Make(ExprKind::kItem, Next().line);
  Add(*item, std::move(object));
  auto part = [&]() -> ExprPtr {
    if (Current().IsOperator(":") || Current().IsOperator("]")) return nullptr;
    return ParseExpression();
  };
  ExprPtr index = part();
  if (!Current().IsOperator(":")) {
    if (!index) FailExpected("expression");
    if (Current().IsOperator(",")) {
      ExprPtr tuple = Make(ExprKind::kTuple, item->line);
      Add(*tuple, std::move(index));
      while (SkipOperator(",")) Add(*tuple, ParseExpression());
      index = std::move(tuple);
    }
    Add(*item, std::move(index));
  } else {
    item->kind = ExprKind::kSlice;
    Add(*item, std::move(index));
    ++at_;
    Add(*item, part());
    Add(*item, SkipOperator(":") ? part() : nullptr);
  }
  ExpectOperator("]");
  return item;
}

ExprPtr Parser::ParseFilters(ExprPtr expr) {
  for (;;) {
    if (SkipOperator("|")) {
      expr = ParseFilter(std::move(expr));
    } else if (Current().IsName("is")) {
      expr = ParseTest(std::move(expr));
    } else if (Current().IsOperator("(")) {
      expr = ParseCall(std::move(expr));
    } else {
      return expr;
    }
  }
}

ExprPtr Parser::ParseFilter(ExprPtr operand) {
  ExprPtr filter = Make(ExprKind::kFilter, Current().line);
  filter->name = ExpectIdentifier();
  if (!FindFilter(filter->name)) NoteUnknown("filter", *filter);
  Add(*filter, std::move(operand));
  if (Current().IsOperator("(")) ParseArguments(*filter);
  return filter;
}

ExprPtr Parser::ParseTest(ExprPtr operand) {
  int line = Next().line;
  bool negated = SkipName("not");
  ExprPtr test = Make(ExprKind::kTest, line);
  test->name = ExpectIdentifier();
  if (!FindTest(test->name)) NoteUnknown("test", *test);
  Add(*test, std::move(operand));
  const Token& token = Current();
  bool name_follows = token.kind == TokenKind::kName && !token.IsName("else") &&
                      !token.IsName("or") && !token.IsName("and");
  if (token.IsOperator("(")) {
    ParseArguments(*test);
  } else if (name_follows || token.kind == TokenKind::kString ||
             token.kind == TokenKind::kInteger ||
             token.kind == TokenKind::kFloat || token.IsOperator("[") ||
             token.IsOperator("{")) {
    if (token.IsName("is")) FailAt(token.line, "tests cannot be chained");
    ExprPtr argument = ParsePostfix(ParsePrimary());
    Deepen(*test, *argument);
    test->arguments.push_back(
        {Argument::Kind::kPositional, "", std::move(argument)});
  }
  if (!negated) return test;
  ExprPtr expr = Make(ExprKind::kNot, line);
  Add(*expr, std::move(test));
  return expr;
}

ExprPtr Parser::ParseCall(ExprPtr callee) {
  ExprPtr call = Make(ExprKind::kCall, Current().line);
  Add(*call, std::move(callee));
  ParseArguments(*call);
  return call;
}

void Parser::ParseArguments(Expr& call) {
  ExpectOperator("(");
  auto last = Argument::Kind::kPositional;
  while (!Current().IsOperator(")")) {
    if (!call.arguments.empty()) {
      ExpectOperator(",");
      if (Current().IsOperator(")")) break;
    }
    Argument argument{Argument::Kind::kPositional, "", nullptr};
    if (SkipOperator("*")) {
      argument.kind = Argument::Kind::kSpread;
    } else if (SkipOperator("**")) {
      argument.kind = Argument::Kind::kSpreadKeywords;
    } else if (Current().kind == TokenKind::kName && Ahead().IsOperator("=")) {
      argument.kind = Argument::Kind::kKeyword;
      argument.name = Next().text;
      ++at_;
    }
    if (argument.kind < last && argument.kind == Argument::Kind::kPositional) {
      FailAt(Current().line, "a positional argument follows a named one");
    }
    last = std::max(last, argument.kind);
    argument.value = ParseExpression();
    Deepen(call, *argument.value);
    call.arguments.push_back(std::move(argument));
  }
  ExpectOperator(")");
}

}  // namespace

ParsedTemplate ParseTemplate(std::string_view source) {
  return Parser(source).Run();
}

}  // namespace stele::text::jinja
