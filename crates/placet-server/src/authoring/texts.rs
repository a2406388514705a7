//! The texts of policy: formatting, importing, schemas. Refuses to know which of them becomes a bundle.

use super::{apart, findings, missing, source, sources};
use crate::auth::Act;
use crate::call::{self, Call};
use crate::document;
use crate::problem::Problem;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{
    FormatDocument, FormattedDocument, ImportDocument, JsonObject, OrderDocument, SchemaDocument,
};
use placet_policy::{
    Star, document_schema, format as formatted, import as imported, schemas as all,
};
use placet_runtime::crypto::Fast;

/// `POST /api/v1/policies/format`
pub(crate) async fn format(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let mut fields = call.object(&["sources"]).await?;
    let sources = sources(&mut fields)?.ok_or_else(missing)?;
    let work = move || {
        let text = |source: placet_policy::Source| {
            let out = formatted(&source.name, &source.text);
            (source, out)
        };
        sources.into_iter().map(text).collect::<Vec<_>>()
    };
    let all = apart(&call, &session, work).await?;
    let refused = all.iter().filter_map(|(_, out)| out.as_ref().err());
    let good = all.iter().filter_map(|(source, out)| Some((source, out.as_ref().ok()?)));
    let document = FormatDocument {
        ok: all.iter().all(|(_, out)| out.is_ok()),
        sources: good
            .map(|(source, text)| FormattedDocument {
                name: &source.name,
                text,
                changed: *text != source.text,
            })
            .collect(),
        findings: refused.flat_map(|found| findings(found)).collect(),
    };
    document::answer(StatusCode::OK, &document)
}

/// `POST /api/v1/policies/import`
pub(crate) async fn import(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let mut fields = call.object(&["source", "star"]).await?;
    let star = match call::text(&mut fields, "star", 20)?.as_deref() {
        None | Some("segment") => Star::Segment,
        Some("any") => Star::Any,
        Some(_) => return Err(Problem::invalid("/star", "expected segment or any")),
    };
    let given = fields
        .remove("source")
        .ok_or_else(|| Problem::missing("/source", "source is required: a file as {name, text}"))?;
    let expected = "expected {name, text}, the name of at most 200 bytes";
    let source = source(&given).ok_or_else(|| Problem::invalid("/source", expected))?;
    let work = move || imported::<Fast>(&source.name, &source.text, star);
    let done = apart(&call, &session, work).await?;
    let nothing = ImportDocument {
        ok: false,
        document: None,
        notes: Vec::new(),
        differences: Vec::new(),
        findings: Vec::new(),
    };
    let document = match &done {
        Err(found) => ImportDocument { findings: findings(found), ..nothing },
        Ok(done) => ImportDocument {
            ok: true,
            document: Some(&done.document),
            notes: findings(&done.notes),
            differences: done
                .differences
                .iter()
                .map(|one| OrderDocument {
                    first: &one.first,
                    first_match: one.first_match.as_str(),
                    deciding: &one.deciding,
                    strictest_wins: one.strictest_wins.as_str(),
                    request: JsonObject(&one.request),
                    caller: JsonObject(&one.caller),
                })
                .collect(),
            ..nothing
        },
    };
    document::answer(StatusCode::OK, &document)
}

/// `GET /api/v1/policies/schemas`
pub(crate) async fn schemas(call: Call) -> Result<Response, Problem> {
    call.session(Act::Propose)?;
    call.query(&[])?;
    let policy = document_schema(None);
    let kinds: Vec<_> = all().map(|(name, _)| (name, document_schema(Some(name)))).collect();
    let document = SchemaDocument {
        policy: JsonObject(&policy),
        kinds: kinds.iter().map(|(name, schema)| (*name, JsonObject(schema))).collect(),
    };
    document::answer(StatusCode::OK, &document)
}
