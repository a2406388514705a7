//! The one module that knows the `cel` crate: bounds the text, has it parsed, and takes over the
//! tree as our own. Owns what of CEL's syntax is refused in language 1; evaluates nothing.

use super::{Ast, AstNode, Fault, Op};
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};
use cel::parser::PrattParser;
use cel::parser::pratt_parser::{Lexer, TokenKind};

/// Longest condition in bytes.
const BYTES_MAX: usize = 4096;
/// Deepest nesting of brackets.
const DEPTH_MAX: usize = 32;
/// Most operators, dots and commas.
const OPERATORS_MAX: usize = 256;

/// A name or literal of the text, in order.
struct Leaf {
    at: usize,
}

pub(super) fn parse(text: &str) -> Result<Ast, Fault> {
    let leaves = bounded(text)?;
    let parsed = PrattParser::new()
        .max_recursion_depth(96)
        .max_expression_node_count(4096)
        .error_reporting_limit(1)
        .parse(text);
    match parsed {
        Ok(expr) => Take { leaves, next: 0 }.ast(&expr),
        Err(errors) => Err(syntax_fault(text, &errors)),
    }
}

fn syntax_fault(text: &str, errors: &cel::parser::ParseErrors) -> Fault {
    let Some(error) = errors.errors.first() else { return Fault::syntax(0, "no expression") };
    let line = usize::try_from(error.pos.0).unwrap_or(0).saturating_sub(1);
    let column = usize::try_from(error.pos.1).unwrap_or(0).saturating_sub(1);
    let before: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let message = error.msg.strip_prefix("Syntax error: ").unwrap_or(&error.msg);
    Fault::syntax(before.saturating_add(column).min(text.len()), message.to_lowercase())
}

/// Checks size, nesting and number of operators on the flat token stream, before any recursive
/// parser sees the text, and returns where the names and literals stand.
fn bounded(text: &str) -> Result<Vec<Leaf>, Fault> {
    if text.len() > BYTES_MAX {
        return Err(Fault::syntax(0, format!("a condition has at most {BYTES_MAX} bytes")));
    }
    let mut leaves = Vec::new();
    let (mut depth, mut operators_seen) = (0_usize, 0_usize);
    let mut lexer = Lexer::new(text);
    let mut name: Option<(usize, &str)> = None;
    loop {
        let token = lexer.lex();
        let previous = name.take();
        match token.kind {
            TokenKind::TokEnd => return Ok(leaves),
            TokenKind::TokError => {
                let message =
                    lexer.get_error().map_or("unexpected character", |e| e.message.as_str());
                return Err(Fault::syntax(token.start, message));
            }
            TokenKind::TokWhitespace | TokenKind::TokComment => name = previous,
            TokenKind::TokIdent | TokenKind::TokReservedWord => {
                leaves.push(Leaf { at: token.start });
                name = text.get(token.start..token.end).map(|word| (token.start, word));
            }
            TokenKind::TokNull
            | TokenKind::TokFalse
            | TokenKind::TokTrue
            | TokenKind::TokInt
            | TokenKind::TokUint
            | TokenKind::TokFloat
            | TokenKind::TokString
            | TokenKind::TokBytes => leaves.push(Leaf { at: token.start }),
            TokenKind::TokLeftBracket | TokenKind::TokLeftBrace | TokenKind::TokLeftParen => {
                if let (TokenKind::TokLeftParen, Some((at, word))) = (token.kind, previous) {
                    refuse_macro(at, word)?;
                }
                depth = depth.saturating_add(1);
                operators_seen = operators_seen.saturating_add(1);
            }
            TokenKind::TokRightBracket | TokenKind::TokRightBrace | TokenKind::TokRightParen => {
                depth = depth.saturating_sub(1);
            }
            _ => operators_seen = operators_seen.saturating_add(1),
        }
        if depth > DEPTH_MAX {
            let message = format!("nested deeper than {DEPTH_MAX} brackets");
            return Err(Fault::syntax(token.start, message));
        }
        if operators_seen > OPERATORS_MAX {
            let message = format!("more than {OPERATORS_MAX} operators");
            return Err(Fault::syntax(token.start, message).hint("split it into several rules"));
        }
    }
}

/// Macros are expanded while parsing, so they are refused by name, before.
fn refuse_macro(at: usize, word: &str) -> Result<(), Fault> {
    if matches!(
        word,
        "all"
            | "exists"
            | "exists_one"
            | "existsOne"
            | "map"
            | "filter"
            | "bind"
            | "optMap"
            | "optFlatMap"
    ) {
        let fault = Fault::syntax(at, format!("`{word}` is not part of condition language 1"));
        return Err(
            fault.hint("there are no loops: use `in` for lists, or a deriver that adds a tag")
        );
    }
    Ok(())
}

/// Takes over the tree. Names and literals come in the order of the text, which is how each gets
/// its offset: this parser does not hand out its own.
struct Take {
    leaves: Vec<Leaf>,
    next: usize,
}

impl Take {
    fn leaf(&mut self) -> usize {
        let at = self.leaves.get(self.next).map_or(0, |leaf| leaf.at);
        self.next = self.next.saturating_add(1);
        at
    }

    fn upcoming(&self) -> usize {
        self.leaves.get(self.next).map_or(0, |leaf| leaf.at)
    }

    fn ast(&mut self, expr: &IdedExpr) -> Result<Ast, Fault> {
        let at = self.upcoming();
        let node = match &expr.expr {
            Expr::Literal(literal) => {
                self.leaf();
                self.literal(at, literal)?
            }
            Expr::Ident(name) => {
                self.leaf();
                AstNode::Name(name.clone())
            }
            Expr::Select(select) => {
                if select.test {
                    self.leaf();
                }
                let of = Box::new(self.ast(&select.operand)?);
                self.leaf();
                let field = select.field.clone();
                if select.test { AstNode::Has { of, field } } else { AstNode::Member { of, field } }
            }
            Expr::List(list) => {
                if !list.optional_indices.is_empty() {
                    return Err(Fault::syntax(
                        at,
                        "optional elements are not part of condition language 1",
                    ));
                }
                let items = list.elements.iter().map(|item| self.ast(item));
                AstNode::List(items.collect::<Result<_, _>>()?)
            }
            Expr::Call(call) => return self.call(at, call),
            Expr::Comprehension(_) => {
                return Err(Fault::syntax(at, "loops are not part of condition language 1"));
            }
            Expr::Map(_) | Expr::Struct(_) => {
                return Err(Fault::syntax(
                    at,
                    "maps and messages are not part of condition language 1",
                ));
            }
            Expr::Unspecified => return Err(Fault::syntax(at, "an expression is missing")),
        };
        Ok(Ast { at, node })
    }

    fn literal(&self, at: usize, literal: &LiteralValue) -> Result<AstNode, Fault> {
        Ok(match literal {
            LiteralValue::Boolean(value) => AstNode::Bool(*value.inner()),
            LiteralValue::Int(value) => AstNode::Int(*value.inner()),
            LiteralValue::Double(value) => {
                let value = *value.inner();
                if !value.is_finite() {
                    return Err(Fault::syntax(at, "a number too large for a double"));
                }
                AstNode::Double(value)
            }
            LiteralValue::String(value) => AstNode::Text(value.inner().to_owned()),
            LiteralValue::UInt(_) => {
                let fault =
                    Fault::syntax(at, "unsigned literals are not part of condition language 1");
                return Err(fault.hint("integers are integers: leave out the `u`"));
            }
            LiteralValue::Bytes(_) => {
                return Err(Fault::syntax(at, "bytes are not part of condition language 1"));
            }
            LiteralValue::Null => {
                let fault = Fault::syntax(at, "`null` is not part of condition language 1");
                return Err(
                    fault.hint("ask whether a field is there with `has(request.arguments.x)`")
                );
            }
        })
    }

    fn call(&mut self, at: usize, call: &CallExpr) -> Result<Ast, Fault> {
        let name = call.func_name.as_str();
        if name == operators::INDEX
            && let [of, index] = call.args.as_slice()
        {
            let of = Box::new(self.ast(of)?);
            let index = Box::new(self.ast(index)?);
            return Ok(Ast { at, node: AstNode::Index { of, index } });
        }
        if let Some(op) = operator(name) {
            let args = call.args.iter().map(|arg| self.ast(arg)).collect::<Result<_, _>>()?;
            return Ok(Ast { at, node: AstNode::Call(op, args) });
        }
        let mut args = Vec::with_capacity(call.args.len().saturating_add(1));
        if let Some(target) = &call.target {
            args.push(self.ast(target)?);
        }
        let name_at = self.leaf();
        for arg in &call.args {
            args.push(self.ast(arg)?);
        }
        let op = function(name, call.target.is_some(), args.len());
        op.map_or_else(
            || Err(unknown_function(name_at, name)),
            |op| Ok(Ast { at, node: AstNode::Call(op, args) }),
        )
    }
}

fn operator(name: &str) -> Option<Op> {
    Some(match name {
        operators::LOGICAL_AND => Op::And,
        operators::LOGICAL_OR => Op::Or,
        operators::LOGICAL_NOT => Op::Not,
        operators::EQUALS => Op::Eq,
        operators::NOT_EQUALS => Op::Ne,
        operators::LESS => Op::Lt,
        operators::LESS_EQUALS => Op::Le,
        operators::GREATER => Op::Gt,
        operators::GREATER_EQUALS => Op::Ge,
        operators::ADD => Op::Add,
        operators::SUBSTRACT => Op::Sub,
        operators::MULTIPLY => Op::Mul,
        operators::DIVIDE => Op::Div,
        operators::MODULO => Op::Rem,
        operators::NEGATE => Op::Neg,
        operators::IN => Op::In,
        operators::CONDITIONAL => Op::Ternary,
        _ => return None,
    })
}

fn function(name: &str, method: bool, arguments: usize) -> Option<Op> {
    Some(match (name, method, arguments) {
        ("contains", true, 2) => Op::Contains,
        ("startsWith", true, 2) => Op::StartsWith,
        ("endsWith", true, 2) => Op::EndsWith,
        ("size", _, 1) => Op::Size,
        _ => return None,
    })
}

fn unknown_function(at: usize, name: &str) -> Fault {
    let fault = Fault::typing(
        at,
        format!("no function `{name}` with these operands in condition language 1"),
    );
    match name {
        "now" | "timestamp" | "duration" | "getFullYear" => {
            fault.hint("conditions know no time: it is not a fact of the request")
        }
        "matches" => {
            fault.hint("there are no regular expressions: use contains, startsWith or endsWith")
        }
        "int" | "uint" | "double" | "string" | "bool" | "type" | "dyn" => {
            fault.hint("there are no conversions: integers and doubles compare exactly")
        }
        "has" => fault.hint("`has` takes one field: has(request.arguments.amount)"),
        _ => fault
            .hint("there are x.contains(y), x.startsWith(y), x.endsWith(y), size(x) and has(a.b)"),
    }
}
