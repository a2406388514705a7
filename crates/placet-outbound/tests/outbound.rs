//! The client against real sockets: plain and TLS, and peers that misbehave.

use bytes::Bytes;
use hyper::http::Request;
use placet_outbound::{Bounds, Inside, Outbound, OutboundError};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

const BOUNDS: Bounds = Bounds { within: Duration::from_secs(20), answer_max: 1000 };

/// A peer that reads a request's head, writes `answer`, and then keeps the connection open or not.
struct Peer {
    at: SocketAddr,
    asked: Arc<AtomicUsize>,
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answer: Vec<u8>, stay: bool) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let _ = stream.write_all(&answer).await;
    let _ = stream.flush().await;
    if stay {
        std::future::pending::<()>().await;
    }
    let _ = stream.shutdown().await;
}

async fn peer(answer: &str, stay: bool, tls: Option<TlsAcceptor>) -> Peer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let (counted, answer) = (Arc::clone(&asked), answer.as_bytes().to_vec());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let (answer, tls) = (answer.clone(), tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => serve(stream, answer, stay).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            serve(stream, answer, stay).await;
                        }
                    }
                }
            });
        }
    });
    Peer { at, asked }
}

fn get(url: &str) -> Request<Bytes> {
    Request::get(url).body(Bytes::new()).unwrap()
}

/// An authority of our own, and a server with a certificate of it for `name`.
fn authority(name: &str) -> (String, TlsAcceptor) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = params.self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::from_params(&params, &key);
    let own = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    let leaf = leaf.signed_by(&own, &issuer).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.serialize_der())),
        )
        .unwrap();
    (root.pem(), TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn plain_http_is_answered() {
    let peer = peer("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", false, None).await;
    let outbound = Outbound::new(None).unwrap();
    let answer = outbound.send(get(&format!("http://{}/x", peer.at)), BOUNDS).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.body().as_ref()), (200, &b"hello"[..]));
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let elsewhere = peer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false, None).await;
    let head = format!("location: http://{}/\r\ncontent-length: 0", elsewhere.at);
    let peer = peer(&format!("HTTP/1.1 302 Found\r\n{head}\r\n\r\n"), false, None).await;
    let outbound = Outbound::new(None).unwrap();
    let answer = outbound.send(get(&format!("http://{}/", peer.at)), BOUNDS).await.unwrap();
    assert_eq!(answer.status().as_u16(), 302);
    assert_eq!(elsewhere.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn peers_that_misbehave_are_errors() {
    let long = "x".repeat(1001);
    let whole = "x".repeat(1000);
    let head = "x".repeat(200 << 10);
    let short = Bounds { within: Duration::from_millis(50), ..BOUNDS };
    let late = Err(OutboundError::TimedOut);
    let large = Err(OutboundError::TooLarge { answer_max: 1000 });
    let rows = [
        ("says nothing", String::new(), true, short, late.clone()),
        (
            "stops in the body",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nxx".into(),
            true,
            short,
            late,
        ),
        (
            "as much as it may",
            format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{whole}"),
            false,
            BOUNDS,
            Ok(1000),
        ),
        (
            "too long",
            format!("HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n{long}"),
            false,
            BOUNDS,
            large.clone(),
        ),
        (
            "too long without a length",
            format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3e9\r\n{long}\r\n0\r\n\r\n"
            ),
            false,
            BOUNDS,
            large,
        ),
    ];
    let outbound = Outbound::new(None).unwrap();
    for (what, answer, stay, bounds, wanted) in rows {
        let peer = peer(&answer, stay, None).await;
        let got = outbound.send(get(&format!("http://{}/", peer.at)), bounds).await;
        assert_eq!(got.map(|answer| answer.body().len()), wanted, "{what}");
    }
    for (what, answer) in [
        ("cut off", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nxx".to_owned()),
        ("no HTTP", "220 mail ready\r\n".to_owned()),
        ("a head without end", format!("HTTP/1.1 200 OK\r\nx: {head}\r\n\r\n")),
    ] {
        let peer = peer(&answer, false, None).await;
        let got = outbound.send(get(&format!("http://{}/", peer.at)), BOUNDS).await;
        assert!(matches!(got, Err(OutboundError::Broken { .. })), "{what}: {got:?}");
    }
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let got = outbound.send(get(&format!("http://{gone}/")), BOUNDS).await;
    assert!(matches!(got, Err(OutboundError::Unreachable { .. })), "{got:?}");
}

#[tokio::test]
async fn an_address_names_a_host_and_nothing_secret() {
    let outbound = Outbound::new(None).unwrap();
    for address in ["/path", "ftp://host/", "http://user:word@127.0.0.1/", "https://user@host/"] {
        let got = outbound.send(get(address), BOUNDS).await;
        assert_eq!(got.map(|_| ()), Err(OutboundError::Address), "{address}");
    }
}

#[tokio::test]
async fn certificates_are_checked() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let (pem, tls) = authority("localhost");
    let good = peer(answer, false, Some(tls)).await;
    let trusting = Outbound::new(Some(pem.as_bytes())).unwrap();
    let url = format!("https://localhost:{}/", good.at.port());
    let got = trusting.send(get(&url), BOUNDS).await.unwrap();
    assert_eq!(got.body().as_ref(), b"ok");

    let got = Outbound::new(None).unwrap().send(get(&url), BOUNDS).await;
    assert!(matches!(got, Err(OutboundError::Untrusted { .. })), "unknown authority: {got:?}");

    let (pem, tls) = authority("other.example");
    let named = peer(answer, false, Some(tls)).await;
    let trusting = Outbound::new(Some(pem.as_bytes())).unwrap();
    let got = trusting.send(get(&format!("https://localhost:{}/", named.at.port())), BOUNDS).await;
    assert!(matches!(got, Err(OutboundError::Untrusted { .. })), "other name: {got:?}");

    // One that speaks before it was greeted: it waits for no head that a handshake does not have.
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = plain.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = plain.accept().await {
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let got = trusting.send(get(&format!("https://localhost:{port}/")), BOUNDS).await;
    assert!(matches!(got, Err(OutboundError::Unreachable { .. })), "no TLS: {got:?}");
}

#[test]
fn trust_anchors_are_certificates() {
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for pem in ["", "no certificate", broken] {
        let got = Outbound::new(Some(pem.as_bytes())).map(|_| ());
        assert!(matches!(got, Err(OutboundError::Roots { .. })), "{pem:?}: {got:?}");
    }
}

#[tokio::test]
async fn addresses_inside_are_refused_unless_they_are_allowed() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let peer = peer(answer, false, None).await;
    let port = peer.at.port();
    let strict = Outbound::outside(None, Inside::default()).unwrap();
    // By address, in forms that only a resolver understands, and by name.
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f.1", "localhost"] {
        let got = strict.send(get(&format!("http://{host}:{port}/")), BOUNDS).await;
        let refused = got.map(|_| ()).unwrap_err();
        let unknown = matches!(refused, OutboundError::Unreachable { .. });
        assert!(refused == OutboundError::Inside || unknown, "{host}: {refused:?}");
        if host == "localhost" || host.starts_with("127.0") {
            assert_eq!(refused, OutboundError::Inside, "{host}");
        }
    }
    assert_eq!(peer.asked.load(Ordering::SeqCst), 0, "nothing was connected to");
    for inside in [Inside::loopback(), Inside::default().allow("localhost").unwrap()] {
        let outbound = Outbound::outside(None, inside).unwrap();
        let url = format!("http://localhost:{port}/");
        assert_eq!(outbound.send(get(&url), BOUNDS).await.unwrap().status().as_u16(), 200);
    }
    // What the operator chose is reached.
    let own = Outbound::new(None).unwrap();
    assert!(own.send(get(&format!("http://127.0.0.1:{port}/")), BOUNDS).await.is_ok());
}
