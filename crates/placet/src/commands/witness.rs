//! `placet witness`: a process of its own that cosigns the checkpoints of other instances' logs,
//! each only if it extends the one before. Owns its flags; refuses to know a log's entries.

use crate::exit::{Done, Fault};
use crate::output;
use anyhow::{Context, Result};
use clap::Args;
use placet_runtime::crypto::{MemorySigner, SystemClock};
use placet_runtime::ports::Signer;
use placet_server::{ServerOptions, Witness, bind, serve_router, witness_router};
use placet_store::WitnessStore;
use placet_tlog::trust::TrustKey;
use placet_tlog::verify::PortableHasher;
use placet_tlog::{CosignerKey, Trust, VerifierKey};
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Cosign checkpoints of other instances (C2SP tlog-witness)
///
/// Run it where the log's operator has no say: it signs a checkpoint only if that extends the one it
/// signed before, so that a log which is rolled back or shows two faces finds no cosignature.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet witness --data witness --name witness.example/1 --logs placet-trust.json
  placet witness --data witness --name witness.example/1 --logs placet-trust.json --show")]
pub(crate) struct WitnessArgs {
    /// Directory of its key and memory; made when it does not exist.
    #[arg(long, default_value = "placet-witness", value_name = "DIR")]
    data: PathBuf,
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8082", value_name = "ADDR")]
    listen: SocketAddr,
    /// Name under which it signs: a URL without a scheme that is yours, by convention.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Trust file with the keys of the logs it watches (`placet key trust`).
    #[arg(long, value_name = "FILE")]
    logs: Vec<PathBuf>,
    /// Verifier key of a log it watches; may be repeated.
    #[arg(long, value_name = "VKEY")]
    log: Vec<String>,
    /// Print its verifier key and what it kept as evidence, and stop.
    #[arg(long)]
    show: bool,
    /// Print one JSON document (with --show).
    #[arg(long, requires = "show")]
    json: bool,
}

/// Serves until SIGINT or SIGTERM.
pub(crate) async fn run(args: WitnessArgs) -> Done {
    let logs = logs(&args)?;
    // What a witness keeps is shown while it runs.
    let kept = if args.show { WitnessStore::open_read_only(&args.data)? } else { None };
    let store = match kept {
        Some(store) => store,
        None => WitnessStore::open(&args.data)?,
    };
    let signer = MemorySigner::from_seed(&store.seed()).context("the seed is no Ed25519 key")?;
    let key = CosignerKey::new::<PortableHasher>(&args.name, signer.public_key())
        .map_err(|error| Fault::usage(format!("--name {:?}: {error}", args.name)))?;
    if args.show {
        show(&key, &store, args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    if logs.keys().is_empty() {
        let fault = Fault::usage("a witness watches at least one log");
        return Err(fault.next("name keys with --logs placet-trust.json or --log VKEY").into());
    }
    let listener = bind(args.listen).with_context(|| format!("listen on {}", args.listen))?;
    let address = listener.local_addr()?;
    eprintln!("witness {key}");
    eprintln!("watching {} key(s) of logs", logs.keys().len());
    // Programs wait for this line; it is the last one before requests are served.
    println!("listening on http://{address}");
    let clock = Arc::new(SystemClock::default());
    let witness = Arc::new(Witness::new(logs, key, Arc::new(signer), store, clock)?);
    let options = ServerOptions::default();
    serve_router(listener, witness_router(witness), &options, super::up::stop_signal()?).await?;
    Ok(ExitCode::SUCCESS)
}

fn logs(args: &WitnessArgs) -> Result<Trust> {
    let mut keys = Vec::new();
    for path in &args.logs {
        let bytes = std::fs::read(path)
            .map_err(|error| Fault::new("trust_missing", format!("{}: {error}", path.display())))?;
        let trust = Trust::parse::<PortableHasher>(&bytes)
            .map_err(|error| Fault::new("trust_malformed", error.to_string()))?;
        keys.extend(trust.keys().iter().cloned());
    }
    for text in &args.log {
        let key = VerifierKey::parse::<PortableHasher>(text)
            .map_err(|error| Fault::usage(format!("--log {text:?}: {error}")))?;
        keys.push(TrustKey::active(key));
    }
    Ok(Trust::new(keys).map_err(|error| Fault::new("trust_malformed", error.to_string()))?)
}

fn show(key: &CosignerKey, store: &WitnessStore, as_json: bool) -> Result<()> {
    let kept = store.suspicious()?;
    if as_json {
        let kept: Vec<_> = kept
            .iter()
            .map(|[origin, why, request, held]| {
                json!({"origin": origin, "why": why, "request": request, "cosigned": held})
            })
            .collect();
        output::document(&json!({"vkey": key.to_string(), "suspicious": kept}));
        return Ok(());
    }
    output::line(&key.to_string());
    for [origin, why, request, held] in &kept {
        output::line("");
        output::line(&format!(
            "{}  {}: {why}",
            output::paint(output::RED, "suspicious"),
            output::safe(origin)
        ));
        output::line(&format!("asked for:\n{}", output::safe(request)));
        output::line(&format!("cosigned before:\n{}", output::safe(held)));
    }
    Ok(())
}
