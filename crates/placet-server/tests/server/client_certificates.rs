//! Client certificates in place of keys: who is known by one, and until when.

use super::world::{Answer, BUNDLE, World, at, request};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use placet_outbound::{ClientTls, Connector};
use placet_runtime::ports::{Clock, Sleep};
use placet_server::{Clients, ServerOptions, Tls, TlsError, TlsFiles};
use placet_types::ids::{TimeMs, WorkspaceName};
use rcgen::{CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;

const CURRENT: &str = "/api/v1/sessions/current";

/// Somebody who signs certificates.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its private key, in PEM.
#[derive(Clone)]
struct Pair {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, name: &str) -> Pair {
        self.sign_until(name, 2060)
    }

    fn sign_until(&self, name: &str, year: i32) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { certificate, key: key.serialize_pem() }
    }
}

/// A server that speaks TLS, and both sides' authorities.
struct Scene {
    world: World,
    servers: Authority,
    people: Authority,
    files: PathBuf,
    tls: Arc<Tls>,
    _dir: TempDir,
}

fn write(files: &Path, name: &str, text: &str) -> PathBuf {
    let path = files.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn files(dir: &Path, servers: &Authority, people: &Authority, optional: bool) -> TlsFiles {
    let pair = servers.sign("127.0.0.1");
    TlsFiles {
        certificate: write(dir, "server.pem", &pair.certificate),
        key: write(dir, "server.key", &pair.key),
        clients: Some(Clients { authorities: write(dir, "people.pem", &people.pem), optional }),
    }
}

impl Scene {
    async fn new(optional: bool) -> Self {
        Self::start(optional, |options| World::with(Some(BUNDLE), false, options)).await
    }

    async fn start<F: Future<Output = World>>(
        optional: bool,
        start: impl FnOnce(ServerOptions) -> F,
    ) -> Self {
        let (dir, servers, people) = (TempDir::new().unwrap(), Authority::new(), Authority::new());
        let path = dir.path().to_owned();
        let tls = Arc::new(Tls::load(files(&path, &servers, &people, optional)).unwrap());
        let options = ServerOptions { tls: Some(tls.clone()), ..ServerOptions::default() };
        let world = start(options).await;
        Self { world, servers, people, files: path, tls, _dir: dir }
    }

    fn client(&self, pair: Option<&Pair>) -> Asking {
        let identity = pair.map(|it| (it.certificate.clone().into(), it.key.clone().into()));
        let tls = ClientTls { authorities: Some(self.servers.pem.clone().into()), identity };
        let pool = Client::builder(TokioExecutor::new()).build(tls.connector().unwrap());
        Asking { pool, base: format!("https://{}", self.world.address) }
    }

    /// Lets an admin add a certificate.
    async fn bind(&self, actor: &str, roles: &[&str], pair: &Pair) -> Answer {
        let body = json!({"actor": actor, "environment": "production", "roles": roles,
            "certificate": pair.certificate});
        let any = self.people.sign("any");
        let client = self.client(Some(&any));
        client.call("POST", "/api/v1/keys", &[self.admin()], &body).await.unwrap()
    }

    fn admin(&self) -> (&'static str, String) {
        ("authorization", format!("Bearer {}", self.world.admin))
    }
}

/// A client with kept connections.
struct Asking {
    pool: Client<Connector, Full<Bytes>>,
    base: String,
}

impl Asking {
    async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: &Value,
    ) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let answer = self.pool.request(request).await.map_err(|error| format!("{error:?}"))?;
        let (head, body) = answer.into_parts();
        let text = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok(Answer {
            status: head.status.as_u16(),
            headers: format!("{:?}", head.headers),
            text: String::from_utf8(text.to_vec()).unwrap(),
        })
    }

    async fn get(&self, path: &str) -> Result<Answer, String> {
        self.call("GET", path, &[], &Value::Null).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_a_key_until_it_is_revoked() {
    let scene = Scene::new(false).await;
    let support = scene.people.sign("support");
    let client = scene.client(Some(&support));
    // Signed by whom the server trusts, and nobody yet.
    let unknown = client.get(CURRENT).await.unwrap().refused(401, "certificate_unknown");
    let made = scene.bind("agent:support", &["support"], &support).await;
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.json();
    assert_eq!(made.get("key"), None, "there is no secret");
    let hash = at(&made, "/certificate").to_owned();
    assert!(at(&unknown, "/detail").contains(&hash), "an admin can compare: {unknown}");

    let current = client.get(CURRENT).await.unwrap().ok();
    assert_eq!((at(&current, "/actor"), at(&current, "/kind")), ("agent:support", "key"));
    assert_eq!(current["id"], made["id"]);
    let body: Value = serde_json::from_str(&request("c1", "")).unwrap();
    let decided = client.call("POST", "/api/v1/decisions", &[], &body).await.unwrap().ok();
    assert_eq!((at(&decided, "/outcome"), at(&decided, "/actor")), ("PERMIT", "agent:support"));
    // The text of a key that names it opens nothing, whatever its secret.
    let guess = format!("Bearer {}.{hash}", at(&made, "/id"));
    let guess = [("authorization", guess)];
    let guess = client.call("GET", CURRENT, &guess, &Value::Null).await.unwrap();
    guess.refused(401, "key_unknown");
    // A key that is shown speaks, whoever's connection it is.
    let ann = client.call("GET", CURRENT, &[scene.admin()], &Value::Null).await.unwrap().ok();
    assert_eq!(at(&ann, "/actor"), "human:ann");

    let listed = client.call("GET", "/api/v1/keys", &[scene.admin()], &Value::Null).await.unwrap();
    let listed = listed.ok();
    let keys = listed["keys"].as_array().unwrap();
    let found = keys.iter().find(|key| key["id"] == made["id"]).unwrap();
    assert_eq!(at(found, "/certificate"), hash);
    assert!(keys.iter().any(|key| key.get("certificate").is_none()), "{listed}");

    // After a restart as before.
    let Scene { world, servers, people, files, tls, _dir } = scene;
    let scene = Scene { world: world.restart().await, servers, people, files, tls, _dir };
    let client = scene.client(Some(&support));
    assert_eq!(at(&client.get(CURRENT).await.unwrap().ok(), "/actor"), "agent:support");

    let path = format!("/api/v1/keys/{}", at(&made, "/id"));
    let gone = client.call("DELETE", &path, &[scene.admin()], &Value::Null).await.unwrap();
    assert_eq!(gone.status, 204);
    // On the connection that is open, at once.
    client.get(CURRENT).await.unwrap().refused(401, "key_revoked");
    scene.bind("agent:support", &[], &support).await.refused(409, "certificate_taken");
    let Scene { world, servers, people, files, tls, _dir } = scene;
    let scene = Scene { world: world.restart().await, servers, people, files, tls, _dir };
    scene.client(Some(&support)).get(CURRENT).await.unwrap().refused(401, "key_revoked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_stands_for_one_principal_of_the_workspace_that_is_meant() {
    let scene = Scene::new(false).await;
    let pair = scene.people.sign("bob");
    assert_eq!(scene.bind("human:bob", &["operator"], &pair).await.status, 201);
    scene.bind("human:eve", &["operator"], &pair).await.refused(409, "certificate_taken");
    let client = scene.client(Some(&pair));
    assert_eq!(at(&client.get(CURRENT).await.unwrap().ok(), "/actor"), "human:bob");

    // What another workspace says of it counts there alone.
    let name = WorkspaceName::parse("other").unwrap();
    let admin = placet_types::ids::ActorId::parse("human:olga").unwrap();
    let (_, key) = scene.world.plane.create_workspace(name, admin).await.unwrap();
    let named = |more: Option<String>| {
        let mut headers = vec![("placet-workspace", "other".to_owned())];
        headers.extend(more.map(|key| ("authorization", key)));
        headers
    };
    let call = |headers: Vec<(&'static str, String)>, body: Value, method: &'static str| {
        let path = if method == "GET" { CURRENT } else { "/api/v1/keys" };
        let client = &client;
        async move { client.call(method, path, &headers, &body).await.unwrap() }
    };
    call(named(None), Value::Null, "GET").await.refused(401, "certificate_unknown");
    let body = json!({"actor": "human:robert", "environment": "production", "roles": [],
        "certificate": pair.certificate});
    let olga = named(Some(format!("Bearer {}", key.reveal().as_str())));
    assert_eq!(call(olga, body, "POST").await.status, 201);
    let there = call(named(None), Value::Null, "GET").await.ok();
    assert_eq!(at(&there, "/actor"), "human:robert");
    assert_eq!(at(&client.get(CURRENT).await.unwrap().ok(), "/actor"), "human:bob");
    // One that is not there answers like one that does not know it.
    let nowhere = vec![("placet-workspace", "nowhere".to_owned())];
    call(nowhere, Value::Null, "GET").await.refused(401, "certificate_unknown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_good_certificate_is_not_taken_for_one() {
    let scene = Scene::new(false).await;
    let pair = scene.people.sign("bob");
    // The server demands one, of its own authority, that is good today.
    for stranger in [
        None,
        Some(Authority::new().sign("bob")),
        Some(scene.people.sign_until("bob", 2020)),
        Some(Pair { certificate: scene.servers.sign("bob").certificate, ..pair.clone() }),
    ] {
        let tls = ClientTls {
            authorities: None,
            identity: stranger.clone().map(|it| (it.certificate.into(), it.key.into())),
        };
        // A certificate with another's key is refused before anything is sent.
        if tls.connector().is_ok() {
            let failed = scene.client(stranger.as_ref()).get("/healthz").await;
            assert!(failed.is_err(), "{failed:?}");
        }
    }
    // Nor does a client believe a server of another authority.
    let other = ClientTls { authorities: Some(scene.people.pem.clone().into()), identity: None };
    let pool = Client::builder(TokioExecutor::new()).build(other.connector().unwrap());
    let asking = Asking { pool, base: format!("https://{}", scene.world.address) };
    let failed = asking.get("/healthz").await.unwrap_err();
    assert!(failed.contains("InvalidCertificate("), "{failed}");

    // A page of another site makes a browser ask with its certificate.
    scene.bind("human:bob", &["operator"], &pair).await;
    let client = scene.client(Some(&pair));
    for (site, allowed) in
        [("cross-site", false), ("same-site", false), ("same-origin", true), ("none", true)]
    {
        let headers = [("sec-fetch-site", site.to_owned())];
        let answer = client.call("GET", CURRENT, &headers, &Value::Null).await.unwrap();
        if allowed {
            answer.ok();
        } else {
            answer.refused(403, "cross_site");
        }
    }
    // What is brought has to be a certificate, one, and good.
    let two = format!("{}{}", pair.certificate, scene.people.sign("x").certificate);
    let expired = scene.people.sign_until("bob", 2020).certificate;
    for certificate in ["x".to_owned(), pair.key.clone(), two, expired] {
        let refused = scene.bind("human:zoe", &[], &Pair { certificate, ..pair.clone() }).await;
        assert_eq!(refused.refused(400, "field_invalid")["field"], "/certificate");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_certificates_are_optional_keys_count_beside_them() {
    let scene = Scene::new(true).await;
    let client = scene.client(None);
    client.get(CURRENT).await.unwrap().refused(401, "key_missing");
    let ann = client.call("GET", CURRENT, &[scene.admin()], &Value::Null).await.unwrap().ok();
    assert_eq!(at(&ann, "/actor"), "human:ann");
    let pair = scene.people.sign("bob");
    scene.bind("human:bob", &[], &pair).await;
    let bob = scene.client(Some(&pair)).get(CURRENT).await.unwrap().ok();
    assert_eq!(at(&bob, "/actor"), "human:bob");
    // Optional is not careless: who shows one shows a good one.
    let stranger = Authority::new().sign("bob");
    assert!(scene.client(Some(&stranger)).get("/healthz").await.is_err());
    // Plain HTTP is not answered at all.
    let plain = World::read(scene.world.send("GET", "/healthz", "", &[], "").await);
    let plain = tokio::spawn(plain).await;
    assert!(plain.is_err(), "no answer can be read");
}

/// Years pass when it is told to.
struct Years(AtomicU64);

impl Clock for Years {
    fn wall(&self) -> TimeMs {
        TimeMs(1_790_000_000_000 + self.monotonic_ms())
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn sleep(&self, wait: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(wait))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_does_not_outlive_its_certificate() {
    let years = Arc::new(Years(AtomicU64::new(0)));
    let clock = years.clone();
    let scene = Scene::start(false, |options| World::at(BUNDLE, options, clock)).await;
    let pair = scene.people.sign_until("bob", 2040);
    assert_eq!(scene.bind("human:bob", &[], &pair).await.status, 201);
    let client = scene.client(Some(&pair));
    client.get(CURRENT).await.unwrap().ok();
    years.0.store(20 * 365 * 86_400_000, Ordering::SeqCst);
    client.get(CURRENT).await.unwrap().refused(401, "certificate_expired");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_change_are_read_again_and_bad_ones_change_nothing() {
    let mut scene = Scene::new(true).await;
    scene.client(None).get("/healthz").await.unwrap().ok();
    assert!(!scene.tls.look().unwrap());

    // Another authority, and another certificate under it: one half first.
    let other = Authority::new();
    let pair = other.sign("127.0.0.1");
    write(&scene.files, "server.pem", &pair.certificate);
    let error = scene.tls.look().unwrap_err();
    assert!(matches!(error, TlsError::Malformed { .. }), "{error}");
    assert!(!scene.tls.look().unwrap(), "said once");
    scene.client(None).get("/healthz").await.unwrap().ok();
    write(&scene.files, "server.key", &pair.key);
    assert!(scene.tls.look().unwrap());
    let open = scene.client(None);
    assert!(open.get("/healthz").await.is_err(), "the former authority does not vouch for it");
    scene.servers = other;
    let open = scene.client(None);
    open.get("/healthz").await.unwrap().ok();

    // Others can read the key; no file; something else.
    let key = scene.files.join("server.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o604)).unwrap();
    assert!(matches!(scene.tls.reload().unwrap_err(), TlsError::Exposed { .. }));
    std::fs::remove_file(&key).unwrap();
    assert!(matches!(scene.tls.reload().unwrap_err(), TlsError::Unreadable { .. }));
    write(&scene.files, "server.key", "nonsense");
    assert!(matches!(scene.tls.reload().unwrap_err(), TlsError::Malformed { .. }));
    write(&scene.files, "server.key", &pair.key);
    write(&scene.files, "people.pem", "");
    assert!(matches!(scene.tls.reload().unwrap_err(), TlsError::Malformed { .. }));
    scene.client(None).get("/healthz").await.unwrap().ok();

    // Other people's authority: new connections are those of the new one.
    let people = Authority::new();
    write(&scene.files, "people.pem", &people.pem);
    scene.tls.reload().unwrap();
    let former = scene.people.sign("bob");
    assert!(scene.client(Some(&former)).get("/healthz").await.is_err());
    scene.client(Some(&people.sign("bob"))).get("/healthz").await.unwrap().ok();
}
