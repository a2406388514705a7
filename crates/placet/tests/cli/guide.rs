//! The guide's commands, run as they stand: `sh` blocks in order, each with what it has to print.

use crate::support::{BIN, Server, repository};
use std::path::Path;
use std::process::Command;

#[test]
fn the_first_decision_is_made_as_the_guide_says() {
    follow("docs/guides/first-decision.md", 8);
}

#[test]
fn a_policy_is_changed_as_the_guide_says() {
    follow("docs/guides/change-a-policy.md", 9);
}

#[test]
fn personal_data_is_erased_as_the_guide_says() {
    follow("docs/guides/erase-personal-data.md", 5);
}

#[test]
fn a_stolen_key_is_dealt_with_as_the_guide_says() {
    follow("docs/guides/compromise-drill.md", 7);
}

#[test]
fn a_back_up_is_made_and_restored_as_the_guide_says() {
    follow("docs/guides/backup-and-restore.md", 4);
}

#[test]
fn an_authzen_gate_is_answered_as_the_guide_says() {
    follow("docs/guides/authzen.md", 7);
}

#[test]
fn the_log_is_exported_as_the_guide_says() {
    follow("docs/guides/export.md", 5);
}

#[test]
fn a_policy_is_written_as_the_guide_says() {
    follow("docs/guides/write-policy.md", 5);
}

#[test]
fn a_policy_is_published_as_the_guide_says() {
    follow("docs/guides/publish-a-policy.md", 7);
}

#[test]
fn what_is_held_is_decided_as_the_guide_says() {
    follow("docs/guides/approve.md", 6);
}

#[test]
fn a_release_shows_its_papers_as_the_guide_says() {
    follow("docs/guides/release-papers.md", 6);
}

#[test]
fn contracts_of_surfaces_hold_as_the_guide_says() {
    follow("docs/guides/surfaces.md", 5);
}

#[test]
fn a_kill_is_practised_as_the_guide_says() {
    follow("docs/guides/kill-drill.md", 5);
}

#[test]
fn what_runs_is_stopped_as_the_guide_says() {
    follow("docs/guides/stop.md", 6);
}

#[test]
fn the_glass_is_broken_as_the_guide_says() {
    follow("docs/guides/break-glass.md", 6);
}

#[test]
fn certificates_take_the_place_of_keys_as_the_guide_says() {
    follow("docs/guides/client-certificates.md", 2);
}

#[test]
fn holes_are_found_as_the_guide_says() {
    follow("docs/guides/coverage.md", 5);
}

fn follow(guide: &str, blocks_min: usize) {
    follow_on(&Server::dev(), guide, blocks_min, &[]);
}

/// The same on a server of its own, with more in the environment.
pub(crate) fn follow_on(
    server: &Server,
    guide: &str,
    blocks_min: usize,
    environment: &[(&str, &str)],
) {
    let guide = std::fs::read_to_string(repository(guide)).unwrap();
    let blocks = blocks(&guide);
    assert!(blocks.len() >= blocks_min, "{} blocks", blocks.len());
    let bin = Path::new(BIN).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    for block in blocks {
        let script = block.replace("http://127.0.0.1:8081", &server.url);
        // A guide is followed in one shell; a block must not need what another has set.
        let scratch = format!("{}/", server.dir.path().display());
        let script = script.replace("/tmp/", &scratch);
        let script = script.replace("./placet-data", &server.data());
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(repository(""))
            .env("PATH", &path)
            .env("PLACET_URL", &server.url)
            .env_remove("PLACET_KEY")
            .env_remove("PLACET_WORKSPACE")
            .env_remove("PLACET_MASTER_KEY")
            .env("PLACET_CREDENTIALS", server.file("credentials.json"))
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        let wanted: Vec<String> = block
            .lines()
            .filter_map(|line| line.split_once("#=> "))
            .map(|(_, want)| want.trim().replace("/tmp/", &scratch))
            .collect();
        assert!(!wanted.is_empty(), "a block that promises nothing: {block}");
        for want in wanted {
            assert!(
                printed.contains(&want),
                "{want:?} after {block}\n{printed}\n{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}

fn blocks(guide: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in guide.lines() {
        match (&mut open, line) {
            (None, "```sh") => open = Some(String::new()),
            (Some(_), "```") => blocks.extend(open.take()),
            (Some(block), line) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, _) => {}
        }
    }
    blocks
}
