//! What happens in a round, drawn by its seed: the same seed, the same plan.

use std::time::Duration;

use zonecert_devstack::Fault;

/// `SplitMix64`: another version of a library must not draw another plan.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap_or_default()
    }

    pub(crate) fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

/// Which server is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Ca,
    Dns,
}

/// Requests to a server whose path begins so suffer a fault, so many times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Strike {
    pub(crate) server: Server,
    pub(crate) path: &'static str,
    pub(crate) fault: Fault,
    pub(crate) times: usize,
}

/// When something happens to the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// A step is on record: its event is in a certificate's log.
    After(&'static str),
    /// In the middle of a call: before the server hears of it, or once it has done what it was asked.
    Within { server: Server, path: &'static str, done: bool },
}

/// What happens to the workers or to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incident {
    /// `kill -9` of one worker, or of both.
    Kill { moment: Moment, both: bool },
    /// One worker stands still for longer than its lease.
    Freeze { moment: Moment, pause: Duration },
    /// Connections to the database are cut, so many times.
    Cuts(usize),
    /// The database is silent for so long; then the connections go on, or are cut.
    Stall { pause: Duration, then_cut: bool },
    /// There is no connection to the database for so long.
    Away(Duration),
}

impl Incident {
    pub(crate) const fn is_of_the_database(self) -> bool {
        matches!(self, Self::Cuts(_) | Self::Stall { .. } | Self::Away(_))
    }
}

/// A round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// New certificates: names below the zone, a wildcard where `true`.
    pub(crate) new: Vec<bool>,
    /// Certificates with a valid version that renew, at the most.
    pub(crate) renewals: usize,
    pub(crate) strikes: Vec<Strike>,
    pub(crate) incidents: Vec<Incident>,
}

pub(crate) const NEW_ORDER: &str = "/order-plz";
const ORDER: &str = "/my-order/";
const AUTHORIZATION: &str = "/authZ/";
const CHALLENGE: &str = "/chalZ/";
const FINALIZE: &str = "/finalize-order/";
const CERTIFICATE: &str = "/certZ/";
const NONCE: &str = "/nonce-plz";
const CA_PATHS: [&str; 6] = [NEW_ORDER, ORDER, AUTHORIZATION, CHALLENGE, FINALIZE, CERTIFICATE];
const READ_ZONE: &str = "GET /api/v1/servers/localhost/zones";
const CHANGE_ZONE: &str = "PATCH /api/v1/servers/localhost/zones";
const EVENTS: [&str; 9] = [
    "order_begun",
    "order_placed",
    "challenges_written",
    "challenges_presented",
    "key_prepared",
    "ca_notified",
    "authorized",
    "finalized",
    "issued",
];

impl Plan {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let new = (0..2 + dice.below(3)).map(|_| dice.below(3) == 0).collect();
        let renewals = 1 + dice.below(3);
        let mut strikes: Vec<Strike> = Vec::new();
        for _ in 0..=dice.below(3) {
            let strike = if dice.below(3) == 0 { dns_strike(&mut dice) } else { ca_strike(&mut dice) };
            // Failures in a row of one step would have it wait in place for longer than a round takes.
            if strikes.iter().all(|other| other.path != strike.path) {
                strikes.push(strike);
            }
        }
        let mut incidents = Vec::new();
        for _ in 0..=dice.below(2) {
            incidents.push(incident(&mut dice));
        }
        Self { new, renewals, strikes, incidents }
    }
}

fn ca_strike(dice: &mut Dice) -> Strike {
    let path = dice.one_of(&CA_PATHS);
    let anywhere = [
        Fault::Refused { status: 429, retry_after: Some(2) },
        Fault::Refused { status: 429, retry_after: Some(600) },
        Fault::Refused { status: 500, retry_after: None },
        Fault::Refused { status: 503, retry_after: Some(1) },
        Fault::Slow(Duration::from_millis(1500)),
        Fault::DoneButAnswered(500),
        Fault::BrokenOff,
        Fault::Malformed,
        Fault::Problem { status: 400, problem_type: "badNonce" },
    ];
    let special = match dice.below(9) {
        0 => Some((AUTHORIZATION, Fault::StuckPending, 20)),
        1 => Some((ORDER, Fault::StuckProcessing, 12)),
        2 => Some((CERTIFICATE, Fault::WrongKey, 1)),
        3 => Some((NEW_ORDER, Fault::Problem { status: 409, problem_type: "alreadyReplaced" }, 1)),
        4 => Some((NEW_ORDER, Fault::Problem { status: 403, problem_type: "caa" }, 1)),
        5 => Some((path, Fault::Problem { status: 400, problem_type: "badNonce" }, 8)),
        6 => Some((NONCE, Fault::Refused { status: 503, retry_after: None }, 2)),
        _ => None,
    };
    let (path, fault, times) = special.unwrap_or_else(|| (path, dice.one_of(&anywhere), 1 + dice.below(3)));
    Strike { server: Server::Ca, path, fault, times }
}

fn dns_strike(dice: &mut Dice) -> Strike {
    let path = dice.one_of(&[READ_ZONE, CHANGE_ZONE]);
    let faults = [
        Fault::Refused { status: 429, retry_after: Some(1) },
        Fault::Refused { status: 500, retry_after: None },
        Fault::Refused { status: 503, retry_after: None },
        Fault::Slow(Duration::from_secs(2)),
        Fault::DoneButAnswered(500),
        Fault::BrokenOff,
        Fault::Malformed,
    ];
    Strike { server: Server::Dns, path, fault: dice.one_of(&faults), times: 1 + dice.below(4) }
}

fn incident(dice: &mut Dice) -> Incident {
    let moment = if dice.below(2) == 0 {
        Moment::After(dice.one_of(&EVENTS))
    } else {
        let (server, path) = match dice.below(8) {
            0 => (Server::Dns, READ_ZONE),
            1 => (Server::Dns, CHANGE_ZONE),
            // An order that nobody knows of afterwards is the worst that a kill can leave: half as often again as any other.
            2 => (Server::Ca, NEW_ORDER),
            _ => (Server::Ca, dice.one_of(&CA_PATHS)),
        };
        Moment::Within { server, path, done: dice.below(2) == 0 }
    };
    match dice.below(10) {
        0..=4 => Incident::Kill { moment, both: matches!(moment, Moment::Within { .. }) || dice.below(2) == 0 },
        5 | 6 => Incident::Freeze { moment, pause: Duration::from_secs(4) },
        7 => Incident::Cuts(1 + dice.below(3)),
        8 => Incident::Stall { pause: Duration::from_millis(2_500), then_cut: dice.below(2) == 0 },
        _ => Incident::Away(Duration::from_millis(2_500)),
    }
}

#[test]
fn a_seed_has_one_plan_and_every_kind_of_fault_is_drawn() {
    let plans: Vec<Plan> = (0..500).map(Plan::draw).collect();
    assert_eq!(plans, (0..500).map(Plan::draw).collect::<Vec<_>>());
    let strikes: Vec<&Strike> = plans.iter().flat_map(|plan| &plan.strikes).collect();
    let incidents: Vec<&Incident> = plans.iter().flat_map(|plan| &plan.incidents).collect();
    for kind in [
        "429",
        "500",
        "503",
        "Slow",
        "DoneButAnswered",
        "BrokenOff",
        "Malformed",
        "badNonce",
        "alreadyReplaced",
        "StuckPending",
        "StuckProcessing",
        "WrongKey",
        "caa",
    ] {
        assert!(strikes.iter().any(|strike| format!("{strike:?}").contains(kind)), "{kind} is never drawn");
    }
    for server in [Server::Ca, Server::Dns] {
        assert!(strikes.iter().any(|strike| strike.server == server));
    }
    for event in EVENTS {
        let after = Moment::After(event);
        assert!(incidents.iter().any(|incident| matches!(incident, Incident::Kill { moment, .. } if *moment == after)), "{event}");
    }
    for path in CA_PATHS.into_iter().chain([READ_ZONE, CHANGE_ZONE]) {
        for wanted in [true, false] {
            let found = incidents.iter().any(|incident| {
                matches!(incident, Incident::Kill { moment: Moment::Within { path: within, done, .. }, .. } if *within == path && *done == wanted)
            });
            assert!(found, "nobody is killed within {path}, done: {wanted}");
        }
    }
}
