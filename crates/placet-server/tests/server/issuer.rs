//! An issuer of tokens on this machine, over real HTTP: discovery, keys of three kinds that can be
//! rotated, the device flow; and one that is down, slow, or answers with something else. The tests of
//! the command line use it as well.
#![allow(dead_code, reason = "each binary of tests uses a part of it")]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

/// What the issuer answers.
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    /// As it should.
    Up,
    /// Closes every connection.
    Down,
    /// Takes every connection and says nothing.
    Slow,
    /// This, whatever is asked.
    Says(String),
}

pub(crate) enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
    Ed(Box<Ed25519KeyPair>),
}

pub(crate) struct Key {
    pub(crate) kid: String,
    pub(crate) pair: Pair,
}

#[derive(Default)]
struct Device {
    polls_left: usize,
    claims: Option<Value>,
    denied: bool,
}

struct Shared {
    url: String,
    mode: Mutex<Mode>,
    keys: Mutex<Vec<Arc<Key>>>,
    asked_keys: AtomicUsize,
    device: Mutex<Device>,
}

pub(crate) struct Issuer {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

pub(crate) fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Key {
    pub(crate) fn new(kid: &str, alg: &str) -> Arc<Self> {
        let pair = match alg {
            "RS256" | "PS256" => {
                let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
                Pair::Rsa(Box::new(pair))
            }
            "ES256" => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
                Pair::Ec(Box::new(pair))
            }
            _ => Pair::Ed(Box::new(Ed25519KeyPair::generate().unwrap())),
        };
        Arc::new(Self { kid: kid.to_owned(), pair })
    }

    /// The algorithm that it signs with where nothing else is said.
    pub(crate) fn alg(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_) => "ES256",
            Pair::Ed(_) => "EdDSA",
        }
    }

    pub(crate) fn sign(&self, alg: &str, message: &str) -> Vec<u8> {
        let (random, message) = (SystemRandom::new(), message.as_bytes());
        match &self.pair {
            Pair::Rsa(pair) => {
                let padding: &'static dyn aws_lc_rs::signature::RsaEncoding =
                    if alg == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
            Pair::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// Its public part (RFC 7517).
    pub(crate) fn jwk(&self) -> Value {
        match &self.pair {
            Pair::Rsa(pair) => {
                let public = pair.public_key();
                let n = public.modulus().big_endian_without_leading_zero().to_vec();
                let e = public.exponent().big_endian_without_leading_zero().to_vec();
                json!({"kty": "RSA", "use": "sig", "kid": self.kid, "n": b64(&n), "e": b64(&e)})
            }
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "kid": self.kid, "alg": "ES256",
                       "x": b64(&point[1..33]), "y": b64(&point[33..])})
            }
            Pair::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "kid": self.kid,
                                     "x": b64(pair.public_key().as_ref())}),
        }
    }

    /// A token of these parts.
    pub(crate) fn token(&self, header: &Value, claims: &Value) -> String {
        let alg = header["alg"].as_str().unwrap_or_else(|| self.alg());
        self.signed(alg, &header.to_string(), &claims.to_string())
    }

    /// A token of these texts, JSON or not.
    pub(crate) fn signed(&self, alg: &str, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", b64(header.as_bytes()), b64(claims.as_bytes()));
        format!("{message}.{}", b64(&self.sign(alg, &message)))
    }
}

impl Issuer {
    /// With one key for Ed25519, `first`.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            url: url.clone(),
            mode: Mutex::new(Mode::Up),
            keys: Mutex::new(vec![Key::new("first", "EdDSA")]),
            asked_keys: AtomicUsize::new(0),
            device: Mutex::default(),
        });
        let serving = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = serving.clone();
                std::thread::spawn(move || answer(&shared, stream));
            }
        });
        Self { url, shared }
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    /// From here on these are its keys.
    pub(crate) fn rotate(&self, keys: Vec<Arc<Key>>) {
        *self.shared.keys.lock().unwrap() = keys;
    }

    pub(crate) fn key(&self) -> Arc<Key> {
        self.shared.keys.lock().unwrap()[0].clone()
    }

    /// How often its keys were asked for.
    pub(crate) fn asked(&self) -> usize {
        self.shared.asked_keys.load(Ordering::SeqCst)
    }

    /// Claims of a good token for ten minutes, with `more` added or replaced; null takes away.
    pub(crate) fn claims(&self, name: &str, more: &Value) -> Value {
        let now = seconds();
        let mut claims = json!({"iss": self.url, "aud": "placet", "sub": name, "iat": now, "exp": now + 600,
                                "jti": format!("{name}-{:?}", std::time::Instant::now())});
        for (key, value) in more.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(key);
            } else {
                claims[key] = value.clone();
            }
        }
        claims
    }

    /// A good token, but for what `more` says.
    pub(crate) fn token(&self, name: &str, more: &Value) -> String {
        let key = self.key();
        let header = json!({"alg": key.alg(), "kid": key.kid, "typ": "JWT"});
        key.token(&header, &self.claims(name, more))
    }

    /// The next device is let in after so many questions.
    pub(crate) fn let_in(&self, polls: usize, claims: Value) {
        let device = Device { polls_left: polls, claims: Some(claims), denied: false };
        *self.shared.device.lock().unwrap() = device;
    }

    /// The next device is refused.
    pub(crate) fn refuse(&self) {
        *self.shared.device.lock().unwrap() = Device { denied: true, ..Device::default() };
    }
}

fn answer(shared: &Shared, mut stream: TcpStream) {
    let mode = shared.mode.lock().unwrap().clone();
    if let Mode::Down = mode {
        return;
    }
    let Some((path, body)) = read(&mut stream) else { return };
    let (status, text) = match mode {
        Mode::Slow => {
            // Until the other end has had enough.
            let _ = stream.read(&mut [0]);
            return;
        }
        Mode::Says(text) => {
            let _ = stream.write_all(text.as_bytes());
            return;
        }
        _ => respond(shared, &path, &body),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        text.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(text.as_bytes()));
}

fn read(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?.to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|it| it.lines().next());
    let mut body = vec![0; length.map_or(Some(0), |it| it.trim().parse().ok())?];
    stream.read_exact(&mut body).ok()?;
    Some((head.split(' ').nth(1)?.to_owned(), String::from_utf8(body).ok()?))
}

fn respond(shared: &Shared, path: &str, body: &str) -> (u16, String) {
    let url = &shared.url;
    match path {
        "/.well-known/openid-configuration" => {
            let document = json!({
                "issuer": url, "jwks_uri": format!("{url}/keys"),
                "device_authorization_endpoint": format!("{url}/device"),
                "token_endpoint": format!("{url}/token"),
                "id_token_signing_alg_values_supported": ["EdDSA", "RS256", "ES256"],
            });
            (200, document.to_string())
        }
        "/keys" => {
            shared.asked_keys.fetch_add(1, Ordering::SeqCst);
            let keys: Vec<Value> =
                shared.keys.lock().unwrap().iter().map(|key| key.jwk()).collect();
            (200, json!({"keys": keys}).to_string())
        }
        "/device" if body.contains("client_id=cli") => {
            let document = json!({
                "device_code": "device-1", "user_code": "WDJB-MJHT", "expires_in": 60, "interval": 0,
                "verification_uri": format!("{url}/activate"),
            });
            (200, document.to_string())
        }
        "/token" if body.contains("device_code=device-1") && body.contains("client_id=cli") => {
            token_for_device(shared)
        }
        _ => (400, json!({"error": "invalid_request"}).to_string()),
    }
}

fn token_for_device(shared: &Shared) -> (u16, String) {
    let mut device = shared.device.lock().unwrap();
    let error = |code: &str| (400, json!({"error": code}).to_string());
    if device.denied {
        return error("access_denied");
    }
    if device.polls_left > 0 {
        device.polls_left -= 1;
        return error("authorization_pending");
    }
    let Some(claims) = device.claims.take() else { return error("expired_token") };
    let key = shared.keys.lock().unwrap()[0].clone();
    let token = key.token(&json!({"alg": key.alg(), "kid": key.kid}), &claims);
    let document = json!({"access_token": "opaque", "token_type": "Bearer", "id_token": token});
    (200, document.to_string())
}
