//! Lists that come in pages are shown whole, or not at all.

use crate::support::{Run, command, finish};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

/// Runs a command against a server that answers every request with a page of one item, the next one of `pages`.
fn over_pages(args: &[&str], member: &'static str, pages: Vec<Option<String>>) -> Run {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut pages = pages.into_iter().enumerate();
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            loop {
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    if stream.read_line(&mut head).unwrap_or(0) == 0 {
                        break;
                    }
                }
                let Some((n, next)) = pages.next().filter(|_| !head.is_empty()) else { break };
                let mut page = json!({member: [{"id": format!("id_{n}")}]});
                if let Some(next) = next {
                    page["next_cursor"] = next.into();
                }
                let page = page.to_string();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{page}",
                    page.len()
                );
                if stream.get_mut().write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    finish(command(args).env("PLACET_URL", url).env("PLACET_KEY", "key_none"))
}

const LISTS: [(&[&str], &str); 3] = [
    (&["evidence", "list", "--json"], "evidence"),
    (&["delegations", "--json"], "delegations"),
    (&["approvals", "--json"], "approvals"),
];

#[test]
fn a_list_is_shown_up_to_its_last_page() {
    for (args, member) in LISTS {
        let pages = (1..=600).map(|n| (n < 600).then(|| format!("c{n}"))).collect();
        let shown = over_pages(args, member, pages).exits(0).json();
        let ids: Vec<&Value> =
            shown[member].as_array().unwrap().iter().map(|it| &it["id"]).collect();
        assert_eq!((ids.len(), ids[599]), (600, &json!("id_599")), "{member}");
    }
}

#[test]
fn a_list_whose_pages_go_in_a_circle_is_refused() {
    for (args, member) in LISTS {
        let pages = vec![Some("a".to_owned()), Some("b".to_owned()), Some("a".to_owned()), None];
        let refused = over_pages(args, member, pages).exits(1).json();
        assert_eq!(refused["code"], "failed", "{refused}");
        assert!(refused["detail"].as_str().unwrap().contains("twice"), "{refused}");
        assert_eq!(refused.get(member), None, "nothing is shown of it");
    }
}

/// A role is taken away and given back; it is killed, frozen or disabled by nobody.
#[test]
fn a_role_is_a_scope_of_lifting_alone() {
    for stop in ["kill", "freeze", "disable"] {
        let refused = finish(&mut command(&[stop, "--role", "operator"])).exits(2);
        assert!(refused.err.contains("--role"), "{refused:?}");
    }
    let refused = finish(&mut command(&["lift", "--role", "operator", "--everything"])).exits(2);
    assert!(refused.err.contains("cannot be used with"), "{refused:?}");
}
