//! The working group's Todo interop: forty questions and three batches about five users, over the policy
//! `authzen/todo.yaml`. Roles are the policy's, the owner of a todo comes with the question.

use crate::world::World;
use placet_server::ServerOptions;
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");

struct User {
    id: &'static str,
    mail: &'static str,
    creates: bool,
    /// Updates and deletes what is theirs, and what is not.
    own: bool,
    any: bool,
}

const fn user(id: &'static str, mail: &'static str, creates: bool, own: bool, any: bool) -> User {
    User { id, mail, creates, own, any }
}

#[rustfmt::skip]
const USERS: [User; 5] = [
    user("CiRmZDA2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs", "rick@the-citadel.com", true, true, true),
    user("CiRmZDE2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs", "morty@the-citadel.com", true, true, false),
    user("CiRmZDI2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs", "summer@the-smiths.com", true, true, false),
    user("CiRmZDM2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs", "beth@the-smiths.com", false, false, false),
    user("CiRmZDQ2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs", "jerry@the-smiths.com", false, false, false),
];

fn todo(owner: &str) -> Value {
    json!({"type": "todo", "id": "7240d0db-8ff0-41ec-98b2-34a096273b9f",
           "properties": {"ownerID": owner}})
}

async fn ask(world: &World, gate: &str, path: &str, body: &Value) -> Value {
    world.call("POST", path, gate, &[JSON], &body.to_string()).await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn todo_interop() {
    let policy = include_str!("authzen/todo.yaml");
    let world = World::with(Some(policy), false, ServerOptions::default()).await;
    let gate = world.key("service:todo-backend", &["gate"]).await;
    let rick = USERS[0].mail;
    let (mut asked, mut permitted) = (0, 0);
    for user in &USERS {
        // Of an id that is not the subject's own type of id: an e-mail address, as the group has it.
        let profile = |mail: &str| json!({"type": "user", "id": mail});
        let list = json!({"type": "todo", "id": "todo-1"});
        let rows = [
            ("can_read_user", profile("beth@the-smiths.com"), true),
            ("can_read_user", profile(user.mail), true),
            ("can_read_todos", list.clone(), true),
            ("can_create_todo", list, user.creates),
            ("can_update_todo", todo(rick), user.any),
            // Rick's other todo is morty's.
            ("can_update_todo", todo(if user.any { USERS[1].mail } else { user.mail }), user.own),
            ("can_delete_todo", todo(rick), user.any),
            ("can_delete_todo", todo(if user.any { USERS[1].mail } else { user.mail }), user.own),
        ];
        for (action, resource, wanted) in rows {
            let body = json!({
                "subject": {"type": "user", "id": user.id, "identity": user.id},
                "action": {"name": action}, "resource": resource, "context": {},
            });
            let value = ask(&world, &gate, "/access/v1/evaluation", &body).await;
            assert_eq!(value["decision"], wanted, "{} {action}: {value}", user.mail);
            asked += 1;
            permitted += u32::from(wanted);
        }
    }
    assert_eq!((asked, permitted), (40, 26));
    for (subject, other, wanted) in
        [(0, 4, [true, true]), (1, 1, [false, true]), (4, 4, [false, false])]
    {
        let user = &USERS[subject];
        let body = json!({
            "subject": {"type": "user", "id": user.id},
            "action": {"name": "can_update_todo"},
            "resource": {}, "context": {},
            "evaluations": [{"resource": todo(rick)}, {"resource": todo(USERS[other].mail)}],
        });
        let value = ask(&world, &gate, "/access/v1/evaluations", &body).await;
        let list = value["evaluations"].as_array().unwrap();
        let found: Vec<_> = list.iter().map(|item| item["decision"].as_bool().unwrap()).collect();
        assert_eq!(found, wanted, "{}", user.mail);
    }
}
