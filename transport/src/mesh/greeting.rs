//! From an open link to a connection that stands, at both sides.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use crate::address::beside;
use crate::exchange::link::LinkError;

use super::connection::{Connection, Phase};
use super::dial::Dial;
use super::driver::Driver;
use super::error::MeshRefusal;
use super::message::{Header, Hello};

/// Ups and downs that nobody has taken, beside four for each peer there may be, before dialled connections are refused.
const NOTICES_MARGIN: usize = 1024;

impl Driver {
    /// The side that was dialled says who it is as soon as the other has shown the key.
    pub(super) fn say_hello(&mut self, index: usize) {
        let hello = self.hello();
        let connection = &mut self.connections[index];
        if matches!(connection.phase, Phase::Greeting { .. }) && connection.wire.link.is_open() && !connection.greeted {
            connection.greeted = true;
            connection.say(&hello, &[]);
        }
    }

    /// Takes the frames of a connection that does not stand, until it does.
    pub(super) fn hear_stranger(&mut self, index: usize) -> Option<LinkError> {
        while self.connections[index].is_heard() && self.connections[index].up().is_none() {
            match self.connections[index].wire.link.next() {
                Ok(Some((header, _))) => self.hear_greeting(index, header),
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        }
        None
    }

    fn hear_greeting(&mut self, index: usize, mut header: Header) {
        if let Header::Hello(hello) = &mut header {
            hello.address = beside(self.address, hello.address);
        }
        match (&self.connections[index].phase, header) {
            (Phase::Greeting { .. }, Header::Hello(hello)) => self.admit(index, hello),
            (Phase::Greeting { .. }, _) => {
                self.refuse(index, MeshRefusal::Malformed { reason: "a hello comes first".to_owned() });
            }
            (&Phase::Dialling { dial, told: None }, Header::Hello(hello)) => self.recognise(index, dial, hello),
            (Phase::Dialling { told: Some(hello), .. }, Header::Welcome) => {
                let hello = hello.clone();
                self.stand(index, &hello);
            }
            (&Phase::Dialling { dial, .. }, Header::Refused(refusal)) if refusal.is_passing() => {
                self.connections[index].phase = Phase::Gone;
                self.retry_dial(dial, format!("it refused: {refusal}"));
            }
            (&Phase::Dialling { dial, .. }, Header::Refused(refusal)) => self.fail_dial(dial, format!("it refused: {refusal}")),
            (&Phase::Dialling { dial, .. }, _) => self.fail_dial(dial, "it broke the mesh protocol: no answer to a hello".to_owned()),
            _ => unreachable!("only these phases are heard here"),
        }
    }

    /// A dialler has said who it is.
    fn admit(&mut self, index: usize, hello: Hello) {
        if let Some(refusal) = self.objection(&hello) {
            return self.refuse(index, refusal);
        }
        if self.node < hello.node && self.told(hello.node) {
            let deadline = self.connections[index].deadline().expect("a greeting is due");
            self.connections[index].phase = Phase::Parked { hello, deadline };
            return;
        }
        self.connections[index].say(&Header::Welcome, &[]);
        self.stand(index, &hello);
    }

    fn objection(&self, hello: &Hello) -> Option<MeshRefusal> {
        if hello.node == self.node {
            return Some(MeshRefusal::SameNode { node: self.node });
        }
        if let Some(fault) = hello.fault() {
            return Some(MeshRefusal::Malformed { reason: fault.to_owned() });
        }
        if self.standing(hello.node).is_some() {
            return Some(MeshRefusal::Standing);
        }
        if self.up_count() >= self.options.peers_max {
            return Some(MeshRefusal::Full { peers_max: self.options.peers_max as u32 });
        }
        let notices = self.shared.change(|state| state.notice_count());
        (notices >= 4 * self.options.peers_max + NOTICES_MARGIN).then_some(MeshRefusal::Busy)
    }

    /// Who was dialled has said who it is.
    fn recognise(&mut self, index: usize, dial: u64, hello: Hello) {
        let Some(Dial { node: wanted, started, .. }) = self.dials.iter().find(|known| known.id == dial) else {
            self.connections[index].phase = Phase::Gone;
            return;
        };
        let (there, started) = (hello.node, *started);
        if there == self.node {
            return self.fail_dial(dial, "a process of this very node id listens there, or this process itself".to_owned());
        }
        if let Some(wanted) = wanted.filter(|&wanted| wanted != there) {
            return self.fail_dial(dial, format!("node {there} listens there, not node {wanted}: was that process started again?"));
        }
        if let Some(fault) = hello.fault() {
            return self.fail_dial(dial, format!("its hello is invalid: {fault}"));
        }
        if let Some(since) = self.standing(there) {
            self.drop_dial(dial);
            if since < started {
                self.shared.change(|state| state.confirm(there));
            }
            return;
        }
        if self.told(there) {
            self.connections[index].phase = Phase::Gone;
            return self.retry_dial(dial, "another attempt to connect to the same node is under way".to_owned());
        }
        if self.up_count() >= self.options.peers_max {
            let peers_max = self.options.peers_max;
            return self.fail_dial(dial, format!("this process has as many connections as its peers_max allows ({peers_max})"));
        }
        let mine = self.hello();
        let connection = &mut self.connections[index];
        connection.say(&mine, &[]);
        connection.phase = Phase::Dialling { dial, told: Some(hello) };
    }

    /// Both sides have said all that a connection needs.
    fn stand(&mut self, index: usize, hello: &Hello) {
        let node = hello.node;
        let unsent_bytes = Arc::new(AtomicUsize::new(0));
        let connection = &mut self.connections[index];
        connection.wire.link.set_frame_bytes_max(self.options.frame_bytes_max);
        let own = connection.dial();
        connection.phase = Phase::Up { node, since: Instant::now(), unsent_bytes: Arc::clone(&unsent_bytes) };
        self.shared.change(|state| state.raise(hello, unsent_bytes));
        let told: Vec<u64> =
            self.connections.iter().filter(|connection| connection.told() == Some(node)).filter_map(Connection::dial).collect();
        let met = |dial: &Dial| {
            Some(dial.id) == own
                || dial.node == Some(node)
                || dial.node.is_none() && dial.address == hello.address
                || told.contains(&dial.id)
        };
        let met: Vec<u64> = self.dials.iter().filter(|dial| met(dial)).map(|dial| dial.id).collect();
        for dial in met {
            self.drop_dial(dial);
        }
    }

    /// Connections that waited for a dial of this side to the same node: that has failed, or stands.
    pub(super) fn settle_parked(&mut self) {
        for index in 0..self.connections.len() {
            let Phase::Parked { hello, .. } = &self.connections[index].phase else {
                continue;
            };
            let hello = hello.clone();
            if !self.told(hello.node) {
                self.admit(index, hello);
                self.connections[index].flush();
            }
        }
    }

    fn refuse(&mut self, index: usize, refusal: MeshRefusal) {
        let connection = &mut self.connections[index];
        connection.say(&Header::Refused(refusal), &[]);
        connection.leave(self.options.farewell_timeout, true);
    }

    fn hello(&self) -> Header {
        let frame_bytes_max = u32::try_from(self.options.frame_bytes_max).expect("options are checked");
        Header::Hello(Hello { node: self.node, address: self.address, frame_bytes_max })
    }
}
