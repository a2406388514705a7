//! Sessions: opened by tokens, handed on with fewer rights, narrowed by a bundle, closed and forgotten.
//!
//! ```text
//! login s1 ann operator [for=MS] [token=T] [until=MS]     a token of human:ann opens s1
//! handon ann s2 agent:x operator [for=MS] [chain=ann,…]   ann, or the session @s1, hands on a part
//! logout @s1 s1                                            closes it
//! narrow s1 operator                                       what the next `arm` leaves of it; `-`: nothing
//! may ann                                                  what somebody may do now
//! ```

use super::notation::{Scene, check};
use super::world::{Runs, actor, digest};
use placet_engine::{Command, OpenSession, Who};
use placet_types::event::{
    ActorRef, CloseReason, Event, Principal, SessionClosed, SessionNarrowed, SessionOpened,
    TokenUse,
};
use placet_types::ids::KeyId;

const HOUR: u64 = 3_600_000;

impl Scene {
    pub(crate) fn session(&mut self, words: &[&str]) -> Command {
        let option = |key: &str| {
            words
                .iter()
                .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
                .map(str::to_owned)
        };
        let now = self.world().now;
        let ms = |key, default| option(key).map_or(default, |text| text.parse().expect("ms"));
        let expires = now.plus(ms("for", HOUR));
        match words[0] {
            "login" => {
                let roles: Vec<&str> = words[3].split(',').collect();
                let principal = self.world().principal(&format!("human:{}", words[2]), &roles);
                self.sessions.entry(words[1].to_owned()).or_insert(principal.key);
                let token = digest(&option("token").unwrap_or_else(|| words[1].to_owned()));
                let token = TokenUse { hash: token, until: now.plus(ms("until", HOUR)) };
                let issuer = Some("corp".into());
                let session = SessionOpened {
                    principal,
                    issuer,
                    expires,
                    chain: Vec::new(),
                    parent: None,
                    token: Some(token),
                };
                let policy = self.world().state.policy();
                Command::OpenSession(Box::new(OpenSession { session, by: None, policy }))
            }
            "handon" => {
                let by = self.who(words[1]);
                let roles: Vec<&str> = words[4].split(',').filter(|role| *role != "-").collect();
                let principal = self.world().principal(words[3], &roles);
                self.sessions.insert(words[2].to_owned(), principal.key);
                let parent = by.key.and_then(|key| self.world().state.session(key));
                let mut chain = parent.map_or_else(Vec::new, |it| it.opened.chain.clone());
                chain.push(by.actor.clone());
                if let Some(named) = option("chain") {
                    chain = named.split(',').map(|name| actor(&format!("human:{name}"))).collect();
                }
                let session = SessionOpened {
                    principal,
                    issuer: None,
                    expires,
                    chain,
                    parent: by.key,
                    token: None,
                };
                let by = Some(by);
                Command::OpenSession(Box::new(OpenSession { session, by, policy: None }))
            }
            _ => Command::CloseSession { key: self.key(words[2]), by: self.who(words[1]) },
        }
    }

    fn key(&self, name: &str) -> KeyId {
        self.sessions.get(name).copied().unwrap_or(KeyId::from_bytes([0; 16]))
    }

    /// The caller of a session, as authentication takes it now.
    pub(crate) fn who_by(&mut self, name: &str) -> Who {
        let key = self.key(name);
        let session = self.world().state.session(key).expect("a session").opened.clone();
        let (actor, roles) = (session.principal.actor, session.principal.roles);
        Who { actor, key: Some(key), roles }
    }

    pub(crate) fn narrow(&mut self, words: &[&str]) {
        let roles = words[2].split(',').filter(|role| *role != "-").map(str::to_owned).collect();
        self.narrowed.push(SessionNarrowed { key: self.key(words[1]), roles });
    }

    pub(crate) fn may(&mut self, name: &str) -> String {
        let name = if name.contains(':') { name.to_owned() } else { format!("human:{name}") };
        let (who, now): (ActorRef, _) = (actor(&name), self.world().now);
        let roles = self.world().state.roles_of(&who, now);
        roles.into_iter().collect::<Vec<_>>().join(",")
    }
}

#[test]
fn a_session_decides_until_it_ends() {
    check(
        "person adm admin
         agent bot
         rule h pay hold roles=operator:1
         decide bot pay d1              -> REQUIRE_APPROVAL operator:1
         decide bot pay d2              -> REQUIRE_APPROVAL operator:1
         login s1 ann operator for=1000 -> session.opened
         may ann                        -> operator
         vote @s1 d1                    -> approved
         +999
         vote @s1 d2                    -> approved
         collect bot d1 nonce=1         -> collected consumed
         +1
         may ann                        ->
         # What was waiting when it ended, and what was approved with it.
         vote @s1 d2                    -> ! session_ended
         collect bot d2 nonce=2         -> invalidated",
    );
}

#[test]
fn a_token_opens_one_session_and_none_after_it() {
    check(
        "person adm admin
         rule h pay hold roles=operator:1
         login s1 ann operator token=t until=9000000 -> session.opened
         login s2 ann operator token=t    -> ! token_used
         logout @s1 s1                    -> session.closed
         logout adm s1                    -> nothing
         login s3 ann operator token=t    -> ! session_closed
         +3600000
         login s4 ann operator token=t    -> ! session_closed
         # Its own age is over, and a while later it is forgotten.
         +6000000
         decide adm pay d1                -> REQUIRE_APPROVAL operator:1
         login s5 ann operator token=t    -> session.opened
         login s6 ann operator token=u for=0 -> ! session_ended",
    );
}

#[test]
fn whoever_is_closed_out_has_approved_nothing() {
    check(
        "person adm admin
         person bob operator
         agent bot
         rule h pay hold roles=operator:1
         login s1 ann operator            -> session.opened
         login s2 ann operator            -> session.opened
         decide bot pay d1                -> REQUIRE_APPROVAL operator:1
         decide bot pay d2                -> REQUIRE_APPROVAL operator:1
         vote @s1 d1                      -> approved
         logout bob s1                    -> ! not_found
         logout bot s1                    -> ! not_found
         logout adm s1                    -> session.closed
         vote @s1 d2                      -> ! session_closed
         # Another session of hers still has the role.
         collect bot d1 nonce=1           -> collected consumed
         vote @s2 d2                      -> approved
         logout @s2 s2                    -> session.closed
         collect bot d2 nonce=2           -> invalidated",
    );
}

#[test]
fn rights_only_shrink_on_their_way() {
    check(
        "person adm admin
         person olga operator
         agent top
         rule h pay hold roles=operator:1
         login s1 ann operator,gate for=10000              -> session.opened
         handon @s1 c1 agent:x operator for=10001          -> ! outlives_parent
         handon @s1 c1 agent:x admin for=10000             -> ! roles_exceeded
         handon @s1 c1 human:x operator for=10000          -> ! person_handed_on
         handon @s1 c1 agent:x operator for=10000 chain=bob -> ! chain_too_deep
         handon @s1 c1 agent:x operator,gate for=10000     -> session.opened
         may agent:x                                       -> gate,operator
         handon @c1 c2 service:y gate for=9000             -> ! kind_raised
         handon @c1 c2 agent:top gate for=9000             -> ! actor_taken
         handon @c1 c2 agent:y gate for=9000               -> session.opened
         # The name is theirs who stand behind it.
         handon top k0 agent:y - for=9000                  -> ! actor_taken
         handon @c2 c3 agent:z operator for=9000           -> ! roles_exceeded
         handon @c2 c3 agent:z - for=9000                  -> session.opened
         decide @c2 pay d1 behalf=ann                      -> REQUIRE_APPROVAL operator:1
         # A key hands on as well, and what it hands on has an end of its own.
         handon top k1 agent:w - for=99999                 -> session.opened
         # Whoever is in the chain takes it back; everybody else finds nothing.
         logout olga c2                                    -> ! not_found
         logout @s1 c2                                     -> session.closed
         decide @c2 pay d2                                 -> ! session_closed
         decide @c3 pay d2                                 -> ! session_closed
         may agent:x                                       -> gate,operator
         logout @s1 s1                                     -> session.closed
         decide @c1 pay d2                                 -> ! session_closed
         handon @c1 c4 agent:v - for=1                     -> ! session_closed
         may agent:x                                       ->
         decide @k1 pay d2                                 -> REQUIRE_APPROVAL operator:1",
    );
    let mut rows = String::from("agent top\n handon top c1 agent:a1 - -> session.opened\n");
    for depth in 2..=9 {
        let came = if depth == 9 { "! chain_too_deep" } else { "session.opened" };
        let from = depth - 1;
        rows.push_str(&format!("handon @c{from} c{depth} agent:a{depth} - -> {came}\n"));
    }
    check(&rows);
}

#[test]
fn the_end_of_a_key_is_the_end_of_what_it_handed_on() {
    check(
        "person adm admin
         agent top
         rule a pay allow
         handon top c1 agent:x -      -> session.opened
         handon @c1 c2 agent:y -      -> session.opened
         decide @c2 pay d1            -> PERMIT
         revokekey adm top            -> key.revoked
         decide @c1 pay d2            -> ! session_closed
         decide @c2 pay d2            -> ! session_closed
         handon top c3 agent:z -      -> ! key_revoked",
    );
}

#[test]
fn a_bundle_narrows_what_it_no_longer_grants() {
    check(
        "person ann admin
         person bob admin
         agent bot
         rule h pay hold roles=operator:1
         login s1 eve operator,gate                    -> session.opened
         handon @s1 c1 agent:x operator,gate for=1000  -> session.opened
         handon @c1 c2 agent:y operator for=1000       -> session.opened
         decide bot pay d1                             -> REQUIRE_APPROVAL operator:1
         vote @s1 d1                                   -> approved
         decide ann policy.publish p1 action=publish   -> REQUIRE_APPROVAL admin:1
         vote bob p1                                   -> approved
         narrow s1 gate
         arm bob p1 b1 -> collected consumed; bundle.armed; session.narrowed; outcome.reported
         may eve                                       -> gate
         may agent:x                                   -> gate
         may agent:y                                   ->
         collect bot d1 nonce=1                        -> invalidated
         handon @c1 c3 agent:z operator for=1000       -> ! roles_exceeded
         decide ann policy.publish p2 action=publish   -> REQUIRE_APPROVAL admin:1
         vote bob p2                                   -> approved
         narrow s1 -
         arm bob p2 b2 -> collected consumed; bundle.armed; session.narrowed; outcome.reported
         may eve                                       ->",
    );
}

#[test]
fn nobody_becomes_the_only_admin_by_waiting() {
    check(
        "person adm admin
         rule a pay allow
         decide adm key.create k1         -> PERMIT
         login s1 ann admin for=1000      -> session.opened
         decide adm key.create k2         -> REQUIRE_APPROVAL admin:1
         +2000
         decide adm key.create k3         -> REQUIRE_APPROVAL admin:1
         # Thirty days after her last session she counts no more.
         +2591998000
         decide adm key.create k4         -> REQUIRE_APPROVAL admin:1
         +2000
         decide adm pay d0                -> PERMIT
         decide adm key.create k5         -> PERMIT",
    );
}

#[test]
fn sessions_are_bounded_in_all_and_for_each() {
    check(
        "world sessions=4 each=2
         person adm admin
         agent top
         login s1 ann operator            -> session.opened
         handon @s1 c1 agent:x - for=1000 -> session.opened
         # Who stands behind them is counted, not whom they are for.
         handon @s1 c2 agent:y - for=1000 -> ! sessions_full
         login s2 ann operator            -> ! sessions_full
         login s3 bob operator            -> session.opened
         login s4 eve operator            -> session.opened
         login s5 joe operator            -> ! sessions_full
         # An ended one takes its place until it is forgotten.
         +4200000
         handon top k1 agent:z -          -> ! sessions_full
         decide top unknown d1            -> SILENCE unknown_surface
         handon top k1 agent:z -          -> session.opened",
    );
}

#[test]
fn a_person_who_signed_in_asks_to_lift_no_longer_once_closed_out() {
    check(
        "person adm admin
         person olga operator
         login s1 ann operator   -> session.opened
         trip adm workspace      -> kill.tripped
         lift @s1 workspace      -> asked
         logout adm s1           -> session.closed
         lift olga workspace     -> asked
         lift adm workspace      -> kill.lifted",
    );
}

#[test]
fn the_fold_refuses_what_no_step_plans_and_snapshots_agree() {
    let mut scene = Scene::default();
    for line in [
        "person ann admin",
        "person bob admin",
        "agent bot",
        "rule h pay hold roles=operator:1",
        "login s1 eve operator,gate until=9000000",
        "login s2 olga operator for=1000",
        "handon @s1 c1 agent:x operator for=1000000",
        "handon @c1 c2 agent:y - for=1000",
        "decide @c1 pay d1",
        "vote @s2 d1",
        "decide ann policy.publish p1 action=publish",
        "vote bob p1",
        "narrow s1 gate",
        "arm bob p1 b1",
        "logout @s2 s2",
        "+5000000",
        "decide bot pay d2",
        "decide bot pay d3",
        "login s3 olga operator",
    ] {
        let said = scene.line(line);
        assert!(!said.contains('!'), "{line}: {said}");
    }
    let (s1, s2) = (scene.sessions["s1"], scene.sessions["s2"]);
    let world = scene.world();
    world.check_replay();
    for at in 1..=world.log.len() {
        let revived = world.revived(&mut Runs::default(), at);
        assert_eq!(world.fingerprint(&revived), world.fingerprint(&world.state), "from {at}");
    }
    assert_eq!(world.state.session(s2), None, "forgotten once nobody has to know");
    let opened = world.state.session(s1).unwrap().opened.clone();
    let mut said = |event: Event| {
        let entry = world.entry(event);
        world.replayed().apply(&entry).map_or_else(|e| e.to_string(), |()| "applied".to_owned())
    };
    let key = KeyId::from_bytes([7; 16]);
    let child = SessionOpened {
        principal: Principal { key, actor: actor("agent:z"), ..opened.principal.clone() },
        issuer: None,
        chain: vec![opened.principal.actor.clone()],
        parent: Some(s1),
        token: None,
        ..opened.clone()
    };
    let with = |roles: &[&str], name: &str| {
        let principal = Principal {
            roles: super::notation::roles(roles),
            actor: actor(name),
            ..child.principal.clone()
        };
        Event::SessionOpened(SessionOpened { principal, ..child.clone() })
    };
    assert!(said(Event::SessionOpened(opened)).contains("taken"));
    assert!(said(with(&["operator"], "agent:z")).contains("more than"), "narrowed since");
    assert!(said(with(&[], "human:z")).contains("more than"));
    assert_eq!(said(with(&["gate"], "agent:z")), "applied");
    let wide = super::notation::roles(&["gate", "operator"]);
    assert!(
        said(Event::SessionNarrowed(SessionNarrowed { key: s1, roles: wide })).contains("widens")
    );
    let gone = SessionNarrowed { key, roles: [].into() };
    assert!(said(Event::SessionNarrowed(gone)).contains("unknown"));
    let closed = |key| {
        let reason = CloseReason::Revoked;
        Event::SessionClosed(SessionClosed { key, by: actor("human:ann"), reason })
    };
    assert!(said(closed(s2)).contains("not open"));
    assert_eq!(said(closed(s1)), "applied");
}
