//! Conditions (`when:`), language 1: a typed, total subset of CEL. Owns the syntax tree and the
//! lowered tree; the `cel` crate is known to `parse` alone and evaluates nothing.

mod check;
mod eval;
mod parse;
mod types;

use placet_types::policy::ConditionError;
use std::sync::{Arc, OnceLock};

use check::{Expr, Field};
pub(crate) use eval::Facts;
pub(crate) use types::{Asserted, Known, Record, Scope};

/// Why a condition does not compile, and where in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    /// Whether it parses and could still never be evaluated.
    pub(crate) typing: bool,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Fault {
    fn syntax(at: usize, message: impl Into<String>) -> Self {
        Self { at, typing: false, message: message.into(), hint: None }
    }

    fn typing(at: usize, message: impl Into<String>) -> Self {
        Self { at, typing: true, message: message.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Operators and functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    And,
    Or,
    Not,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Add,
    Sub,
    Mul,
    Div,
    Rem,
    Neg,
    In,
    Ternary,
    Contains,
    StartsWith,
    EndsWith,
    Size,
}

impl Op {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::And => "&&",
            Self::Or => "||",
            Self::Not => "!",
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::Add => "+",
            Self::Sub | Self::Neg => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Rem => "%",
            Self::In => "in",
            Self::Ternary => "? :",
            Self::Contains => "contains",
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::Size => "size",
        }
    }
}

/// A parsed expression, before types.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ast {
    /// Byte offset of its first token that is a name or a literal.
    pub(crate) at: usize,
    pub(crate) node: AstNode,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AstNode {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    Name(String),
    Member { of: Box<Ast>, field: String },
    Has { of: Box<Ast>, field: String },
    Index { of: Box<Ast>, index: Box<Ast> },
    List(Vec<Ast>),
    Call(Op, Vec<Ast>),
}

/// Hears of each term and its truth; `None` where it was not asked.
type Tell<'a> = dyn FnMut(&str, Option<Result<bool, ConditionError>>) + 'a;

/// A compiled condition.
#[derive(Clone, Debug)]
pub(crate) struct Condition(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    text: Arc<str>,
    ast: Ast,
    expr: Expr,
    /// What its outermost operands say, once somebody has asked.
    operands: OnceLock<Vec<Arc<str>>>,
}

impl Condition {
    /// Parses, checks and lowers. Runs on a thread with a big stack: see `bundle::compile`.
    pub(crate) fn compile(text: &str, scope: &Scope) -> Result<Self, Fault> {
        let ast = parse::parse(text)?;
        let expr = check::check(&ast, scope)?;
        let operands = OnceLock::new();
        Ok(Self(Arc::new(Compiled { text: text.into(), ast, expr, operands })))
    }

    pub(crate) fn text(&self) -> &Arc<str> {
        &self.0.text
    }

    pub(crate) fn ast(&self) -> &Ast {
        &self.0.ast
    }

    /// A number that depends on where it lies, so that it is read before it is asked.
    #[inline]
    pub(crate) fn warm(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Its truth for one request.
    #[inline]
    pub(crate) fn evaluate(&self, facts: Facts<'_>) -> Result<bool, ConditionError> {
        eval::evaluate(&self.0.expr, facts)
    }

    /// Calls `tell` for each term in the order of the text: with its truth where it is asked, with `None`
    /// where another term has already decided, and always with `None` without facts.
    pub(crate) fn terms(&self, facts: Option<Facts<'_>>, tell: &mut Tell<'_>) {
        terms(&self.0.expr, &self.0.ast, facts, tell);
    }

    /// The operands of its outermost `&&` or `||`, each with its text and truth; empty when it is
    /// no such chain.
    pub(crate) fn clauses(
        &self,
        facts: Facts<'_>,
    ) -> Vec<(Arc<str>, Result<bool, ConditionError>)> {
        let op = match &self.0.expr {
            Expr::And(..) => Op::And,
            Expr::Or(..) => Op::Or,
            _ => return Vec::new(),
        };
        let mut operands = Vec::new();
        flatten(op, &self.0.expr, &self.0.ast, &mut operands);
        let rendered = || operands.iter().map(|(_, ast)| render(ast).into()).collect();
        let texts = self.0.operands.get_or_init(rendered);
        let told = texts.iter().zip(&operands);
        told.map(|(text, (expr, _))| (text.clone(), eval::evaluate(expr, facts))).collect()
    }
}

fn terms(expr: &Expr, ast: &Ast, facts: Option<Facts<'_>>, tell: &mut Tell<'_>) {
    let args = match &ast.node {
        AstNode::Call(_, args) => args.as_slice(),
        _ => &[],
    };
    let truth = |expr: &Expr| facts.map(|facts| eval::evaluate(expr, facts));
    match (expr, args) {
        (Expr::And(left, right), [first, second]) | (Expr::Or(left, right), [first, second]) => {
            let decisive = matches!(expr, Expr::Or(..));
            terms(left, first, facts, tell);
            let asked = truth(left) != Some(Ok(decisive));
            terms(right, second, facts.filter(|_| asked), tell);
        }
        (Expr::Not(operand), [first]) => terms(operand, first, facts, tell),
        (Expr::Ternary(parts), [first, second, third]) => {
            let [test, yes, no] = &**parts;
            terms(test, first, facts, tell);
            let side = truth(test);
            terms(yes, second, facts.filter(|_| side == Some(Ok(true))), tell);
            terms(no, third, facts.filter(|_| side == Some(Ok(false))), tell);
        }
        _ => tell(&render(ast), truth(expr)),
    }
}

/// The terms of a chain of `op`; both trees have one shape.
fn flatten<'a>(op: Op, expr: &'a Expr, ast: &'a Ast, out: &mut Vec<(&'a Expr, &'a Ast)>) {
    if let (Expr::And(left, right), Op::And) | (Expr::Or(left, right), Op::Or) = (expr, op)
        && let AstNode::Call(_, args) = &ast.node
        && let [first, second] = args.as_slice()
    {
        flatten(op, left, first, out);
        flatten(op, right, second, out);
        return;
    }
    out.push((expr, ast));
}

/// The expression in normal spacing, with parentheses around operands of operators.
pub(crate) fn render(ast: &Ast) -> String {
    let mut out = String::new();
    write_ast(ast, false, &mut out);
    out
}

fn write_ast(ast: &Ast, inner: bool, out: &mut String) {
    match &ast.node {
        AstNode::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        AstNode::Int(value) => out.push_str(&value.to_string()),
        AstNode::Double(value) => out.push_str(&format!("{value:?}")),
        AstNode::Text(text) => out.push_str(&format!("{text:?}")),
        AstNode::Name(name) => out.push_str(name),
        AstNode::Member { of, field } => {
            write_ast(of, true, out);
            out.push('.');
            out.push_str(field);
        }
        AstNode::Has { of, field } => {
            out.push_str("has(");
            write_ast(of, true, out);
            out.push('.');
            out.push_str(field);
            out.push(')');
        }
        AstNode::Index { of, index } => {
            write_ast(of, true, out);
            out.push('[');
            write_ast(index, false, out);
            out.push(']');
        }
        AstNode::List(items) => {
            out.push('[');
            write_list(items, out);
            out.push(']');
        }
        AstNode::Call(op, args) => write_call(*op, args, inner, out),
    }
}

fn write_list(items: &[Ast], out: &mut String) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        write_ast(item, false, out);
    }
}

fn write_call(op: Op, args: &[Ast], inner: bool, out: &mut String) {
    match (op, args) {
        (Op::Not | Op::Neg, [operand]) => {
            out.push_str(op.text());
            write_ast(operand, true, out);
        }
        (Op::Size, _) => {
            out.push_str("size(");
            write_list(args, out);
            out.push(')');
        }
        (Op::Contains | Op::StartsWith | Op::EndsWith, [target, rest @ ..]) => {
            write_ast(target, true, out);
            out.push('.');
            out.push_str(op.text());
            out.push('(');
            write_list(rest, out);
            out.push(')');
        }
        _ => {
            if inner {
                out.push('(');
            }
            match (op, args) {
                (Op::Ternary, [test, yes, no]) => {
                    write_ast(test, true, out);
                    out.push_str(" ? ");
                    write_ast(yes, true, out);
                    out.push_str(" : ");
                    write_ast(no, true, out);
                }
                _ => {
                    for (at, arg) in args.iter().enumerate() {
                        if at > 0 {
                            out.push(' ');
                            out.push_str(op.text());
                            out.push(' ');
                        }
                        write_ast(arg, true, out);
                    }
                }
            }
            if inner {
                out.push(')');
            }
        }
    }
}
