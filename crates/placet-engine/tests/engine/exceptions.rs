//! Exceptions: what passes under one and what never does, who opens, closes and reviews them.
//!
//! ```text
//! except ann DECISION x1 SURFACE ACTOR waives=floor,rule:a [controls=second_person|max_uses:2] [owner=bob]
//!        [lasts=MS] [review=MS] [max=MS] [openers=operator,admin] [action=] [env=] [cap=] [target=] [exe=]
//!        [past=FROM-TO]                                     (milliseconds before now)
//! endexc ann x1            revexc bob x1 [not]              owes x1
//! ```

use super::notation::{Options, Scene, check};
use super::world::{actor, digest, tag};
use placet_engine::{Command, ExceptionBounds, OpenException};
use placet_types::event::{Control, DecisionEvent, ExceptionScope, Pseudonym, Waives};
use placet_types::ids::{ExceptionId, TimeMs};
use std::fmt::Write as _;

pub(crate) fn named(name: &str) -> ExceptionId {
    ExceptionId::from_bytes(tag(name))
}

/// The actor of a row, whether it is one of the scene or written out.
fn passer(scene: &mut Scene, name: &str) -> placet_types::event::ActorRef {
    if name.contains(':') { actor(name) } else { scene.who(name).actor }
}

impl Scene {
    pub(crate) fn exception(&mut self, words: &[&str], options: &Options<'_>) -> Command {
        let by = self.who(words[1]);
        match words[0] {
            "endexc" => return Command::CloseException { exception: named(words[2]), by },
            "revexc" => {
                let justified = !options.has("not");
                return Command::ReviewException { exception: named(words[2]), justified, by };
            }
            _ => {}
        }
        let mut waives = Waives::default();
        for text in options.get("waives").into_iter().flat_map(|all| all.split(',')) {
            assert!(waives.add(text), "waives={text}");
        }
        let controls = options.get("controls").into_iter().flat_map(|all| all.split('|'));
        let controls = controls.map(|text| Control::parse(text).expect("a control")).collect();
        let decision = self.id(words[2]);
        let (index, prior) = self.world().decision(decision);
        let owner = options.get("owner").map(|name| self.who(name).actor);
        let pseudonym = |key| options.get(key).map(|it| Pseudonym(digest(it).0));
        let text = |key| options.get(key).map(str::to_owned);
        let scope = ExceptionScope {
            surface: words[4].into(),
            actor: passer(self, words[5]),
            action: text("action"),
            environment: text("env"),
            capability: text("cap"),
            target: pseudonym("target"),
            execution: pseudonym("exe"),
        };
        let now = self.world().now;
        let ago = |ms: &str| TimeMs(now.0 - ms.parse::<u64>().unwrap());
        let roles = options.get("openers").unwrap_or("operator,admin").split(',');
        Command::OpenException(Box::new(OpenException {
            exception: named(words[3]),
            owner: owner.unwrap_or_else(|| by.actor.clone()),
            by,
            index,
            prior: prior.into(),
            scope,
            waives,
            controls,
            reason: "incident-7".into(),
            duration_ms: options.num("lasts").unwrap_or(10_000),
            review_ms: options.num("review").unwrap_or(5_000),
            retroactive: options.get("past").map(|span| {
                let (from, to) = span.split_once('-').expect("FROM-TO");
                (ago(from), ago(to))
            }),
            policy: None,
            bounds: ExceptionBounds {
                max_ms: options.num("max").unwrap_or(60_000),
                review_ms_max: 5_000,
                roles: roles.map(str::to_owned).collect(),
            },
        }))
    }

    /// Whether the permit of a decision may be shown again.
    pub(crate) fn again(&mut self, name: &str) -> String {
        let id = self.id(name);
        let (index, event) = self.world().decision(id);
        let under = event.exception.as_ref().map(|passage| passage.exception);
        let status = self.world().state.status(id, index, &event.scopes(), under);
        status.withheld.map_or("shown".into(), |why| format!("! {}", why.code()))
    }

    /// Where an exception stands.
    pub(crate) fn owes(&mut self, name: &str) -> String {
        let (now, world) = (self.world().now, self.world());
        let Some(it) = world.state.exception(named(name)) else { return "forgotten".into() };
        let mut out = format!("{} uses {}", it.standing.as_str(), it.uses);
        if !it.is_live(now) && it.reviewed.is_none() {
            let _ = write!(out, "{}", if it.is_overdue(now) { " overdue" } else { " due" });
        }
        if let Some(reviewed) = &it.reviewed {
            let _ =
                write!(out, " {}", if reviewed.justified { "justified" } else { "unjustified" });
        }
        out
    }
}

/// What a decision says of the exception that it rests on.
pub(crate) fn under(event: &DecisionEvent) -> String {
    let mut out = String::new();
    if let Some(passage) = &event.exception {
        let waived = passage.waived.join(",");
        let _ = write!(out, "{}{waived}", if waived.is_empty() { "" } else { " over " });
    }
    if let Some(was) = event.retroactive {
        let _ = write!(out, " was {}", was.as_str());
    }
    if let Some(would) = event.would_outcome {
        let _ = write!(out, " would={}", would.as_str());
    }
    out
}

pub(crate) const PEOPLE: &str = "person ann operator
     person bob admin
     person cat admin
     person eve auditor
     agent bot
     agent other
     service gate
     rule ok git allow
     rule f git deny floor
     rule own git hold roles=owner:1
     rule slow git throttle limit=1/1000
     rule few git constrain max_retries=3
     rule surface:git:field.ticket git deny floor
     rule access:crm:roles git deny floor\n";

/// An exception of `ann`, approved by bob.
pub(crate) fn open(rest: &str) -> String {
    format!(
        "{PEOPLE}decide ann override.exception o1 action=open -> REQUIRE_APPROVAL admin:1
         vote bob o1            -> approved
         collect ann o1         -> collected consumed
         except ann o1 x1 {rest} -> exception.opened\n"
    )
}

#[track_caller]
fn table(rest: &str, rows: &str) {
    check(&format!("{}{rows}", open(rest)));
}

#[test]
fn two_people_open_one_and_it_ends_by_itself() {
    table(
        "git bot waives=floor,contract,access,rules",
        "decide bot git d1      -> PERMIT exception over access:crm:roles,surface:git:field.ticket,f,few,own
         decide other git d2    -> DENY access:crm:roles,f,surface:git:field.ticket
         decide bot svn d3      -> SILENCE no_rule_matches
         owes x1                -> live uses 1
         +9999
         decide bot git d4      -> PERMIT exception over access:crm:roles,surface:git:field.ticket,f,few,own
         +1
         # Its time is up, whether anybody has said so or not.
         decide bot git d5      -> DENY access:crm:roles,f,surface:git:field.ticket
         tick                   -> exception.ended
         tick                   -> nothing
         owes x1                -> run_out uses 2 due",
    );
}

#[test]
fn what_is_waived_leaves_and_what_is_not_stays() {
    const AGENT: &str = "person bob admin\nagent bot\n";
    let opened = "decide bob override.exception o1 action=open -> PERMIT
         except bob o1 x1 pay bot ";
    for (rules, waives, without, with) in [
        ("deny floor", "floor", "DENY r", "PERMIT exception over r"),
        ("deny floor", "rule:r", "DENY r", "PERMIT exception over r"),
        ("deny floor", "governance", "DENY r", "PERMIT exception over r"),
        ("deny floor", "rules", "DENY r", "DENY r"),
        ("deny floor", "rule:s", "DENY r", "DENY r"),
        ("deny", "rules", "DENY r", "PERMIT exception over r"),
        ("deny", "floor", "DENY r", "DENY r"),
        ("throttle wait=9", "rules", "THROTTLE retry=9", "PERMIT exception over r"),
        ("hold roles=owner:2", "rules", "REQUIRE_APPROVAL owner:2", "PERMIT exception over r"),
        ("deny floor advice", "floor", "PERMIT", "PERMIT"),
        ("constrain max_retries=1", "rules", "PERMIT max_retries=1", "PERMIT exception over r"),
        ("deny floor error", "floor", "DENY condition_error r", "PERMIT exception over r"),
        (
            "deny floor outcomes=SILENCE",
            "floor",
            "DENY outcome_not_allowed r",
            "PERMIT exception over r",
        ),
    ] {
        check(&format!(
            "{AGENT}rule ok pay allow
             rule r pay {rules}
             decide bot pay d1      -> {without}
             {opened} waives={waives} -> exception.opened
             decide bot pay d2      -> {with}"
        ));
    }
    // Parts of the layers that follow from other documents.
    for (id, waives, passes) in [
        ("surface:pay:field.x", "contract", true),
        ("surface:pay:field.x", "evidence", false),
        ("access:crm:roles", "access", true),
        ("access:crm:roles", "contract", false),
        ("models:allow", "models", true),
        ("approvals:two", "approvals", true),
        ("approvals:two", "floor", false),
        ("approvals:two", "governance", true),
    ] {
        let with =
            if passes { format!("PERMIT exception over {id}") } else { format!("DENY {id}") };
        check(&format!(
            "{AGENT}rule ok pay allow
             rule {id} pay deny floor
             {opened} waives={waives} -> exception.opened
             decide bot pay d2      -> {with}"
        ));
    }
    // Where nothing grants, the exception does; of a surface that nobody knows no rule was asked.
    check(&format!(
        "{AGENT}decide bob override.exception o1 action=open -> PERMIT
         except bob o1 x1 * bot waives=contract -> exception.opened
         decide bot pay d1      -> PERMIT exception
         decide bot unknown.x d2 -> SILENCE unknown_surface
         decide bob override.exception o2 action=open -> PERMIT
         except bob o2 x2 * bot waives=governance -> exception.opened
         decide bot unknown.x d3 -> PERMIT exception"
    ));
}

#[test]
fn nothing_that_stands_above_policy_is_waived() {
    let open_all = "* bot waives=governance lasts=60000";
    table(
        open_all,
        "trip ann workspace     -> kill.tripped
         decide bot git d1      -> DENY killed_workspace
         # Nor is one opened while a kill switch is tripped.
         decide ann override.exception o2 action=break_glass -> DENY killed_workspace
         lift ann workspace     -> asked
         lift bob workspace     -> kill.lifted
         decide bot git d2 deadline=-1 -> SILENCE deadline_exceeded
         # The constitution, and its surfaces.
         decide bot policy.publish d3 action=publish -> DENY constitution.admin-only
         decide bot key.create d4 -> DENY constitution.admin-only
         decide bot role.grant d5 -> DENY constitution.admin-only
         decide bot override.exception d6 action=break_glass -> DENY constitution.operator-only
         # Idempotency: what is decided stays decided.
         decide bot git d7 key=k -> PERMIT exception over access:crm:roles,surface:git:field.ticket,f,few,own
         decide bot git d8 key=k -> bound d7
         # What was done already is never permitted.
         decide bot git d9 retroactive -> DENY access:crm:roles,f,surface:git:field.ticket was DENY
         owes x1                -> live uses 1",
    );
    check(
        "world no-bundle
         person bob admin
         agent bot
         decide bob override.exception o1 action=open -> PERMIT
         except bob o1 x1 * bot waives=governance -> exception.opened
         # There is no policy to deviate from.
         decide bot pay d1      -> SILENCE no_bundle",
    );
    check(
        "person bob admin
         agent bot
         decide bob override.exception o1 action=open -> PERMIT
         except bob o1 x1 key.create bot waives=governance -> ! exception_scope_invalid
         except bob o1 x1 policy.publish bot waives=governance -> ! exception_scope_invalid
         except bob o1 x1 override.exception bot waives=governance -> ! exception_scope_invalid
         except bob o1 x1 pay bot -> ! exception_scope_invalid",
    );
}

#[test]
fn all_that_it_names_has_to_agree() {
    let rest = "git bot waives=governance action=push env=production cap=crm target=repo exe=run7 \
                controls=evidence:ticket";
    let yes = "PERMIT exception over access:crm:roles,surface:git:field.ticket,f,few,own";
    let no = "DENY access:crm:roles,f,surface:git:field.ticket";
    let all = "action=push cap=crm target=repo exe=run7 ev=ticket";
    table(
        rest,
        &format!(
            "decide bot git d1 {all}    -> {yes}
             decide bot git d2 {all} env=staging -> {no}
             decide bot git d3 action=pull cap=crm target=repo exe=run7 ev=ticket -> {no}
             decide bot git d4 action=push cap=other target=repo exe=run7 ev=ticket -> {no}
             decide bot git d5 action=push cap=crm exe=run7 ev=ticket -> {no}
             decide bot git d6 action=push cap=crm target=repo exe=run8 ev=ticket -> {no}
             decide bot git d7 action=push cap=crm target=repo exe=run7 -> {no}
             decide bot git d8 action=push cap=crm target=repo exe=run7 ev=scan -> {no}
             owes x1                -> live uses 1"
        ),
    );
}

#[test]
fn what_makes_up_for_it_is_checked_at_each_passage() {
    table(
        "git bot waives=governance controls=max_uses:2|constraint:{\"max_retries\":1}|notify:ops",
        "decide bot git d1      -> PERMIT exception max_retries=1 over access:crm:roles,surface:git:field.ticket,f,few,own
         # The window is full by now.
         decide bot git d2      -> PERMIT exception max_retries=1 over access:crm:roles,surface:git:field.ticket,f,few,own,slow
         decide bot git d3      -> DENY access:crm:roles,f,surface:git:field.ticket
         owes x1                -> used_up uses 2 due
         +4999
         tick                   -> nothing
         +1
         # It was used up five seconds ago, and nobody has looked at what passed. The log says so once.
         tick                   -> exception.overdue
         tick                   -> nothing
         owes x1                -> used_up uses 2 overdue
         endexc ann x1          -> exception.closed
         +10000
         tick                   -> nothing",
    );
    // A second person approves each passage: not its owner, nor who opened it.
    table(
        "git bot waives=governance controls=second_person|max_uses:1 owner=cat",
        "decide bot git d1 nonce=1 -> REQUIRE_APPROVAL exception operator:1 over access:crm:roles,surface:git:field.ticket,f,few,own
         vote ann d1            -> ! own_approval
         owes x1                -> used_up uses 1 due
         newkey bob dan operator -> key.created
         vote dan d1            -> approved
         # Its last passage was counted when it was held.
         collect bot d1 nonce=1 -> collected consumed",
    );
}

#[test]
fn a_held_action_loses_an_exception_that_is_over() {
    let held = "decide bot git d1 -> REQUIRE_APPROVAL exception operator:1 over access:crm:roles,surface:git:field.ticket,f,few,own\n";
    let second = "git bot waives=governance controls=second_person owner=cat";
    for (rows, end) in [("endexc cat x1", "exception.closed"), ("+10000", "")] {
        table(
            second,
            &format!(
                "newkey bob dan operator -> key.created
                 {held}
                 vote dan d1            -> approved
                 {rows}                 -> {end}
                 collect bot d1         -> invalidated"
            ),
        );
        table(
            second,
            &format!(
                "newkey bob dan operator -> key.created
                 {held}
                 {rows}                 -> {end}
                 vote dan d1            -> invalidated"
            ),
        );
    }
    // One that was opened meanwhile helps nobody who waits already.
    check(
        "person bob admin
         agent bot
         rule own pay hold roles=admin:1
         decide bot pay d1      -> REQUIRE_APPROVAL admin:1
         decide bob override.exception o1 action=open -> PERMIT
         except bob o1 x1 pay bot waives=governance -> exception.opened
         collect bot d1         -> ! approval_pending
         decide bot pay d2      -> PERMIT exception over own",
    );
}

#[test]
fn no_permit_outlives_its_exception() {
    table(
        "git bot waives=governance lasts=1000",
        "decide bot git d1 for=gate nonce=1 -> PERMIT exception open over access:crm:roles,surface:git:field.ticket,f,few,own
         decide bot git d2 for=gate nonce=1 -> PERMIT exception open over access:crm:roles,surface:git:field.ticket,f,few,own,slow
         consume gate d1 nonce=1 -> permit.consumed
         +1000
         consume gate d2 nonce=1 -> ! permit_expired",
    );
    table(
        "git bot waives=governance",
        "decide bot git d1 for=gate nonce=1 -> PERMIT exception open over access:crm:roles,surface:git:field.ticket,f,few,own
         endexc ann x1          -> exception.closed
         consume gate d1 nonce=1 -> ! exception_ended",
    );
}

#[test]
fn who_opens_and_for_how_long() {
    check(&format!(
        "{PEOPLE}decide bot override.exception o0 action=open -> DENY constitution.operator-only
         decide eve override.exception o0 action=open -> DENY constitution.operator-only
         decide ann override.exception o1 action=open -> REQUIRE_APPROVAL admin:1
         except ann o1 x1 git bot waives=floor -> ! no_permit
         vote ann o1            -> ! own_approval
         vote bob o1            -> approved
         except ann o1 x1 git bot waives=floor -> ! no_permit
         collect ann o1         -> collected consumed
         except bob o1 x1 git bot waives=floor -> ! foreign
         except eve o1 x1 git bot waives=floor -> ! role_missing
         except bot o1 x1 git bot waives=floor -> ! not_human
         except ann o1 x1 git bot waives=floor openers=admin -> ! role_missing
         except ann o1 x1 git bot waives=floor owner=nobody -> ! not_found
         except ann o1 x1 git bot waives=floor owner=bot -> ! not_human
         except ann o1 x1 git bot waives=floor lasts=60001 -> ! exception_too_long
         except ann o1 x1 git bot waives=floor lasts=0 -> ! exception_too_long
         except ann o1 x1 git bot waives=floor max=0 -> ! exception_too_long
         except ann o1 x1 git bot waives=floor review=5001 -> ! exception_review_late
         except ann o1 x1 git bot waives=floor owner=cat -> exception.opened
         # One permit opens one.
         except ann o1 x2 git bot waives=floor -> ! permit_consumed
         # Another permit opens none.
         decide bot svn d1      -> SILENCE no_rule_matches
         rule svn svn allow     -> bundle.armed
         decide ann svn d2      -> PERMIT
         except ann d2 x3 git bot waives=floor -> ! no_permit
         # Nobody but who asked, an owner, an admin or an operator closes it.
         endexc eve x1          -> ! role_missing
         endexc bot x1          -> ! not_human
         endexc cat x9          -> ! not_found
         endexc cat x1          -> exception.closed
         endexc cat x1          -> nothing"
    ));
}

#[test]
fn in_an_emergency_one_person_is_enough() {
    check(&format!(
        "{PEOPLE}decide ann override.exception o1 action=break_glass -> PERMIT
         # Who breaks the glass owns it, and the policy says who may at all.
         except ann o1 x1 git bot waives=governance owner=cat -> ! exception_scope_invalid
         except ann o1 x1 git bot waives=governance openers=none -> ! role_missing
         except ann o1 x1 git bot waives=governance -> exception.opened
         decide bot git d1      -> PERMIT exception over access:crm:roles,surface:git:field.ticket,f,few,own
         # Its permit is the caller's own and short.
         decide ann override.exception o2 action=break_glass -> PERMIT
         +60000
         except ann o2 x2 git bot waives=governance -> ! no_permit"
    ));
}

#[test]
fn every_exception_is_reviewed_by_another_person_and_in_time() {
    table(
        "git bot waives=governance owner=cat",
        "revexc bob x1          -> ! exception_live
         endexc ann x1          -> exception.closed
         owes x1                -> closed uses 0 due
         revexc bot x1          -> ! not_human
         revexc ann x1          -> ! own_review
         revexc cat x1          -> ! own_review
         revexc bob x9          -> ! not_found
         +4999
         decide cat override.exception o2 action=break_glass -> PERMIT
         +1
         owes x1                -> closed uses 0 overdue
         tick                   -> exception.overdue
         tick                   -> nothing
         # Overdue: neither its owner nor who opened it opens another, and nobody opens one for them.
         decide cat override.exception o3 action=break_glass -> DENY constitution.review-overdue
         except cat o2 x2 git bot waives=floor -> ! review_overdue
         decide ann override.exception o4 action=break_glass -> DENY constitution.review-overdue
         revexc eve x1 not      -> exception.reviewed
         owes x1                -> closed uses 0 unjustified
         revexc eve x1 not      -> nothing
         # A contrary verdict is not answered with the one that stands.
         revexc bob x1          -> ! exception_reviewed
         revexc eve x1          -> ! exception_reviewed
         revexc bob x1 not      -> ! exception_reviewed
         except cat o2 x2 git bot waives=floor -> exception.opened",
    );
    table(
        "git bot waives=governance owner=cat",
        "endexc cat x1          -> exception.closed
         +5000
         # Nor does who opened it go on with another name, or another person with theirs.
         decide ann override.exception o2 action=open -> DENY constitution.review-overdue
         decide bob override.exception o3 action=open -> REQUIRE_APPROVAL admin:1
         vote cat o3            -> approved
         collect bob o3         -> collected consumed
         except bob o3 x2 git bot waives=floor owner=cat -> ! review_overdue
         except bob o3 x2 git bot waives=floor owner=ann -> ! review_overdue
         except bob o3 x2 git bot waives=floor -> exception.opened",
    );
}

#[test]
fn alone_and_in_development_one_reviews_oneself() {
    for mode in ["solo", "dev"] {
        check(&format!(
            "world {mode}
             person bob admin
             agent bot
             rule f pay deny floor
             decide bob override.exception o1 action=open -> PERMIT
             except bob o1 x1 pay bot waives=floor -> exception.opened
             decide bot pay d1      -> PERMIT exception over f
             endexc bob x1          -> exception.closed
             revexc bob x1          -> exception.reviewed"
        ));
    }
}

#[test]
fn what_is_filed_afterwards_permits_nothing() {
    check(
        "person bob admin
         person cat admin
         person ann operator
         agent bot
         rule ok pay allow
         rule own git hold
         +10000
         decide ann override.exception o1 action=open -> REQUIRE_APPROVAL admin:1
         vote bob o1            -> approved
         collect ann o1         -> collected consumed
         except ann o1 x1 git bot waives=governance past=1000-2000 -> ! exception_scope_invalid
         except ann o1 x1 git bot waives=governance past=2000-1000 -> exception.opened
         owes x1                -> retroactive uses 0 due
         decide bot git d1      -> REQUIRE_APPROVAL operator:1
         endexc ann x1          -> nothing
         revexc bob x1          -> exception.reviewed
         # A request for what was done: what policy comes to is kept, and nothing is permitted.
         decide bot pay d2 retroactive -> SILENCE retroactive was PERMIT
         decide bot git d3 retroactive -> SILENCE retroactive was REQUIRE_APPROVAL
         decide bot svn d4 retroactive -> SILENCE no_rule_matches was SILENCE
         collect bot d2         -> ! not_found
         consume bot d2         -> ! no_permit
         report bot d2 succeeded -> ! no_permit",
    );
}

#[test]
fn so_many_and_no_more() {
    let mut rows = String::from("world exceptions=20\nperson bob admin\nagent bot\nagent other\n");
    let mut open = |n: usize, who: &str, want: &str| {
        let _ = writeln!(rows, "decide bob override.exception o{n} action=open -> PERMIT");
        let _ = writeln!(rows, "except bob o{n} x{n} pay {who} waives=floor -> {want}");
    };
    for n in 0..16 {
        open(n, "bot", "exception.opened");
    }
    open(16, "bot", "! exceptions_full");
    for n in 17..21 {
        open(n, "other", "exception.opened");
    }
    open(21, "other", "! exceptions_full");
    let _ = writeln!(
        rows,
        "mode solo
         endexc bob x3 -> exception.closed
         decide bob override.exception o30 action=open -> PERMIT
         except bob o30 x30 pay other waives=floor -> ! exceptions_full
         revexc bob x3 -> exception.reviewed
         except bob o30 x30 pay other waives=floor -> exception.opened
         owes x3 -> forgotten
         owes x4 -> live uses 0"
    );
    check(&rows);
}

#[test]
fn of_several_the_one_that_grants_most_is_named() {
    check(
        "person bob admin
         agent bot
         rule f pay deny floor
         rule g pay deny floor
         decide bob override.exception o1 action=open -> PERMIT
         except bob o1 x1 pay bot waives=rule:f -> exception.opened
         decide bob override.exception o2 action=open -> PERMIT
         except bob o2 x2 pay bot waives=rule:g -> exception.opened
         # None adds to another.
         decide bot pay d1      -> DENY f,g
         decide bob override.exception o3 action=open -> PERMIT
         except bob o3 x3 * bot waives=floor controls=second_person -> exception.opened
         decide bot pay d2      -> REQUIRE_APPROVAL exception operator:1 over f,g
         decide bob override.exception o4 action=open -> PERMIT
         except bob o4 x4 * bot waives=floor -> exception.opened
         decide bot pay d3      -> PERMIT exception over f,g
         owes x3                -> live uses 1
         owes x4                -> live uses 1
         # What is permitted anyway passes under none.
         rule ok svn allow      -> bundle.armed
         decide bot svn d4      -> PERMIT",
    );
}
