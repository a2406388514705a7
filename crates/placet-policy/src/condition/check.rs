//! Types and lowers a parsed condition. Owns which fields conditions read and what is known of
//! their types before any request; refuses to know how a value is found.

use super::types::{Item, Known, Record, Scope, Type};
use super::{Ast, AstNode, Fault, Op, render};
use placet_types::nearest::nearest;
use std::sync::LazyLock;

/// A field of the request or of the verified facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Surface,
    Action,
    Topic,
    Target,
    Arguments,
    Context,
    RiskTags,
    Labels,
    Capability,
    Branch,
    Team,
    Execution,
    Step,
    Model,
    Estimate,
    OnBehalfOf,
    Actor,
    ActorKind,
    Environment,
    Roles,
    Workspace,
}

const REQUEST: [(&str, Field); 16] = [
    ("surface", Field::Surface),
    ("action", Field::Action),
    ("topic", Field::Topic),
    ("target", Field::Target),
    ("arguments", Field::Arguments),
    ("context", Field::Context),
    ("risk_tags", Field::RiskTags),
    ("labels", Field::Labels),
    ("capability", Field::Capability),
    ("branch", Field::Branch),
    ("team", Field::Team),
    ("execution", Field::Execution),
    ("step", Field::Step),
    ("model", Field::Model),
    ("estimate", Field::Estimate),
    ("on_behalf_of", Field::OnBehalfOf),
];

const VERIFIED: [(&str, Field); 5] = [
    ("actor", Field::Actor),
    ("actor_kind", Field::ActorKind),
    ("environment", Field::Environment),
    ("roles", Field::Roles),
    ("workspace", Field::Workspace),
];

/// Fields of a request that conditions do not read: secrets, references and opaque payloads.
const UNREADABLE: [&str; 8] = [
    "attempt_nonce",
    "audience",
    "change",
    "evidence",
    "idempotency_key",
    "parent_decision",
    "subjects",
    "trace_id",
];

/// The fact about a release: its name, whether its papers are complete, and what they are of.
const RELEASE: &str = "release";

static RELEASE_FACT: LazyLock<Record> = LazyLock::new(|| Record {
    fields: [
        ("approval_surfaces".to_owned(), Known::List(Box::new(Known::Text))),
        ("change_surface".to_owned(), Known::Text),
        ("complete".to_owned(), Known::Bool),
        ("evaluation_types".to_owned(), Known::List(Box::new(Known::Text))),
        ("name".to_owned(), Known::Text),
    ]
    .into(),
    closed: true,
});

impl Scope {
    /// Whether authentication finds a fact of this name.
    pub(crate) fn is_authenticated(name: &str) -> bool {
        VERIFIED.iter().any(|(known, _)| *known == name) || name == RELEASE
    }
}

/// The lowered tree. Every field is resolved; what is left to run time are dynamic types.
#[derive(Clone, Debug)]
pub(crate) enum Expr {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Box<str>),
    Field(Field),
    /// A fact of a deriver.
    Derived(Box<str>),
    HasDerived(Box<str>),
    /// Whether an optional field of the envelope is there.
    HasField(Field),
    Member(Box<Expr>, Box<str>),
    Has(Box<Expr>, Box<str>),
    Index(Box<Expr>, Box<Expr>),
    List(Box<[Expr]>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    Neg(Box<Expr>),
    Ternary(Box<[Expr; 3]>),
    Size(Box<Expr>),
    /// Any other operator with two operands.
    Binary(Op, Box<Expr>, Box<Expr>),
}

/// Deepest lowered tree: it is walked on whatever stack the caller has.
const DEPTH_MAX: usize = 64;

pub(super) fn check(ast: &Ast, scope: &Scope) -> Result<Expr, Fault> {
    let (expr, ty) = lower(ast, scope, 0)?;
    match ty {
        Type::Bool | Type::Dynamic => Ok(expr),
        other => {
            let message = format!("a condition is true or false, but this is {}", other.name());
            Err(Fault::typing(ast.at, message))
        }
    }
}

fn lower<'s>(ast: &Ast, scope: &'s Scope, depth: usize) -> Result<(Expr, Type<'s>), Fault> {
    if depth > DEPTH_MAX {
        let fault = Fault::syntax(ast.at, format!("nested deeper than {DEPTH_MAX} operators"));
        return Err(fault.hint("split it into several rules"));
    }
    let depth = depth.saturating_add(1);
    Ok(match &ast.node {
        AstNode::Bool(value) => (Expr::Bool(*value), Type::Bool),
        AstNode::Int(value) => (Expr::Int(*value), Type::Int),
        AstNode::Double(value) => (Expr::Double(*value), Type::Double),
        AstNode::Text(text) => (Expr::Text(text.as_str().into()), Type::Text),
        AstNode::Name(name) => return Err(bare_name(ast.at, name)),
        AstNode::Member { of, field } => return member(ast.at, of, field, scope, depth),
        AstNode::Has { of, field } => return has(ast.at, of, field, scope, depth),
        AstNode::Index { of, index } => return lower_index(ast.at, of, index, scope, depth),
        AstNode::List(items) => return list(items, scope, depth),
        AstNode::Call(op, args) => return call(ast.at, *op, args, scope, depth),
    })
}

fn bare_name(at: usize, name: &str) -> Fault {
    match name {
        "request" | "verified" => Fault::typing(at, format!("`{name}` is no value by itself"))
            .hint(format!(
                "name a field: {name}.{}",
                if name == "request" { "topic" } else { "roles" }
            )),
        _ => {
            let fault = Fault::typing(at, format!("unknown name `{name}`"));
            let known = REQUEST.iter().map(|(field, _)| *field).chain(["arguments"]);
            if let Some(root) = nearest(name, &["request", "verified"]) {
                fault.hint(format!("did you mean `{root}`?"))
            } else if known.into_iter().any(|field| field == name) {
                fault.hint(format!("did you mean `request.{name}`?"))
            } else if VERIFIED.iter().any(|(field, _)| *field == name) {
                fault.hint(format!("did you mean `verified.{name}`?"))
            } else {
                fault.hint("facts begin with `request.` or `verified.`; text stands in quotes")
            }
        }
    }
}

/// What a name below one of the two roots is.
enum Root<'s> {
    Field(Field),
    /// A fact of a deriver.
    Derived(Type<'s>),
}

/// The field, when `of` is one of the two roots.
fn root_field<'s>(
    at: usize,
    of: &Ast,
    name: &str,
    scope: &'s Scope,
) -> Result<Option<Root<'s>>, Fault> {
    let AstNode::Name(root) = &of.node else { return Ok(None) };
    let fields: &[(&str, Field)] = match root.as_str() {
        "request" => &REQUEST,
        "verified" => &VERIFIED,
        _ => return Err(bare_name(of.at, root)),
    };
    if let Some((_, field)) = fields.iter().find(|(known, _)| *known == name) {
        return Ok(Some(Root::Field(*field)));
    }
    if root == "verified" && name == RELEASE {
        return Ok(Some(Root::Derived(Type::Record(&RELEASE_FACT))));
    }
    if root == "verified"
        && let Some(known) = scope.facts.get(name)
    {
        return Ok(Some(Root::Derived(known.ty())));
    }
    if root == "request" && UNREADABLE.contains(&name) {
        let message = format!("conditions do not read `request.{name}`");
        return Err(Fault::typing(at, message));
    }
    let fault = Fault::typing(at, format!("unknown field `{root}.{name}`"));
    let mut names: Vec<&str> = fields.iter().map(|(known, _)| *known).collect();
    if root == "verified" {
        names.push(RELEASE);
        names.extend(scope.facts.keys().map(String::as_str));
    }
    let elsewhere =
        if root == "request" { ("verified", &VERIFIED[..]) } else { ("request", &REQUEST[..]) };
    Err(match nearest(name, &names) {
        Some(near) => fault.hint(format!("did you mean `{root}.{near}`?")),
        None if elsewhere.1.iter().any(|(known, _)| *known == name) => {
            fault.hint(format!("did you mean `{}.{name}`?", elsewhere.0))
        }
        None if root == "verified" => fault.hint("verified facts are actor, actor_kind, environment, roles, workspace and what `derivers:` declare; what the client asserts lies under request.context and request.arguments"),
        None => fault.hint("the client's own facts lie under request.arguments, request.context and request.labels"),
    })
}

impl Field {
    fn ty(self, scope: &Scope) -> Type<'_> {
        match self {
            Self::Arguments => scope.asserted.arguments.ty(),
            Self::Context => match scope.asserted.context.ty() {
                Type::Dynamic => Type::Map(Item::Dynamic),
                known => known,
            },
            Self::RiskTags | Self::Roles | Self::OnBehalfOf => Type::List(Item::Text),
            Self::Labels => Type::Map(Item::Text),
            Self::Estimate => Type::Map(Item::Int),
            _ => Type::Text,
        }
    }

    /// Whether a request may lack it.
    const fn optional(self) -> bool {
        matches!(
            self,
            Self::Topic
                | Self::Target
                | Self::Arguments
                | Self::Context
                | Self::Capability
                | Self::Branch
                | Self::Team
                | Self::Execution
                | Self::Step
                | Self::Model
        )
    }
}

fn member<'s>(
    at: usize,
    of: &Ast,
    field: &str,
    scope: &'s Scope,
    depth: usize,
) -> Result<(Expr, Type<'s>), Fault> {
    match root_field(at, of, field, scope)? {
        Some(Root::Field(field)) => return Ok((Expr::Field(field), field.ty(scope))),
        Some(Root::Derived(ty)) => return Ok((Expr::Derived(field.into()), ty)),
        None => {}
    }
    let (expr, ty) = lower(of, scope, depth)?;
    let ty = match ty {
        Type::Map(item) => item.ty(),
        Type::Record(record) => record.member(at, &render(of), field)?,
        Type::Dynamic => Type::Dynamic,
        other => return Err(Fault::typing(at, format!("{} has no field `{field}`", other.name()))),
    };
    Ok((Expr::Member(Box::new(expr), field.into()), ty))
}

fn has<'s>(
    at: usize,
    of: &Ast,
    name: &str,
    scope: &'s Scope,
    depth: usize,
) -> Result<(Expr, Type<'s>), Fault> {
    match root_field(at, of, name, scope)? {
        Some(Root::Field(field)) if !field.optional() => {
            let fault = Fault::typing(at, format!("`{name}` is always there"));
            return Err(fault.hint("ask for its content, size(…) > 0 for example"));
        }
        Some(Root::Field(field)) => return Ok((Expr::HasField(field), Type::Bool)),
        Some(Root::Derived(_)) => return Ok((Expr::HasDerived(name.into()), Type::Bool)),
        None => {}
    }
    let (expr, ty) = lower(of, scope, depth)?;
    match ty {
        Type::Map(_) | Type::Dynamic => {}
        Type::Record(record) => {
            record.member(at, &render(of), name)?;
        }
        other => {
            return Err(Fault::typing(at, format!("{} has no field `{name}`", other.name())));
        }
    }
    Ok((Expr::Has(Box::new(expr), name.into()), Type::Bool))
}

fn lower_index<'s>(
    at: usize,
    of: &Ast,
    index: &Ast,
    scope: &'s Scope,
    depth: usize,
) -> Result<(Expr, Type<'s>), Fault> {
    if let AstNode::Text(name) = &index.node
        && matches!(&of.node, AstNode::Name(_))
    {
        return member(at, of, name, scope, depth);
    }
    let (expr, ty) = lower(of, scope, depth)?;
    let (key, key_ty) = lower(index, scope, depth)?;
    let item = match (ty, key_ty) {
        (Type::List(item), Type::Int | Type::Dynamic)
        | (Type::Map(item), Type::Text | Type::Dynamic) => item.ty(),
        (Type::Record(record), Type::Text | Type::Dynamic) => match &index.node {
            AstNode::Text(name) => record.member(at, &render(of), name)?,
            _ => Type::Dynamic,
        },
        (Type::Dynamic, Type::Int | Type::Text | Type::Dynamic) => Type::Dynamic,
        (Type::List(_), _) => {
            return Err(Fault::typing(index.at, "the index of a list is an integer"));
        }
        (Type::Map(_) | Type::Record(_), _) => {
            return Err(Fault::typing(index.at, "the key of a map is text"));
        }
        (Type::Dynamic, _) => {
            return Err(Fault::typing(index.at, "an index is an integer or text"));
        }
        (other, _) => return Err(Fault::typing(at, format!("{} has no elements", other.name()))),
    };
    Ok((Expr::Index(Box::new(expr), Box::new(key)), item))
}

fn list<'s>(items: &[Ast], scope: &'s Scope, depth: usize) -> Result<(Expr, Type<'s>), Fault> {
    let mut out = Vec::with_capacity(items.len());
    let mut common: Option<Type> = None;
    for item in items {
        let (expr, ty) = lower(item, scope, depth)?;
        common = Some(match common {
            None => ty,
            Some(so_far) if so_far == ty => ty,
            Some(so_far) if so_far.comparable(ty) => Type::Dynamic,
            Some(so_far) => {
                let message = format!("a list of {} cannot hold {}", so_far.plural(), ty.name());
                return Err(Fault::typing(item.at, message));
            }
        });
        out.push(expr);
    }
    let item = common.map_or(Item::Dynamic, Item::of);
    Ok((Expr::List(out.into_boxed_slice()), Type::List(item)))
}

fn call<'s>(
    at: usize,
    op: Op,
    args: &[Ast],
    scope: &'s Scope,
    depth: usize,
) -> Result<(Expr, Type<'s>), Fault> {
    match args {
        [operand] => unary(at, op, operand, scope, depth),
        [left, right] => binary(at, op, left, right, scope, depth),
        [test, yes, no] => ternary(test, yes, no, scope, depth),
        _ => Err(Fault::syntax(at, format!("wrong number of operands for `{}`", op.text()))),
    }
}

fn expect(ast: &Ast, ty: Type<'_>, wanted: Type<'_>, op: Op) -> Result<(), Fault> {
    // Whether a number is an integer shows when it is there.
    let number = ty == Type::Number && wanted == Type::Int;
    if ty == wanted || ty == Type::Dynamic || number {
        return Ok(());
    }
    let message = format!("`{}` takes {}, not {}", op.text(), wanted.name(), ty.name());
    let fault = Fault::typing(ast.at, message);
    let arithmetic = matches!(op, Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Rem | Op::Neg);
    Err(match ty {
        Type::Double if arithmetic => fault.hint("doubles can be compared, not calculated with"),
        Type::Text if op == Op::Add => {
            fault.hint("texts are not joined: use startsWith or endsWith")
        }
        _ => fault,
    })
}

fn unary<'s>(
    at: usize,
    op: Op,
    operand: &Ast,
    scope: &'s Scope,
    depth: usize,
) -> Result<(Expr, Type<'s>), Fault> {
    let (expr, ty) = lower(operand, scope, depth)?;
    let expr = Box::new(expr);
    match op {
        Op::Not => {
            expect(operand, ty, Type::Bool, op)?;
            Ok((Expr::Not(expr), Type::Bool))
        }
        Op::Neg => {
            expect(operand, ty, Type::Int, op)?;
            Ok((Expr::Neg(expr), Type::Int))
        }
        Op::Size => match ty {
            Type::Text | Type::List(_) | Type::Map(_) | Type::Record(_) | Type::Dynamic => {
                Ok((Expr::Size(expr), Type::Int))
            }
            other => Err(Fault::typing(operand.at, format!("{} has no size", other.name()))),
        },
        _ => Err(Fault::syntax(at, format!("wrong number of operands for `{}`", op.text()))),
    }
}

fn binary<'s>(
    at: usize,
    op: Op,
    left: &Ast,
    right: &Ast,
    scope: &'s Scope,
    depth: usize,
) -> Result<(Expr, Type<'s>), Fault> {
    let (a, a_ty) = lower(left, scope, depth)?;
    let (b, b_ty) = lower(right, scope, depth)?;
    let ty = match op {
        Op::And | Op::Or => {
            expect(left, a_ty, Type::Bool, op)?;
            expect(right, b_ty, Type::Bool, op)?;
            let (a, b) = (Box::new(a), Box::new(b));
            let expr = if op == Op::And { Expr::And(a, b) } else { Expr::Or(a, b) };
            return Ok((expr, Type::Bool));
        }
        Op::Eq | Op::Ne => {
            if !a_ty.comparable(b_ty) {
                let message = format!("{} is never equal to {}", a_ty.name(), b_ty.name());
                let fault = Fault::typing(at, message);
                return Err(if matches!(a_ty, Type::List(_)) || matches!(b_ty, Type::List(_)) {
                    fault.hint("whether a list holds a value is asked with `in`: \"prod\" in request.risk_tags")
                } else {
                    fault
                });
            }
            Type::Bool
        }
        Op::Lt | Op::Le | Op::Gt | Op::Ge => {
            for (ast, ty) in [(left, a_ty), (right, b_ty)] {
                if matches!(ty, Type::Bool | Type::List(_) | Type::Map(_) | Type::Record(_)) {
                    let message =
                        format!("`{}` takes numbers or texts, not {}", op.text(), ty.name());
                    return Err(Fault::typing(ast.at, message));
                }
            }
            if !a_ty.comparable(b_ty) {
                let message = format!("{} cannot be compared with {}", a_ty.name(), b_ty.name());
                return Err(Fault::typing(at, message));
            }
            Type::Bool
        }
        Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Rem => {
            expect(left, a_ty, Type::Int, op)?;
            expect(right, b_ty, Type::Int, op)?;
            Type::Int
        }
        Op::In => {
            match b_ty {
                Type::List(item) if item.ty().comparable(a_ty) => {}
                Type::List(item) => {
                    let message =
                        format!("a list of {} never holds {}", item.ty().plural(), a_ty.name());
                    return Err(Fault::typing(left.at, message));
                }
                Type::Map(_) | Type::Record(_) => expect(left, a_ty, Type::Text, op)?,
                Type::Dynamic => {}
                other => {
                    let message =
                        format!("`in` takes a list or a map on its right, not {}", other.name());
                    return Err(Fault::typing(right.at, message));
                }
            }
            Type::Bool
        }
        Op::Contains | Op::StartsWith | Op::EndsWith => {
            expect(left, a_ty, Type::Text, op)?;
            expect(right, b_ty, Type::Text, op)?;
            Type::Bool
        }
        Op::Not | Op::Neg | Op::Ternary | Op::Size => {
            return Err(Fault::syntax(at, format!("wrong number of operands for `{}`", op.text())));
        }
    };
    Ok((Expr::Binary(op, Box::new(a), Box::new(b)), ty))
}

fn ternary<'s>(
    test: &Ast,
    yes: &Ast,
    no: &Ast,
    scope: &'s Scope,
    depth: usize,
) -> Result<(Expr, Type<'s>), Fault> {
    let (a, a_ty) = lower(test, scope, depth)?;
    let (b, b_ty) = lower(yes, scope, depth)?;
    let (c, c_ty) = lower(no, scope, depth)?;
    expect(test, a_ty, Type::Bool, Op::Ternary)?;
    let ty = if b_ty == c_ty {
        b_ty
    } else if b_ty.comparable(c_ty) {
        Type::Dynamic
    } else {
        let message = format!("one branch is {}, the other {}", b_ty.name(), c_ty.name());
        return Err(Fault::typing(no.at, message));
    };
    Ok((Expr::Ternary(Box::new([a, b, c])), ty))
}
