//! One altered bit in what the log holds is always found, wherever it is.

use crate::support::{Server, bank_request, placet};
use rusqlite::{Connection, params};
use serde_json::Value;

/// A row of the log as it is stored.
struct Row {
    id: i64,
    frames: Vec<u8>,
    tree_state: Vec<u8>,
}

fn rows(conn: &Connection) -> Vec<Row> {
    let mut all = conn.prepare("SELECT id, frames, tree_state FROM batch ORDER BY id").unwrap();
    let row = |row: &rusqlite::Row<'_>| {
        Ok(Row { id: row.get(0)?, frames: row.get(1)?, tree_state: row.get(2)? })
    };
    all.query_map([], row).unwrap().map(Result::unwrap).collect()
}

fn stored(conn: &Connection, column: &str, id: i64, bytes: &[u8]) {
    let set = format!("UPDATE batch SET {column} = ?1 WHERE id = ?2");
    assert_eq!(conn.execute(&set, params![bytes, id]).unwrap(), 1);
}

#[test]
fn one_altered_bit_is_always_found() {
    let mut server = Server::dev();
    for name in ["read-account", "delete-account", "refund-large", "refund-small"] {
        server.run(&["decide", &bank_request(name)]);
    }
    let data = server.data();
    server.stop();
    let verify = |code: i32| -> Value {
        placet(&["audit", "verify", "--data", &data, "--json"]).exits(code).json()
    };
    let sound = verify(0);
    let entries = sound["workspaces"][0]["entries"].as_u64().unwrap();
    assert!(sound["workspaces"][0]["payloads"]["opened"].as_u64().unwrap() >= 4, "{sound}");
    let conn = Connection::open(format!("{data}/journal.db")).unwrap();
    // A prime stride meets lengths, entries, slots and payloads alike; each row by its own.
    let mut flips = 0;
    for row in rows(&conn) {
        let columns = [("frames", &row.frames, 61), ("tree_state", &row.tree_state, 11)];
        for (column, bytes, stride) in columns {
            for at in (0..bytes.len()).step_by(stride) {
                let mut altered = bytes.clone();
                altered[at] ^= 1 << (at % 8);
                stored(&conn, column, row.id, &altered);
                let log = &verify(1)["workspaces"][0];
                let place = format!("byte {at} of {column} in row {}: {log}", row.id);
                assert_eq!(log["ok"], false, "{place}");
                assert!(log["first_bad"].as_u64().is_some_and(|index| index < entries), "{place}");
                flips += 1;
            }
            stored(&conn, column, row.id, bytes);
        }
    }
    assert!(flips > 50, "{flips}");
    drop(conn);
    assert_eq!(verify(0), sound);
}
