//! Tokens and key sets against an issuer on this machine; time is an input.

use super::token::Presented;
use super::{Bounds, KEEP_MS, RETRY_MS, Tokens, UNKNOWN_MS};
use placet_outbound::Inside;
use placet_policy::{Bundle, Issuer as Trusted, Source};
use placet_runtime::VerifiedToken;
use placet_runtime::crypto::Fast;
use placet_types::ids::TimeMs;
use serde_json::{Value, json};
use std::time::Duration;

#[path = "../../tests/server/issuer.rs"]
mod issuer;
use issuer::{Issuer, Key, Mode, b64, seconds};

struct World {
    issuer: Issuer,
    bundle: Bundle,
    tokens: Tokens,
}

impl World {
    fn new() -> Self {
        Self::with("")
    }

    fn with(more: &str) -> Self {
        let issuer = Issuer::start();
        let text = format!(
            "version: v1\nidentity:\n  - id: corp\n    issuer: {}\n    audience: placet\n    environment: production\n    \
             max_life: 1h\n    leeway: 30s\n{more}    grants: [{{ claim: groups, value: ops, roles: [operator] }}]\n",
            issuer.url
        );
        let source = Source { name: "a.yaml".into(), text };
        let bundle = Bundle::compile::<Fast>(&[source]).unwrap_or_else(|e| panic!("{e:?}"));
        let mut tokens = Tokens::new(None, Inside::loopback());
        // Long enough for whoever answers, and no test waits for more than this.
        tokens.bounds = Bounds { within: Duration::from_millis(700), ..tokens.bounds };
        Self { issuer, bundle, tokens }
    }

    fn trusted(&self) -> &Trusted {
        &self.bundle.issuers()[0]
    }

    /// The code of the refusal, or the token; `now_ms` is the clock of the key sets.
    async fn ask(&self, token: &str, now_ms: u64) -> Result<VerifiedToken, (String, String)> {
        self.ask_at(token, TimeMs(seconds() * 1000), now_ms).await
    }

    async fn ask_at(
        &self,
        token: &str,
        now: TimeMs,
        now_ms: u64,
    ) -> Result<VerifiedToken, (String, String)> {
        let refused = |problem: crate::problem::Problem| {
            let document = problem.document();
            (document.code.clone(), document.detail.clone())
        };
        let presented = Presented::parse(token).map_err(refused)?;
        let issuer = self.trusted();
        // What chooses the part of the bundle, which is the only one here.
        if presented.issuer().map_err(refused)? != issuer.issuer
            || !presented.is_for(&issuer.audience)
        {
            return Err(("issuer_unknown".into(), String::new()));
        }
        self.tokens.verify(&presented, issuer, now, now_ms).await.map_err(refused)
    }

    async fn code(&self, token: &str, now_ms: u64) -> &'static str {
        match self.ask(token, now_ms).await {
            Ok(_) => "good",
            Err((code, _)) => String::leak(code),
        }
    }
}

#[tokio::test]
async fn every_kind_of_key_is_checked_with_its_own_algorithms() {
    let world = World::new();
    let keys = ["RS256", "ES256", "EdDSA"].map(|alg| Key::new(alg, alg));
    world.issuer.rotate(keys.to_vec());
    let claims = world.issuer.claims("ann", &json!({}));
    let allowed = [
        ("RS256", ["RS256", "PS256"]),
        ("ES256", ["ES256", "ES256"]),
        ("EdDSA", ["EdDSA", "EdDSA"]),
    ];
    for key in &keys {
        let (_, able) = allowed.iter().find(|(kid, _)| *kid == key.kid).unwrap();
        for alg in ["RS256", "PS256", "ES256", "EdDSA", "RS384", "HS256", "none", "ed25519", ""] {
            let token = key.token(&json!({"alg": alg, "kid": key.kid}), &claims);
            let wanted = if able.contains(&alg) { "good" } else { "token_invalid" };
            assert_eq!(world.code(&token, 0).await, wanted, "{} {alg}", key.kid);
        }
    }
    // Of keys that could, one is meant; which, is not guessed.
    let token = keys[2].token(&json!({"alg": "EdDSA"}), &claims);
    assert_eq!(world.code(&token, 0).await, "good", "the only key of this kind");
    world.issuer.rotate(vec![keys[2].clone(), Key::new("other", "EdDSA")]);
    let world = World { tokens: Tokens::new(None, Inside::loopback()), ..world };
    assert_eq!(world.code(&token, 0).await, "token_invalid", "one of two");
    assert_eq!(world.issuer.asked(), 2);
}

#[tokio::test]
async fn what_the_policy_does_not_list_is_no_algorithm() {
    let world = World::with("    algorithms: [ES256]\n");
    assert_eq!(world.code(&world.issuer.token("ann", &json!({})), 0).await, "token_invalid");
    assert_eq!(world.issuer.asked(), 0, "nothing was fetched for it");
}

#[tokio::test]
async fn forged_and_malformed_tokens_are_refused() {
    let world = World::new();
    let rsa = Key::new("rsa", "RS256");
    let own = world.issuer.key();
    world.issuer.rotate(vec![own.clone(), rsa.clone()]);
    let claims = world.issuer.claims("ann", &json!({"groups": ["ops"]}));
    let good = own.token(&json!({"alg": "EdDSA", "kid": "first"}), &claims);
    let found = world.ask(&good, 0).await.unwrap();
    assert_eq!((found.actor.as_str(), found.chain.len()), ("human:ann", 0));
    let parts: Vec<&str> = good.split('.').collect();
    let unsigned = |header: Value| format!("{}.{}.", b64(header.to_string().as_bytes()), parts[1]);
    // The public key as the secret of an HMAC.
    let hmac = {
        use aws_lc_rs::hmac;
        let message = format!("{}.{}", b64(br#"{"alg":"HS256","kid":"rsa"}"#), parts[1]);
        let secret = rsa.jwk()["n"].as_str().unwrap().to_owned();
        let tag =
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message.as_bytes());
        format!("{message}.{}", b64(tag.as_ref()))
    };
    let stranger = Key::new("first", "EdDSA");
    let header = json!({"alg": "EdDSA", "kid": "first"});
    let text = claims.to_string();
    let raw = |header: &str, claims: &str| own.signed("EdDSA", header, claims);
    let plain = r#"{"alg":"EdDSA","kid":"first"}"#;
    let rows: Vec<(&str, String)> = vec![
        ("alg none", unsigned(json!({"alg": "none"}))),
        ("alg None, signed", raw(r#"{"alg":"None","kid":"first"}"#, &text)),
        ("no alg", raw(r#"{"kid":"first"}"#, &text)),
        ("HS256 with the public key", hmac),
        ("another key under the same name", stranger.token(&header, &claims)),
        (
            "a key in the header",
            stranger.token(&json!({"alg": "EdDSA", "jwk": stranger.jwk()}), &claims),
        ),
        (
            "keys from elsewhere",
            stranger.token(
                &json!({"alg": "EdDSA", "kid": "first", "jku": "http://127.0.0.1:1/"}),
                &claims,
            ),
        ),
        ("kid of a path", own.token(&json!({"alg": "EdDSA", "kid": "../../first"}), &claims)),
        ("kid of SQL", own.token(&json!({"alg": "EdDSA", "kid": "first' OR '1'='1"}), &claims)),
        ("kid that is no text", own.token(&json!({"alg": "EdDSA", "kid": ["first"]}), &claims)),
        ("long kid", own.token(&json!({"alg": "EdDSA", "kid": "x".repeat(300)}), &claims)),
        ("kid of another type of key", own.token(&json!({"alg": "EdDSA", "kid": "rsa"}), &claims)),
        (
            "critical extension",
            own.token(&json!({"alg": "EdDSA", "kid": "first", "crit": ["exp"]}), &claims),
        ),
        (
            "a token for logging out",
            own.token(&json!({"alg": "EdDSA", "kid": "first", "typ": "logout+jwt"}), &claims),
        ),
        (
            "altered claims",
            format!("{}.{}.{}", parts[0], b64(text.replace("ops", "adm").as_bytes()), parts[2]),
        ),
        ("cut signature", good[..good.len() - 4].to_owned()),
        ("empty signature", format!("{}.{}.", parts[0], parts[1])),
        ("padded", format!("{}=.{}.{}", parts[0], parts[1], parts[2])),
        ("claims twice", raw(plain, &text.replacen('{', r#"{"sub":"bob","#, 1))),
        ("header twice", raw(r#"{"alg":"none","alg":"EdDSA","kid":"first"}"#, &text)),
        ("no JSON", raw(plain, "ann")),
        ("a list", raw(plain, "[]")),
        (
            "deep",
            raw(
                plain,
                &text.replacen('{', &format!(r#"{{"x":{}1{},"#, "[".repeat(40), "]".repeat(40)), 1),
            ),
        ),
        (
            "large",
            raw(plain, &text.replacen('{', &format!(r#"{{"x":"{}","#, "x".repeat(20_000)), 1)),
        ),
        ("no parts", "..".to_owned()),
    ];
    for (what, token) in rows {
        assert_eq!(world.code(&token, 0).await, "token_invalid", "{what}");
    }
    assert_eq!(world.issuer.asked(), 1, "none of them asked the issuer again");
}

#[tokio::test]
async fn claims_are_held_to_the_policy() {
    let world = World::new();
    let now = seconds();
    let rows = [
        ("another audience", json!({"aud": "other"}), "issuer_unknown"),
        ("audiences, ours among them", json!({"aud": ["other", "placet"]}), "good"),
        ("no audience", json!({"aud": null}), "issuer_unknown"),
        ("another issuer", json!({"iss": "https://login.example.com"}), "issuer_unknown"),
        (
            "the issuer and a slash",
            json!({"iss": format!("{}/", world.issuer.url)}),
            "issuer_unknown",
        ),
        ("a list of issuers", json!({"iss": [world.issuer.url]}), "token_invalid"),
        ("expired", json!({"exp": now - 31, "iat": now - 100}), "token_expired"),
        ("no end", json!({"exp": null}), "token_invalid"),
        ("an end in words", json!({"exp": "tomorrow"}), "token_invalid"),
        ("an end before all time", json!({"exp": -1}), "token_invalid"),
        ("an end beyond all time", json!({"exp": u64::MAX}), "token_invalid"),
        ("no beginning", json!({"iat": null}), "token_invalid"),
        ("from the future", json!({"iat": now + 40, "exp": now + 60}), "token_invalid"),
        ("not valid yet", json!({"nbf": now + 40}), "token_invalid"),
        ("as long as it may", json!({"iat": now - 10, "exp": now + 3590}), "good"),
        ("longer than it may", json!({"iat": now - 10, "exp": now + 3591}), "token_invalid"),
        ("no name", json!({"sub": null}), "token_invalid"),
        ("a name that is none", json!({"sub": "ann smith"}), "token_invalid"),
        ("a name that is a number", json!({"sub": 7}), "token_invalid"),
        ("act of nobody", json!({"act": {}}), "token_invalid"),
        ("act in words", json!({"act": "agent"}), "token_invalid"),
        (
            "act of another issuer",
            json!({"act": {"sub": "x", "iss": "https://other"}}),
            "token_invalid",
        ),
    ];
    for (what, more, wanted) in rows {
        let token = world.issuer.token("ann", &more);
        assert_eq!(world.code(&token, 0).await, wanted, "{what}");
    }
}

#[tokio::test]
async fn clocks_may_differ_by_the_leeway_and_no_more() {
    let world = World::new();
    let token = world.issuer.token("ann", &json!({"iat": 1000, "nbf": 1000, "exp": 2000}));
    let rows = [
        (969_999, "token_invalid"),
        (970_000, "good"),
        (2_029_999, "good"),
        (2_030_000, "token_expired"),
    ];
    for (now, wanted) in rows {
        let got = world.ask_at(&token, TimeMs(now), 0).await;
        let got = got.map_or_else(
            |(code, _)| code,
            |token| {
                assert_eq!(token.token.until, TimeMs(2_030_000), "and so long its session");
                "good".to_owned()
            },
        );
        assert_eq!(got, wanted, "{now}");
    }
}

#[tokio::test]
async fn a_chain_of_actors_is_read_from_within() {
    let world = World::with("    prefix: corp\n    delegates: service\n");
    let act = json!({"act": {"sub": "third", "act": {"sub": "second", "act": {"sub": "first"}}}});
    let token = world.ask(&world.issuer.token("ann", &act), 0).await.unwrap();
    let chain: Vec<&str> = token.chain.iter().map(|actor| actor.as_str()).collect();
    assert_eq!(token.actor.as_str(), "service:corp/third");
    assert_eq!(chain, ["human:corp/ann", "service:corp/first", "service:corp/second"]);
    let mut act = json!({"sub": "a0"});
    for depth in 1..=8 {
        act = json!({"sub": format!("a{depth}"), "act": act});
        let token = world.issuer.token("ann", &json!({"act": act}));
        let wanted = if depth < 8 { "good" } else { "chain_too_deep" };
        assert_eq!(world.code(&token, 0).await, wanted, "{depth}");
    }
}

#[tokio::test]
async fn a_rotated_key_is_found_and_made_up_names_ask_once() {
    let world = World::new();
    let old = world.issuer.token("ann", &json!({}));
    assert_eq!(world.code(&old, 0).await, "good");
    world.issuer.rotate(vec![Key::new("second", "ES256")]);
    let new = world.issuer.token("ann", &json!({}));
    assert_eq!(world.code(&new, UNKNOWN_MS - 1).await, "token_invalid", "asked a moment ago");
    assert_eq!(world.issuer.asked(), 1);
    assert_eq!(world.code(&new, UNKNOWN_MS).await, "good");
    assert_eq!(world.code(&old, UNKNOWN_MS).await, "token_invalid", "its key is gone");
    assert_eq!(world.issuer.asked(), 2);
    let key = world.issuer.key();
    let claims = world.issuer.claims("ann", &json!({}));
    for at in 0..300 {
        let token = key.token(&json!({"alg": "ES256", "kid": format!("made-up-{at}")}), &claims);
        assert_eq!(world.code(&token, 2 * UNKNOWN_MS + at).await, "token_invalid");
    }
    assert_eq!(world.issuer.asked(), 3);
    assert_eq!(world.code(&new, 2 * UNKNOWN_MS).await, "good", "nobody is kept out by it");
}

#[tokio::test]
async fn an_issuer_that_is_down_is_not_missed_for_a_while() {
    let world = World::new();
    let token = world.issuer.token("ann", &json!({}));
    let unknown = Key::new("unknown", "EdDSA")
        .token(&json!({"alg": "EdDSA", "kid": "unknown"}), &world.issuer.claims("ann", &json!({})));
    world.issuer.set(Mode::Down);
    assert_eq!(world.code(&token, 0).await, "issuer_unavailable");
    world.issuer.set(Mode::Up);
    assert_eq!(world.code(&token, RETRY_MS - 1).await, "issuer_unavailable", "tried a moment ago");
    assert_eq!(world.code(&token, RETRY_MS).await, "good");
    let html = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>";
    let large = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 400000\r\nconnection: close\r\n\r\n{}",
        "x".repeat(400_000)
    );
    let redirect = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let other = r#"{"issuer":"http://127.0.0.1:1","jwks_uri":"http://127.0.0.1:1/"}"#;
    let other = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{other}",
        other.len()
    );
    let modes = [
        Mode::Down,
        Mode::Slow,
        Mode::Says(html.to_owned()),
        Mode::Says(large),
        Mode::Says(redirect.to_owned()),
        Mode::Says(other),
        Mode::Says("HTTP/1.1 500 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned()),
    ];
    for (at, mode) in modes.into_iter().enumerate() {
        world.issuer.set(mode.clone());
        let now = RETRY_MS + (at as u64 + 1) * UNKNOWN_MS;
        assert_eq!(world.code(&unknown, now).await, "token_invalid", "{mode:?}");
        assert_eq!(world.code(&token, now).await, "good", "the set before is kept: {mode:?}");
        let fresh = World {
            tokens: Tokens { bounds: world.tokens.bounds, ..Tokens::new(None, Inside::loopback()) },
            ..World::new()
        };
        fresh.issuer.set(mode.clone());
        let first = fresh.issuer.token("ann", &json!({}));
        assert_eq!(fresh.code(&first, 0).await, "issuer_unavailable", "{mode:?}");
    }
    assert_eq!(world.code(&token, RETRY_MS + KEEP_MS - 1).await, "good");
    assert_eq!(world.code(&token, RETRY_MS + KEEP_MS).await, "issuer_unavailable");
    world.issuer.set(Mode::Up);
    assert_eq!(world.code(&token, 2 * RETRY_MS + KEEP_MS).await, "good");
}
