//! Serves the stubs of the tests to independent clients, which show that the stubs are what they stand
//! for: `verify/chat_stubs.py`. Prints one JSON line with the addresses, then obeys lines on standard
//! input until it ends:
//!
//! ```text
//! press USER MESSAGE DATA      somebody presses a button of Telegram
//! trigger                      somebody presses a button of Slack; prints the trigger
//! slow                         the next call is answered 429
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "mod.rs"]
mod stubs;

use serde_json::json;
use std::io::BufRead;
use stubs::Fault;
use stubs::slack::{self, Slack};
use stubs::telegram::{self, Telegram};

#[tokio::main]
async fn main() {
    let (telegram, slack) = (Telegram::start().await, Slack::start().await);
    println!(
        "{}",
        json!({
            "telegram": telegram.url(), "telegram_token": telegram::TOKEN, "chat": telegram::CHAT,
            "slack": slack.url(), "slack_token": slack::TOKEN, "channel": slack::CHANNEL,
            "signing_secret": slack::SIGNING,
        })
    );
    let commands = tokio::task::spawn_blocking(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            match words.as_slice() {
                ["press", user, message, data] => {
                    let (user, message) = (user.parse().unwrap(), message.parse().unwrap());
                    println!("{}", telegram.press(user, message, data).1);
                }
                ["trigger"] => println!("{}", slack.trigger()),
                ["sign", body] => {
                    let headers = slack::signed(body, 1_790_000_000);
                    println!("{}", headers[2].1);
                }
                ["slow"] => {
                    telegram.fault(Fault::Slow(3));
                    slack.fault(Fault::Slow(3));
                    println!("slow");
                }
                other => panic!("unknown: {other:?}"),
            }
        }
    });
    commands.await.unwrap();
}
