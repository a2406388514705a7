//! The order of the checks at release: what stands in the way first is what is said.

use super::notation::{Scene, check};
use super::world::Portable;
use placet_engine::{Held, Plan, Rejection, Reserve, State, step_with};
use std::cell::Cell;

/// An account with nothing in it.
#[derive(Default)]
struct Empty(Cell<u32>);

impl Reserve for Empty {
    fn reserve(&self, _: &State, _: &Held) -> Result<(), Rejection> {
        self.0.set(self.0.get() + 1);
        Err(Rejection::NotFound("balance"))
    }
}

/// What collecting `d1` comes to, and how often the account was asked.
fn collected(rows: &str) -> (String, u32) {
    let mut scene = Scene::default();
    let setup = "person ann operator
         person adm admin
         agent bot
         rule h pay hold use=1000
         decide bot pay d1
         vote ann d1";
    for line in setup.lines().chain(rows.lines()).map(str::trim).filter(|line| !line.is_empty()) {
        let answer = scene.line(line);
        assert!(!answer.starts_with('!'), "{line}: {answer}");
    }
    let command = scene.parse("collect bot d1 nonce=1");
    let world = scene.world();
    let account = Empty::default();
    let plan = step_with::<Portable>(&world.state, &command, world.now, &account);
    let said = match plan {
        Err(rejection) => format!("! {}", rejection.code()),
        Ok(Plan::Append(events)) => {
            let kinds: Vec<_> = events.iter().map(|event| event.type_name()).collect();
            kinds.join("; ")
        }
        Ok(other) => format!("{other:?}"),
    };
    (said, account.0.get())
}

#[test]
fn a_release_is_refused_by_the_first_of_its_checks() {
    let kill = "trip file workspace";
    let late = "+1000";
    let stricter = "rule h pay hold roles=operator:2";
    let denied = "rule x pay deny";
    let evidence = "rule x pay deny from=0";
    let role = "revokekey adm ann";
    for (rows, said, asked) in [
        // Alone.
        (vec![], "! not_found", 1),
        (vec![role], "approval.closed", 0),
        (vec![stricter], "approval.reopened", 0),
        (vec![denied], "approval.closed", 0),
        (vec![evidence], "approval.closed", 0),
        (vec![late], "approval.closed", 0),
        (vec![kill], "! killed", 0),
        // Each before the ones after it.
        (vec![stricter, role], "approval.reopened", 0),
        (vec![denied, role], "approval.closed", 0),
        (vec![stricter, role, late], "approval.closed", 0),
        (vec![stricter, role, late, kill], "! killed", 0),
        // Looser is still what was approved, and is asked what it costs.
        (vec!["rule h pay allow"], "! not_found", 1),
    ] {
        let (got, times) = collected(&rows.join("\n"));
        assert_eq!((got.as_str(), times), (said, asked), "{rows:?}");
    }
}

#[test]
fn an_action_that_cannot_be_paid_stays_approved_and_so_does_the_vote_that_would_release_it() {
    let mut scene = Scene::default();
    for line in ["person ann operator", "agent bot", "rule h pay hold", "decide bot pay d1"] {
        scene.line(line);
    }
    let command = scene.parse("vote ann d1 waiting=bot/1");
    let world = scene.world();
    let account = Empty::default();
    let plan = step_with::<Portable>(&world.state, &command, world.now, &account);
    let Ok(Plan::Append(events)) = plan else { panic!("{plan:?}") };
    let kinds: Vec<_> = events.iter().map(|event| event.type_name()).collect();
    assert_eq!((kinds.as_slice(), account.0.get()), (["approval.voted"].as_slice(), 1));
    // With nothing to pay the same vote releases it.
    check(
        "person ann operator
         agent bot
         rule h pay hold
         decide bot pay d1             -> REQUIRE_APPROVAL operator:1
         vote ann d1 waiting=bot/1     -> approved; collected consumed",
    );
}
