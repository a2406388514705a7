//! Signing in from the command line: the device flow, a token from standard input, and the file of keys.

use crate::issuer::{Issuer, Key, Mode};
use crate::support::{Server, command, fed, finish};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

struct World {
    issuer: Issuer,
    server: Server,
    dir: TempDir,
}

impl World {
    fn new() -> Self {
        let issuer = Issuer::start();
        let dir = tempfile::tempdir().unwrap();
        let bundle = dir.path().join("policy");
        std::fs::create_dir(&bundle).unwrap();
        let text = format!(
            "version: v1\nidentity:\n  - id: corp\n    issuer: {}\n    audience: placet\n    environment: production\n    \
             grants: [{{ claim: groups, value: ops, roles: [operator] }}]\n",
            issuer.url
        );
        std::fs::write(bundle.join("identity.yaml"), text).unwrap();
        let data = dir.path().join("data");
        let mut up = command(&["up", "--listen", "127.0.0.1:0", "--allow-inside", "127.0.0.1"]);
        up.arg("--bundle").arg(&bundle).arg("--data").arg(&data);
        let server = Server::listening(up, tempfile::tempdir().unwrap());
        Self { issuer, server, dir }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("config").join("placet").join("credentials.json")
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = command(args);
        command
            .env_remove("PLACET_CREDENTIALS")
            .env("XDG_CONFIG_HOME", self.dir.path().join("config"));
        command.args(["--url", &self.server.url]);
        command
    }

    fn run(&self, args: &[&str]) -> crate::support::Run {
        finish(&mut self.command(args))
    }

    fn claims(&self) -> Value {
        self.issuer.claims("ann", &json!({"groups": ["ops"]}))
    }

    fn device(&self, more: &[&str]) -> crate::support::Run {
        let mut args = vec!["login", "--issuer", &self.issuer.url, "--client-id", "cli"];
        args.extend(more);
        self.run(&args)
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_code_is_confirmed_and_commands_use_the_session() {
    let world = World::new();
    let nobody = world.run(&["whoami", "--json"]).exits(1);
    assert_eq!(nobody.json()["code"], "key_missing");
    assert!(nobody.err.contains("placet login"), "{nobody:?}");
    world.issuer.let_in(2, world.claims());
    let run = world.device(&[]).exits(0);
    assert!(run.err.contains("/activate and confirm the code WDJB-MJHT"), "{run:?}");
    assert!(run.out.contains("human:ann") && run.out.contains("operator"), "{run:?}");
    let kept: Value =
        serde_json::from_str(&std::fs::read_to_string(world.file()).unwrap()).unwrap();
    let key = kept[&world.server.url]["key"].as_str().unwrap().to_owned();
    assert!(!run.out.contains(&key), "the key is not shown");
    assert_eq!((mode(&world.file()), mode(world.file().parent().unwrap())), (0o600, 0o700));
    let who = world.run(&["whoami", "--json"]).exits(0).json();
    assert_eq!(
        (who["actor"].as_str(), who["roles"].clone()),
        (Some("human:ann"), json!(["operator"]))
    );
    // A key that is given is the one that is used.
    let admin = world.server.key.clone().unwrap();
    let who = world.run(&["whoami", "--json", "--key", &admin]).exits(0).json();
    assert_eq!(who["actor"], "human:admin");
    world.run(&["logout"]).exits(0);
    assert!(!std::fs::read_to_string(world.file()).unwrap().contains(&key));
    let gone = world.run(&["whoami", "--json", "--key", &key]).exits(1);
    assert_eq!(gone.json()["code"], "session_closed");
    assert!(world.run(&["logout"]).exits(0).out.contains("nobody is signed in"));
}

#[test]
fn a_token_comes_from_standard_input_and_nowhere_else() {
    let world = World::new();
    let token = world.issuer.token("ann", &json!({"groups": ["ops"]}));
    let feed = |text: &str| {
        let file = world.file();
        let args = ["login", "--token", "-", "--json", "--url", &world.server.url];
        // Without a directory of configuration there is still the file that is named.
        crate::support::fed_with(&args, text, &[("PLACET_CREDENTIALS", file.to_str().unwrap())])
    };
    let made = feed(&format!("{token}\n")).exits(0).json();
    assert_eq!(made["actor"], "human:ann");
    assert_eq!(made.get("key"), None);
    assert_eq!(world.run(&["whoami", "--json"]).exits(0).json()["id"], made["id"]);
    assert_eq!(feed(&token).exits(1).json()["code"], "token_used");
    assert_eq!(feed("").exits(2).json()["code"], "usage");
    assert_eq!(feed("two words").exits(2).json()["code"], "usage");
    let bad =
        Key::new("first", "EdDSA").token(&json!({"alg": "EdDSA", "kid": "first"}), &world.claims());
    assert_eq!(feed(&bad).exits(1).json()["code"], "token_invalid");
    let none = world.issuer.token("eve", &json!({}));
    assert_eq!(feed(&none).exits(1).json()["code"], "token_unmapped");
    assert_eq!(fed(&["login", "--token", &token, "--json"], "").exits(2).json()["code"], "usage");
    // What others can read is not used, and says so.
    std::fs::set_permissions(world.file(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = world.run(&["whoami", "--json"]).exits(1);
    assert_eq!(open.json()["code"], "credentials_exposed");
    std::fs::set_permissions(world.file(), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(world.file(), "[]").unwrap();
    assert!(world.run(&["whoami"]).exits(1).err.contains("no file of credentials"));
}

#[test]
fn a_login_that_does_not_end_well_leaves_nothing() {
    let world = World::new();
    world.issuer.refuse();
    let run = world.device(&["--json"]).exits(1);
    assert_eq!(run.json()["code"], "login_failed");
    assert!(run.err.contains("refused"), "{run:?}");
    world.issuer.let_in(0, world.claims());
    let other =
        world.run(&["login", "--issuer", &world.issuer.url, "--client-id", "other", "--json"]);
    assert_eq!(other.exits(1).json()["code"], "login_failed");
    let slash = format!("{}/", world.issuer.url);
    let other = world.run(&["login", "--issuer", &slash, "--client-id", "cli", "--json"]).exits(1);
    assert!(other.err.contains("of another issuer"), "{other:?}");
    // The access token of this issuer is none that anybody could check.
    let run = world.device(&["--json", "--access-token"]).exits(1);
    assert_eq!(run.json()["code"], "field_missing");
    world.issuer.set(Mode::Down);
    assert_eq!(world.device(&["--json"]).exits(1).json()["code"], "login_failed");
    assert!(!world.file().exists());
    world.run(&["login"]).exits(2);
    world.run(&["login", "--issuer", &world.issuer.url]).exits(2);
}

#[test]
fn people_sign_in_as_the_guide_says() {
    let world = World::new();
    let token = world.issuer.token("ann", &json!({"groups": ["ops"]}));
    let admin = world.server.key.clone().unwrap();
    let environment = [("TOKEN", token.as_str()), ("ADMIN", admin.as_str())];
    crate::guide::follow_on(&world.server, "docs/guides/sign-in.md", 5, &environment);
}
