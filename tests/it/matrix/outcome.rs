//! What came of the matrix: each cell's two outcomes, what they mean together, and the table.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use super::{
    Feature, Place, Way,
    backend::{Backend, Running},
    client::{Client, Line},
};

/// One step on one way: nothing, or what was wrong.
type Outcome = Result<(), String>;

/// All that the clients told.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    told: BTreeMap<(Client, Backend, Way), Told>,
}

#[derive(Debug, Default)]
struct Told {
    /// Why there was no connection.
    unreachable: Option<String>,
    steps: BTreeMap<&'static str, Outcome>,
}

/// A cell: through the host, and directly.
#[derive(Debug)]
pub(super) struct Cell {
    host: Outcome,
    direct: Direct,
}

#[derive(Debug)]
enum Direct {
    Told(Outcome),
    /// The client has not the server's transport or revision.
    Impossible,
    /// It passed through the host, and nobody needed to know more.
    NotTried,
}

impl Outcomes {
    pub(super) fn add(&mut self, client: Client, lines: Vec<Line>) {
        for line in lines {
            let backend = Backend::ALL.into_iter().find(|backend| backend.name() == line.target).expect("a known name");
            let way = if line.via == Way::Host.name() { Way::Host } else { Way::Direct };
            let told = self.told.entry((client, backend, way)).or_default();
            let outcome = if line.ok { Ok(()) } else { Err(line.detail.clone()) };
            match Feature::ALL.into_iter().find(|feature| feature.name() == line.feature) {
                Some(feature) => drop(told.steps.insert(feature.name(), outcome)),
                None => told.unreachable = Some(line.detail),
            }
        }
    }

    /// A client may believe that a call is cancelled; where the server can tell, it has the last word.
    pub(super) fn check_cancellations(&mut self, running: &[Running]) {
        for ((client, backend, way), told) in &mut self.told {
            let one = running.iter().find(|one| one.backend == *backend).expect("all are started");
            let outcome = told.steps.get_mut(Feature::Cancellation.name());
            if let Some(outcome @ Ok(())) = outcome
                && one.saw_cancelled(client.mark(*backend, *way)) == Some(false)
            {
                *outcome = Err("the server did not hear of it".to_owned());
            }
        }
    }

    /// Every cell that there should be: what a client tries at a server that has it.
    pub(super) fn cells(&self) -> Vec<(Place, Cell)> {
        let mut cells = Vec::new();
        for client in Client::ALL {
            for backend in Backend::ALL {
                for feature in Feature::ALL {
                    let is_tried = client.tries(feature) && backend.step(feature, "".as_ref(), 0).is_some();
                    if is_tried {
                        cells.push(((client, backend, feature), self.cell(client, backend, feature)));
                    }
                }
            }
        }
        cells
    }

    fn cell(&self, client: Client, backend: Backend, feature: Feature) -> Cell {
        let told = |way| self.told.get(&(client, backend, way));
        let host = match told(Way::Host) {
            None => Err("the client told nothing".to_owned()),
            Some(told) => match told.steps.get(feature.name()) {
                Some(outcome) => outcome.clone(),
                None => Err(format!("no connection: {}", told.unreachable.as_deref().unwrap_or("nothing was told"))),
            },
        };
        // Who cannot even list does not speak the server's revision, which excuses nothing either.
        let speaks = |told: &&Told| !matches!(told.steps.get(Feature::List.name()), Some(Err(_)));
        let direct = told(Way::Direct).filter(speaks).and_then(|told| told.steps.get(feature.name()));
        let direct = match direct {
            Some(outcome) => Direct::Told(outcome.clone()),
            None if host.is_ok() && !client.always_tries_directly() => Direct::NotTried,
            None => Direct::Impossible,
        };
        Cell { host, direct }
    }
}

impl Cell {
    /// Whether the host takes something from the client. That the client cannot connect directly at all excuses nothing.
    pub(super) fn is_failure(&self) -> bool {
        self.host.is_err() && !matches!(self.direct, Direct::Told(Err(_)))
    }

    fn mark(&self) -> &'static str {
        match (&self.host, &self.direct) {
            (Ok(()), Direct::Told(Ok(())) | Direct::NotTried) => "ok",
            (Ok(()), _) => "ok, not directly",
            (Err(_), Direct::Told(Err(_))) => "also fails directly",
            (Err(_), _) => "FAILS",
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let say = |outcome: &Outcome| outcome.as_ref().map_or_else(Clone::clone, |()| "passes".to_owned());
        let direct = match &self.direct {
            Direct::Told(outcome) => say(outcome),
            Direct::Impossible => "impossible".to_owned(),
            Direct::NotTried => "not tried".to_owned(),
        };
        write!(f, "through the host: {}; directly: {direct}", say(&self.host))
    }
}

/// Clients and servers down, features across; what did not pass through the host is told below.
pub(super) fn table(cells: &[(Place, Cell)]) -> String {
    let mut text = format!("{:<22} {:<16}", "client", "server");
    for feature in Feature::ALL {
        write!(text, " {:<19}", feature.name()).unwrap();
    }
    for client in Client::ALL {
        for backend in Backend::ALL {
            write!(text, "\n{:<22} {:<16}", client.name(), backend.name()).unwrap();
            for feature in Feature::ALL {
                let cell = cells.iter().find(|(place, _)| *place == (client, backend, feature));
                write!(text, " {:<19}", cell.map_or("", |(_, cell)| cell.mark())).unwrap();
            }
        }
    }
    let remarkable: Vec<_> = cells.iter().filter(|(_, cell)| cell.host.is_err()).collect();
    write!(text, "\n\n{}", list(&remarkable)).unwrap();
    text
}

/// Cells one by one, with what was seen.
pub(super) fn list(cells: &[&(Place, Cell)]) -> String {
    let mut text = String::new();
    for ((client, backend, feature), cell) in cells {
        writeln!(text, "{}, {}, {}: {cell}", client.name(), backend.name(), feature.name()).unwrap();
    }
    text
}
